//! Both processes are killed again and again while clients write. Every acknowledged write must survive.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sidevault_tests::ledger::{Content, Ledger, Outcome};
use sidevault_tests::pair::{Process, ServerPair};
use sidevault_tests::wire::{Reply, Request, exchange};

const WRITERS: u64 = 6;

/// A writer with more items than this deletes one.
const MANY: usize = 10;

struct Writer {
    address: SocketAddr,
    token: String,
    items: String,
    name: String,
    ledger: Mutex<Ledger>,
}

impl Writer {
    fn ask(&self, method: &str, target: &str, body: &str) -> Option<Reply> {
        let request = Request::new(method, target)
            .bearer(&self.token)
            .header("Connection", "close")
            .body(body);
        exchange(self.address, &request.bytes()).ok()
    }

    /// Makes one write. After anything but a success, the write may or may not have happened.
    fn write(&self, rng: &mut StdRng, n: u64) {
        let mut ledger = self.ledger.lock().unwrap();
        let items = ledger.certain();
        let content = Content::new(&format!("{}-{n}", self.name));
        let choice = match items.len() {
            0 => 0,
            many if many > MANY => 9,
            _ => rng.random_range(0..10),
        };
        if choice < 3 {
            let reply = self
                .ask("POST", &self.items, &content.body())
                .filter(|reply| reply.status == 200);
            let id = reply.and_then(|reply| reply.json()["id"].as_str().map(str::to_owned));
            return ledger.created(id, content);
        }
        let (id, old) = &items[rng.random_range(0..items.len())];
        let target = format!("{}/{id}", self.items);
        let (reply, new) = match choice {
            3..6 => (self.ask("PUT", &target, &content.body()), Some(content)),
            6..9 => {
                let (patched, operations) = old.patched(&content);
                (self.ask("PATCH", &target, &operations), Some(patched))
            }
            _ => (self.ask("DELETE", &target, ""), None),
        };
        let good = if new.is_some() { 200 } else { 204 };
        if let Some(reply) = &reply {
            // The only error that a kill may cause is 503.
            assert!(
                [good, 0, 500, 503, 504].contains(&reply.status),
                "{target}: {} {}",
                reply.status,
                reply.text()
            );
        }
        match reply.is_some_and(|reply| reply.status == good) {
            true => ledger.wrote(id, new, Outcome::Done),
            false => ledger.wrote(id, new, Outcome::Unknown),
        }
    }
}

/// All items, read one by one, so that what is listed can also be opened.
fn shown(pair: &ServerPair, token: &str, vault: &str) -> BTreeMap<String, Content> {
    let list = pair.get(token, &format!("/v1/vaults/{vault}/items"));
    assert_eq!(list.status, 200, "{}", list.text());
    let list = list.json();
    let ids = list
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned());
    ids.map(|id| {
        let reply = pair.get(token, &format!("/v1/vaults/{vault}/items/{id}"));
        assert_eq!(reply.status, 200, "item {id}: {}", reply.text());
        let content = Content::shown(&reply.json()).unwrap_or_else(|| panic!("half an item: {}", reply.text()));
        (id, content)
    })
    .collect()
}

/// Asks `sidevault doctor` about the store, and SQLite itself where its own program is at hand.
fn assert_sound(pair: &ServerPair) {
    let report: serde_json::Value = serde_json::from_str(&pair.output(&["doctor", "--json"])).expect("doctor's JSON");
    for (check, cause) in [
        ("store", "opens with these keys"),
        ("integrity", "SQLite finds nothing wrong"),
    ] {
        let finding = report
            .as_array()
            .unwrap()
            .iter()
            .find(|finding| finding["check"] == check);
        let finding = finding.unwrap_or_else(|| panic!("no check {check}: {report}"));
        println!("doctor: {check}: {}", finding["cause"]);
        assert!(
            finding["level"] == "ok" && finding["cause"].as_str().unwrap().contains(cause),
            "{finding}"
        );
    }
    let database = pair.path("data/.op/data/1password.sqlite");
    let check = Command::new("sqlite3")
        .arg(database)
        .arg("PRAGMA integrity_check")
        .output();
    match check {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ok"),
        Err(error) => println!("SKIPPED: SQLite's own check ({error}); doctor's was made"),
    }
}

#[test]
fn nothing_acknowledged_is_lost_however_often_the_halves_are_killed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("SIDEVAULT_KILLS").unwrap_or(100);
    let seed = number("SIDEVAULT_SEED").unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_millis() as u64
    });
    println!("SIDEVAULT_SEED={seed} SIDEVAULT_KILLS={kills}");
    let started = Instant::now();
    let mut rng = StdRng::seed_from_u64(seed);

    let mut pair = ServerPair::start(&["--vault", "ledger", "--allow-ephemeral"], &[("OP_LOG_LEVEL", "warn")]);
    let token = pair.token("writers", &["ledger=read,write"]);
    let vault = pair.vault(&token, "ledger");
    let writers: Vec<Writer> = (0..WRITERS)
        .map(|n| Writer {
            address: pair.address(),
            token: token.clone(),
            items: format!("/v1/vaults/{vault}/items"),
            name: format!("w{n}"),
            ledger: Mutex::default(),
        })
        .collect();
    let (stop, pause) = (AtomicBool::new(false), RwLock::new(()));
    std::thread::scope(|scope| {
        for (n, writer) in writers.iter().enumerate() {
            let mut rng = StdRng::seed_from_u64(seed ^ ((n as u64 + 1) << 32));
            let (stop, pause) = (&stop, &pause);
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let _writing = pause.read().unwrap();
                    writer.write(&mut rng, n);
                }
            });
        }
        // A failed check must end the writers too, or the test would never end.
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut killed = 0;
            while killed < kills {
                std::thread::sleep(Duration::from_millis(rng.random_range(5..250)));
                let both = [Process::Api, Process::Sync];
                let victims = match rng.random_range(0..10) {
                    0..5 => &both[1..],
                    5..8 => &both[..1],
                    _ => &both[..],
                };
                for process in victims {
                    pair.kill(*process);
                    killed += 1;
                }
                let _paused = pause.write().unwrap();
                for process in victims {
                    pair.run(*process);
                    // Sometimes the process is killed again while it starts.
                    if rng.random_range(0..5) == 0 {
                        std::thread::sleep(Duration::from_millis(rng.random_range(0..120)));
                        pair.kill(*process);
                        killed += 1;
                        pair.run(*process);
                    }
                }
                pair.wait_linked();
                check(&pair, &token, &vault, &writers, victims.contains(&Process::Sync));
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(failed) = failed {
            std::panic::resume_unwind(failed);
        }
    });
    for process in [Process::Api, Process::Sync] {
        pair.kill(process);
        pair.run(process);
    }
    pair.wait_linked();
    check(&pair, &token, &vault, &writers, true);
    let sum = |count: fn(&Ledger) -> u64| {
        writers
            .iter()
            .map(|writer| count(&writer.ledger.lock().unwrap()))
            .sum::<u64>()
    };
    let (acknowledged, unanswered) = (sum(|ledger| ledger.acknowledged), sum(|ledger| ledger.unanswered));
    println!(
        "{kills} kills in {:?}: {acknowledged} acknowledged writes, {unanswered} unanswered",
        started.elapsed()
    );
    assert!(acknowledged > kills, "hardly anything was written: {acknowledged}");
    for process in [Process::Api, Process::Sync] {
        let log = pair.log(process);
        assert!(!log.contains("panicked") && !log.contains("damaged"), "{log}");
        pair.kill(process);
    }
    assert_sound(&pair);
}

fn check(pair: &ServerPair, token: &str, vault: &str, writers: &[Writer], settled: bool) {
    let mut there = shown(pair, token, vault);
    for writer in writers {
        if let Err(lost) = writer.ledger.lock().unwrap().check(&mut there, settled) {
            panic!(
                "{}: {lost}\n{}\n{}",
                writer.name,
                pair.log(Process::Api),
                pair.log(Process::Sync)
            );
        }
    }
    assert!(there.is_empty(), "nobody wrote these: {there:?}");
}
