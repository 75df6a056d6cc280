//! A backup that is put back while the api runs: nothing old is served, and nothing that was revoked is good again.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::wire::{Request, Wire};

struct TestServer {
    pair: ServerPair,
    token: String,
    backup: PathBuf,
}

/// How a backup comes back into the data directory.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// As docs/operations.md says.
    FilesReplaced,
    /// Over the file that is there, with SQLite's backup API.
    IntoTheLiveFile,
    /// Over the file that is there, byte by byte.
    CopiedOver,
}

impl TestServer {
    /// An item `kept` at `v1`, a backup of that, then 30 changes and two more tokens.
    fn start() -> Self {
        let pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[]);
        let token = pair.token("app", &["apps=read,write"]);
        let server = Self {
            backup: pair.path("tmp/backup.sqlite"),
            token,
            pair,
        };
        server.create("kept", "v1");
        server
    }

    fn database(&self) -> PathBuf {
        self.pair.path("data/.op/data/1password.sqlite")
    }

    fn create(&self, title: &str, value: &str) {
        let body = body(title, value);
        let reply = self
            .pair
            .ask(&self.token, "POST", "/v1/vaults/apps/items", &body)
            .expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    fn put(&self, value: &str) {
        let item = self.pair.item(&self.token, "apps", "kept").expect("the item");
        let target = format!("/v1/vaults/apps/items/{}", item["id"].as_str().expect("an id"));
        let reply = self
            .pair
            .ask(&self.token, "PUT", &target, &body("kept", value))
            .expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    fn value(&self) -> String {
        let item = self.pair.item(&self.token, "apps", "kept").expect("the item");
        let fields = item["fields"].as_array().expect("fields").clone();
        fields[0]["value"].as_str().expect("a value").to_owned()
    }

    fn sqlite(&self, database: &PathBuf, command: &str) {
        let done = std::process::Command::new("sqlite3")
            .arg(database)
            .arg(command)
            .output();
        let done = done.expect("sqlite3");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn back_up(&self) {
        self.sqlite(&self.database(), &format!(".backup {}", self.backup.display()));
    }

    fn restore(&mut self, way: Way) {
        self.pair.terminate(Process::Sync);
        self.pair.wait_ended(Process::Sync);
        let database = self.database();
        match way {
            Way::FilesReplaced => {
                for suffix in ["-wal", "-shm"] {
                    let _ = fs::remove_file(format!("{}{suffix}", database.display()));
                }
                let new = database.with_extension("new");
                fs::copy(&self.backup, &new).unwrap();
                fs::rename(new, database).unwrap();
            }
            Way::IntoTheLiveFile => self.sqlite(&database, &format!(".restore {}", self.backup.display())),
            Way::CopiedOver => drop(fs::copy(&self.backup, database).unwrap()),
        }
        self.pair.run(Process::Sync);
        self.pair.wait_linked();
    }

    /// The number of the newest change.
    fn here(&self) -> String {
        let text = self.events(None, "id:");
        text.lines()
            .find_map(|line| line.strip_prefix("id:"))
            .expect("a number")
            .trim()
            .to_owned()
    }

    /// What a client that resumes there is told until these words.
    fn events(&self, last: Option<&str>, words: &str) -> String {
        let mut request = Request::new("GET", "/v1/events").bearer(&self.token);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let mut wire = Wire::open(self.pair.address()).expect("a connection");
        wire.send(&request.bytes()).expect("a request");
        assert_eq!(wire.reply(false).expect("an answer").status, 200);
        read(&mut wire, words)
    }
}

fn read(wire: &mut Wire, words: &str) -> String {
    let text = wire.until(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        text.find(words).is_some_and(|at| text[at..].contains("\n\n")) || text.contains("\n:\n")
    });
    String::from_utf8_lossy(&text.expect("a stream")).into_owned()
}

fn body(title: &str, value: &str) -> String {
    json!({ "title": title, "category": "LOGIN", "fields": [{ "id": "password", "value": value }] }).to_string()
}

fn a_restored_backup_is_served(way: Way) {
    let mut server = TestServer::start();
    let early = server.here();
    server.back_up();
    for n in 2..32 {
        server.put(&format!("v{n}"));
    }
    server.create("later", "x");
    let gone = server.pair.token("gone", &["apps=read"]);
    assert_eq!(server.pair.get(&gone, "/v1/vaults/apps").status, 200);
    server.pair.command(&["token", "revoke", "gone"]);
    assert_eq!(server.pair.get(&gone, "/v1/vaults/apps").status, 401);
    assert_eq!(server.value(), "v31");
    let late = server.here();

    server.restore(way);
    // Two commands follow at once: what they have done holds for the next request.
    let thief = server.pair.token("thief", &["apps=read"]);
    server.pair.command(&["token", "revoke", "thief"]);
    assert_eq!(server.pair.get(&thief, "/v1/vaults/apps").status, 401, "{way:?}");
    assert_eq!(server.value(), "v1", "{way:?}");
    assert!(server.pair.item(&server.token, "apps", "later").is_none(), "{way:?}");
    assert_eq!(
        server.pair.get(&gone, "/v1/vaults/apps").status,
        401,
        "revoked before the restore, {way:?}"
    );

    for n in 0..40 {
        let value = format!("after {n}");
        server.put(&value);
        assert_eq!(server.value(), value, "{way:?}");
    }
    let told = server.events(Some(&late), "reset");
    assert!(
        told.contains("event: reset") || told.contains("event:reset"),
        "{way:?}: {told}"
    );
    // Who was behind the backup only has missed nothing that was taken back.
    let told = server.events(Some(&early), "item.updated");
    assert!(!told.contains("reset"), "{way:?}: {told}");
}

#[test]
fn a_backup_is_served_whose_files_replaced_those_that_the_api_reads() {
    a_restored_backup_is_served(Way::FilesReplaced);
}

#[test]
fn a_backup_is_served_that_sqlite_restored_into_the_live_file() {
    a_restored_backup_is_served(Way::IntoTheLiveFile);
}

#[test]
fn a_backup_is_served_that_was_copied_over_the_live_file() {
    a_restored_backup_is_served(Way::CopiedOver);
}

#[test]
fn an_open_stream_of_events_is_told_to_read_everything() {
    let mut server = TestServer::start();
    server.back_up();
    for n in 2..12 {
        server.put(&format!("v{n}"));
    }
    let mut wire = Wire::open(server.pair.address()).expect("a connection");
    wire.send(&Request::new("GET", "/v1/events").bearer(&server.token).bytes())
        .expect("a request");
    assert_eq!(wire.reply(false).expect("an answer").status, 200);
    server.restore(Way::FilesReplaced);
    server.put("after");
    let told = read(&mut wire, "reset");
    assert!(told.contains("reset"), "{told}");
}

/// Reads go on while the files are away, for however long the administrator takes.
#[test]
fn the_old_store_is_served_until_sync_has_opened_the_new_one() {
    let mut server = TestServer::start();
    server.back_up();
    server.put("v2");
    server.pair.terminate(Process::Sync);
    server.pair.wait_ended(Process::Sync);
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", server.database().display()));
    }
    assert_eq!(server.value(), "v2");
    // Process a file: it must not be taken for a store.
    let half = fs::read(&server.backup).unwrap();
    fs::write(server.database(), &half[..half.len() / 2]).unwrap();
    assert_eq!(server.value(), "v2");
    fs::copy(&server.backup, server.database()).unwrap();
    assert_eq!(server.value(), "v2");
    server.pair.run(Process::Sync);
    server.pair.wait_linked();
    let restored = wait_until(|| (server.value() == "v1").then_some(()));
    assert!(restored.is_some(), "{}", server.pair.log(Process::Api));
}

/// With sync stopped, one file is the whole store, though the api still reads it.
#[test]
fn the_database_alone_is_a_whole_copy_once_sync_has_stopped() {
    let mut server = TestServer::start();
    server.pair.terminate(Process::Sync);
    server.pair.wait_ended(Process::Sync);
    fs::copy(server.database(), &server.backup).unwrap();
    server.pair.kill(Process::Api);
    fs::remove_dir_all(server.pair.path("data/.op")).unwrap();
    fs::create_dir_all(server.pair.path("data/.op/data")).unwrap();
    fs::copy(&server.backup, server.database()).unwrap();
    server.pair.run(Process::Sync);
    server.pair.run(Process::Api);
    server.pair.wait_linked();
    assert_eq!(server.value(), "v1");
}
