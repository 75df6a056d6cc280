//! The store in PostgreSQL: several apis and syncs, which end, hang, or lose the database.

mod failover;
mod kills;
mod linearizability;
mod replica;
mod upgrade;

use std::net::SocketAddr;

use serde_json::json;
use sidevault_tests::authority::Authority;
use sidevault_tests::markers::{Marker, Search};
use sidevault_tests::pair::{Process, ServerPair, files_below, wait_until};
use sidevault_tests::postgres::{Postgres, database_name};
use sidevault_tests::wire::{Reply, Request, exchange};

/// A pair with its store in PostgreSQL. `url` is the database's.
fn pair_on(url: &str) -> ServerPair {
    ServerPair::start(&["--vault", "apps"], &[("SIDEVAULT_STORE", url)])
}

fn assert_leads(pair: &ServerPair, sync: u32) {
    let leads = wait_until(|| (pair.leader() == Some(sync)).then_some(()));
    assert!(leads.is_some(), "{sync} does not lead\n{}", pair.log(Process::Sync));
}

/// A vault that a token may write.
struct Vault {
    token: String,
    items: String,
}

impl Vault {
    fn of(pair: &ServerPair) -> Self {
        let token = pair.token("writer", &["apps=read,write"]);
        let id = pair.vault(&token, "apps");
        Self {
            token,
            items: format!("/v1/vaults/{id}/items"),
        }
    }

    fn create(&self, address: SocketAddr, title: &str) -> Option<Reply> {
        let body = json!({ "title": title, "category": "LOGIN" }).to_string();
        let request = Request::new("POST", &self.items)
            .bearer(&self.token)
            .body(body.as_str());
        exchange(address, &request.bytes())
            .ok()
            .filter(|reply| reply.status == 200)
    }

    /// Tries until the write is acknowledged.
    fn must_create(&self, pair: &ServerPair, title: &str) -> String {
        let reply = wait_until(|| self.create(pair.address(), title));
        let reply = reply.unwrap_or_else(|| panic!("{title} is not written\n{}", pair.log(Process::Sync)));
        reply.json()["id"].as_str().expect("an id").to_owned()
    }

    fn read(&self, address: SocketAddr, id: &str, sequence: Option<&str>) -> Reply {
        let mut request = Request::new("GET", format!("{}/{id}", self.items)).bearer(&self.token);
        if let Some(sequence) = sequence {
            request = request.header("Sidevault-Sequence", sequence);
        }
        exchange(address, &request.bytes()).expect("an answer")
    }
}

#[test]
fn an_api_that_starts_without_the_database_answers_503_until_it_can_be_reached() {
    let Some(server) = Postgres::start() else { return };
    let url = server.create_database();
    let mut pair = ServerPair::start(
        &["--vault", "apps"],
        &[("SIDEVAULT_STORE", url.as_str()), ("OP_SYNC_TIMEOUT", "1s")],
    );
    let token = pair.token("reader", &["apps=read"]);
    server.kill();
    pair.kill(Process::Api);
    pair.run(Process::Api);
    let refused = wait_until(|| {
        let reply = exchange(
            pair.address(),
            &Request::new("GET", "/v1/vaults").bearer(&token).bytes(),
        )
        .ok()?;
        (reply.status == 503).then_some(reply)
    });
    let refused = refused.unwrap_or_else(|| panic!("no 503\n{}", pair.log(Process::Api)));
    assert_eq!(refused.json()["status"], 503);
    server.run();
    let answered = wait_until(|| {
        let reply = exchange(
            pair.address(),
            &Request::new("GET", "/v1/vaults").bearer(&token).bytes(),
        )
        .ok()?;
        (reply.status == 200).then_some(())
    });
    assert!(answered.is_some(), "{}", pair.log(Process::Api));
}

#[test]
fn another_api_sees_a_write_whose_sequence_the_request_sends() {
    let Some(server) = Postgres::shared() else { return };
    let mut pair = pair_on(&server.create_database());
    let other = pair.run_replica();
    let vault = Vault::of(&pair);
    wait_until(|| exchange(other, &Request::new("GET", "/heartbeat").bytes()).ok()).expect("the second api");
    for n in 0..20 {
        let written = vault.create(pair.address(), &format!("item {n}")).expect("a write");
        let sequence = written.header("sidevault-sequence").expect("a sequence").to_owned();
        let id = written.json()["id"].as_str().expect("an id").to_owned();
        let here = vault.read(pair.address(), &id, None);
        assert_eq!(here.status, 200, "the api that wrote sees the write: {}", here.text());
        let there = vault.read(other, &id, Some(&sequence));
        assert_eq!(there.status, 200, "the other api sees it: {}", there.text());
    }
    let refused = vault.read(other, "x", Some("soon"));
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[test]
fn a_standby_takes_over_from_a_leader_that_was_killed_and_from_one_that_stops() {
    let Some(server) = Postgres::shared() else { return };
    let mut pair = pair_on(&server.create_database());
    let vault = Vault::of(&pair);
    let before = vault.must_create(&pair, "before");
    let first = pair.pid(Process::Sync).expect("a sync");
    let second = pair.run_standby();
    assert_leads(&pair, first);
    pair.kill_sync(first);
    let after = vault.must_create(&pair, "after a kill");
    assert_leads(&pair, second);
    let third = pair.run_standby();
    ServerPair::signal(second, "TERM");
    let last = vault.must_create(&pair, "after a stop");
    assert_leads(&pair, third);
    for id in [before, after, last] {
        assert_eq!(vault.read(pair.address(), &id, None).status, 200);
    }
}

#[test]
fn a_leader_that_was_paused_for_longer_than_its_lease_writes_nothing() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.create_database();
    let mut pair = pair_on(&url);
    let vault = Vault::of(&pair);
    vault.must_create(&pair, "before");
    let first = pair.pid(Process::Sync).expect("a sync");
    let second = pair.run_standby();
    wait_until(|| pair.leader()).expect("a leader");
    // The leader is paused in the middle of a write: its last statement waits for the lease's row, which is locked at first.
    std::thread::scope(|scope| {
        let lock = "BEGIN; SELECT 1 FROM lease FOR UPDATE; SELECT pg_sleep(3)";
        scope.spawn(|| server.psql(database_name(&url), lock));
        let locked = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
        wait_until(|| (server.psql(database_name(&url), locked) == "1").then_some(())).expect("a lock");
        let (vault, address) = (&vault, pair.address());
        scope.spawn(move || vault.create(address, "not committed"));
        let waits = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'UPDATE lease%commits%' AND wait_event_type = 'Lock' \
                     AND datname = current_database()";
        wait_until(|| (server.psql(database_name(&url), waits) == "1").then_some(())).expect("a write");
        ServerPair::signal(first, "STOP");
    });
    let led = wait_until(|| (pair.leader() == Some(second)).then_some(()));
    assert!(
        led.is_some(),
        "the standby does not take over\n{}",
        pair.log(Process::Sync)
    );
    let during = vault.must_create(&pair, "during the pause");
    ServerPair::signal(first, "CONT");
    // Once the old leader knows that it is none, it says so.
    let log = wait_until(|| {
        let log = pair.log(Process::Sync);
        (log.matches("standby: another process writes").count() >= 2).then_some(log)
    });
    assert!(
        log.is_some(),
        "the old leader does not notice\n{}",
        pair.log(Process::Sync)
    );
    let after = vault.must_create(&pair, "after the pause");
    for id in [during, after] {
        assert_eq!(vault.read(pair.address(), &id, None).json()["version"], 1);
    }
    assert_leads(&pair, second);
    // `/health` shows the new leader's state, although the old one was the last to report.
    pair.wait_linked();
}

/// As a StatefulSet that starts all its Pods at once, on an empty database.
#[test]
fn syncs_that_start_at_once_make_one_store() {
    let Some(server) = Postgres::shared() else { return };
    for _ in 0..3 {
        let url = server.create_database();
        let mut pair = ServerPair::prepare(&["--vault", "apps"], &[("SIDEVAULT_STORE", &url)]);
        pair.run(Process::Api);
        for _ in 0..3 {
            pair.run_standby();
        }
        pair.wait_linked();
        let vault = Vault::of(&pair);
        vault.must_create(&pair, "first");
        assert_eq!(pair.running_syncs(), 3, "{}", pair.log(Process::Sync));
    }
}

/// The old leader is not told: it finds out at its next commit, by the term in the lease.
#[test]
fn a_leader_whose_lease_was_taken_commits_nothing() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.create_database();
    let mut pair = pair_on(&url);
    let second = pair.run_standby();
    let taken = wait_until(|| {
        server.psql(database_name(&url), "UPDATE lease SET expires_at = clock_timestamp()");
        let holder = server.psql(database_name(&url), "SELECT holder FROM lease");
        holder.ends_with(&format!("/{second}")).then_some(())
    });
    assert!(taken.is_some(), "{}", pair.log(Process::Sync));
    // Over the admin socket of the first sync.
    let refused = pair.errors(&["vault", "create", "late"]);
    assert!(!refused.is_empty());
    let vaults = pair.command(&["vault", "list"]);
    assert!(
        vaults.contains("apps") && !vaults.contains("late"),
        "{refused}\n{vaults}"
    );
    assert_leads(&pair, second);
}

/// As after a failover to a server that did not know the leader's term, where another sync got the same one.
#[test]
fn a_leader_commits_nothing_if_another_has_its_term() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.create_database();
    let pair = pair_on(&url);
    let vaults = || server.psql(database_name(&url), "SELECT COUNT(*) FROM vaults");
    assert!(wait_until(|| (vaults() == "1").then_some(())).is_some(), "no vault");
    let taken = "UPDATE lease SET holder = 'other/1', expires_at = clock_timestamp() + INTERVAL '20 seconds'";
    server.psql(database_name(&url), taken);
    assert!(!pair.errors(&["vault", "create", "late"]).is_empty());
    assert_eq!(vaults(), "1");
    let holder = server.psql(database_name(&url), "SELECT holder FROM lease");
    assert_eq!(holder, "other/1");
}

#[test]
fn without_the_database_cached_items_are_served_with_their_age_and_nothing_acknowledged_is_lost() {
    let Some(server) = Postgres::start() else { return };
    let pair = pair_on(&server.create_database());
    let vault = Vault::of(&pair);
    let cached = vault.must_create(&pair, "cached");
    let other = vault.must_create(&pair, "not cached");
    assert_eq!(vault.read(pair.address(), &cached, None).status, 200);
    server.kill();
    let aged = wait_until(|| {
        let reply = vault.read(pair.address(), &cached, None);
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.header("age").map(str::to_owned)
    });
    assert!(aged.is_some_and(|age| age.parse::<u64>().is_ok_and(|age| age >= 2)));
    let refused = vault.read(pair.address(), &other, None);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(vault.create(pair.address(), "lost").is_none());
    server.run();
    vault.must_create(&pair, "afterwards");
    let fresh = vault.read(pair.address(), &other, None);
    assert_eq!((fresh.status, fresh.header("age")), (200, None));
    assert_eq!(vault.read(pair.address(), &cached, None).status, 200);
}

#[test]
fn nothing_readable_is_in_the_database_its_log_or_a_dump() {
    let Some(server) = Postgres::start() else { return };
    let url = server.create_database();
    let pair = pair_on(&url);
    let vault = Vault::of(&pair);
    let markers: Vec<_> = (1..=3).map(|n| Marker::new("item", n)).collect();
    let body = json!({
        "title": markers[0].text, "category": "LOGIN", "tags": [markers[1].text],
        "fields": [{ "id": "password", "purpose": "PASSWORD", "value": markers[2].text }],
    });
    let request = Request::new("POST", &vault.items)
        .bearer(&vault.token)
        .body(body.to_string());
    let written = exchange(pair.address(), &request.bytes()).expect("an answer");
    assert_eq!(written.status, 200, "{}", written.text());
    server.psql(database_name(&url), "CHECKPOINT");
    let dump = server.dump_all();
    let id = written.json()["id"].as_str().expect("an id").to_owned();
    assert!(
        String::from_utf8_lossy(&dump).contains(&id),
        "the dump has the item's row"
    );
    let search = Search::new(&markers);
    let files = files_below(&server.data()).into_iter();
    for (place, bytes) in files.chain([("the dump".into(), dump)]) {
        let found: Vec<_> = search
            .find(&bytes)
            .into_iter()
            .map(|(marker, form)| (&marker.name, form))
            .collect();
        assert!(found.is_empty(), "{}: {found:?}", place.display());
    }
}

#[test]
fn a_pooler_in_transaction_mode_may_stand_in_between() {
    let Some(server) = Postgres::shared() else { return };
    let Some(pooler) = server.pooler() else { return };
    let mut pair = pair_on(&pooler.url(&server.create_database()));
    let other = pair.run_replica();
    let vault = Vault::of(&pair);
    let standby = pair.run_standby();
    wait_until(|| exchange(other, &Request::new("GET", "/heartbeat").bytes()).ok()).expect("the second api");
    let ids: Vec<_> = (0..30)
        .map(|n| vault.must_create(&pair, &format!("item {n}")))
        .collect();
    pair.kill(Process::Sync);
    let last = vault.must_create(&pair, "by the standby");
    assert_leads(&pair, standby);
    for id in ids.iter().chain([&last]) {
        let there = wait_until(|| (vault.read(other, id, None).status == 200).then_some(()));
        assert!(there.is_some(), "{}\n{}", pair.log(Process::Api), pooler.log());
    }
}

#[test]
fn the_database_servers_certificate_is_verified() {
    let Some(server) = Postgres::start() else { return };
    let authority = Authority::new();
    server.offer_tls(&authority.issue("localhost"));
    let url = server.create_database();
    let mut pair = ServerPair::prepare(&[], &[("SIDEVAULT_STORE", "")]);
    let mut init = |host: &str, root: &str| {
        let path = pair.path("keys/root.pem");
        std::fs::write(&path, root).expect("a file");
        let url = url.replace("127.0.0.1", host);
        let url = format!("{url}?sslmode=verify-full&sslrootcert={}", path.display());
        pair.set("SIDEVAULT_STORE", &url);
        pair.errors(&["store", "init"])
    };
    let unknown = init("localhost", Authority::new().root());
    assert!(unknown.contains("invalid peer certificate"), "{unknown}");
    let other_name = init("127.0.0.1", authority.root());
    assert!(other_name.contains("not valid for name"), "{other_name}");
    assert_eq!(init("localhost", authority.root()), "");
}

#[test]
fn a_store_of_other_keys_or_of_a_newer_version_is_refused() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.create_database();
    let mut pair = pair_on(&url);
    pair.terminate(Process::Sync);
    pair.wait_ended(Process::Sync);
    let mut stranger = ServerPair::prepare(&[], &[("SIDEVAULT_STORE", &url)]);
    stranger.run(Process::Sync);
    stranger.wait_ended(Process::Sync);
    let log = stranger.log(Process::Sync);
    assert!(log.contains("another credentials file"), "{log}");
    server.psql(
        database_name(&url),
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (900, 'new', true, '', 0)",
    );
    pair.run(Process::Sync);
    pair.wait_ended(Process::Sync);
    let log = pair.log(Process::Sync);
    assert!(log.contains("newer Sidevault") && log.contains("900"), "{log}");
}

/// The commands of `sidevault store`, as an administrator uses them to move to PostgreSQL and back.
#[test]
fn a_store_moves_to_postgresql_and_back_with_everything_in_it() {
    let Some(server) = Postgres::shared() else { return };
    let mut pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[("SIDEVAULT_STORE", "")]);
    let vault = Vault::of(&pair);
    let kept: Vec<_> = (0..100)
        .map(|n| vault.must_create(&pair, &format!("item {n}")))
        .collect();
    let url = server.create_database();
    let data = pair.path("data/.op/data").to_string_lossy().into_owned();
    let locked = pair.errors(&["store", "move", "--to", &url]);
    assert!(locked.contains("another sync process writes to"), "{locked}");
    pair.terminate(Process::Sync);
    pair.wait_ended(Process::Sync);
    let moved = pair.command(&["store", "move", "--to", &url]);
    assert!(moved.contains("items 100") && moved.contains("tokens"), "{moved}");
    let again = pair.errors(&["store", "move", "--to", &url]);
    assert!(again.contains("there is a store in the target already"), "{again}");

    pair.kill(Process::Api);
    pair.set("SIDEVAULT_STORE", &url);
    let check = pair.command(&["store", "check"]);
    assert!(
        check.contains(&format!("store    {}", shown(&url))) && check.contains("items    100"),
        "{check}"
    );
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let added = vault.must_create(&pair, "made in PostgreSQL");
    for id in kept.iter().chain([&added]) {
        assert_eq!(vault.read(pair.address(), id, None).status, 200);
    }
    pair.terminate(Process::Sync);
    pair.wait_ended(Process::Sync);
    pair.kill(Process::Api);

    std::fs::remove_dir_all(&data).expect("the old data");
    let back = pair.command(&["store", "move", "--to", &data]);
    assert!(back.contains("items 101"), "{back}");
    pair.set("SIDEVAULT_STORE", "");
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    for id in kept.iter().chain([&added]) {
        assert_eq!(vault.read(pair.address(), id, None).status, 200);
    }
}

#[test]
fn an_interrupted_copy_is_refused_and_goes_on_where_it_stopped() {
    let Some(server) = Postgres::shared() else { return };
    let mut pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[("SIDEVAULT_STORE", "")]);
    let vault = Vault::of(&pair);
    (0..100).for_each(|n| drop(vault.must_create(&pair, &format!("item {n}"))));
    pair.terminate(Process::Sync);
    pair.wait_ended(Process::Sync);
    let url = server.create_database();
    pair.command(&["store", "move", "--to", &url]);
    // What a copy leaves that was interrupted in the middle of the items.
    let database = database_name(&url);
    server.psql(database, "UPDATE store SET state = 'incomplete copy'");
    server.psql(
        database,
        "DELETE FROM items WHERE id > (SELECT id FROM items ORDER BY id LIMIT 1 OFFSET 40)",
    );
    server.psql(database, "DELETE FROM changes; DELETE FROM tokens");
    pair.set("SIDEVAULT_STORE", &url);
    let refused = pair.errors(&["store", "check"]);
    assert!(refused.contains("not complete"), "{refused}");
    let data = pair.path("data/.op/data").to_string_lossy().into_owned();
    let moved = pair.command(&["store", "move", "--from", &data, "--to", &url]);
    assert!(moved.contains("items 100"), "{moved}");
    assert!(pair.command(&["store", "check"]).contains("items    100"));
    // A copy with another row than the original is no copy.
    server.psql(
        database,
        "UPDATE store SET state = 'incomplete copy'; UPDATE items SET version = 7",
    );
    let differs = pair.errors(&["store", "move", "--from", &data, "--to", &url]);
    assert!(differs.contains("items differs"), "{differs}");
}

/// A URL as messages show it: without the user.
fn shown(url: &str) -> String {
    format!("postgres://127.0.0.1/{}", database_name(url))
}
