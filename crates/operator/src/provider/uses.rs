//! Which ExternalSecrets hang on what, so that a change wakes exactly those it concerns.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use sidevault_model::{ItemId, VaultId};

use crate::queue::ObjectKey;

/// What an answer hangs on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Use {
    /// An item that was read.
    Item(VaultId, ItemId),
    /// A title (or an id) that a vault does not have, or has twice: a new item may bear it.
    Absent(VaultId, String),
    /// A vault that was searched whole.
    Whole(VaultId),
}

/// What all answers of one store hang on.
pub(crate) type Uses = HashSet<Use>;

/// What ExternalSecrets hang on, by store, and the other way round.
#[derive(Default)]
pub(crate) struct UsesIndex {
    of: HashMap<ObjectKey, Read>,
    users: BTreeMap<(ObjectKey, Use), HashSet<ObjectKey>>,
}

/// When an ExternalSecret's values were read, and what they hang on.
struct Read {
    began: Instant,
    uses: Box<[(ObjectKey, Use)]>,
}

impl UsesIndex {
    /// Notes what an ExternalSecret hangs on, by a read that began at this moment, in place of what it hung on before.
    pub(crate) fn set(&mut self, key: &ObjectKey, began: Instant, uses: &HashMap<ObjectKey, Uses>) {
        let uses = uses.iter();
        let uses = uses.flat_map(|(store, uses)| uses.iter().map(|one| (store.clone(), one.clone())));
        // What others use too is kept once.
        let uses = uses.map(|one| self.users.get_key_value(&one).map_or(one, |(known, _)| known.clone()));
        let mut uses: Box<[(ObjectKey, Use)]> = uses.collect();
        uses.sort_unstable();
        if let Some(known) = self.of.get_mut(key).filter(|known| known.uses == uses) {
            known.began = began;
            return;
        }
        self.remove(key);
        for one in &uses {
            self.users.entry(one.clone()).or_default().insert(key.clone());
        }
        self.of.insert(key.clone(), Read { began, uses });
    }

    /// Forgets an ExternalSecret.
    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        let Some(read) = self.of.remove(key) else { return };
        for one in read.uses {
            if let Some(keys) = self.users.get_mut(&one) {
                keys.remove(key);
                if keys.is_empty() {
                    self.users.remove(&one);
                }
            }
        }
    }

    /// Who uses an item, or searched its vault.
    pub(crate) fn of_item(&self, store: &ObjectKey, vault: VaultId, item: ItemId) -> HashSet<ObjectKey> {
        let ways = [Use::Item(vault, item), Use::Whole(vault)];
        let users = ways.into_iter().filter_map(|way| self.users.get(&(store.clone(), way)));
        users.flatten().cloned().collect()
    }

    /// Who looked for a title (or an id) in vain.
    pub(crate) fn of_absent(&self, store: &ObjectKey, vault: VaultId, title: &str) -> HashSet<ObjectKey> {
        let absent = Use::Absent(vault, title.to_owned());
        self.users.get(&(store.clone(), absent)).cloned().unwrap_or_default()
    }

    /// Whether anyone looked for anything in a vault in vain.
    pub(crate) fn anyone_misses_something(&self, store: &ObjectKey, vault: VaultId) -> bool {
        let from = (store.clone(), Use::Absent(vault, String::new()));
        let next = self.users.range(from..).next();
        next.is_some_and(|((of, way), _)| of == store && matches!(way, Use::Absent(in_, _) if *in_ == vault))
    }

    /// Whether an ExternalSecret was read since a moment: it knows then what changed at that moment.
    pub(crate) fn was_read_since(&self, key: &ObjectKey, at: Instant) -> bool {
        self.of.get(key).is_some_and(|read| read.began > at)
    }

    /// Everyone who hangs on a store.
    pub(crate) fn of_store(&self, store: &ObjectKey) -> HashSet<ObjectKey> {
        let users = self
            .of
            .iter()
            .filter(|(_, read)| read.uses.iter().any(|(of, _)| of == store));
        users.map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_change_concerns_those_who_use_it_and_no_others() {
        let vault = VaultId::parse("abcdefghijklmnopqrstuvwxyz").unwrap();
        let (a, b) = (
            ItemId::parse("aaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap(),
            ItemId::parse("bbbbbbbbbbbbbbbbbbbbbbbbbb").unwrap(),
        );
        let (one, two) = (ObjectKey::new("ns", "one"), ObjectKey::new("ns", "two"));
        let (store, other) = (ObjectKey::new("", "store"), ObjectKey::new("", "other"));
        let now = Instant::now();
        let mut index = UsesIndex::default();
        let uses = |items: &[ItemId], absent: &[&str]| {
            let items = items.iter().map(|item| Use::Item(vault, *item));
            let absent = absent.iter().map(|title| Use::Absent(vault, (*title).to_owned()));
            HashMap::from([(store.clone(), items.chain(absent).collect())])
        };
        index.set(&one, now, &uses(&[a], &[]));
        index.set(&two, now, &uses(&[b], &["gone"]));
        assert_eq!(index.of_item(&store, vault, a), HashSet::from([one.clone()]));
        assert_eq!(index.of_absent(&store, vault, "gone"), HashSet::from([two.clone()]));
        assert!(index.of_item(&other, vault, a).is_empty());
        index.set(&one, now, &uses(&[b], &[]));
        assert!(index.of_item(&store, vault, a).is_empty());
        assert_eq!(index.of_item(&store, vault, b).len(), 2);
        index.remove(&two);
        assert!(!index.anyone_misses_something(&store, vault));
        assert_eq!(index.of_store(&store), HashSet::from([one]));
    }
}
