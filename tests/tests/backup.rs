//! `sidevault backup` and `sidevault restore`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::Value;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::postgres::{self, Postgres};
use sidevault_tests::sops::Sops;
use sidevault_tests::stop::then_stop;
use sidevault_tests::volume::Volume;
use sidevault_tests::wire::{Request, exchange};

struct Server {
    pair: ServerPair,
    token: String,
}

impl Server {
    fn start() -> Self {
        let pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[]);
        let token = pair.token("app", &["apps=read,write"]);
        Self { pair, token }
    }

    fn create(&self, title: &str, bytes: usize) {
        self.pair.create(&self.token, "apps", title, bytes);
    }

    fn item(&self, title: &str) -> Value {
        self.pair.item(&self.token, "apps", title).expect("the item")
    }

    fn version(&self, title: &str) -> u64 {
        self.item(title)["version"].as_u64().unwrap()
    }

    /// Changes an item, and returns its new version.
    fn change(&self, title: &str) -> u64 {
        let target = format!("/v1/vaults/apps/items/{}", self.item(title)["id"].as_str().unwrap());
        let patch = r#"[{"op":"replace","path":"/favorite","value":true}]"#;
        let reply = self.pair.ask(&self.token, "PATCH", &target, patch).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        self.version(title)
    }

    fn delete(&self, title: &str) {
        let target = format!("/v1/vaults/apps/items/{}", self.item(title)["id"].as_str().unwrap());
        assert_eq!(self.pair.ask(&self.token, "DELETE", &target, "").unwrap().status, 204);
    }

    fn content_version(&self) -> u64 {
        let vault = self.pair.get(&self.token, "/v1/vaults/apps").json();
        vault["contentVersion"].as_u64().unwrap()
    }

    /// The versions of an item that can be read.
    fn history(&self, title: &str) -> Vec<u64> {
        let target = format!(
            "/v1/vaults/apps/items/{}/versions",
            self.item(title)["id"].as_str().unwrap()
        );
        let versions = self.pair.get(&self.token, &target).json();
        let versions = versions.as_array().unwrap();
        versions
            .iter()
            .map(|version| version["version"].as_u64().unwrap())
            .collect()
    }

    fn has(&self, title: &str) -> bool {
        self.pair.item(&self.token, "apps", title).is_some()
    }

    fn stop_sync(&mut self) {
        self.pair.terminate(Process::Sync);
        self.pair.wait_ended(Process::Sync);
    }

    fn start_sync(&mut self) {
        self.pair.run(Process::Sync);
        self.pair.wait_linked();
    }

    fn data(&self) -> PathBuf {
        self.pair.path("data/.op/data")
    }

    /// Makes a backup in the directory `backups`, and returns its path.
    fn back_up(&self) -> PathBuf {
        let printed = self
            .pair
            .command(&["backup", "--to", &text(&self.pair.path("backups/"))]);
        PathBuf::from(printed.split("  ").next().unwrap())
    }

    /// The exit status of a command, and what it printed.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let ended = self.pair.ended(arguments);
        let printed = [ended.stdout, ended.stderr].concat();
        (
            ended.status.code().unwrap(),
            String::from_utf8_lossy(&printed).into_owned(),
        )
    }

    fn verify(&self, backup: &Path) -> (i32, String) {
        self.run(&["backup", "verify", &text(backup)])
    }

    /// How many items a store in a directory has. Every row is in order, or `store check` would fail.
    fn items(&self, data: &Path) -> usize {
        let printed = self.pair.command(&["store", "check", "--data", &text(data)]);
        let line = printed.lines().find_map(|line| line.strip_prefix("items"));
        line.unwrap().trim().parse().unwrap()
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The complete backups in a directory.
fn backups(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("sidevault-"))
        .map(|entry| entry.path())
        .collect()
}

#[test]
fn a_backup_has_every_write_that_was_acknowledged_before() {
    let server = Server::start();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (server, stop, acknowledged) = (&server, &stop, &acknowledged);
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    server.create(&format!("{writer}-{n}"), 100);
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        then_stop(&stop, || {
            for n in 0..5 {
                let wanted = (n + 1) * 10;
                let reached = wait_until(|| (acknowledged.load(Ordering::SeqCst) >= wanted).then_some(()));
                assert!(reached.is_some());
                let before = acknowledged.load(Ordering::SeqCst);
                let backup = server.back_up();
                let after = acknowledged.load(Ordering::SeqCst) + 3;
                let (status, printed) = server.verify(&backup);
                assert_eq!(status, 0, "{printed}");
                assert!(printed.contains("these keys open every row"), "{printed}");
                let restored = server.pair.path(&format!("restored-{n}"));
                server
                    .pair
                    .command(&["restore", &text(&backup), "--data", &text(&restored)]);
                let items = server.items(&restored);
                assert!((before..=after).contains(&items), "{before} {items} {after}");
            }
        });
    });
}

#[test]
fn a_restore_keeps_the_old_store_and_names_what_is_lost() {
    if postgres::is_chosen() {
        return;
    }
    let mut server = Server::start();
    server.create("kept", 10);
    server.back_up();
    server.create("later", 10);
    server.pair.token("leaked", &["apps=read"]);
    server.pair.command(&["token", "revoke", "leaked"]);
    let backups = text(&server.pair.path("backups"));

    // sync is running.
    let (status, printed) = server.run(&["restore", &backups, "--replace"]);
    assert!(
        status == 5 && printed.contains("another sync process"),
        "{status} {printed}"
    );
    server.stop_sync();
    let (status, printed) = server.run(&["restore", &backups]);
    assert!(status == 5 && printed.contains("--replace"), "{status} {printed}");
    let (status, printed) = server.run(&["restore", &backups, "--replace"]);
    assert_eq!(status, 0, "{printed}");
    assert!(printed.contains("lost: 3 changes since the backup"), "{printed}");
    assert!(
        printed.contains("revoke again") && printed.contains("sidevault token revoke "),
        "{printed}"
    );

    // The api serves the restored store without a restart.
    server.start_sync();
    assert!(wait_until(|| (!server.has("later")).then_some(())).is_some());
    assert!(server.has("kept"));
    server.create("after", 10);

    // The old store is complete under its new name.
    let names = fs::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().path());
    let aside: Vec<_> = names.filter(|path| text(path).contains(".replaced-")).collect();
    let [aside] = &aside[..] else { panic!("{aside:?}") };
    let old = server.pair.path("old");
    fs::create_dir(&old).unwrap();
    fs::rename(aside, old.join("1password.sqlite")).unwrap();
    assert_eq!(server.items(&old), 2);
}

/// Clients, such as Terraform, compare versions: after a restore none may come again with another content.
#[test]
fn versions_do_not_repeat_after_a_restore() {
    if postgres::is_chosen() {
        return;
    }
    for is_lost in [false, true] {
        let mut server = Server::start();
        server.create("kept", 10);
        server.create("deleted", 10);
        server.change("kept");
        server.back_up();
        let seen = (0..3).map(|_| server.change("deleted")).max().unwrap();
        server.delete("deleted");
        let content = server.content_version();
        server.stop_sync();
        if is_lost {
            server.pair.kill(Process::Api);
            fs::remove_dir_all(server.data()).unwrap();
        }
        let backups = text(&server.pair.path("backups"));
        server.pair.command(&["restore", &backups, "--replace"]);
        if is_lost {
            server.pair.run(Process::Api);
        }
        server.start_sync();
        assert!(wait_until(|| server.has("deleted").then_some(())).is_some());
        // An item that nobody changes keeps its version.
        assert_eq!(server.version("kept"), 2, "lost: {is_lost}");
        assert!(server.content_version() > content, "lost: {is_lost}");
        let next = server.change("deleted");
        assert!(next > seen, "lost: {is_lost}, {next} after {seen}");
        assert_eq!(server.change("deleted"), next + 1);
        // The versions from before are in the history still.
        let history = server.history("deleted");
        assert!(history.contains(&1) && history.contains(&next), "{history:?}");
    }
}

#[test]
fn a_backup_restores_into_a_postgresql_database() {
    let Some(postgres) = Postgres::shared() else { return };
    let mut server = Server::start();
    server.create("kept", 10);
    let backup = text(&server.back_up());
    // The commands below are about another store than that of the processes.
    server.pair.set("SIDEVAULT_STORE", &postgres.create_database());
    server.pair.command(&["restore", &backup]);
    let printed = server.pair.command(&["store", "check"]);
    assert!(printed.contains("items    1"), "{printed}");
    let (status, printed) = server.run(&["restore", &backup]);
    assert!(
        status == 5 && printed.contains("name an empty database"),
        "{status} {printed}"
    );
    // And back again. The store has the same newest change, so in the same second the backup would get the same name.
    let again = server.pair.path("again.sqlite");
    server.pair.command(&["backup", "--to", &text(&again)]);
    let restored = server.pair.path("restored");
    server
        .pair
        .command(&["restore", &text(&again), "--data", &text(&restored)]);
    assert_eq!(server.items(&restored), 1);
}

#[test]
fn a_store_that_can_t_be_read_is_replaced_and_kept() {
    if postgres::is_chosen() {
        return;
    }
    let mut server = Server::start();
    server.create("kept", 10);
    let backup = server.back_up();
    server.stop_sync();
    server.pair.kill(Process::Api);
    fs::write(server.data().join("1password.sqlite"), "no database").unwrap();
    let (status, printed) = server.run(&["restore", &text(&backup), "--replace"]);
    assert_eq!(status, 0, "{printed}");
    assert!(
        printed.contains("can't be read, so what is lost is not known"),
        "{printed}"
    );
    assert_eq!(server.items(&server.data()), 1);
}

/// Of a database that was removed by hand, the write-ahead log is often forgotten.
#[test]
fn a_log_without_its_database_does_not_reach_the_restored_store() {
    if postgres::is_chosen() {
        return;
    }
    let mut server = Server::start();
    for n in 0..20 {
        server.create(&format!("i{n}"), 10_000);
    }
    let backup = server.back_up();
    for n in 20..40 {
        server.create(&format!("i{n}"), 10_000);
    }
    server.pair.kill(Process::Sync);
    server.pair.kill(Process::Api);
    let log = server.data().join("1password.sqlite-wal");
    assert!(log.metadata().unwrap().len() > 0);
    fs::remove_file(server.data().join("1password.sqlite")).unwrap();
    let (status, printed) = server.run(&["restore", &text(&backup)]);
    assert_eq!(status, 0, "{printed}");
    assert_eq!(server.items(&server.data()), 20);
}

#[test]
fn damaged_backups_are_found_and_not_restored() {
    let server = Server::start();
    for n in 0..20 {
        server.create(&format!("i{n}"), 5_000);
    }
    let backup = server.back_up();
    let whole = fs::read(&backup).unwrap();
    let damaged = server.pair.path("damaged.sqlite");
    let is_refused = |what: &str| {
        let (status, printed) = server.verify(&damaged);
        assert_eq!(status, 8, "{what}: {printed}");
        let target = server.pair.path("target");
        let (status, printed) = server.run(&["restore", &text(&damaged), "--data", &text(&target)]);
        assert_eq!(status, 8, "{what}: {printed}");
        assert!(!target.join("1password.sqlite").exists(), "{what}");
    };
    for length in [0, 10, 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(&damaged, &whole[..length]).unwrap();
        is_refused(&format!("cut to {length}"));
    }
    for n in 1..8 {
        let at = whole.len() * n / 8 + 700;
        let mut bytes = whole.clone();
        bytes[at..at + 600].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&damaged, bytes).unwrap();
        let (status, printed) = server.verify(&damaged);
        // The bytes may be in a page's unused part.
        let differs = fs::read(&damaged).unwrap() != whole;
        assert!(differs && (status == 8 || status == 0), "{status} {printed}");
    }
    for sql in [
        "DELETE FROM items WHERE rowid = 3",
        "DELETE FROM changes",
        "UPDATE items SET version = version + 1 WHERE rowid = 2",
        "UPDATE items SET detail = (SELECT detail FROM items WHERE rowid = 1)",
        "UPDATE backup SET manifest = replace(manifest, '\"rows\":20', '\"rows\":19')",
        "UPDATE backup SET manifest = '{}'",
        "DROP TABLE backup",
    ] {
        fs::write(&damaged, &whole).unwrap();
        let done = Command::new("sqlite3").arg(&damaged).arg(sql).status();
        assert!(done.expect("sqlite3").success(), "{sql}");
        is_refused(sql);
    }
    let other = ServerPair::prepare(&[], &[]);
    let session = text(&other.path("keys/1password-credentials.json"));
    let (status, printed) = server.run(&["backup", "verify", &text(&backup), "--session", &session]);
    assert!(
        status == 8 && printed.contains("another credentials file"),
        "{status} {printed}"
    );
}

/// The backup is what the store was; the store itself was changed by another program.
#[test]
fn rows_that_were_changed_before_the_backup_are_found() {
    if postgres::is_chosen() {
        return;
    }
    let mut pair = ServerPair::prepare(
        &["--vault", "apps", "--allow-ephemeral", "--dir", "{root}/secrets"],
        &[],
    );
    fs::write(pair.path("secrets/a.bin"), vec![0xff; 200_000]).unwrap();
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let token = pair.token("app", &["apps=read,write"]);
    let mut server = Server { pair, token };
    for n in 0..3 {
        server.create(&format!("i{n}"), 10);
    }
    server.stop_sync();
    server.pair.kill(Process::Api);
    let database = server.data().join("1password.sqlite");
    let whole = fs::read(&database).unwrap();
    let (status, printed) = server.verify(&server.back_up());
    assert!(
        status == 0 && printed.contains("4 items") && printed.contains("4 file chunks"),
        "{printed}"
    );
    for (sql, words) in [
        ("UPDATE items SET updated_at = updated_at + 1 WHERE rowid = 2", "item "),
        ("UPDATE items SET state = 'ARCHIVED' WHERE rowid = 2", "item "),
        (
            "UPDATE items SET summary = (SELECT summary FROM items WHERE rowid = 1)",
            "item ",
        ),
        ("UPDATE tokens SET revoked_at = 1", "token "),
        ("UPDATE vaults SET sealed = x'00'", "vault "),
        ("UPDATE file_chunks SET n = n + 4 WHERE n = 3", "file chunk "),
        ("DELETE FROM file_chunks WHERE n = 1", "the chunk before it is missing"),
        ("DELETE FROM file_chunks", "the content of one of its files is missing"),
    ] {
        fs::write(&database, &whole).unwrap();
        let done = Command::new("sqlite3").arg(&database).arg(sql).status();
        assert!(done.expect("sqlite3").success(), "{sql}");
        fs::remove_dir_all(server.pair.path("backups")).unwrap();
        let (status, printed) = server.verify(&server.back_up());
        assert!(status == 8 && printed.contains(words), "{sql}: {status} {printed}");
    }
}

#[test]
fn an_encrypted_backup_opens_with_the_age_key_only() {
    let Some(sops) = Sops::find() else { return };
    let (key, other) = (sops.key(), sops.key());
    let server = Server::start();
    server.create("kept", 10);
    let file = server.pair.path("backup.age");
    server
        .pair
        .command(&["backup", "--to", &text(&file), "--age-recipient", &key.recipient]);
    assert!(fs::read(&file).unwrap().starts_with(b"age-encryption.org/v1\n"));
    let (status, printed) = server.verify(&file);
    assert!(status == 2 && printed.contains("--age-key-file"), "{status} {printed}");
    let (keys, other_keys) = (server.pair.path("keys.txt"), server.pair.path("other.txt"));
    fs::write(&keys, &key.secret).unwrap();
    fs::write(&other_keys, &other.secret).unwrap();
    let verify = |keys: &Path| server.run(&["backup", "verify", &text(&file), "--age-key-file", &text(keys)]);
    let (status, printed) = verify(&other_keys);
    assert_eq!(status, 8, "{printed}");
    let (status, printed) = verify(&keys);
    assert_eq!(status, 0, "{printed}");
    let to = server.pair.path("restored");
    server.pair.command(&[
        "restore",
        &text(&file),
        "--age-key-file",
        &text(&keys),
        "--data",
        &text(&to),
    ]);
    assert_eq!(server.items(&to), 1);
}

#[test]
fn a_backup_goes_to_standard_output_and_old_ones_are_deleted() {
    let server = Server::start();
    server.create("kept", 10);
    let ended = server.pair.ended(&["backup", "--to", "-"]);
    assert!(ended.status.success());
    let file = server.pair.path("from-stdout");
    fs::write(&file, ended.stdout).unwrap();
    let (status, printed) = server.verify(&file);
    assert_eq!(status, 0, "{printed}");

    let directory = server.pair.path("backups");
    fs::create_dir(&directory).unwrap();
    let old = directory.join("sidevault-20250101T000000Z-1.sqlite");
    for name in [old.clone(), directory.join("other.sqlite")] {
        fs::write(name, "").unwrap();
    }
    let printed = server
        .pair
        .command(&["backup", "--to", &text(&directory), "--keep", "1d"]);
    assert!(printed.contains(&format!("{}  deleted", old.display())), "{printed}");
    assert!(!old.exists() && directory.join("other.sqlite").exists());
    assert_eq!(backups(&directory).len(), 1);
    let (status, printed) = server.run(&["backup", "--to", &text(&file)]);
    assert!(status == 5 && printed.contains("exists already"), "{status} {printed}");
}

#[test]
fn sync_makes_backups_by_itself_and_says_when_it_can_t() {
    let mut server = Server::start();
    let directory = server.pair.path("backups");
    server.stop_sync();
    let to = text(&directory);
    server.pair.sync_arguments(&[
        "--vault",
        "apps",
        "--allow-ephemeral",
        "--backup-to",
        &to,
        "--backup-every",
        "1s",
    ]);
    server.start_sync();
    let made = wait_until(|| (directory.is_dir() && backups(&directory).len() >= 2).then(|| backups(&directory)));
    for backup in made.expect("two backups") {
        assert_eq!(server.verify(&backup).0, 0, "{}", backup.display());
    }
    let state = || {
        let health = server.pair.health();
        let parts = health["dependencies"].as_array()?.clone();
        parts.into_iter().find(|part| part["service"] == "backup")
    };
    let shown = |status: &str, words: &str| {
        let found = wait_until(|| {
            let state = state()?;
            let is_shown = state["status"] == status && state["message"].as_str()?.contains(words);
            is_shown.then_some(())
        });
        assert!(found.is_some(), "{:?}", state());
    };
    shown("ACTIVE", "the newest backup is of 20");
    let metric = |name: &str| {
        let reply = exchange(server.pair.sync_address(), &Request::new("GET", "/metrics").bytes())
            .unwrap()
            .text();
        let line = reply
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
        line.unwrap_or_else(|| panic!("no {name} in {reply}"))
    };
    assert!(metric("sidevault_backup_last_success_timestamp_seconds") > 1.7e9);
    assert!(metric("sidevault_backup_failures_total") < 1.0);

    fs::remove_dir_all(&directory).unwrap();
    fs::write(&directory, "no directory").unwrap();
    shown("DEGRADED", "a backup failed");
    assert!(metric("sidevault_backup_failures_total") >= 1.0);
    // Writes go on.
    server.create("kept", 10);
    fs::remove_file(&directory).unwrap();
    shown("ACTIVE", "the newest backup is of 20");
}

/// SIDEVAULT_KILLS kills of each command; 10 without it.
#[test]
fn a_killed_backup_or_restore_leaves_nothing_half() {
    if postgres::is_chosen() {
        return;
    }
    let kills = std::env::var("SIDEVAULT_KILLS").ok().and_then(|text| text.parse().ok());
    let kills: u32 = kills.unwrap_or(10);
    let mut server = Server::start();
    for n in 0..40 {
        server.create(&format!("i{n}"), 200_000);
    }
    let whole = server.back_up();
    server.create("later", 10);
    let directory = server.pair.path("backups");
    let started = Instant::now();
    server.pair.command(&["backup", "verify", &text(&whole)]);
    let longest = started.elapsed() * 2;
    let killed_after = |n: u32, arguments: &[&str]| {
        let mut child = server.pair.begin(arguments);
        std::thread::sleep(longest * n / kills);
        child.kill().unwrap();
        child.wait().unwrap();
    };
    for n in 0..kills {
        killed_after(n, &["backup", "--to", &text(&directory)]);
        for backup in backups(&directory).iter().filter(|path| **path != whole) {
            assert_eq!(server.verify(backup).0, 0, "{}", backup.display());
            fs::remove_file(backup).unwrap();
        }
    }
    // The next backup removes what the killed ones left.
    server.back_up();
    let names = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let hidden: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(hidden.is_empty(), "{hidden:?}");

    let data = server.pair.path("killed");
    for n in 0..kills {
        killed_after(n, &["restore", &text(&whole), "--data", &text(&data), "--replace"]);
        if data.join("1password.sqlite").exists() {
            assert_eq!(server.items(&data), 40);
        }
    }
    server
        .pair
        .command(&["restore", &text(&whole), "--data", &text(&data), "--replace"]);
    assert_eq!(server.items(&data), 40);
    server.stop_sync();
}

#[test]
fn a_full_disk_fails_a_backup_with_a_clear_error_and_no_change() {
    let server = Server::start();
    let at = server.pair.path("volume");
    fs::create_dir(&at).unwrap();
    let Some(_volume) = Volume::mount(&at, 2) else { return };
    for n in 0..20 {
        server.create(&format!("i{n}"), 200_000);
    }
    let (status, printed) = server.run(&["backup", "--to", &text(&at)]);
    assert!(status != 0 && printed.contains("full"), "{status} {printed}");
    let left: Vec<_> = fs::read_dir(&at)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(left.iter().all(|name| name == "lost+found"), "{left:?}");
}
