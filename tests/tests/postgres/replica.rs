//! An api that keeps a copy of the database on its own disk (`SIDEVAULT_REPLICA`), and reads from there.

use std::fs;
use std::process::Command;

use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::postgres::{Postgres, database_name};
use sidevault_tests::wire::{Reply, Request, exchange};

use super::Vault;

/// The columns of each table that a copy must have, in the order of the key. Both databases write bytes as upper-case hex.
const TABLES: [(&str, &str, &str); 10] = [
    ("vaults", "id, attribute_version, content_version, items", "sealed"),
    ("vault_keys", "vault_id, key_id, purpose", "wrapped"),
    ("retired_vault_ids", "id, source", ""),
    ("items", "vault_id, id, version, created_at, updated_at", "detail"),
    ("item_versions", "vault_id, item_id, version", "detail"),
    ("files", "vault_id, item_id, id, content_id", ""),
    ("file_chunks", "content_id, n", "sealed"),
    ("changes", "seq, at, kind, vault_id, item_id, version", ""),
    ("activity", "seq, handover, vault_id, records", "sealed"),
    ("tokens", "jti, revoked_at", "sealed"),
];

/// A pair whose api keeps a copy.
struct Copying {
    pair: ServerPair,
    database: String,
    vault: Vault,
    reader: String,
}

impl Copying {
    fn start(server: &Postgres) -> Self {
        Self::start_on(&server.create_database())
    }

    fn start_on(url: &str) -> Self {
        let mut pair = ServerPair::prepare(
            &["--vault", "apps", "--vault", "other", "--dir", "{root}/secrets"],
            &[("SIDEVAULT_STORE", url)],
        );
        let copy = pair.path("copy").to_string_lossy().into_owned();
        pair.set("SIDEVAULT_REPLICA", &copy);
        put_file(&pair, "a");
        pair.run(Process::Api);
        pair.run(Process::Sync);
        pair.wait_linked();
        let vault = Vault::of(&pair);
        let reader = pair.token("reader", &["secrets=read"]);
        Self {
            database: database_name(url).to_owned(),
            pair,
            vault,
            reader,
        }
    }

    /// The content of the file in the directory vault. None if the response is cut off, because the file was replaced meanwhile.
    fn file(&self) -> Option<String> {
        let vault = self.pair.vault(&self.reader, "secrets");
        let item = self.pair.item(&self.reader, &vault, "a.bin").expect("the item");
        let path = item["files"][0]["content_path"].as_str().expect("a path");
        self.pair
            .ask(&self.reader, "GET", path, "")
            .ok()
            .map(|reply| reply.text())
    }

    /// Fails unless the copy soon has the same rows as the database.
    fn assert_equal(&self, server: &Postgres) {
        for (table, plain, bytes) in TABLES {
            let (mut theirs, mut ours) = (String::new(), String::new());
            let equal = wait_until(|| {
                (theirs, ours) = (
                    self.original(server, table, plain, bytes),
                    self.copied(table, plain, bytes),
                );
                (theirs == ours).then_some(())
            });
            assert!(
                equal.is_some(),
                "{table}: the database has\n{theirs}\nthe copy has\n{ours}\n{}",
                self.pair.log(Process::Api)
            );
        }
    }

    fn original(&self, server: &Postgres, table: &str, plain: &str, bytes: &str) -> String {
        let bytes = if bytes.is_empty() {
            String::new()
        } else {
            format!(", upper(encode({bytes}, 'hex'))")
        };
        server.psql(
            &self.database,
            &format!("SELECT {plain}{bytes} FROM {table} ORDER BY {plain}"),
        )
    }

    fn copied(&self, table: &str, plain: &str, bytes: &str) -> String {
        let bytes = if bytes.is_empty() {
            String::new()
        } else {
            format!(", hex({bytes})")
        };
        let output = Command::new("sqlite3")
            .args(["-cmd", ".timeout 5000"])
            .arg(self.pair.path("copy/1password.sqlite"))
            .arg(format!("SELECT {plain}{bytes} FROM {table} ORDER BY {plain}"))
            .output()
            .expect("sqlite3 runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn restart_api(&mut self) {
        self.pair.kill(Process::Api);
        self.pair.run(Process::Api);
        wait_until(|| exchange(self.pair.address(), &Request::new("GET", "/heartbeat").bytes()).ok()).expect("the api");
    }
}

/// Replaces the file of the directory vault: three chunks of one letter.
fn put_file(pair: &ServerPair, letter: &str) {
    fs::create_dir_all(pair.path("secrets")).expect("a directory");
    fs::write(pair.path("tmp/new"), letter.repeat(150_000)).expect("a file");
    fs::rename(pair.path("tmp/new"), pair.path("secrets/a.bin")).expect("a file");
}

fn is_aged(reply: &Reply) -> bool {
    reply
        .header("age")
        .is_some_and(|age| age.parse::<u64>().is_ok_and(|age| age > 0))
}

#[test]
fn everything_can_be_read_while_the_database_is_down_even_after_a_restart() {
    let Some(server) = Postgres::start() else { return };
    let mut copying = Copying::start(&server);
    let ids: Vec<_> = (0..100)
        .map(|n| copying.vault.must_create(&copying.pair, &format!("item {n}")))
        .collect();
    let activity = wait_until(|| {
        let reply = copying.pair.get(&copying.vault.token, "/v1/activity");
        reply.text().contains(&ids[99]).then_some(())
    });
    assert!(activity.is_some(), "the activity log has the writes");
    copying.assert_equal(&server);
    server.kill();
    for restart in [false, true] {
        if restart {
            copying.restart_api();
        }
        let Copying { pair, vault, .. } = &copying;
        let aged = wait_until(|| is_aged(&vault.read(pair.address(), &ids[0], None)).then_some(()));
        assert!(aged.is_some(), "{}", pair.log(Process::Api));
        for id in &ids {
            let reply = vault.read(pair.address(), id, None);
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        let list = pair.get(&vault.token, &vault.items).json();
        assert_eq!(list.as_array().map(Vec::len), Some(100));
        assert_eq!(copying.file(), Some("a".repeat(150_000)));
        assert!(pair.get(&vault.token, "/v1/activity").text().contains(&ids[99]));
        assert!(
            vault.create(pair.address(), "lost").is_none(),
            "a write needs the database"
        );
    }
    server.run();
    let written = copying.vault.must_create(&copying.pair, "afterwards");
    let fresh = copying.vault.read(copying.pair.address(), &written, None);
    assert_eq!((fresh.status, fresh.header("age")), (200, None));
    copying.assert_equal(&server);
}

#[test]
fn the_copy_has_the_rows_of_the_database_after_every_kind_of_change() {
    let Some(server) = Postgres::shared() else { return };
    // Behind a pooler, where each transaction may be on another connection.
    let Some(pooler) = server.pooler() else { return };
    let copying = Copying::start_on(&pooler.url(&server.create_database()));
    let Copying { pair, vault, .. } = &copying;
    let ids: Vec<_> = (0..80).map(|n| vault.must_create(pair, &format!("item {n}"))).collect();
    for (n, id) in ids.iter().enumerate() {
        let (method, body) = match n % 3 {
            0 => ("DELETE", String::new()),
            1 => (
                "PATCH",
                r#"[{"op":"replace","path":"/title","value":"another"}]"#.to_owned(),
            ),
            _ => continue,
        };
        let reply = pair.ask(&vault.token, method, &format!("{}/{id}", vault.items), &body);
        assert!(reply.is_ok_and(|reply| reply.status < 300));
    }
    put_file(pair, "b");
    let replaced = wait_until(|| (copying.file() == Some("b".repeat(150_000))).then_some(()));
    assert!(replaced.is_some(), "the new file is served");
    copying.assert_equal(server);
    for _ in 0..2 {
        pair.command(&["keys", "rotate", "data"]);
        copying.assert_equal(server);
        assert_eq!(copying.file(), Some("b".repeat(150_000)));
    }
    pair.command(&["vault", "rename", "other", "renamed"]);
    let revoked = pair.token("revoked", &["apps=read"]);
    pair.command(&["token", "revoke", "revoked"]);
    copying.assert_equal(server);
    assert_eq!(pair.get(&revoked, "/v1/vaults").status, 401);
    pair.command(&["vault", "delete", "apps", "--yes"]);
    copying.assert_equal(server);
}

/// The copy was off for so long that the change log begins after its newest change; then the database is replaced by an older one.
#[test]
fn a_copy_that_can_not_follow_the_change_log_is_compared_row_by_row() {
    let Some(server) = Postgres::shared() else { return };
    let mut copying = Copying::start(server);
    let early = copying.vault.must_create(&copying.pair, "early");
    copying.assert_equal(server);
    copying.pair.kill(Process::Api);
    copying.pair.run(Process::Api);
    copying.pair.wait_linked();
    let missed: Vec<_> = (0..5)
        .map(|n| copying.vault.must_create(&copying.pair, &format!("missed {n}")))
        .collect();
    copying.assert_equal(server);
    for process in [Process::Api, Process::Sync] {
        copying.pair.kill(process);
    }
    let database = copying.database.clone();
    server.psql(&database, "UPDATE lease SET expires_at = clock_timestamp()");
    let backup = format!("{database}_backup");
    server.psql("postgres", &format!("CREATE DATABASE {backup} TEMPLATE {database}"));
    // More changes than the log keeps, of which the copy has seen none.
    server.psql(
        &database,
        &format!("DELETE FROM items WHERE id = '{}'; DELETE FROM changes", missed[0]),
    );
    server.psql(
        &database,
        &format!("DELETE FROM item_versions WHERE item_id = '{}'", missed[0]),
    );
    copying.pair.run(Process::Api);
    copying.pair.run(Process::Sync);
    copying.pair.wait_linked();
    let late = copying.vault.must_create(&copying.pair, "late");
    copying.assert_equal(server);
    assert_eq!(copying.vault.read(copying.pair.address(), &missed[0], None).status, 404);
    // The api goes on while the backup is restored.
    copying.pair.kill(Process::Sync);
    server.psql("postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
    server.psql("postgres", &format!("ALTER DATABASE {backup} RENAME TO {database}"));
    copying.pair.run(Process::Sync);
    let again = copying.vault.must_create(&copying.pair, "again");
    copying.assert_equal(server);
    for (id, status) in [(&early, 200), (&missed[0], 200), (&late, 404), (&again, 200)] {
        let reply =
            wait_until(|| (copying.vault.read(copying.pair.address(), id, None).status == status).then_some(()));
        assert!(
            reply.is_some(),
            "{id} is not {status}\n{}",
            copying.pair.log(Process::Api)
        );
    }
}

#[test]
fn a_copy_is_no_store_until_it_is_moved_into_one() {
    let Some(server) = Postgres::shared() else { return };
    let mut copying = Copying::start(server);
    let id = copying.vault.must_create(&copying.pair, "kept");
    copying.assert_equal(server);
    for process in [Process::Api, Process::Sync] {
        copying.pair.terminate(process);
        copying.pair.wait_ended(process);
    }
    let copy = copying.pair.path("copy").to_string_lossy().into_owned();
    let Copying {
        pair, database, vault, ..
    } = &mut copying;
    // The database is lost, and sync makes a new store in its place: the copy stays, and is served.
    server.psql("postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
    server.psql("postgres", &format!("CREATE DATABASE {database}"));
    pair.run(Process::Sync);
    wait_until(|| {
        server
            .try_psql(database, "SELECT 1 FROM vaults")
            .is_ok_and(|rows| !rows.is_empty())
            .then_some(())
    })
    .expect("a new store");
    pair.run(Process::Api);
    let served = wait_until(|| {
        let request = Request::new("GET", format!("{}/{id}", vault.items)).bearer(&vault.token);
        exchange(pair.address(), &request.bytes())
            .ok()
            .filter(|reply| reply.status == 200 && is_aged(reply))
    });
    assert!(served.is_some(), "{}", pair.log(Process::Api));
    assert!(pair.log(Process::Api).contains("holds another store than the copy"));
    for process in [Process::Api, Process::Sync] {
        pair.terminate(process);
        pair.wait_ended(process);
    }
    let url = server.create_database();
    let moved = pair.command(&["store", "move", "--from", &copy, "--to", &url]);
    assert!(moved.contains("items 2"), "{moved}");
    // A directory with a store is not overwritten by a copy.
    let data = pair.path("moved").to_string_lossy().into_owned();
    pair.command(&["store", "move", "--from", &copy, "--to", &data]);
    pair.set("SIDEVAULT_STORE", &url);
    pair.set("SIDEVAULT_REPLICA", &data);
    pair.run(Process::Api);
    let refused = wait_until(|| {
        pair.log(Process::Api)
            .contains("there is a store in the target already")
            .then_some(())
    });
    assert!(refused.is_some(), "{}", pair.log(Process::Api));
    pair.kill(Process::Api);
    pair.set("SIDEVAULT_REPLICA", &copy);
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    assert_eq!(vault.read(pair.address(), &id, None).status, 200);
}
