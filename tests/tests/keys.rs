//! Every key is replaced while clients read and write. No read may fail, and no acknowledged write may be lost,
//! whichever of api and sync gets the new credentials file first, and if they are killed in the middle.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use sidevault_tests::ledger::Writers;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::stop::then_stop;
use sidevault_tests::wire::{Request, exchange};

const WRITERS: u64 = 4;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seed() -> u64 {
    let seed = number("SIDEVAULT_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().as_millis() as u64
    });
    println!("SIDEVAULT_SEED={seed}");
    seed
}

/// Sync with this probability, else api.
fn one_process(rng: &mut StdRng, sync: f64) -> Process {
    if rng.random_bool(sync) {
        Process::Sync
    } else {
        Process::Api
    }
}

/// The credentials files of a rotation, in the pair's directory.
struct Files {
    old: PathBuf,
    both: PathBuf,
    new: PathBuf,
}

impl Files {
    /// Files for rotation number `n`, which begins with `old`.
    fn new(pair: &ServerPair, old: PathBuf, n: u64) -> Self {
        let file = |name: &str| pair.path(&format!("keys/{name}-{n}.json"));
        let (both, new) = (file("both"), file("new"));
        pair.command(&[
            "keys",
            "rotate",
            "root",
            "--session",
            old.to_str().unwrap(),
            "--out",
            both.to_str().unwrap(),
        ]);
        Self { old, both, new }
    }

    fn finish(&self, pair: &ServerPair) -> std::process::Output {
        let (both, new) = (self.both.to_str().unwrap(), self.new.to_str().unwrap());
        pair.ended(&["keys", "rotate", "root", "--session", both, "--finish", "--out", new])
    }
}

fn status(pair: &ServerPair, file: &Path) -> Value {
    let text = pair.command(&["keys", "status", "--json", "--session", file.to_str().unwrap()]);
    serde_json::from_str(&text).expect("JSON")
}

/// A pair with clients, whose credentials are replaced.
struct Rotation {
    pair: ServerPair,
    token: String,
    vault: String,
    /// The api is being restarted: connections to it may fail.
    api_restarts: Arc<AtomicBool>,
}

impl Rotation {
    fn start() -> (Self, Writers) {
        let vaults = ["--vault", "ledger", "--vault", "filling", "--allow-ephemeral"];
        let pair = ServerPair::start(&vaults, &[("OP_LOG_LEVEL", "warn")]);
        let token = pair.token("writers", &["ledger=read,write", "filling=read,write"]);
        let vault = pair.vault(&token, "ledger");
        let writers = Writers::new(WRITERS, &[pair.address()], &token, &vault);
        let rotation = Self {
            pair,
            token,
            vault,
            api_restarts: Arc::default(),
        };
        (rotation, writers)
    }

    fn first_file(&self) -> PathBuf {
        self.pair.path("keys/1password-credentials.json")
    }

    /// Writes and reads until `rotate` returns. Fails if a read fails while the api is not being restarted.
    fn under_load(&mut self, writers: &Writers, seed: u64, rotate: impl FnOnce(&mut Self)) {
        let (stop, reads, began) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
        let (address, api_restarts) = (self.pair.address(), self.api_restarts.clone());
        let list = format!("/v1/vaults/{}/items", self.vault);
        let token = self.token.clone();
        let request = |target: &str| {
            Request::new("GET", target)
                .bearer(&token)
                .header("Connection", "close")
                .bytes()
        };
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut ids: Vec<String> = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let was_restarting = api_restarts.load(Ordering::SeqCst);
                    // The list, and then each of its items.
                    let target = ids.pop().map(|id| format!("{list}/{id}"));
                    let reply = exchange(address, &request(target.as_ref().unwrap_or(&list)));
                    match reply {
                        Ok(reply) if reply.status == 200 => {
                            if target.is_none() {
                                let items = reply.json();
                                let items = items.as_array().expect("a list");
                                ids.extend(items.iter().filter_map(|item| Some(item["id"].as_str()?.to_owned())));
                            }
                            reads.fetch_add(1, Ordering::Relaxed)
                        }
                        // A writer has deleted the item meanwhile.
                        Ok(reply) if reply.status == 404 && target.is_some() => 0,
                        _ if was_restarting || api_restarts.load(Ordering::SeqCst) => 0,
                        Ok(reply) => panic!("a read failed: {} {}", reply.status, reply.text()),
                        Err(error) => panic!("a read failed: {error}"),
                    };
                }
            });
            then_stop(&stop, || writers.write_while(seed, || rotate(self)));
            reader.join().expect("no read failed");
        });
        let (acknowledged, unanswered) = writers.counts();
        println!(
            "{} reads, {acknowledged} writes, {unanswered} writes without an answer, in {:.1} s",
            reads.load(Ordering::Relaxed),
            began.elapsed().as_secs_f64()
        );
        assert!(reads.load(Ordering::Relaxed) > 0 && acknowledged > 0);
    }

    /// Restarts a process with this credentials file: after SIGTERM, or after SIGKILL.
    fn restart(&mut self, process: Process, file: &Path, kill: bool) {
        self.api_restarts.store(process == Process::Api, Ordering::SeqCst);
        if !kill {
            self.pair.terminate(process);
            self.pair.wait_ended(process);
        }
        self.pair.kill(process);
        self.pair.set("OP_SESSION", file.to_str().unwrap());
        self.pair.run(process);
    }

    /// Waits until both processes work together again, and compares what is there with what was written.
    fn check(&mut self, writers: &Writers) {
        let _paused = writers.pause();
        self.pair.wait_linked();
        // With PostgreSQL, sync stands by until the lease of the sync that was killed has expired.
        assert!(
            wait_until(|| self.pair.leader()).is_some(),
            "{}",
            self.pair.log(Process::Sync)
        );
        self.api_restarts.store(false, Ordering::SeqCst);
        writers.check(&self.pair, &self.token, &self.vault, true);
    }

    /// Adds items to another vault, so that sealing all rows anew takes a while.
    fn fill(&self, items: usize) {
        let vault = self.pair.vault(&self.token, "filling");
        let list = format!("/v1/vaults/{vault}/items");
        for n in 0..items {
            let body = json!({ "title": format!("filling {n}"), "category": "PASSWORD" }).to_string();
            let reply = self.pair.ask(&self.token, "POST", &list, &body).expect("an answer");
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }

    /// The ids of the data keys in the store, and whether no row is sealed with an old one.
    fn data_keys(&self, file: &Path) -> (BTreeSet<String>, bool) {
        let shown = status(&self.pair, file);
        let keys = shown["storeKeys"].as_array().expect("keys");
        let ids = keys.iter().filter_map(|key| Some(key["id"].as_str()?.to_owned()));
        (ids.collect(), keys.iter().all(|key| key["rowsLeft"].is_null()))
    }

    /// Fails unless the store opens with the new root key and with no other.
    fn assert_replaced(&self, files: &Files) {
        let shown = status(&self.pair, &files.new);
        assert_eq!(shown["rootKeys"].as_array().unwrap().len(), 1, "{shown}");
        let keys = shown["storeKeys"].as_array().unwrap();
        let root = [shown["rootKeys"][0]["fingerprint"].clone()];
        assert!(
            !keys.is_empty() && keys.iter().all(|key| *key["wrappedUnder"].as_array().unwrap() == root),
            "{shown}"
        );
        let refused = self
            .pair
            .errors(&["keys", "status", "--session", files.old.to_str().unwrap()]);
        assert!(refused.contains("another credentials file"), "{refused}");
    }
}

#[test]
fn a_root_key_is_replaced_in_any_order_while_clients_read_and_write() {
    let (mut rotation, writers) = Rotation::start();
    rotation.under_load(&writers, seed(), |rotation| {
        let mut present = rotation.first_file();
        for (n, order) in [[Process::Api, Process::Sync], [Process::Sync, Process::Api]]
            .into_iter()
            .enumerate()
        {
            let files = Files::new(&rotation.pair, present, n as u64);
            for file in [&files.both, &files.new] {
                if file == &files.new {
                    assert!(files.finish(&rotation.pair).status.success());
                }
                for process in order {
                    rotation.restart(process, file, false);
                    rotation.check(&writers);
                    if file == &files.both && process == Process::Api && order[0] == process {
                        let early = files.finish(&rotation.pair);
                        assert_eq!(
                            early.status.code(),
                            Some(5),
                            "finished before sync has the new root key"
                        );
                    }
                }
            }
            rotation.assert_replaced(&files);
            present = files.new;
        }
    });
    for process in [Process::Api, Process::Sync] {
        let log = rotation.pair.log(process);
        assert!(!log.contains("panicked") && !log.contains("damaged"), "{log}");
    }
}

#[test]
fn kills_in_the_middle_of_rotations_of_the_root_key_lose_nothing() {
    let kills = number("SIDEVAULT_KEY_KILLS").unwrap_or(20);
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut rotation, writers) = Rotation::start();
    rotation.under_load(&writers, seed, |rotation| {
        let (mut present, mut killed) = (rotation.first_file(), 0);
        for n in 0.. {
            if killed >= kills {
                return;
            }
            let files = Files::new(&rotation.pair, present, n);
            for [from, to] in [[&files.old, &files.both], [&files.both, &files.new]] {
                if to == &files.new {
                    assert!(files.finish(&rotation.pair).status.success());
                }
                for _ in 0..3 {
                    let process = one_process(&mut rng, 0.7);
                    let file = if rng.random_bool(0.5) { from } else { to };
                    rotation.restart(process, file, true);
                    std::thread::sleep(Duration::from_millis(rng.random_range(0..150)));
                    // The process that starts wraps the keys anew in this time.
                    rotation.restart(process, to, true);
                    killed += 2;
                    rotation.check(&writers);
                }
                for process in [Process::Api, Process::Sync] {
                    rotation.restart(process, to, true);
                    killed += 1;
                    rotation.check(&writers);
                }
            }
            rotation.assert_replaced(&files);
            present = files.new;
        }
    });
}

#[test]
fn tokens_of_a_replaced_issuer_work_until_the_date_and_until_the_rotation_is_finished() {
    let (mut rotation, _) = Rotation::start();
    let path = |rotation: &Rotation, name: &str| {
        rotation
            .pair
            .path(&format!("keys/{name}.json"))
            .to_str()
            .unwrap()
            .to_owned()
    };
    let list = format!("/v1/vaults/{}/items", rotation.vault);
    let (both, issuer, newest) = (
        path(&rotation, "both"),
        path(&rotation, "issuer-2"),
        path(&rotation, "newest"),
    );
    rotation
        .pair
        .command(&["keys", "rotate", "issuer", "--out", &both, "--issuer-out", &issuer]);
    rotation.restart(Process::Api, Path::new(&both), false);
    rotation.pair.wait_linked();
    let new_token = rotation.pair.command(&[
        "token",
        "create",
        "new",
        "--vault",
        "ledger=read",
        "--issuer",
        &issuer,
        "--session",
        &both,
    ]);
    for token in [&rotation.token, &new_token] {
        assert_eq!(rotation.pair.get(token, &list).status, 200);
    }
    let shown = status(&rotation.pair, Path::new(&both));
    let issuers = shown["issuers"].as_array().unwrap();
    assert!(
        issuers[0]["until"].is_null() && issuers[1]["until"].is_string(),
        "{shown}"
    );
    rotation.pair.command(&[
        "keys",
        "rotate",
        "issuer",
        "--session",
        &both,
        "--finish",
        "--out",
        &newest,
    ]);
    rotation.restart(Process::Api, Path::new(&newest), false);
    rotation.pair.wait_linked();
    assert_eq!(rotation.pair.get(&rotation.token, &list).status, 401);
    assert_eq!(rotation.pair.get(&new_token, &list).status, 200);
    // A leaked issuer file: its tokens are refused at once.
    let (at_once, issuer) = (path(&rotation, "at-once"), path(&rotation, "issuer-3"));
    rotation.pair.command(&[
        "keys",
        "rotate",
        "issuer",
        "--session",
        &newest,
        "--out",
        &at_once,
        "--issuer-out",
        &issuer,
        "--old-until",
        "0s",
    ]);
    rotation.restart(Process::Api, Path::new(&at_once), false);
    rotation.pair.wait_linked();
    assert_eq!(rotation.pair.get(&new_token, &list).status, 401);
}

#[test]
fn data_keys_are_replaced_while_clients_read_and_write() {
    let (mut rotation, writers) = Rotation::start();
    rotation.fill(300);
    let file = rotation.first_file();
    let (before, _) = rotation.data_keys(&file);
    let root = rotation.pair.path("");
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let (old_backup, new_backup) = (path("tmp/before.backup"), path("tmp/during.backup"));
    rotation.pair.command(&["backup", "--to", &old_backup]);
    rotation.under_load(&writers, seed(), |rotation| {
        for n in 0..3 {
            let command = rotation.pair.begin(&["keys", "rotate", "data"]);
            if n == 0 {
                rotation.pair.command(&["backup", "--to", &new_backup]);
            }
            let output = command.wait_with_output().expect("the command ends");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            rotation.check(&writers);
        }
    });
    let (after, is_done) = rotation.data_keys(&file);
    assert!(
        is_done && after.len() == before.len() && after.is_disjoint(&before),
        "{before:?} {after:?}"
    );
    assert_eq!(
        rotation.pair.health()["dependencies"]
            .to_string()
            .matches("data keys")
            .count(),
        0
    );
    for backup in [&old_backup, &new_backup] {
        let verified = rotation.pair.ended(&["backup", "verify", backup]);
        assert!(
            verified.status.success(),
            "{}",
            String::from_utf8_lossy(&verified.stderr)
        );
    }
    for process in [Process::Api, Process::Sync] {
        let log = rotation.pair.log(process);
        assert!(!log.contains("panicked") && !log.contains("damaged"), "{log}");
    }
    // A restored backup from before the rotation has its old data keys, and they can be replaced again.
    let restored = path("restored");
    rotation.pair.command(&["restore", &old_backup, "--data", &restored]);
    let data = ["--data", &restored];
    rotation
        .pair
        .command(&[&["keys", "rotate", "data"][..], &data].concat());
    let shown = rotation
        .pair
        .command(&[&["keys", "status", "--json"][..], &data].concat());
    assert!(before.iter().all(|id| !shown.contains(id.as_str())), "{shown}");
    let listed = rotation.pair.command(&[&["vault", "list"][..], &data].concat());
    assert!(listed.contains("300"), "{listed}");
}

#[test]
fn kills_in_the_middle_of_rotations_of_the_data_keys_lose_nothing() {
    let kills = number("SIDEVAULT_KEY_KILLS").unwrap_or(10);
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut rotation, writers) = Rotation::start();
    rotation.fill(300);
    let file = rotation.first_file();
    rotation.under_load(&writers, seed, |rotation| {
        let (mut killed, mut interrupted) = (0, 0);
        while killed < kills {
            let (before, _) = rotation.data_keys(&file);
            let mut command = rotation.pair.begin(&["keys", "rotate", "data"]);
            // The command has begun the rotation when there is a key more, unless it is over already.
            wait_until(|| (rotation.data_keys(&file).0 != before).then_some(())).expect("new keys");
            loop {
                std::thread::sleep(Duration::from_millis(rng.random_range(0..200)));
                let process = one_process(&mut rng, 0.8);
                rotation.restart(process, &file, true);
                killed += 1;
                rotation.check(&writers);
                if rotation.data_keys(&file).1 {
                    break;
                }
                interrupted += 1;
            }
            command.wait().expect("the command ends");
            let (after, _) = rotation.data_keys(&file);
            assert!(after.is_disjoint(&before), "{before:?} {after:?}");
        }
        println!("{killed} kills, {interrupted} while rows were sealed anew");
    });
}

#[test]
fn kills_in_the_middle_of_rotations_of_the_issuer_lose_nothing() {
    let kills = number("SIDEVAULT_KEY_KILLS").unwrap_or(10);
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut rotation, writers) = Rotation::start();
    rotation.under_load(&writers, seed, |rotation| {
        let (mut present, mut killed) = (rotation.first_file(), 0);
        for n in 0.. {
            if killed >= kills {
                return;
            }
            let path = |name: &str| rotation.pair.path(&format!("keys/{name}-{n}.json"));
            let (file, issuer) = (path("issuers"), path("issuer"));
            let (file_text, issuer_text) = (file.to_str().unwrap(), issuer.to_str().unwrap());
            let session = present.to_str().unwrap();
            rotation.pair.command(&[
                "keys",
                "rotate",
                "issuer",
                "--session",
                session,
                "--out",
                file_text,
                "--issuer-out",
                issuer_text,
            ]);
            for process in [Process::Api, Process::Sync] {
                for to in [if rng.random_bool(0.5) { &file } else { &present }, &file] {
                    rotation.restart(process, to, true);
                    std::thread::sleep(Duration::from_millis(rng.random_range(0..100)));
                    killed += 1;
                }
                rotation.restart(process, &file, true);
                rotation.check(&writers);
            }
            let token = rotation.pair.command(&[
                "token",
                "create",
                "new",
                "--vault",
                "ledger=read",
                "--issuer",
                issuer_text,
                "--session",
                file_text,
            ]);
            let list = format!("/v1/vaults/{}/items", rotation.vault);
            assert_eq!(rotation.pair.get(&token, &list).status, 200);
            present = file;
        }
    });
}

/// The drill of docs/keys.md, while the server serves. The thief has the credentials file, a token, the issuer's file, and a copy of
/// the database from before.
#[test]
fn after_the_drill_a_leaked_credentials_file_opens_nothing_that_is_there_now() {
    let (mut rotation, _) = Rotation::start();
    rotation.fill(50);
    let stolen = rotation.first_file();
    let stolen_text = stolen.to_str().unwrap().to_owned();
    let path = |rotation: &Rotation, name: &str| rotation.pair.path(name).to_str().unwrap().to_owned();
    let copy = path(&rotation, "tmp/stolen.backup");
    rotation.pair.command(&["backup", "--to", &copy]);
    let list = format!("/v1/vaults/{}/items", rotation.pair.vault(&rotation.token, "filling"));
    let (old_keys, _) = rotation.data_keys(&stolen);
    let [now, both, new, issuer] =
        ["now", "drill-both", "drill-new", "issuer-2"].map(|name| path(&rotation, &format!("keys/{name}.json")));
    rotation.pair.command(&[
        "keys",
        "rotate",
        "issuer",
        "--out",
        &now,
        "--issuer-out",
        &issuer,
        "--old-until",
        "0s",
    ]);
    let rotate_root = |rotation: &Rotation, more: &[&str]| {
        rotation.pair.command(&[&["keys", "rotate", "root"][..], more].concat());
    };
    rotate_root(&rotation, &["--session", &now, "--out", &both]);
    for file in [&both, &new] {
        if file == &new {
            rotate_root(&rotation, &["--session", &both, "--finish", "--out", &new]);
        }
        for process in [Process::Sync, Process::Api] {
            rotation.restart(process, Path::new(file), false);
        }
        rotation.pair.wait_linked();
    }
    rotation.pair.command(&["keys", "rotate", "data", "--session", &new]);
    // The server serves as before, but no token of the old issuer.
    assert_eq!(rotation.pair.get(&rotation.token, &list).status, 401);
    let token = rotation.pair.command(&[
        "token",
        "create",
        "new",
        "--vault",
        "filling=read",
        "--issuer",
        &issuer,
        "--session",
        &new,
    ]);
    let items = rotation.pair.get(&token, &list).json();
    assert_eq!(items.as_array().map(Vec::len), Some(50));
    let forged = rotation.pair.command(&[
        "token",
        "create",
        "forged",
        "--vault",
        "filling=read",
        "--issuer",
        &path(&rotation, "keys/issuer.json"),
        "--offline",
    ]);
    assert_eq!(rotation.pair.get(&forged, &list).status, 401);
    // The old file opens neither the store nor the bus.
    for arguments in [&["keys", "status"][..], &["vault", "list"]] {
        let refused = rotation
            .pair
            .errors(&[arguments, &["--session", &stolen_text]].concat());
        assert!(refused.contains("another credentials file"), "{refused}");
    }
    let refused = rotation
        .pair
        .errors(&["vault", "create", "mine", "--session", &stolen_text]);
    assert!(refused.contains("sync does not accept these credentials"), "{refused}");
    let (keys, is_done) = rotation.data_keys(Path::new(&new));
    assert!(is_done && keys.is_disjoint(&old_keys));
    // What was stolen before stays readable for the thief: docs/keys.md says so.
    let stolen_data = path(&rotation, "stolen");
    rotation
        .pair
        .command(&["restore", &copy, "--data", &stolen_data, "--session", &stolen_text]);
    let listed = rotation
        .pair
        .command(&["vault", "list", "--data", &stolen_data, "--session", &stolen_text]);
    assert!(listed.contains("50"), "{listed}");
}
