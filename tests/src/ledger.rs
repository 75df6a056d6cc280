//! A record of what writers sent and of what was acknowledged. An acknowledged write must be in the store; a write without an
//! answer must be there completely, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// How many fields each item in the ledger has. A write changes all of them.
pub const FIELDS: usize = 5;

/// The part of an item that the ledger compares: the title, and the fields' values in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// The title.
    pub title: String,
    /// The values of the fields `f0`, `f1`, …
    pub values: Vec<String>,
}

impl Content {
    /// Content that no other write has: `mark` is in the title and, repeated, in every value.
    pub fn new(mark: &str) -> Self {
        let values = (0..FIELDS).map(|n| format!("{mark}/{n} ").repeat(20)).collect();
        Self {
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

    /// This content with the title and every second field of `next`, and the PATCH that changes the item so.
    pub fn patched(&self, next: &Self) -> (Self, String) {
        let mut content = Self {
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
