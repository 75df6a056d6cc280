//! Everything is killed or paused again and again while clients write: leader, standby, apis, PgBouncer, PostgreSQL, and the
//! connections between them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use sidevault_tests::ledger::Writers;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::postgres::{Pooler, Postgres, database_name, through};
use sidevault_tests::proxy::Proxy;
use sidevault_tests::wire::{Request, exchange};

/// What is disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Api,
    Standby,
    /// Costs 15 seconds, in which the lease expires.
    Leader,
    LeaderAsked,
    /// Paused for longer than its lease.
    LeaderPaused,
    Pooler,
    Database,
    /// All connections of apis and syncs are cut.
    Connections,
    /// For one to four seconds, nothing is forwarded on these connections.
    ConnectionsStalled,
    /// The same for longer than the lease.
    ConnectionsStalledLong,
    /// The leader's connection is cut between a commit and its answer.
    CommitUnanswered,
}

/// Those that take no longer than a few seconds. Each run begins with them.
const QUICK: [Victim; 8] = [
    Victim::Api,
    Victim::Standby,
    Victim::LeaderAsked,
    Victim::Pooler,
    Victim::Database,
    Victim::Connections,
    Victim::ConnectionsStalled,
    Victim::CommitUnanswered,
];

impl Victim {
    fn random(rng: &mut StdRng) -> Self {
        match rng.random_range(0..100) {
            0..4 => Self::Leader,
            4..6 => Self::LeaderPaused,
            6 => Self::ConnectionsStalledLong,
            _ => QUICK[rng.random_range(0..QUICK.len())],
        }
    }
}

/// The servers behind the apis and syncs: a proxy, PgBouncer behind it, and PostgreSQL.
struct Servers<'s> {
    proxy: Proxy,
    pooler: Pooler,
    database: &'s Postgres,
}

#[test]
fn nothing_acknowledged_is_lost_or_written_twice_whatever_is_killed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("SIDEVAULT_POSTGRES_KILLS").unwrap_or(8);
    let seed = number("SIDEVAULT_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().as_millis() as u64
    });
    let Some(server) = Postgres::start() else { return };
    let Some(pooler) = server.pooler() else { return };
    println!("SIDEVAULT_SEED={seed} SIDEVAULT_POSTGRES_KILLS={kills}");
    let started = Instant::now();
    let mut rng = StdRng::seed_from_u64(seed);
    let database = server.create_database();
    let proxy = Proxy::before(pooler.address(), Ipv4Addr::LOCALHOST.into());
    let url = through(proxy.address(), &pooler.url(&database));
    let mut servers = Servers {
        proxy,
        pooler,
        database: &server,
    };
    let mut quick = QUICK;
    quick.shuffle(&mut rng);
    let mut quick = quick.into_iter();
    let mut counts = BTreeMap::<Victim, u64>::new();
    let environment = [("SIDEVAULT_STORE", &*url), ("OP_LOG_LEVEL", "info")];
    let mut pair = ServerPair::prepare(&["--vault", "ledger"], &environment);
    pair.run(Process::Api);
    let replicas = [pair.run_replica(), pair.run_replica()];
    pair.run(Process::Sync);
    pair.run_standby();
    pair.wait_linked();
    let token = pair.token("writers", &["ledger=read,write"]);
    let vault = pair.vault(&token, "ledger");
    let addresses = [pair.address(), replicas[0], replicas[1]];
    let writers = Writers::new(6, &addresses, &token, &vault);
    writers.write_while(seed, || {
        for n in 0..kills {
            std::thread::sleep(Duration::from_millis(rng.random_range(5..400)));
            let victim = quick.next().unwrap_or_else(|| Victim::random(&mut rng));
            println!("{n} after {:?}: {victim:?}", started.elapsed());
            *counts.entry(victim).or_default() += 1;
            disturb(victim, &mut pair, &mut servers, &mut rng);
            let _paused = writers.pause();
            pair.wait_linked();
            wait_caught_up(&pair, &server, database_name(&database));
            writers.check(&pair, &token, &vault, true);
        }
    });
    let (acknowledged, unanswered) = writers.counts();
    println!(
        "{kills} kills in {:?}: {acknowledged} acknowledged writes, {unanswered} unanswered; {counts:?}",
        started.elapsed()
    );
    // On a busy machine few writes end between two kills.
    assert!(acknowledged > kills / 10, "hardly anything was written: {acknowledged}");
    for process in [Process::Api, Process::Sync] {
        let log = pair.log(process);
        assert!(!log.contains("panicked") && !log.contains("damaged"), "{log}");
    }
}

fn disturb(victim: Victim, pair: &mut ServerPair, servers: &mut Servers<'_>, rng: &mut StdRng) {
    let leader = wait_until(|| pair.leader()).expect("a leader");
    match victim {
        Victim::Api => {
            pair.kill(Process::Api);
            pair.run(Process::Api);
        }
        Victim::Standby => {
            let standby = pair.syncs().into_iter().find(|pid| *pid != leader).expect("a standby");
            pair.kill_sync(standby);
            pair.run_standby();
        }
        Victim::Leader => {
            pair.kill_sync(leader);
            pair.run_standby();
        }
        Victim::LeaderAsked => {
            ServerPair::signal(leader, "TERM");
            wait_for_other_leader(pair, leader);
            pair.kill_sync(leader);
            pair.run_standby();
        }
        Victim::LeaderPaused => {
            ServerPair::signal(leader, "STOP");
            wait_for_other_leader(pair, leader);
            ServerPair::signal(leader, "CONT");
        }
        Victim::Pooler => {
            servers.pooler.kill();
            servers.database.restart(&mut servers.pooler);
        }
        Victim::Database => {
            servers.database.kill();
            servers.database.run();
        }
        Victim::Connections => drop(servers.proxy.cut()),
        Victim::ConnectionsStalled => stall(&servers.proxy, Duration::from_millis(rng.random_range(1000..4000))),
        Victim::ConnectionsStalledLong => stall(&servers.proxy, Duration::from_secs(18)),
        Victim::CommitUnanswered => {
            let before = servers.proxy.lost_answers();
            servers.proxy.lose_answer(&LEADERS_COMMIT);
            let lost = wait_until(|| (servers.proxy.lost_answers() > before).then_some(()));
            assert!(
                lost.is_some(),
                "the leader commits nothing\n{}",
                pair.log(Process::Sync)
            );
        }
    }
}

/// What the leader sends when it commits, and nobody else.
const LEADERS_COMMIT: [&[u8]; 2] = [b"commits = $3", b"COMMIT"];

fn stall(proxy: &Proxy, time: Duration) {
    proxy.stall();
    std::thread::sleep(time);
    proxy.resume();
}

fn wait_for_other_leader(pair: &ServerPair, old: u32) {
    let other = wait_until(|| pair.leader().filter(|leader| *leader != old));
    assert!(other.is_some(), "nobody takes over\n{}", pair.log(Process::Sync));
}

/// Waits until the pair's api has seen the newest change in the database.
fn wait_caught_up(pair: &ServerPair, server: &Postgres, database: &str) {
    let newest = || server.try_psql(database, "SELECT MAX(seq) FROM changes").ok();
    let seen = || {
        let metrics = exchange(pair.address(), &Request::new("GET", "/metrics").bytes())
            .ok()?
            .text();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("sidevault_events_sequence"))?
            .to_owned();
        line.split(' ').next_back().map(str::to_owned)
    };
    let caught_up = wait_until(|| (newest()? == seen()?).then_some(()));
    assert!(
        caught_up.is_some(),
        "{:?} {:?}\n{}",
        newest(),
        seen(),
        pair.log(Process::Api)
    );
}
