//! A backup is restored while the api runs: the api serves the restored items, and revoked tokens stay revoked.

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

/// How a backup is restored.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The files are replaced, as docs/operations.md says.
    FilesReplaced,
    /// SQLite's backup API writes into the existing file.
    IntoTheLiveFile,
    /// The bytes are copied into the existing file.
    CopiedOver,
}

impl TestServer {
    /// A server with the item `kept`, whose value is `v1`.
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
    fn newest_change(&self) -> String {
        let text = self.events(None, "id:");
        text.lines()
            .find_map(|line| line.strip_prefix("id:"))
            .expect("a number")
            .trim()
            .to_owned()
    }

    /// The events that a client gets that resumes after the change `last`, until an event contains `words`.
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
    let early = server.newest_change();
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
    let late = server.newest_change();

    server.restore(way);
    // Tokens can be made and revoked in the restored store at once.
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
    let events = server.events(Some(&late), "reset");
    assert!(
        events.contains("event: reset") || events.contains("event:reset"),
        "{way:?}: {events}"
    );
    // A client that resumes from before the backup gets the changes, because it has seen none that the restore reverted.
    let events = server.events(Some(&early), "item.updated");
    assert!(!events.contains("reset"), "{way:?}: {events}");
}

#[test]
fn a_backup_that_replaces_the_files_is_served() {
    a_restored_backup_is_served(Way::FilesReplaced);
}

#[test]
fn a_backup_restored_by_sqlite_into_the_live_file_is_served() {
    a_restored_backup_is_served(Way::IntoTheLiveFile);
}

#[test]
fn a_backup_copied_over_the_live_file_is_served() {
    a_restored_backup_is_served(Way::CopiedOver);
}

#[test]
fn an_open_event_stream_gets_reset_after_a_restore() {
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
    let events = read(&mut wire, "reset");
    assert!(events.contains("reset"), "{events}");
}

/// Between the steps of a restore the api keeps answering.
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
    // Half of a file must not be taken for a store.
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

/// When sync stops, it writes the write-ahead log back into the database, even if the api has the database open.
#[test]
fn the_database_file_is_complete_once_sync_has_stopped() {
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
