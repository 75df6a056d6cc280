//! Backups that go to an S3 server of others, and come back from there.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use sidevault_tests::pages::{Step, read};
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::proxy::Proxy;
use sidevault_tests::s3::{ACCESS_KEY, S3, SECRET_KEY};

const URL: &str = "s3://bucket/one/two";

struct Server {
    pair: ServerPair,
    token: String,
}

impl Server {
    /// A server with items, whose commands are clients of the S3 server.
    fn start(s3: &S3, items: usize, bytes: usize) -> Self {
        let mut pair = ServerPair::prepare(&["--vault", "apps", "--allow-ephemeral"], &[]);
        s3.set(&mut pair, s3.address());
        pair.run(Process::Api);
        pair.run(Process::Sync);
        pair.wait_linked();
        let token = pair.token("app", &["apps=read,write"]);
        let server = Self { pair, token };
        for n in 0..items {
            server.create(&format!("i{n}"), bytes);
        }
        server
    }

    fn create(&self, title: &str, bytes: usize) {
        self.pair.create(&self.token, "apps", title, bytes);
    }

    /// The exit status of a command, and what it printed. No key is ever in it.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let ended = self.pair.ended(arguments);
        let printed = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
        assert!(
            !printed.contains(SECRET_KEY) && !printed.contains(ACCESS_KEY),
            "{printed}"
        );
        (ended.status.code().unwrap(), printed)
    }

    fn done(&self, arguments: &[&str]) -> String {
        let (status, printed) = self.run(arguments);
        assert_eq!(status, 0, "{arguments:?}: {printed}");
        printed
    }

    /// The URLs of the backups.
    fn backups(&self) -> Vec<String> {
        let printed = self.done(&["backup", "list", URL]);
        let urls = printed.lines().map(|line| line.rsplit("  ").next().unwrap());
        urls.map(str::to_owned).collect()
    }

    /// How many items a backup has, which is restored for that.
    fn items(&self, url: &str) -> usize {
        let data = self.pair.path("restored");
        let data = data.to_str().unwrap();
        self.done(&["restore", url, "--data", data, "--replace"]);
        let printed = self.done(&["store", "check", "--data", data]);
        let line = printed.lines().find_map(|line| line.strip_prefix("items"));
        line.unwrap().trim().parse().unwrap()
    }

    /// Nothing that a backup or a restore needs in between is left in the data directory.
    fn assert_clean(&self) {
        let names = files(&self.pair.path("data/.op/data"));
        let left = |name: &&String| name.starts_with(".sidevault-backup-") || name.starts_with(".tmp");
        assert!(!names.iter().any(|name| left(&name)), "{names:?}");
    }
}

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    entries.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn a_backup_goes_to_a_bucket_and_comes_back() {
    let Some(s3) = S3::start() else { return };
    // A small one is sent whole, one of 20 MB in parts.
    for (items, bytes) in [(3, 10), (100, 200_000)] {
        let server = Server::start(&s3, items, bytes);
        let printed = server.done(&["backup", "--to", URL]);
        assert!(printed.starts_with("s3://bucket/one/two/sidevault-"), "{printed}");
        assert!(printed.contains(&format!("{items} items in 1 vaults")), "{printed}");
        let url = printed.split("  ").next().unwrap();
        assert_eq!(server.backups().last().unwrap(), url);
        for from in [url, URL, "s3://bucket/one/two/"] {
            let printed = server.done(&["backup", "verify", from]);
            assert!(printed.contains("these keys open every row"), "{printed}");
            assert_eq!(server.items(from), items);
        }
        assert!(s3.unfinished().is_empty());
        server.assert_clean();
        // In the same second, a backup of the same changes would get the same name.
        server.create("more", 10);
        let old = s3.object("one/two/sidevault-20250101T000000Z-1.sqlite");
        let other = s3.object("one/two/other.sqlite");
        for path in [&old, &other] {
            fs::write(path, "").unwrap();
        }
        let printed = server.done(&["backup", "--to", URL, "--keep", "1d"]);
        assert!(
            printed.contains("sidevault-20250101T000000Z-1.sqlite  deleted"),
            "{printed}"
        );
        assert!(!old.exists() && other.exists());
        assert_eq!(server.backups().len(), 1);
    }
}

#[test]
fn sync_makes_backups_in_a_bucket_and_says_when_it_can_t() {
    let Some(mut s3) = S3::start() else { return };
    let mut server = Server::start(&s3, 1, 10);
    server.pair.terminate(Process::Sync);
    server.pair.wait_ended(Process::Sync);
    let arguments = [
        "--vault",
        "apps",
        "--allow-ephemeral",
        "--backup-to",
        URL,
        "--backup-every",
        "1s",
        "--backup-keep",
        "1d",
    ];
    server.pair.sync_arguments(&arguments);
    server.pair.run(Process::Sync);
    server.pair.wait_linked();
    let first = wait_until(|| server.backups().pop()).expect("a backup");
    let next = wait_until(|| server.backups().pop().filter(|newest| *newest != first));
    assert!(next.is_some() && server.backups().len() <= 2);
    let state = || {
        let health = server.pair.health();
        let parts = health["dependencies"].as_array()?.clone();
        parts.into_iter().find(|part| part["service"] == "backup")
    };
    assert!(wait_until(|| (state()?["status"] == "ACTIVE").then_some(())).is_some());
    s3.stop();
    assert!(
        wait_until(|| (state()?["status"] == "DEGRADED").then_some(())).is_some(),
        "{:?}",
        state()
    );
    // Writes go on.
    server.create("later", 10);
    let log = server.pair.log(Process::Sync);
    assert!(log.contains("can't be reached"), "{log}");
    assert!(!log.contains(SECRET_KEY) && !log.contains(ACCESS_KEY), "{log}");
}

#[test]
fn errors_say_what_the_server_said_and_no_key() {
    let Some(mut s3) = S3::start() else { return };
    let mut server = Server::start(&s3, 1, 10);
    let refused = |server: &Server, to: &str, status: i32, words: &[&str]| {
        let (ended, printed) = server.run(&["backup", "--to", to]);
        assert_eq!(ended, status, "{to}: {printed}");
        assert!(words.iter().all(|words| printed.contains(words)), "{to}: {printed}");
        server.assert_clean();
    };
    refused(
        &server,
        "s3://other/one",
        3,
        &["s3://other/one/sidevault-", "NoSuchBucket"],
    );
    refused(&server, "s3:///one", 78, &["expected s3://BUCKET/PREFIX"]);
    let name = "s3://bucket/one/sidevault-20261130T204507Z-17.sqlite";
    refused(&server, name, 78, &["is the URL of a backup"]);
    for command in [["restore", name], ["restore", "s3://bucket/empty"]] {
        let (status, printed) = server.run(&command);
        assert_eq!(status, 3, "{printed}");
    }
    let (_, printed) = server.run(&["backup", "verify", "s3://bucket/empty"]);
    assert!(printed.contains("s3://bucket/empty: no backup is there"), "{printed}");

    server.pair.set("AWS_SECRET_ACCESS_KEY", "another");
    refused(&server, URL, 4, &["403", "SignatureDoesNotMatch"]);
    // Without variables, the keys of a file are used.
    server.pair.set("AWS_ACCESS_KEY_ID", "");
    server.pair.set("AWS_SECRET_ACCESS_KEY", "");
    let file = server.pair.path("tmp/credentials");
    let keys = format!("[backup]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
    fs::write(&file, keys).unwrap();
    server.pair.set("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());
    refused(&server, URL, 78, &["has no profile default"]);
    server.pair.set("AWS_PROFILE", "backup");
    server.done(&["backup", "--to", URL]);

    s3.stop();
    refused(&server, URL, 6, &["can't be reached", "refused"]);
}

#[test]
fn a_request_whose_answer_is_lost_is_sent_again() {
    let Some(s3) = S3::start() else { return };
    let mut server = Server::start(&s3, 3, 10);
    let proxy = Proxy::before(s3.address(), [127, 0, 0, 1].into());
    s3.set(&mut server.pair, proxy.address());
    let cases: [(&[u8], [&str; 3]); 3] = [
        (b"PUT /bucket/one/two/", ["backup", "--to", URL]),
        (b"list-type=2", ["backup", "list", URL]),
        (b"GET /bucket/one/two/sidevault-", ["backup", "verify", URL]),
    ];
    for (question, command) in cases {
        proxy.lose_answer(&[question]);
        let lost = proxy.lost_answers();
        server.done(&command);
        assert_eq!(proxy.lost_answers(), lost + 1, "{command:?}");
    }
    assert_eq!(server.items(URL), 3);
}

/// The commands of docs/operations.md, "Backups in a bucket".
#[test]
fn the_documented_commands_back_up_and_restore() {
    let Some(s3) = S3::start() else { return };
    let mut server = Server::start(&s3, 2, 10);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let block = read(&page).into_iter().find_map(|step| match step {
        Step::Block(block) if block.section == "Backups in a bucket" => Some(block.code),
        _ => None,
    });
    let code = block.expect("the block").replace("s3://my-backups/sidevault", URL);
    let commands = code.lines().filter_map(|line| line.strip_prefix("sidevault "));
    let commands: Vec<Vec<&str>> = commands.map(|line| line.split(' ').collect()).collect();
    assert_eq!(commands.len(), 4);
    for command in commands {
        if command[0] == "restore" {
            server.create("later", 10);
            server.pair.terminate(Process::Sync);
            server.pair.wait_ended(Process::Sync);
        }
        let printed = server.done(&command);
        assert!(printed.contains("2 items") || command[1] == "list", "{printed}");
    }
}

/// SIDEVAULT_KILLS kills; 10 without it.
#[test]
fn a_killed_upload_is_no_backup_and_is_aborted_later() {
    let Some(s3) = S3::start() else { return };
    let kills = std::env::var("SIDEVAULT_KILLS").ok().and_then(|text| text.parse().ok());
    let kills: u32 = kills.unwrap_or(10);
    let server = Server::start(&s3, 150, 200_000);
    let started = Instant::now();
    let whole = server.done(&["backup", "--to", URL]);
    let whole = whole.split("  ").next().unwrap().to_owned();
    let longest = started.elapsed() * 5 / 4;
    server.create("later", 10);
    for n in 0..kills {
        let mut child = server.pair.begin(&["backup", "--to", URL]);
        // The upload is the last part of the command.
        std::thread::sleep(longest / 4 + longest * n / kills * 3 / 4);
        child.kill().unwrap();
        child.wait().unwrap();
        for url in server.backups().iter().filter(|url| **url != whole) {
            assert_eq!(server.items(url), 151);
            fs::remove_file(s3.object(url.strip_prefix("s3://bucket/").unwrap())).unwrap();
        }
    }
    // One is killed for certain while it sends parts.
    let is_hit = (0..20).any(|_| {
        let before = s3.unfinished().len();
        let mut child = server.pair.begin(&["backup", "--to", URL]);
        let sends =
            wait_until(|| (s3.unfinished().len() > before || child.try_wait().unwrap().is_some()).then_some(()));
        assert!(sends.is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        s3.unfinished().len() > before
    });
    assert!(is_hit, "no backup was killed while it sent parts");
    server.create("before", 10);
    // They may belong to a process that runs.
    server.done(&["backup", "--to", URL]);
    let unfinished = s3.unfinished();
    assert!(!unfinished.is_empty());
    for path in &unfinished {
        age(path);
    }
    server.create("last", 10);
    server.done(&["backup", "--to", URL]);
    assert!(s3.unfinished().is_empty(), "{:?}", s3.unfinished());
    assert_eq!(server.items(URL), 153);
    server.assert_clean();
}

/// Makes an upload look two days old.
fn age(path: &Path) {
    let then = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    File::open(path).unwrap().set_modified(then).unwrap();
}
