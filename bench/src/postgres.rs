//! Rows for the store in PostgreSQL.

use std::time::{Duration, Instant};

use sidevault_tests::postgres::{Postgres, database_name};

use crate::fixture::Fixture;
use crate::load::{self, Client, Load, median, percentile};
use crate::process::{cpu_with_children, spent};
use crate::servers::{Bare, Servers};
use crate::{CONNECTIONS, ROUNDS, row};

const MICROS: f64 = 1e6;

/// Starts PostgreSQL with its defaults: it waits for the disk at each commit.
pub(crate) fn server() -> Option<Postgres> {
    Postgres::start()
}

/// The processor time of PostgreSQL's processes that run.
fn cpu(server: &Postgres) -> Duration {
    let pid = std::fs::read_to_string(server.data().join("postmaster.pid")).unwrap();
    cpu_with_children(pid.lines().next().unwrap().parse().unwrap())
}

/// Reads by 1, 2 and 4 apis, beside one with SQLite and a bare handler.
pub(crate) async fn reads(server: &Postgres, round: Duration) {
    const APIS: [usize; 3] = [1, 2, 4];
    let (fixture, embedded) = (
        Fixture::seed_postgres(10_000, server).await,
        Fixture::seed(10_000).await,
    );
    let servers = Servers::start(&fixture, 4, 1).await;
    let pair = Servers::start(&embedded, 1, 1).await;
    let (paths, embedded_paths) = (fixture.item_paths(1000), embedded.item_paths(1000));
    let size = load::get_once(servers.address(0), &fixture.token, &paths[0])
        .await
        .unwrap()
        .len();
    let bare = Bare::start(size).await;
    // Every api has the items in memory before the first round.
    Load::spread(servers.addresses(4), &fixture.token, &paths)
        .run(CONNECTIONS, round)
        .await;
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut costs: [Vec<f64>; 3] = Default::default();
    let (mut ratios, mut bare_ratios, mut bare_costs) = (Vec::new(), Vec::new(), Vec::new());
    let mut asked = Vec::new();
    for _ in 0..ROUNDS {
        let before = bare.cpu();
        let peer = Load::new(bare.address, &fixture.token, &paths)
            .run(CONNECTIONS, round)
            .await;
        let bare_cost = spent(before, bare.cpu()) / peer.count as f64;
        let before = pair.api_cpu();
        let sqlite = Load::new(pair.address(0), &embedded.token, &embedded_paths)
            .run(CONNECTIONS, round)
            .await;
        let sqlite_cost = spent(before, pair.api_cpu()) / sqlite.count as f64;
        for (n, apis) in APIS.into_iter().enumerate() {
            let (before, database) = (servers.api_cpu(), cpu(server));
            let ours = Load::spread(servers.addresses(apis), &fixture.token, &paths)
                .run(CONNECTIONS, round)
                .await;
            let cost = spent(before, servers.api_cpu()) / ours.count as f64;
            rates[n].push(ours.rate);
            costs[n].push(cost * MICROS);
            if apis == 1 {
                asked.push(spent(database, cpu(server)) / round.as_secs_f64() * 1000.0);
                ratios.push(cost / sqlite_cost);
                bare_ratios.push(ours.rate / peer.rate);
                bare_costs.push(cost / bare_cost);
            }
        }
    }
    row(
        "PostgreSQL: GET item by id, 1 api / bare handler",
        format!("{:.2}", median(&mut bare_ratios)),
        "",
    );
    row(
        "  (processor time / bare handler's)",
        format!("{:.2}", median(&mut bare_costs)),
        "",
    );
    row(
        "  (processor time / with SQLite)",
        format!("{:.2}", median(&mut ratios)),
        "",
    );
    let one = median(&mut rates[0]);
    for (n, apis) in APIS.into_iter().enumerate() {
        let rate = median(&mut rates[n]);
        row(
            &format!("  {apis} apis / 1 api, requests/s"),
            format!("{:.2}", rate / one),
            "",
        );
        row(
            &format!("  ({apis} apis: requests/s here, µs of processor time each)"),
            format!("{rate:.0}, {:.1}", median(&mut costs[n])),
            "",
        );
    }
    row(
        "  (PostgreSQL's processor time meanwhile, 4 apis running)",
        format!("{:.1} ms/s", median(&mut asked)),
        "",
    );
    idle(&servers, server).await;
}

/// What 4 apis and a leader take while nobody asks them anything.
async fn idle(servers: &Servers<'_>, server: &Postgres) {
    const TIME: Duration = Duration::from_secs(5);
    let before = [servers.api_cpu(), servers.sync_cpu(), cpu(server)];
    tokio::time::sleep(TIME).await;
    let after = [servers.api_cpu(), servers.sync_cpu(), cpu(server)];
    let [api, sync, database] = [0, 1, 2].map(|n| spent(before[n], after[n]) / TIME.as_secs_f64() * 1000.0);
    row(
        "  (idle, ms of processor time a second: api, sync, PostgreSQL)",
        format!("{:.1}, {sync:.1}, {database:.1}", api / 4.0),
        "",
    );
}

/// Durable writes beside those of SQLite, on the same disk.
pub(crate) async fn writes(server: &Postgres, round: Duration) {
    let (fixture, embedded) = (Fixture::seed_postgres(1000, server).await, Fixture::seed(1000).await);
    let servers = Servers::start(&fixture, 1, 1).await;
    let pair = Servers::start(&embedded, 1, 1).await;
    for writers in [1, CONNECTIONS] {
        let (mut ratios, mut rates, mut sqlite_rates) = (Vec::new(), Vec::new(), Vec::new());
        let mut costs: [Vec<f64>; 3] = Default::default();
        let mut sqlite_costs: [Vec<f64>; 2] = Default::default();
        for _ in 0..ROUNDS {
            let before = [pair.api_cpu(), pair.sync_cpu()];
            let sqlite = Load::posting(pair.address(0), &embedded.token, embedded.vault)
                .run(writers, round)
                .await;
            let after = [pair.api_cpu(), pair.sync_cpu()];
            for n in 0..2 {
                sqlite_costs[n].push(spent(before[n], after[n]) / sqlite.count as f64 * MICROS);
            }
            let before = [servers.api_cpu(), servers.sync_cpu(), cpu(server)];
            let ours = Load::posting(servers.address(0), &fixture.token, fixture.vault)
                .run(writers, round)
                .await;
            let after = [servers.api_cpu(), servers.sync_cpu(), cpu(server)];
            for n in 0..3 {
                costs[n].push(spent(before[n], after[n]) / ours.count as f64 * MICROS);
            }
            ratios.push(ours.rate / sqlite.rate);
            rates.push(ours.rate);
            sqlite_rates.push(sqlite.rate);
        }
        let [api, sync, database] = costs.each_mut().map(|costs| median(costs));
        let [sqlite_api, sqlite_sync] = sqlite_costs.each_mut().map(|costs| median(costs));
        row(
            &format!("durable writes/s, PostgreSQL / SQLite, {writers} writers"),
            format!("{:.2}", median(&mut ratios)),
            "",
        );
        row(
            "  (writes/s here: PostgreSQL, SQLite)",
            format!("{:.0}, {:.0}", median(&mut rates), median(&mut sqlite_rates)),
            "",
        );
        row(
            "  (µs of processor time each: api, sync, PostgreSQL)",
            format!("{api:.0}, {sync:.0}, {database:.0}"),
            "",
        );
        row(
            "  (with SQLite: api, sync)",
            format!("{sqlite_api:.0}, {sqlite_sync:.0}"),
            "",
        );
    }
}

/// From a signal to the leader until the next write is acknowledged, with one standby.
pub(crate) async fn failover(server: &Postgres, quick: bool) {
    let fixture = Fixture::seed_postgres(1000, server).await;
    let mut servers = Servers::start(&fixture, 1, 2).await;
    for (signal, times) in [
        ("KILL", if quick { 1 } else { 5 }),
        ("TERM", if quick { 2 } else { 20 }),
    ] {
        let mut took = Vec::new();
        for _ in 0..times {
            let leader = servers.leader().await;
            // A commit renews the lease, so it lasts for its whole time from here.
            write(&servers, &fixture).await;
            let started = Instant::now();
            servers.signal_sync(leader, signal);
            write(&servers, &fixture).await;
            took.push(started.elapsed().as_secs_f64());
            servers.restart_sync(leader).await;
        }
        row(
            &format!("SIG{signal} of the leader -> next write, median of {times}, longest"),
            format!("{:.2} s, {:.2} s", median(&mut took), percentile(&mut took, 100)),
            if signal == "KILL" { "<= 20 s" } else { "<= 1 s" },
        );
    }
}

/// Tries until a write is acknowledged.
async fn write(servers: &Servers<'_>, fixture: &Fixture) {
    let request = load::new_item(&fixture.token, fixture.vault);
    let mut client = Client::connect(servers.address(0)).await.unwrap();
    while client.ask(&request).await.unwrap() != 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// From the answer to a write by one api until another api shows the write.
pub(crate) async fn lag(server: &Postgres, writes: usize) {
    let fixture = Fixture::seed_postgres(1000, server).await;
    let servers = Servers::start(&fixture, 2, 1).await;
    let item = &fixture.item_paths(1)[0];
    let mut writer = Client::connect(servers.address(0)).await.unwrap();
    let mut reader = Client::connect(servers.address(1)).await.unwrap();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for n in 0..writes {
        for names_sequence in [false, true] {
            let password = format!("value-{n}-{names_sequence}-end");
            let request = load::new_password(&fixture.token, item, &password);
            assert_eq!(writer.ask(&request).await.unwrap(), 200);
            let sequence = writer.header("sidevault-sequence").unwrap();
            let headers = match names_sequence {
                true => format!("sidevault-sequence: {sequence}\r\n"),
                false => String::new(),
            };
            let request = load::get(&fixture.token, item, &headers);
            let started = Instant::now();
            loop {
                assert_eq!(reader.ask(&request).await.unwrap(), 200);
                if String::from_utf8_lossy(reader.body()).contains(&password) {
                    break;
                }
                assert!(!names_sequence, "a read that names the write does not show it");
                assert!(started.elapsed() < Duration::from_secs(10), "write {n} is not shown");
            }
            let took = started.elapsed().as_secs_f64() * 1000.0;
            if names_sequence { &mut with } else { &mut without }.push(took);
        }
    }
    for (what, mut took) in [("", without), (", its number in the request", with)] {
        row(
            &format!("write by one api -> read by another{what}, p50, p99"),
            format!("{:.1}, {:.1} ms", median(&mut took), percentile(&mut took, 99)),
            "",
        );
    }
}

/// A store with many items: uniform reads, reads of few items, memory, start.
pub(crate) async fn growth(server: &Postgres, items: usize, round: Duration) {
    let began = Instant::now();
    let fixture = Fixture::seed_postgres(items, server).await;
    row(
        &format!("PostgreSQL, {items} items: filled by the writer, items/s"),
        format!("{:.0}", items as f64 / began.elapsed().as_secs_f64()),
        "",
    );
    let database = database_name(fixture.url.as_ref().unwrap());
    let bytes: f64 = server
        .psql(database, "SELECT pg_database_size(current_database())")
        .parse()
        .unwrap();
    row(
        "  (bytes of disk for each item)",
        format!("{:.0}", bytes / items as f64),
        "",
    );
    let mut servers = Servers::start(&fixture, 1, 1).await;
    row(
        "  resident memory before the first read: api, sync",
        format!("{:.0}, {:.0} MiB", servers.api_memory(), servers.sync_memory()),
        "",
    );
    let (few, all) = (fixture.item_paths(1000), fixture.item_paths(items));
    for (what, paths) in [("1,000 of them", &few), ("all of them", &all)] {
        let load = Load::new(servers.address(0), &fixture.token, paths);
        let (mut rates, mut p50, mut costs, mut database) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        load.run(CONNECTIONS, round).await;
        for _ in 0..ROUNDS {
            let before = (servers.api_cpu(), cpu(server));
            let measured = load.run(CONNECTIONS, round).await;
            let each = MICROS / measured.count as f64;
            costs.push(spent(before.0, servers.api_cpu()) * each);
            database.push(spent(before.1, cpu(server)) * each);
            rates.push(measured.rate);
            p50.push(measured.p50.as_secs_f64() * 1000.0);
        }
        row(
            &format!("  GET item by id, reading {what}: requests/s, p50"),
            format!("{:.0}, {:.1} ms", median(&mut rates), median(&mut p50)),
            "",
        );
        row(
            "  (µs of processor time each: api, PostgreSQL)",
            format!("{:.1}, {:.1}", median(&mut costs), median(&mut database)),
            "",
        );
    }
    row(
        "  resident memory after that: api, sync",
        format!("{:.0}, {:.0} MiB", servers.api_memory(), servers.sync_memory()),
        "",
    );
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        servers.kill_api().await;
        let started = Instant::now();
        servers.run_api();
        while load::get_once(servers.address(0), &fixture.token, &few[0])
            .await
            .is_none()
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        took.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    row("  start -> first answer", format!("{:.0} ms", median(&mut took)), "");
}
