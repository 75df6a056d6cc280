//! Which ExternalSecrets hang on what, so that a change wakes exactly those it concerns.

use std::collections::{HashMap, HashSet};

use sidevault_model::{ItemId, VaultId};

use crate::queue::ObjectKey;

/// What one set of answers hangs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Items that were read.
    pub(crate) items: HashSet<(VaultId, ItemId)>,
    /// Titles that a vault does not have (or has twice): a new item may bear them.
    pub(crate) absent: HashSet<(VaultId, String)>,
    /// Vaults that were searched whole.
    pub(crate) whole: HashSet<VaultId>,
}

impl Uses {
    /// Adds what other answers hang on.
    pub(crate) fn extend(&mut self, other: Self) {
        self.items.extend(other.items);
        self.absent.extend(other.absent);
        self.whole.extend(other.whole);
    }
}

/// The other way round: by connection and thing, who hangs on it.
#[derive(Default)]
pub(crate) struct UsesIndex {
    of: HashMap<ObjectKey, HashMap<u64, Uses>>,
    items: HashMap<(u64, VaultId, ItemId), HashSet<ObjectKey>>,
    absent: HashMap<(u64, VaultId, String), HashSet<ObjectKey>>,
    whole: HashMap<(u64, VaultId), HashSet<ObjectKey>>,
}

impl UsesIndex {
    /// Notes what an ExternalSecret hangs on, in place of what it hung on before.
    pub(crate) fn set(&mut self, key: &ObjectKey, uses: HashMap<u64, Uses>) {
        if self.of.get(key).is_some_and(|known| *known == uses) {
            return;
        }
        self.remove(key);
        for (&connection, uses) in &uses {
            for &(vault, item) in &uses.items {
                self.items
                    .entry((connection, vault, item))
                    .or_default()
                    .insert(key.clone());
            }
            for (vault, title) in &uses.absent {
                self.absent
                    .entry((connection, *vault, title.clone()))
                    .or_default()
                    .insert(key.clone());
            }
            for &vault in &uses.whole {
                self.whole.entry((connection, vault)).or_default().insert(key.clone());
            }
        }
        self.of.insert(key.clone(), uses);
    }

    /// Forgets an ExternalSecret.
    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        for (connection, uses) in self.of.remove(key).unwrap_or_default() {
            for (vault, item) in uses.items {
                take(&mut self.items, &(connection, vault, item), key);
            }
            for (vault, title) in uses.absent {
                take(&mut self.absent, &(connection, vault, title), key);
            }
            for vault in uses.whole {
                take(&mut self.whole, &(connection, vault), key);
            }
        }
    }

    /// Who uses an item, or searched its vault.
    pub(crate) fn of_item(&self, connection: u64, vault: VaultId, item: ItemId) -> HashSet<ObjectKey> {
        let users = self.items.get(&(connection, vault, item)).into_iter().flatten();
        let searchers = self.whole.get(&(connection, vault)).into_iter().flatten();
        users.chain(searchers).cloned().collect()
    }

    /// Who looked for a title (or an id) in vain.
    pub(crate) fn of_absent(&self, connection: u64, vault: VaultId, title: &str) -> HashSet<ObjectKey> {
        let key = (connection, vault, title.to_owned());
        self.absent.get(&key).cloned().unwrap_or_default()
    }

    /// Whether anyone looked for anything in a vault in vain.
    pub(crate) fn anyone_misses_something(&self, connection: u64, vault: VaultId) -> bool {
        self.absent
            .keys()
            .any(|(of, in_, _)| *of == connection && *in_ == vault)
    }

    /// Everyone who hangs on a connection.
    pub(crate) fn of_connection(&self, connection: u64) -> HashSet<ObjectKey> {
        let users = self.of.iter().filter(|(_, uses)| uses.contains_key(&connection));
        users.map(|(key, _)| key.clone()).collect()
    }
}

fn take<K: std::hash::Hash + Eq>(map: &mut HashMap<K, HashSet<ObjectKey>>, at: &K, key: &ObjectKey) {
    if let Some(keys) = map.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(at);
        }
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
        let mut index = UsesIndex::default();
        let uses = |items: &[ItemId], absent: &[&str]| {
            let uses = Uses {
                items: items.iter().map(|item| (vault, *item)).collect(),
                absent: absent.iter().map(|title| (vault, (*title).to_owned())).collect(),
                whole: HashSet::new(),
            };
            HashMap::from([(1, uses)])
        };
        index.set(&one, uses(&[a], &[]));
        index.set(&two, uses(&[b], &["gone"]));
        assert_eq!(index.of_item(1, vault, a), HashSet::from([one.clone()]));
        assert_eq!(index.of_absent(1, vault, "gone"), HashSet::from([two.clone()]));
        assert!(index.of_item(2, vault, a).is_empty());
        index.set(&one, uses(&[b], &[]));
        assert!(index.of_item(1, vault, a).is_empty());
        assert_eq!(index.of_item(1, vault, b).len(), 2);
        index.remove(&two);
        assert!(!index.anyone_misses_something(1, vault));
        assert_eq!(index.of_connection(1), HashSet::from([one]));
    }
}
