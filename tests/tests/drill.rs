//! The drill of a lost server: a backup while clients write, both processes killed, the store deleted, the backup restored. Every item
//! then has a value that was acknowledged before the backup began, or a later one.
//!
//! `SIDEVAULT_DRILL_ITEMS` items (300 without it) with values of `SIDEVAULT_DRILL_BYTES` bytes (2,000 without it). Prints how long the
//! backup takes compared with a copy of the same bytes, and how much memory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::postgres;
use sidevault_tests::stop::then_stop;
use sidevault_tests::wire::{Request, Wire};

/// The most memory that a backup may need.
const MOST_MEMORY: u64 = 200 << 20;

const CREATORS: usize = 64;

/// Writers, each of which pauses this long after a write: at most 200 writes a second together.
const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(20);

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// The values of an item are numbers that only grow.
struct Written {
    id: String,
    /// The newest that was sent, and that was acknowledged.
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

fn body(title: &str, value: u64, bytes: usize) -> String {
    let fields = [
        json!({ "id": "n", "label": "n", "type": "STRING", "value": value.to_string() }),
        json!({ "id": "text", "label": "text", "type": "CONCEALED", "value": "x".repeat(bytes) }),
    ];
    json!({ "title": title, "category": "API_CREDENTIAL", "fields": fields }).to_string()
}

fn value_of(item: &Value) -> Option<u64> {
    let fields = item["fields"].as_array()?;
    let field = fields.iter().find(|field| field["id"] == "n")?;
    field["value"].as_str()?.parse().ok()
}

struct Drill {
    pair: ServerPair,
    token: String,
    bytes: usize,
    items: Vec<Written>,
}

impl Drill {
    fn start(count: usize, bytes: usize) -> Self {
        let pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[("OP_LOG_LEVEL", "warn")]);
        let token = pair.token("app", &["apps=read,write"]);
        let mut drill = Self {
            pair,
            token,
            bytes,
            items: Vec::new(),
        };
        drill.items = drill.created(count);
        drill
    }

    fn ask(&self, wire: &mut Wire, method: &str, target: &str, body: &str) -> Option<Value> {
        let request = Request::new(method, target).bearer(&self.token).body(body);
        wire.send(&request.bytes()).ok()?;
        let reply = wire.reply(false).ok()?;
        (reply.status == 200).then(|| reply.json())
    }

    fn created(&self, count: usize) -> Vec<Written> {
        let (next, items) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..CREATORS {
                scope.spawn(|| {
                    let mut wire = Wire::open(self.pair.address()).unwrap();
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= count {
                            return;
                        }
                        let body = body(&format!("item {n}"), 1, self.bytes);
                        let made = self.ask(&mut wire, "POST", "/v1/vaults/apps/items", &body);
                        items.lock().unwrap().push(Written {
                            id: made.unwrap()["id"].as_str().unwrap().to_owned(),
                            sent: AtomicU64::new(1),
                            acknowledged: AtomicU64::new(1),
                        });
                    }
                });
            }
        });
        items.into_inner().unwrap()
    }

    /// Changes items until `disturb` returns. Returns how many changes were acknowledged.
    fn write_while(&self, disturb: impl FnOnce(&AtomicU64)) -> u64 {
        let (stop, writes) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (stop, writes) = (&stop, &writes);
                scope.spawn(move || {
                    let mut wire = None;
                    // Each writer has items of its own. They are taken in large steps, so that changes are all over the store.
                    let own: Vec<&Written> = self.items.iter().skip(writer).step_by(WRITERS).collect();
                    for n in 0.. {
                        if stop.load(Ordering::SeqCst) {
                            return;
                        }
                        let item = own[n * 7919 % own.len()];
                        let sent = item.sent.fetch_add(1, Ordering::SeqCst) + 1;
                        let patch = json!([{ "op": "replace", "path": "/fields/n/value", "value": sent.to_string() }]);
                        let target = format!("/v1/vaults/apps/items/{}", item.id);
                        if wire.is_none() {
                            wire = Wire::open(self.pair.address()).ok();
                        }
                        let Some(open) = &mut wire else { continue };
                        match self.ask(open, "PATCH", &target, &patch.to_string()) {
                            Some(_) => {
                                item.acknowledged.fetch_max(sent, Ordering::SeqCst);
                                writes.fetch_add(1, Ordering::SeqCst);
                            }
                            None => wire = None,
                        }
                        std::thread::sleep(PAUSE);
                    }
                });
            }
            then_stop(&stop, || disturb(&writes));
        });
        writes.into_inner()
    }

    fn numbers(&self, of: fn(&Written) -> &AtomicU64) -> Vec<u64> {
        self.items.iter().map(|item| of(item).load(Ordering::SeqCst)).collect()
    }

    /// The value that each item has now.
    fn shown(&self) -> BTreeMap<String, u64> {
        let (next, shown) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
        std::thread::scope(|scope| {
            for _ in 0..CREATORS {
                scope.spawn(|| {
                    let mut wire = Wire::open(self.pair.address()).unwrap();
                    while let Some(item) = self.items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let found = self.ask(&mut wire, "GET", &format!("/v1/vaults/apps/items/{}", item.id), "");
                        let value = found.as_ref().and_then(value_of);
                        shown.lock().unwrap().insert(item.id.clone(), value.unwrap());
                    }
                });
            }
        });
        shown.into_inner().unwrap()
    }
}

/// Waits until a command ends, and returns the most memory that it had.
fn memory_of(mut child: Child) -> u64 {
    let mut most = 0;
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or_default() * 1024);
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{ended}");
            return most;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How long a copy of a file takes, until it is on disk.
fn copied(from: &Path, to: &Path) -> Duration {
    let started = Instant::now();
    fs::copy(from, to).unwrap();
    File::open(to).unwrap().sync_all().unwrap();
    let taken = started.elapsed();
    fs::remove_file(to).unwrap();
    taken
}

#[test]
fn a_lost_server_is_restored_from_a_backup_that_was_made_while_clients_wrote() {
    if postgres::is_chosen() {
        return;
    }
    let (count, bytes) = (
        number("SIDEVAULT_DRILL_ITEMS", 300),
        number("SIDEVAULT_DRILL_BYTES", 2000),
    );
    let started = Instant::now();
    let mut drill = Drill::start(count, bytes);
    println!(
        "{count} items of {bytes} bytes were created in {:.0?}",
        started.elapsed()
    );

    let directory = drill.pair.path("backups");
    let to = format!("{}/", directory.display());
    let (mut least, mut most, mut took, mut memory) = (Vec::new(), Vec::new(), Duration::ZERO, 0);
    let mut during = 0;
    let writes = drill.write_while(|writes| {
        let enough = |wanted| wait_until(|| (writes.load(Ordering::SeqCst) >= wanted).then_some(()));
        assert!(enough(50).is_some());
        least = drill.numbers(|item| &item.acknowledged);
        let (before, began) = (writes.load(Ordering::SeqCst), Instant::now());
        memory = memory_of(drill.pair.begin(&["backup", "--to", &to]));
        took = began.elapsed();
        most = drill.numbers(|item| &item.sent);
        during = writes.load(Ordering::SeqCst) - before;
        // The writes after the backup are lost with the server.
        assert!(enough(before + during + 50).is_some());
        for process in [Process::Sync, Process::Api] {
            let pid = drill.pair.pid(process).unwrap();
            ServerPair::signal(pid, "KILL");
        }
    });
    for process in [Process::Sync, Process::Api] {
        drill.pair.kill(process);
    }
    let data = drill.pair.path("data/.op/data");
    fs::remove_dir_all(&data).unwrap();

    let backup = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    let size = backup.metadata().unwrap().len();
    let copy = copied(&backup, &drill.pair.path("copy"));
    let began = Instant::now();
    drill.pair.command(&["restore", backup.to_str().unwrap()]);
    let restored = began.elapsed();
    drill.pair.run(Process::Api);
    drill.pair.run(Process::Sync);
    drill.pair.wait_linked();

    let shown = drill.shown();
    let mut behind = 0;
    for (n, item) in drill.items.iter().enumerate() {
        let value = shown[&item.id];
        assert!(
            (least[n]..=most[n]).contains(&value),
            "{}: {} {value} {}",
            item.id,
            least[n],
            most[n]
        );
        behind += u64::from(value < item.acknowledged.load(Ordering::SeqCst));
    }
    assert!(behind > 0, "no write came after the backup");
    let listed = drill.pair.get(&drill.token, "/v1/vaults/apps/items").json();
    assert_eq!(listed.as_array().unwrap().len(), count);
    println!(
        "backup of {} MB in {took:.2?}, {:.1} times as long as a copy ({copy:.2?}), with {} MiB of memory; {during} of {writes} writes during it; \
         restored in {restored:.2?}; {behind} items had newer values than the backup",
        size / 1_000_000,
        took.as_secs_f64() / copy.as_secs_f64(),
        memory >> 20,
    );
    assert!(memory < MOST_MEMORY, "{memory}");
}
