//! A record of what writers sent and of what was acknowledged. An acknowledged write must be in the store; a write without an
//! answer must be there completely, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use serde_json::{Value, json};

use crate::pair::{Process, ServerPair};
use crate::stop::then_stop;
use crate::wire::{Reply, Request, exchange};

/// How many fields each item in the ledger has. A write changes all of them.
pub const FIELDS: usize = 5;

/// The part of an item that the ledger compares: the version, the title, and the fields' values in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// The version: each write adds one.
    pub version: u64,
    /// The title.
    pub title: String,
    /// The values of the fields `f0`, `f1`, …
    pub values: Vec<String>,
}

impl Content {
    /// Content of a new item that no other write has: `mark` is in the title and, repeated, in every value.
    pub fn new(mark: &str) -> Self {
        let values = (0..FIELDS).map(|n| format!("{mark}/{n} ").repeat(20)).collect();
        Self {
            version: 1,
            title: format!("item {mark}"),
            values,
        }
    }

    /// The content of an item in an answer, if the item has all the fields.
    pub fn shown(item: &Value) -> Option<Self> {
        let fields = item["fields"].as_array()?;
        let value = |n: usize| {
            let id = format!("f{n}");
            fields.iter().find(|field| field["id"] == id.as_str())?["value"]
                .as_str()
                .map(str::to_owned)
        };
        let values: Option<Vec<String>> = (0..FIELDS).map(value).collect();
        Some(Self {
            version: item["version"].as_u64()?,
            title: item["title"].as_str()?.to_owned(),
            values: values?,
        })
    }

    /// The body of a POST or PUT.
    pub fn body(&self) -> String {
        let fields: Vec<Value> = self
            .values
            .iter()
            .enumerate()
            .map(|(n, value)| json!({ "id": format!("f{n}"), "label": format!("f{n}"), "type": "CONCEALED", "value": value }))
            .collect();
        json!({ "title": self.title, "category": "API_CREDENTIAL", "fields": fields }).to_string()
    }

    /// The item after a PUT of `next`.
    fn replaced(&self, next: Self) -> Self {
        Self {
            version: self.version + 1,
            ..next
        }
    }

    /// The item with the title and every second field of `next`, and the PATCH that changes the item so.
    pub fn patched(&self, next: &Self) -> (Self, String) {
        let mut content = Self {
            version: self.version + 1,
            title: next.title.clone(),
            ..self.clone()
        };
        let mut operations = vec![json!({ "op": "replace", "path": "/title", "value": next.title })];
        for n in (0..FIELDS).step_by(2) {
            content.values[n] = next.values[n].clone();
            operations.push(json!({ "op": "replace", "path": format!("/fields/f{n}/value"), "value": next.values[n] }));
        }
        (content, Value::Array(operations).to_string())
    }
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write was acknowledged.
    Done,
    /// There was no answer, so the write may or may not have happened.
    Unknown,
}

/// The items of one writer, each with every content that it may have now. `None` means deleted.
#[derive(Debug, Default)]
pub struct Ledger {
    items: BTreeMap<String, BTreeSet<Option<Content>>>,
    /// Creations without an answer: the items may exist, with ids that the writer does not know.
    attempted: BTreeSet<Content>,
    /// Acknowledged writes.
    pub acknowledged: u64,
    /// Writes without an answer.
    pub unanswered: u64,
}

impl Ledger {
    /// Records a creation. `id` is there if the creation was acknowledged.
    pub fn created(&mut self, id: Option<String>, content: Content) {
        match id {
            Some(id) => {
                self.acknowledged += 1;
                self.items.insert(id, BTreeSet::from([Some(content)]));
            }
            None => {
                self.unanswered += 1;
                self.attempted.insert(content);
            }
        }
    }

    /// Records that an item was written or, with `None`, deleted.
    pub fn wrote(&mut self, id: &str, content: Option<Content>, outcome: Outcome) {
        let possible = self.items.entry(id.to_owned()).or_default();
        match outcome {
            Outcome::Done => {
                self.acknowledged += 1;
                *possible = BTreeSet::from([content]);
            }
            Outcome::Unknown => {
                self.unanswered += 1;
                possible.insert(content);
            }
        }
    }

    /// The items whose content is certain, so that the writer can change them.
    pub fn certain(&self) -> Vec<(String, Content)> {
        let certain = |(id, possible): (&String, &BTreeSet<Option<Content>>)| match possible.first() {
            Some(Some(content)) if possible.len() == 1 => Some((id.clone(), content.clone())),
            _ => None,
        };
        self.items.iter().filter_map(certain).collect()
    }

    /// Compares the ledger with the items that the server has now, by id, and takes these as the new state. `settled` says that
    /// no write is still under way: sync executes commands of an api that is gone, but a command that was sent to a killed sync is
    /// lost.
    ///
    /// # Errors
    /// An acknowledged write is missing, or an item has content that was never written.
    pub fn check(&mut self, shown: &mut BTreeMap<String, Content>, settled: bool) -> Result<(), String> {
        for (id, possible) in &mut self.items {
            let now = shown.remove(id);
            if !possible.contains(&now) {
                return Err(format!("item {id} is {now:?}, which none of these is: {possible:?}"));
            }
            if settled {
                *possible = BTreeSet::from([now]);
            }
        }
        // Items that were created without an answer are added, and ids that no longer exist are dropped.
        let adopted: Vec<String> = shown
            .iter()
            .filter(|(_, content)| self.attempted.contains(content))
            .map(|(id, _)| id.clone())
            .collect();
        for id in adopted {
            if let Some(content) = shown.remove(&id) {
                if !self.attempted.remove(&content) {
                    return Err(format!("{} was created twice", content.title));
                }
                self.items.insert(id, BTreeSet::from([Some(content)]));
            }
        }
        if settled {
            self.attempted.clear();
        }
        Ok(())
    }
}

/// A writer that has more items deletes one.
const MAX_ITEMS: usize = 10;

/// A client that writes to one vault, and notes in its ledger what was acknowledged.
pub struct Writer {
    addresses: Vec<SocketAddr>,
    token: String,
    items: String,
    name: String,
    ledger: Mutex<Ledger>,
}

impl Writer {
    fn ask(&self, address: SocketAddr, method: &str, target: &str, body: &str) -> Option<Reply> {
        let request = Request::new(method, target)
            .bearer(&self.token)
            .header("Connection", "close")
            .body(body);
        exchange(address, &request.bytes()).ok()
    }

    /// Makes one write. After anything but a success, the write may or may not have happened.
    fn write(&self, rng: &mut StdRng, n: u64) {
        let mut ledger = self.ledger();
        let address = self.addresses[rng.random_range(0..self.addresses.len())];
        let items = ledger.certain();
        let content = Content::new(&format!("{}-{n}", self.name));
        let choice = match items.len() {
            0 => 0,
            many if many > MAX_ITEMS => 9,
            _ => rng.random_range(0..10),
        };
        if choice < 3 {
            let reply = self
                .ask(address, "POST", &self.items, &content.body())
                .filter(|reply| reply.status == 200);
            let id = reply.and_then(|reply| reply.json()["id"].as_str().map(str::to_owned));
            return ledger.created(id, content);
        }
        let (id, old) = &items[rng.random_range(0..items.len())];
        let target = format!("{}/{id}", self.items);
        let (reply, new) = match choice {
            3..6 => (
                self.ask(address, "PUT", &target, &content.body()),
                Some(old.replaced(content)),
            ),
            6..9 => {
                let (patched, operations) = old.patched(&content);
                (self.ask(address, "PATCH", &target, &operations), Some(patched))
            }
            _ => (self.ask(address, "DELETE", &target, ""), None),
        };
        let good = if new.is_some() { 200 } else { 204 };
        if let Some(reply) = &reply {
            // A kill may cause 500, 503 or 504, or a connection that is closed without a response (0), and no other error.
            assert!(
                [good, 0, 500, 503, 504].contains(&reply.status),
                "{target}: {} {}",
                reply.status,
                reply.text()
            );
        }
        match reply.filter(|reply| reply.status == good) {
            Some(reply) => {
                // The answer shows the item as this write has made it, but with the version from before, as Connect does.
                let answer = new.clone().map(|new| Content {
                    version: old.version,
                    ..new
                });
                assert!(
                    answer.is_none() || Content::shown(&reply.json()) == answer,
                    "{target}: {} instead of {answer:?}",
                    reply.text()
                );
                ledger.wrote(id, new, Outcome::Done);
            }
            None => ledger.wrote(id, new, Outcome::Unknown),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clients that write to one vault at the same time, each through an api that it chooses anew for each write.
pub struct Writers {
    writers: Vec<Writer>,
    pause: RwLock<()>,
}

impl Writers {
    /// As many writers as `count`. They write to the apis at these addresses.
    pub fn new(count: u64, addresses: &[SocketAddr], token: &str, vault: &str) -> Self {
        let writers = (0..count).map(|n| Writer {
            addresses: addresses.to_vec(),
            token: token.to_owned(),
            items: format!("/v1/vaults/{vault}/items"),
            name: format!("w{n}"),
            ledger: Mutex::default(),
        });
        Self {
            writers: writers.collect(),
            pause: RwLock::default(),
        }
    }

    /// Writes until `disturb` returns.
    ///
    /// # Panics
    /// If `disturb` does, or a write gets an answer that no failure may cause.
    pub fn write_while(&self, seed: u64, disturb: impl FnOnce()) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (n, writer) in self.writers.iter().enumerate() {
                let mut rng = StdRng::seed_from_u64(seed ^ ((n as u64 + 1) << 32));
                let stop = &stop;
                scope.spawn(move || {
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let _writing = self.pause.read().unwrap_or_else(PoisonError::into_inner);
                        writer.write(&mut rng, n);
                    }
                });
            }
            then_stop(&stop, disturb);
        });
    }

    /// No write begins before the value is dropped.
    pub fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        self.pause.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares all ledgers with what the pair's api shows. `settled` is explained at [`Ledger::check`].
    ///
    /// # Panics
    /// If an acknowledged write is missing, or there is an item or a value that nobody wrote.
    pub fn check(&self, pair: &ServerPair, token: &str, vault: &str, settled: bool) {
        let mut there = shown(pair, token, vault);
        for writer in &self.writers {
            if let Err(lost) = writer.ledger().check(&mut there, settled) {
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

    /// How many writes were acknowledged, and how many got no answer.
    pub fn counts(&self) -> (u64, u64) {
        let sum = |count: fn(&Ledger) -> u64| self.writers.iter().map(|writer| count(&writer.ledger())).sum();
        (sum(|ledger| ledger.acknowledged), sum(|ledger| ledger.unanswered))
    }
}

/// All items, each by its own GET, so that the test also finds listed items that can't be read.
fn shown(pair: &ServerPair, token: &str, vault: &str) -> BTreeMap<String, Content> {
    let list = pair.get(token, &format!("/v1/vaults/{vault}/items"));
    assert_eq!(list.status, 200, "{}", list.text());
    let list = list.json();
    let ids = list
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["id"].as_str().expect("an id").to_owned());
    ids.map(|id| {
        let reply = pair.get(token, &format!("/v1/vaults/{vault}/items/{id}"));
        assert_eq!(reply.status, 200, "item {id}: {}", reply.text());
        let content = Content::shown(&reply.json()).unwrap_or_else(|| panic!("half an item: {}", reply.text()));
        (id, content)
    })
    .collect()
}
