//! A history of what clients wrote and read, and when, for the program `linearizability` (`tests/tools/linearizability`).

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::pair::{Process, ServerPair};
use crate::stop::then_stop;
use crate::tools;
use crate::wire::{Reply, Request, exchange};

/// The checker, in the directory of the tools.
const CHECKER: &str = "linearizability";

/// The end of an operation that may take effect at any later time.
const NEVER: u64 = i64::MAX as u64;

/// Clients that write to a few items and read them, each request through another api than the one before. Every request sends the
/// newest `Sidevault-Sequence` that any of the clients has received.
pub struct History {
    addresses: Vec<SocketAddr>,
    token: String,
    /// The paths of the items.
    items: Vec<String>,
    started: Instant,
    newest: AtomicI64,
    marks: AtomicU64,
    lines: Mutex<Vec<Value>>,
}

impl History {
    /// Creates as many items as `count` in a vault. `None` if the checker was not built, as in [`tools::find`].
    ///
    /// # Panics
    /// If an item can't be created, and as [`tools::find`].
    pub fn new(count: u64, addresses: &[SocketAddr], token: &str, vault: &str) -> Option<Self> {
        tools::find(&[CHECKER])?;
        let mut history = Self {
            addresses: addresses.to_vec(),
            token: token.to_owned(),
            items: Vec::new(),
            started: Instant::now(),
            newest: AtomicI64::new(0),
            marks: AtomicU64::new(0),
            lines: Mutex::default(),
        };
        for _ in 0..count {
            let (value, invoked) = (history.mark(), history.now());
            let path = format!("/v1/vaults/{vault}/items");
            let reply = history.ask(0, "POST", &path, Some(&value)).expect("an answer");
            assert_eq!(reply.status, 200, "{}", reply.text());
            let id = reply.json()["id"].as_str().expect("an id").to_owned();
            let item = format!("{path}/{id}");
            history.note(0, &item, "write", invoked..history.now(), Some((value, 0)), "ok");
            history.items.push(item);
        }
        Some(history)
    }

    /// Lets some clients write and some read until `disturb` returns.
    ///
    /// # Panics
    /// If `disturb` does, or a request gets an answer that no failure may cause.
    pub fn record(&self, writers: usize, readers: usize, disturb: impl FnOnce()) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for client in 1..=writers + readers {
                let stop = &stop;
                scope.spawn(move || {
                    for n in client.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let outcome = match client <= writers {
                            true => self.write(client, n),
                            false => self.read(client, n),
                        };
                        // So that the history stays small enough for the checker, above all while nothing works.
                        let pause = if outcome == "ok" { 2 } else { 50 };
                        std::thread::sleep(Duration::from_millis(pause));
                    }
                });
            }
            then_stop(&stop, disturb);
        });
    }

    /// Runs the checker on the history. Then adds a read of the first version of each item that was changed to it, and expects that the checker refuses
    /// this history. Returns what the checker says about the true one.
    ///
    /// # Panics
    /// If the history is not linearizable, or the checker does not find the wrong reads.
    pub fn check(&self, pair: &ServerPair) -> String {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tools = tools::find(&[CHECKER]).expect("the checker");
        let (is_right, said) = check(&tools, &pair.path("logs/history.jsonl"), &lines);
        assert!(
            is_right,
            "{said}\n{}\n{}",
            pair.log(Process::Api),
            pair.log(Process::Sync)
        );
        let mut wrong_reads = 0;
        for item in &self.items {
            let of_item = || lines.iter().filter(|line| line["item"] == item.as_str());
            let (value, now) = (of_item().next().expect("a write")["value"].clone(), self.now());
            // A read of the first value is wrong only after another value was certainly there.
            let is_overwritten = of_item().any(|line| {
                line["outcome"] == "ok"
                    && line["value"] != value
                    && line["returned"].as_u64().is_some_and(|at| at < now)
            });
            if !is_overwritten {
                continue;
            }
            wrong_reads += 1;
            lines.push(
                json!({ "client": 0, "item": item, "operation": "read", "value": value, "version": 1,
                "invoked": now, "returned": now + 1, "outcome": "ok" }),
            );
        }
        let (is_right, wrong) = check(&tools, &pair.path("logs/wrong.jsonl"), &lines);
        assert!(
            !is_right && wrong.contains(&format!("{wrong_reads} faults")),
            "the checker does not find the {wrong_reads} wrong reads: {wrong}"
        );
        said
    }

    fn write(&self, client: usize, n: usize) -> &'static str {
        let item = &self.items[n % self.items.len()];
        let (value, invoked) = (self.mark(), self.now());
        let reply = self.ask(n / self.items.len(), "PUT", item, Some(&value));
        let outcome = match reply.as_ref().map_or(0, |reply| reply.status) {
            200 => "ok",
            503 if reply.as_ref().is_some_and(says_that_nothing_was_done) => "failed",
            0 | 500 | 503 | 504 => "unknown",
            other => panic!("PUT {item}: {other}"),
        };
        let is_promised = reply
            .as_ref()
            .is_some_and(|reply| reply.header("sidevault-sequence").is_some());
        // A write that was carried out, and whose answer has no number, may be seen by others later than the answer.
        let returned = if outcome == "ok" && !is_promised {
            NEVER
        } else {
            self.now()
        };
        // The answer to a write has the version from before.
        let version = reply.filter(|_| outcome == "ok").map(|reply| shown(&reply).1);
        let written = Some((value, version.unwrap_or_default()));
        self.note(client, item, "write", invoked..returned, written, outcome);
        outcome
    }

    fn read(&self, client: usize, n: usize) -> &'static str {
        let item = &self.items[n % self.items.len()];
        let invoked = self.now();
        let reply = self.ask(n / self.items.len(), "GET", item, None);
        let (seen, outcome) = match reply.as_ref().map_or(0, |reply| reply.status) {
            // The api makes no promise for a response without a number.
            200 if reply
                .as_ref()
                .is_some_and(|reply| reply.header("sidevault-sequence").is_none()) =>
            {
                (None, "failed")
            }
            200 => (reply.as_ref().map(shown), "ok"),
            0 | 500 | 503 | 504 => (None, "failed"),
            other => panic!("GET {item}: {other}"),
        };
        self.note(client, item, "read", invoked..self.now(), seen, outcome);
        outcome
    }

    /// Sends a request to one of the apis. `None` without an answer.
    fn ask(&self, api: usize, method: &str, path: &str, value: Option<&str>) -> Option<Reply> {
        let mut request = Request::new(method, path)
            .bearer(&self.token)
            .header("Connection", "close")
            .header("Sidevault-Sequence", self.newest.load(Ordering::SeqCst).to_string());
        if let Some(value) = value {
            request = request.body(json!({ "title": value, "category": "LOGIN" }).to_string());
        }
        let reply = exchange(self.addresses[api % self.addresses.len()], &request.bytes()).ok()?;
        if let Some(sequence) = reply.header("sidevault-sequence") {
            let sequence = sequence.parse().expect("a number");
            self.newest.fetch_max(sequence, Ordering::SeqCst);
        }
        Some(reply)
    }

    fn note(
        &self,
        client: usize,
        item: &str,
        operation: &str,
        time: Range<u64>,
        shown: Option<(String, u64)>,
        outcome: &str,
    ) {
        let (value, version) = shown.unwrap_or_default();
        let line = json!({ "client": client, "item": item, "operation": operation, "value": value, "version": version,
            "invoked": time.start, "returned": time.end, "outcome": outcome });
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// A value that no other write has.
    fn mark(&self) -> String {
        format!("value {}", self.marks.fetch_add(1, Ordering::Relaxed))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).expect("a short test")
    }
}

/// Whether a refusal says that the write was not carried out. The checker then finds it wrong if anybody sees the write.
fn says_that_nothing_was_done(reply: &Reply) -> bool {
    let text = reply.text();
    [
        "Nothing was changed",
        "nothing can be written",
        "before the write was sent",
        "has not seen change",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// The value and the version of an item.
fn shown(reply: &Reply) -> (String, u64) {
    let item = reply.json();
    let value = item["title"].as_str().expect("a title").to_owned();
    (value, item["version"].as_u64().expect("a version"))
}

/// Whether the checker finds a history right, and what it says.
fn check(tools: &Path, file: &Path, lines: &[Value]) -> (bool, String) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(file, text).expect("a file");
    let output = Command::new(tools.join(CHECKER))
        .arg(file)
        .output()
        .expect("the checker runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    // 2 means that it could not read the history.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
    (output.status.success(), said)
}
