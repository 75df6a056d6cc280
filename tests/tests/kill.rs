//! Both processes are killed again and again while clients write. Every acknowledged write must survive.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sidevault_tests::ledger::Writers;
use sidevault_tests::pair::{Process, ServerPair};
use sidevault_tests::postgres;
use sidevault_tests::tools::skipped;

const WRITERS: u64 = 6;

/// Checks the store with `sidevault doctor`, and with `sqlite3` if it is installed.
fn assert_sound(pair: &ServerPair) {
    if postgres::is_chosen() {
        return;
    }
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
        Err(error) => skipped(&format!("SQLite's own check ({error}); doctor's was made")),
    }
}

#[test]
fn no_acknowledged_write_is_lost_when_processes_are_killed() {
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
    let writers = Writers::new(WRITERS, &[pair.address()], &token, &vault);
    writers.write_while(seed, || {
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
            let _paused = writers.pause();
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
            writers.check(&pair, &token, &vault, victims.contains(&Process::Sync));
        }
    });
    for process in [Process::Api, Process::Sync] {
        pair.kill(process);
        pair.run(process);
    }
    pair.wait_linked();
    writers.check(&pair, &token, &vault, true);
    let (acknowledged, unanswered) = writers.counts();
    println!(
        "{kills} kills in {:?}: {acknowledged} acknowledged writes, {unanswered} unanswered",
        started.elapsed()
    );
    // On a busy machine few writes end between two kills.
    assert!(acknowledged > kills / 10, "hardly anything was written: {acknowledged}");
    for process in [Process::Api, Process::Sync] {
        let log = pair.log(process);
        assert!(!log.contains("panicked") && !log.contains("damaged"), "{log}");
        pair.kill(process);
    }
    assert_sound(&pair);
}
