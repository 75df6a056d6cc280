//! The database server fails, and its standby server takes its place.

use std::net::Ipv4Addr;

use sidevault_tests::ledger::Writers;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::postgres::{Postgres, through};
use sidevault_tests::proxy::Proxy;
use sidevault_tests::wire::{Request, exchange};

use super::{Vault, pair_on};

/// A primary, a standby server that follows it, and a proxy that stands for the name of whichever is the primary.
struct Cluster {
    first: Postgres,
    second: Postgres,
    name: Proxy,
    /// The URL of a database on the first server, not through the proxy.
    database: String,
}

impl Cluster {
    fn start() -> Option<Self> {
        let first = Postgres::start()?;
        let second = first.start_standby();
        Some(Self {
            name: Proxy::before(first.address(), Ipv4Addr::LOCALHOST.into()),
            database: first.create_database(),
            first,
            second,
        })
    }

    fn url(&self) -> String {
        through(self.name.address(), &self.database)
    }
}

#[test]
fn after_a_failover_everything_acknowledged_is_there_and_writes_go_on() {
    let Some(cluster) = Cluster::start() else { return };
    let (old, new) = (&cluster.first, &cluster.second);
    let mut pair = ServerPair::prepare(&["--vault", "ledger"], &[("SIDEVAULT_STORE", &cluster.url())]);
    pair.run(Process::Api);
    let replica = pair.run_replica();
    pair.run(Process::Sync);
    pair.run_standby();
    pair.wait_linked();
    let token = pair.token("writers", &["ledger=read,write"]);
    let vault = pair.vault(&token, "ledger");
    let writers = Writers::new(4, &[pair.address(), replica], &token, &vault);
    let wait_for_writes = |pair: &ServerPair, when: &str| {
        let (before, _) = writers.counts();
        let written = wait_until(|| (writers.counts().0 >= before + 20).then_some(()));
        assert!(written.is_some(), "no writes {when}\n{}", pair.log(Process::Sync));
    };
    writers.write_while(1, || {
        wait_for_writes(&pair, "at first");
        old.kill();
        new.promote();
        cluster.name.turn_to(new.address());
        wait_for_writes(&pair, "after the failover");
        {
            let _paused = writers.pause();
            pair.wait_linked();
            writers.check(&pair, &token, &vault, true);
        }
        // The old primary comes back, and one sync reaches it. Nothing that it commits there has a standby's answer.
        old.run();
        pair.set("SIDEVAULT_STORE", &cluster.database);
        let stray = pair.run_standby();
        let tries = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        let tries = wait_until(|| (old.psql("postgres", tries) == "1").then_some(()));
        assert!(
            tries.is_some(),
            "the sync does not try to lead\n{}",
            pair.log(Process::Sync)
        );
        wait_for_writes(&pair, "beside the old primary");
        old.kill();
        old.stay_read_only();
        old.run();
        wait_for_writes(&pair, "beside the old primary, which is read-only");
        assert_ne!(pair.leader(), Some(stray));
        let _paused = writers.pause();
        pair.wait_linked();
        writers.check(&pair, &token, &vault, true);
    });
    assert_eq!(pair.running_syncs(), 2, "{}", pair.log(Process::Sync));
}

#[test]
fn a_standby_server_answers_reads_and_refuses_writes() {
    let Some(cluster) = Cluster::start() else { return };
    let pair = pair_on(&cluster.url());
    let vault = Vault::of(&pair);
    let cached = vault.must_create(&pair, "cached");
    let other = vault.must_create(&pair, "not cached");
    assert_eq!(vault.read(pair.address(), &cached, None).status, 200);
    let turn_to = |server: &Postgres| {
        cluster.name.turn_to(server.address());
        cluster.name.cut();
    };
    turn_to(&cluster.second);
    let body = r#"{ "title": "refused", "category": "LOGIN" }"#;
    let create = Request::new("POST", &vault.items)
        .bearer(&vault.token)
        .body(body)
        .bytes();
    for _ in 0..3 {
        let refused = exchange(pair.address(), &create).expect("an answer");
        assert_eq!(refused.status, 503, "{}", refused.text());
    }
    let said = wait_until(|| pair.log(Process::Sync).contains("read-only transaction").then_some(()));
    assert!(said.is_some(), "{}", pair.log(Process::Sync));
    for id in [&cached, &other] {
        // The standby server may be a moment behind.
        let read = wait_until(|| {
            let read = vault.read(pair.address(), id, None);
            (read.status == 200 && read.header("age").is_none()).then_some(())
        });
        assert!(read.is_some(), "{}", pair.log(Process::Api));
    }
    turn_to(&cluster.first);
    let after = vault.must_create(&pair, "afterwards");
    assert_eq!(vault.read(pair.address(), &after, None).status, 200);
    let list = exchange(
        pair.address(),
        &Request::new("GET", &vault.items).bearer(&vault.token).bytes(),
    );
    assert_eq!(list.expect("an answer").json().as_array().map(Vec::len), Some(3));
}
