//! `sync --backup-continuous`: each second's changes in the place of the backups, and `restore --at`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sidevault_tests::ledger::Writers;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::postgres;
use sidevault_tests::s3::S3;
use sidevault_tests::volume::Volume;
use sidevault_tests::wire::{Request, exchange};

/// What sync is started with. The interval between backups is long, so that only what needs a new backup gets one.
fn arguments<'a>(to: &'a str, every: &'a str) -> [&'a str; 10] {
    [
        "--vault",
        "apps",
        "--vault",
        "other",
        "--allow-ephemeral",
        "--backup-continuous",
        "--backup-to",
        to,
        "--backup-every",
        every,
    ]
}

struct Server {
    pair: ServerPair,
    token: String,
    place: String,
}

/// Everything that clients can read, by vault and title: version, value and the versions in the history.
type State = BTreeMap<String, Value>;

impl Server {
    fn start() -> Self {
        Self::with_backups("{root}/backups", "1h", |_| {})
    }

    fn with_backups(to: &str, every: &str, set: impl FnOnce(&mut ServerPair)) -> Self {
        let mut pair = ServerPair::prepare(&arguments(to, every), &[]);
        set(&mut pair);
        pair.run(Process::Api);
        pair.run(Process::Sync);
        pair.wait_linked();
        let token = pair.token("app", &["apps=read,write", "other=read,write"]);
        let place = to.replace("{root}", pair.path("").to_str().unwrap().trim_end_matches('/'));
        Self { pair, token, place }
    }

    fn ask(&self, method: &str, target: &str, body: &str) -> Value {
        let reply = self.pair.ask(&self.token, method, target, body).unwrap();
        assert!(
            [200, 204].contains(&reply.status),
            "{method} {target}: {} {}",
            reply.status,
            reply.text()
        );
        match reply.status {
            200 => reply.json(),
            _ => Value::Null,
        }
    }

    fn create(&self, vault: &str, title: &str) -> String {
        let body = json!({
            "title": title,
            "category": "API_CREDENTIAL",
            "fields": [{ "id": "v", "label": "v", "type": "CONCEALED", "value": "0" }],
        });
        let item = self.ask("POST", &format!("/v1/vaults/{vault}/items"), &body.to_string());
        item["id"].as_str().unwrap().to_owned()
    }

    fn change(&self, vault: &str, item: &str, value: u64) {
        let patch = json!([{ "op": "replace", "path": "/fields/v/value", "value": value.to_string() }]);
        self.ask("PATCH", &format!("/v1/vaults/{vault}/items/{item}"), &patch.to_string());
    }

    fn delete(&self, vault: &str, item: &str) {
        self.ask("DELETE", &format!("/v1/vaults/{vault}/items/{item}"), "");
    }

    fn metric(&self, name: &str) -> Option<i64> {
        let reply = exchange(self.pair.sync_address(), &Request::new("GET", "/metrics").bytes()).ok()?;
        let text = reply.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line?.parse().ok()
    }

    /// The number of the newest change of the store.
    fn newest_change(&self) -> i64 {
        let reply = exchange(
            self.pair.address(),
            &Request::new("GET", "/metrics").bearer(&self.token).bytes(),
        )
        .unwrap();
        let text = reply.text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("sidevault_events_sequence "));
        line.unwrap().parse().unwrap()
    }

    /// Waits until everything that was acknowledged is in the place, and returns the time then.
    fn shipped(&self) -> String {
        let newest = self.newest_change();
        let done = wait_until(|| (self.metric("sidevault_backup_shipped_sequence")? >= newest).then_some(()));
        assert!(
            done.is_some(),
            "{newest} is not shipped\n{}",
            self.pair.log(Process::Sync)
        );
        now()
    }

    fn state(&self) -> State {
        state(&self.pair, &self.token)
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let ended = self.pair.ended(arguments);
        let printed = [ended.stdout, ended.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        (ended.status.code().unwrap(), printed)
    }

    /// Restores the place as it was at a time into a directory of its own, and returns what a server serves from it.
    fn restored(&self, at: Option<&str>) -> State {
        let mut other = ServerPair::prepare(&["--vault", "apps", "--vault", "other", "--allow-ephemeral"], &[]);
        let session = self.pair.path("keys/1password-credentials.json");
        other.set("OP_SESSION", session.to_str().unwrap());
        let data = other.path("data/.op/data");
        let mut arguments = vec!["restore", &self.place];
        arguments.extend(at.iter().flat_map(|at| ["--at", at]));
        let ended = if postgres::is_chosen() {
            other.ended(&arguments)
        } else {
            // The variables of a bucket are those of the first pair.
            self.pair
                .ended(&[&arguments[..], &["--data", data.to_str().unwrap()]].concat())
        };
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        other.run(Process::Api);
        other.run(Process::Sync);
        other.wait_linked();
        state(&other, &self.token)
    }

    /// The segments of all backups in the directory, oldest first.
    fn segments(&self) -> Vec<PathBuf> {
        segments(Path::new(&self.place))
    }

    fn backups(&self) -> usize {
        let printed = self.pair.command(&["backup", "list", &self.place]);
        printed.lines().filter(|line| line.contains(" bytes ")).count()
    }

    fn restart_sync(&mut self) {
        self.pair.kill(Process::Sync);
        self.pair.run(Process::Sync);
        self.pair.wait_linked();
    }

    fn health(&self, service: &str) -> Option<Value> {
        let health = self.pair.health();
        let parts = health["dependencies"].as_array()?.clone();
        parts.into_iter().find(|part| part["service"] == service)
    }
}

fn segments(place: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = sidevault_tests::pair::files_below(place)
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.to_string_lossy().contains(".segments/"))
        .collect();
    found.sort();
    found
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The present time as an argument of `--at`.
fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let printed = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%S"])
        .output()
        .unwrap();
    format!("{}.{millis:03}Z", String::from_utf8_lossy(&printed.stdout).trim())
}

fn state(pair: &ServerPair, token: &str) -> State {
    let mut state = State::new();
    let vaults = pair.get(token, "/v1/vaults").json();
    for vault in vaults.as_array().unwrap() {
        let id = vault["id"].as_str().unwrap();
        let items = format!("/v1/vaults/{id}/items");
        for item in pair.get(token, &items).json().as_array().unwrap() {
            let target = format!("{items}/{}", item["id"].as_str().unwrap());
            let mut whole = pair.get(token, &target).json();
            let versions = pair.get(token, &format!("{target}/versions")).json();
            let versions: Vec<&Value> = versions.as_array().unwrap().iter().map(|one| &one["version"]).collect();
            whole["versions"] = json!(versions);
            let files: Vec<String> = (0..whole["files"].as_array().map_or(0, Vec::len))
                .map(|n| {
                    let file = whole["files"][n]["id"].as_str().unwrap();
                    pair.get(token, &format!("{target}/files/{file}/content")).text()
                })
                .collect();
            whole["contents"] = json!(files);
            let title = format!(
                "{}/{}",
                vault["name"].as_str().unwrap(),
                item["title"].as_str().unwrap()
            );
            state.insert(title, whole);
        }
    }
    state
}

#[test]
fn a_restore_brings_back_each_state_that_was_there() {
    let server = Server::start();
    let mut states = Vec::new();
    let mut note = |server: &Server| states.push((server.shipped(), server.state()));
    let first = server.create("apps", "plain-title");
    note(&server);
    server.change("apps", &first, 1);
    server.create("other", "second");
    note(&server);
    server.pair.command(&["vault", "rename", "other", "plain-name"]);
    server.change("apps", &first, 2);
    note(&server);
    server.delete("apps", &first);
    note(&server);
    let again = server.create("apps", "plain-title");
    server.change("apps", &again, 7);
    note(&server);
    server.pair.command(&["vault", "delete", "plain-name", "--yes"]);
    note(&server);
    assert_eq!(server.backups(), 1);
    for (at, wanted) in &states {
        assert_eq!(&server.restored(Some(at)), wanted, "at {at}");
    }
    let (_, last) = states.last().unwrap();
    assert_eq!(&server.restored(None), last);
    let (status, printed) = server.run(&["backup", "verify", &server.place]);
    assert!(
        status == 0 && printed.contains("segments that follow it are whole"),
        "{printed}"
    );
    let printed = server.pair.command(&["backup", "list", &server.place]);
    assert!(printed.contains("followed by"), "{printed}");
    let (status, printed) = server.run(&[
        "restore",
        &server.place,
        "--at",
        "2020-01-01T00:00:00Z",
        "--data",
        "/nowhere",
    ]);
    assert!(
        status == 3 && printed.contains("no backup is there from before 2020-01-01T00:00:00Z"),
        "{status} {printed}"
    );
    // Nothing in the place is in the clear.
    for (path, bytes) in sidevault_tests::pair::files_below(Path::new(&server.place)) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains("plain-title") && !text.contains("plain-name"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn revocations_are_backed_up() {
    let server = Server::start();
    let leaked = server.pair.token("leaked", &["apps=read"]);
    server.shipped();
    server.pair.command(&["token", "revoke", "leaked"]);
    server.shipped();
    let data = server.pair.path("restored");
    let data = data.to_str().unwrap();
    server.pair.command(&["restore", &server.place, "--data", data]);
    let listed = server.pair.command(&["token", "list", "--data", data]);
    let line = listed.lines().find(|line| line.contains("leaked")).unwrap();
    assert!(line.contains("revoked"), "{listed}");
    drop(leaked);
}

/// Each fault is named, and with --last-good the state before it is restored.
#[test]
fn a_missing_changed_or_foreign_segment_is_named() {
    let server = Server::start();
    let mut states = Vec::new();
    for n in 0..5 {
        server.create("apps", &format!("i{n}"));
        server.shipped();
        states.push(server.state());
    }
    let other = Server::start();
    other.create("apps", "foreign");
    other.shipped();
    let foreign = fs::read(other.segments().last().unwrap()).unwrap();
    let whole: Vec<(PathBuf, Vec<u8>)> = server
        .segments()
        .into_iter()
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    assert!(whole.len() > 5, "{whole:?}");
    let last = whole.len() - 1;
    let restore = |more: &[&str]| {
        let data = server.pair.path("restored");
        fs::remove_dir_all(&data).ok();
        let arguments = ["restore", &server.place, "--data", data.to_str().unwrap()];
        let outcome = server.run(&[&arguments[..], more].concat());
        let items = data.join("1password.sqlite").exists().then(|| {
            let printed = server
                .pair
                .command(&["store", "check", "--data", data.to_str().unwrap()]);
            let line = printed
                .lines()
                .find_map(|line| line.strip_prefix("items"))
                .unwrap()
                .trim()
                .to_owned();
            line.parse::<usize>().unwrap()
        });
        (outcome, items)
    };
    let cut = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    // A whole line is missing, and the last line does not say so.
    let shorter = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        [&lines[..1], &lines[2..]].concat().concat().into_bytes()
    };
    let at = last - 1;
    type Damage<'a> = (&'a str, Option<Vec<u8>>, &'a str);
    let cases: [Damage<'_>; 8] = [
        ("missing", None, "is missing"),
        ("cut", Some(cut(&whole[at].1)), "damaged"),
        ("empty", Some(Vec::new()), "damaged"),
        ("flipped", Some(flipped(&whole[at].1)), "damaged"),
        ("a line less", Some(shorter(&whole[at].1)), "damaged"),
        ("longer", Some([&whole[at].1[..], b"[]\n"].concat()), "damaged"),
        ("the one before", Some(whole[at - 1].1.clone()), "should be there"),
        ("foreign", Some(foreign), "another store"),
    ];
    for (what, bytes, words) in cases {
        match bytes {
            Some(bytes) => fs::write(&whole[at].0, bytes).unwrap(),
            None => fs::remove_file(&whole[at].0).unwrap(),
        }
        let ((status, printed), items) = restore(&[]);
        assert!(status == 8 && printed.contains(words), "{what}: {status} {printed}");
        assert!(printed.contains("--last-good") && items.is_none(), "{what}: {printed}");
        let (status, printed) = server.run(&["backup", "verify", &server.place]);
        assert!(status == 8 && printed.contains(words), "{what}: {status} {printed}");
        let ((status, printed), items) = restore(&["--last-good"]);
        assert!(status == 0 && printed.contains(words), "{what}: {status} {printed}");
        assert_eq!(items, Some(3), "{what}");
        fs::write(&whole[at].0, &whole[at].1).unwrap();
    }
    // A segment that was replaced as a whole, with a digest that is right, is noticed by the one after it.
    let text = String::from_utf8(whole[at].1.clone()).unwrap();
    let rewritten = text.replacen("\"madeBy\":\"", "\"madeBy\":\"x", 1);
    let lines: Vec<&str> = rewritten.split_inclusive('\n').collect();
    let (end, body) = lines.split_last().unwrap();
    let mut end: Value = serde_json::from_str(end).unwrap();
    end["sha256"] = json!(sha256(body.concat().as_bytes()));
    fs::write(&whole[at].0, format!("{}{end}\n", body.concat())).unwrap();
    let ((status, printed), _) = restore(&[]);
    assert!(
        status == 8 && printed.contains("was changed or replaced"),
        "{status} {printed}"
    );
    fs::write(&whole[at].0, &whole[at].1).unwrap();
    assert_eq!(restore(&[]).1, Some(5));
}

/// SIDEVAULT_KILLS kills; 10 without it. After each, everything that was acknowledged is in the place a little later, in one chain.
#[test]
fn a_killed_sync_goes_on_where_it_stopped() {
    if postgres::is_chosen() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("SIDEVAULT_KILLS").unwrap_or(10);
    let seed = number("SIDEVAULT_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().as_millis() as u64
    });
    println!("SIDEVAULT_SEED={seed} SIDEVAULT_KILLS={kills}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut server = Server::start();
    let vault = server.pair.vault(&server.token, "apps");
    let token = server.token.clone();
    let writers = Writers::new(4, &[server.pair.address()], &token, &vault);
    // Until segments follow the first backup, a killed sync begins with another one.
    server.shipped();
    let mut states: Vec<(String, State)> = Vec::new();
    writers.write_while(seed, || {
        for n in 0..kills {
            std::thread::sleep(Duration::from_millis(rng.random_range(5..1500)));
            server.restart_sync();
            // A killed sync may be killed again while it looks at the place.
            if rng.random_range(0..4) == 0 {
                std::thread::sleep(Duration::from_millis(rng.random_range(0..200)));
                server.restart_sync();
            }
            if n % 5 == 4 || n + 1 == kills {
                let _paused = writers.pause();
                writers.check(&server.pair, &token, &vault, false);
                states.push((server.shipped(), server.state()));
            }
        }
    });
    let (acknowledged, unanswered) = writers.counts();
    println!(
        "{kills} kills, {acknowledged} acknowledged writes, {unanswered} unanswered, {} segments",
        server.segments().len()
    );
    assert_eq!(server.backups(), 1, "{}", server.pair.log(Process::Sync));
    let log = server.pair.log(Process::Sync);
    assert!(!log.contains("panicked"), "{log}");
    for (at, wanted) in &states {
        assert_eq!(&server.restored(Some(at)), wanted, "at {at}");
    }
}

/// A backup begins a new chain; until then, and for the time before it, the old one goes on.
#[test]
fn every_state_can_be_restored_across_backups() {
    let server = Server::with_backups("{root}/backups", "2s", |_| {});
    let mut states = Vec::new();
    let mut n = 0;
    while server.backups() < 3 {
        server.create("apps", &format!("i{n}"));
        n += 1;
        states.push((server.shipped(), server.state()));
    }
    for (at, wanted) in &states {
        assert_eq!(&server.restored(Some(at)), wanted, "at {at}");
    }
}

/// Rows that are sealed anew are not in segments.
#[test]
fn a_new_backup_is_made_after_the_data_keys_were_replaced() {
    let server = Server::start();
    let item = server.create("apps", "one");
    let before = (server.shipped(), server.state());
    server.pair.command(&["keys", "rotate", "data"]);
    let made = wait_until(|| (server.backups() == 2).then_some(()));
    assert!(made.is_some(), "{}", server.pair.log(Process::Sync));
    server.change("apps", &item, 1);
    let after = (server.shipped(), server.state());
    for (at, wanted) in [before, after] {
        assert_eq!(server.restored(Some(&at)), wanted, "at {at}");
    }
}

/// Writes go on, /health says so, and what is missing is sent when there is room again.
#[test]
fn a_full_disk_is_named_and_caught_up_with() {
    let mut server = Server::start();
    server.pair.kill(Process::Sync);
    let at = server.pair.path("volume");
    fs::create_dir(&at).unwrap();
    let Some(volume) = Volume::mount(&at, 2) else { return };
    let place = at.to_str().unwrap().to_owned();
    server.pair.sync_arguments(&arguments(&place, "1h"));
    server.place = place;
    server.pair.run(Process::Sync);
    server.pair.wait_linked();
    server.create("apps", "before");
    server.shipped();
    volume.fill(2);
    server.pair.create(&server.token, "apps", "while it is full", 100_000);
    let shown = wait_until(|| (server.health("continuous backup")?["status"] == "DEGRADED").then_some(()));
    assert!(shown.is_some(), "{:?}", server.health("continuous backup"));
    let message = server.health("continuous backup").unwrap()["message"].clone();
    assert!(message.as_str().unwrap().contains("are not backed up"), "{message}");
    assert!(
        server
            .metric("sidevault_backup_unshipped_since_timestamp_seconds")
            .unwrap()
            > 0
    );
    let doctor = server.pair.output(&["doctor", "--json"]);
    assert!(doctor.contains("changes can't be sent"), "{doctor}");
    server.create("apps", "also while it is full");
    volume.free();
    server.shipped();
    let shown = wait_until(|| (server.health("continuous backup")?["status"] == "ACTIVE").then_some(()));
    assert!(shown.is_some());
    assert_eq!(server.restored(None), server.state());
}

#[test]
fn segments_go_to_a_bucket_and_catch_up_when_it_was_down() {
    let Some(mut s3) = S3::start() else { return };
    let server = Server::with_backups("s3://bucket/one/two", "1h", |pair| s3.set(pair, s3.address()));
    server.create("apps", "before");
    let before = (server.shipped(), server.state());
    s3.stop();
    server.create("apps", "while it is down");
    let shown = wait_until(|| (server.health("continuous backup")?["status"] == "DEGRADED").then_some(()));
    assert!(shown.is_some(), "{:?}", server.health("continuous backup"));
    s3.run();
    let after = (server.shipped(), server.state());
    for (at, wanted) in [before, after] {
        assert_eq!(server.restored(Some(&at)), wanted, "at {at}");
    }
    assert_eq!(server.backups(), 1);
}
