//! A newer version changes the schema, or a store moves to PostgreSQL, while apis of this version serve reads.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use sidevault_tests::ledger::Writers;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::postgres::{Postgres, database_name};
use sidevault_tests::stop::then_stop;
use sidevault_tests::wire::{Request, exchange};

use super::Vault;

/// Reads the items again and again through every api, all of them at least once, until `change` returns. Each read must succeed.
fn read_while(vault: &Vault, apis: &[SocketAddr], ids: &[String], change: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for api in apis {
            let stop = &stop;
            scope.spawn(move || {
                for (n, id) in ids.iter().cycle().enumerate() {
                    if n >= ids.len() && stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let read = vault.read(*api, id, None);
                    assert_eq!(read.status, 200, "{}", read.text());
                }
            });
        }
        then_stop(&stop, change);
    });
}

/// Leads for some seconds as a sync of a newer version does, and changes the schema.
fn migrate(server: &Postgres, database: &str, number: u32, name: &str, sql: &str) {
    let lead =
        "UPDATE lease SET term = term + 1, holder = 'newer/1', expires_at = clock_timestamp() + INTERVAL '5 seconds'";
    server.psql(database, lead);
    server.psql(
        database,
        &format!(
            "{sql};
             INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES ({number}, '{name}', true, '', 0)"
        ),
    );
}

fn wait_for_log(pair: &ServerPair, process: Process, words: &str, times: usize) {
    let said = wait_until(|| (pair.log(process).matches(words).count() >= times).then_some(()));
    assert!(said.is_some(), "{words}\n{}", pair.log(process));
}

#[test]
fn after_a_change_that_only_adds_older_apis_read_on_and_older_syncs_do_not_write() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.create_database();
    let mut pair = ServerPair::prepare(&["--vault", "apps", "--vault", "ledger"], &[("SIDEVAULT_STORE", &url)]);
    pair.run(Process::Api);
    let apis = [pair.address(), pair.run_replica()];
    pair.run(Process::Sync);
    pair.run_standby();
    pair.wait_linked();
    let vault = Vault::of(&pair);
    let ids: Vec<_> = (0..40)
        .map(|n| vault.must_create(&pair, &format!("item {n}")))
        .collect();
    let seen = wait_until(|| (vault.read(apis[1], &ids[39], None).status == 200).then_some(()));
    assert!(seen.is_some(), "{}", pair.log(Process::Api));
    let ledger = (pair.token("ledger", &["ledger=read,write"]), "ledger");
    let ledger = (pair.vault(&ledger.0, ledger.1), ledger.0);
    let writers = Writers::new(3, &apis, &ledger.1, &ledger.0);
    let database = database_name(&url);
    writers.write_while(1, || {
        read_while(&vault, &apis, &ids, || {
            let written = wait_until(|| (writers.counts().0 >= 20).then_some(()));
            assert!(written.is_some(), "{}", pair.log(Process::Sync));
            let adds = "CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY); ALTER TABLE items ADD COLUMN note TEXT";
            migrate(server, database, 2, "expand notes", adds);
            // A sync says why it does not lead, although the lease has expired.
            wait_for_log(&pair, Process::Sync, "newer Sidevault (migration 2)", 1);
            assert_eq!(server.psql(database, "SELECT holder FROM lease"), "newer/1");
        });
    });
    writers.check(&pair, &ledger.1, &ledger.0, true);
    let started = pair.run_replica();
    for id in &ids {
        let read = wait_until(|| {
            let request = Request::new("GET", format!("{}/{id}", vault.items)).bearer(&vault.token);
            exchange(started, &request.bytes())
                .ok()
                .filter(|reply| reply.status == 200)
        });
        assert!(
            read.is_some(),
            "an older api does not start\n{}",
            pair.log(Process::Api)
        );
    }
    pair.kill(Process::Sync);
    pair.run(Process::Sync);
    pair.wait_ended(Process::Sync);
    wait_for_log(&pair, Process::Sync, "newer Sidevault (migration 2)", 2);

    // A change that older versions can't ignore. Emptying the change log tells the apis that run.
    migrate(
        server,
        database,
        3,
        "drop notes",
        "DROP TABLE notes; DELETE FROM changes",
    );
    wait_for_log(&pair, Process::Api, "newer Sidevault (migration 3)", 3);
    pair.run_replica();
    wait_for_log(&pair, Process::Api, "newer Sidevault (migration 3)", 4);
}

#[test]
fn reads_go_on_while_a_store_moves_from_sqlite_to_postgresql() {
    let Some(server) = Postgres::shared() else { return };
    let mut pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[("SIDEVAULT_STORE", "")]);
    let vault = Vault::of(&pair);
    let ids: Vec<_> = (0..100)
        .map(|n| vault.must_create(&pair, &format!("item {n}")))
        .collect();
    let url = server.create_database();
    let mut new = None;
    read_while(&vault, &[pair.address()], &ids, || {
        pair.terminate(Process::Sync);
        pair.wait_ended(Process::Sync);
        pair.command(&["store", "move", "--to", &url]);
        pair.set("SIDEVAULT_STORE", &url);
        // The new api is there before the old one ends.
        let address = pair.run_replica();
        let ready = wait_until(|| exchange(address, &Request::new("GET", "/heartbeat").bytes()).ok());
        assert!(ready.is_some(), "{}", pair.log(Process::Api));
        read_while(&vault, &[address], &ids, || {});
        new = Some(address);
    });
    let new = new.expect("the new api");
    read_while(&vault, &[new], &ids, || {
        pair.kill(Process::Api);
        pair.run(Process::Api);
        pair.run(Process::Sync);
        pair.wait_linked();
        let added = vault.must_create(&pair, "made in PostgreSQL");
        let there = wait_until(|| (vault.read(new, &added, None).status == 200).then_some(()));
        assert!(there.is_some(), "{}", pair.log(Process::Api));
    });
}
