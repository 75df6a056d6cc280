//! Which ExternalSecrets hang on what, so that a change wakes exactly those it concerns.

use std::collections::{BTreeMap, HashMap, HashSet};

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

/// What all answers of one server hang on.
pub(crate) type Uses = HashSet<Use>;

/// What ExternalSecrets hang on, by connection, and the other way round.
#[derive(Default)]
pub(crate) struct UsesIndex {
    of: HashMap<ObjectKey, Box<[(u64, Use)]>>,
    users: BTreeMap<(u64, Use), HashSet<ObjectKey>>,
}

impl UsesIndex {
    /// Notes what an ExternalSecret hangs on, in place of what it hung on before.
    pub(crate) fn set(&mut self, key: &ObjectKey, uses: HashMap<u64, Uses>) {
        let of_one = |(connection, uses): (u64, Uses)| uses.into_iter().map(move |one| (connection, one));
        let mut uses: Box<[(u64, Use)]> = uses.into_iter().flat_map(of_one).collect();
        uses.sort_unstable();
        if self.of.get(key) == Some(&uses) {
            return;
        }
        self.remove(key);
        for one in &uses {
            self.users.entry(one.clone()).or_default().insert(key.clone());
        }
        self.of.insert(key.clone(), uses);
    }

    /// Forgets an ExternalSecret.
    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        for one in self.of.remove(key).unwrap_or_default() {
            if let Some(keys) = self.users.get_mut(&one) {
                keys.remove(key);
                if keys.is_empty() {
                    self.users.remove(&one);
                }
            }
        }
    }

    /// Who uses an item, or searched its vault.
    pub(crate) fn of_item(&self, connection: u64, vault: VaultId, item: ItemId) -> HashSet<ObjectKey> {
        let ways = [Use::Item(vault, item), Use::Whole(vault)];
        let users = ways.into_iter().filter_map(|way| self.users.get(&(connection, way)));
        users.flatten().cloned().collect()
    }

    /// Who looked for a title (or an id) in vain.
    pub(crate) fn of_absent(&self, connection: u64, vault: VaultId, title: &str) -> HashSet<ObjectKey> {
        let absent = Use::Absent(vault, title.to_owned());
        self.users.get(&(connection, absent)).cloned().unwrap_or_default()
    }

    /// Whether anyone looked for anything in a vault in vain.
    pub(crate) fn anyone_misses_something(&self, connection: u64, vault: VaultId) -> bool {
        let from = (connection, Use::Absent(vault, String::new()));
        let next = self.users.range(from..).next();
        next.is_some_and(|((of, way), _)| *of == connection && matches!(way, Use::Absent(in_, _) if *in_ == vault))
    }

    /// Everyone who hangs on a connection.
    pub(crate) fn of_connection(&self, connection: u64) -> HashSet<ObjectKey> {
        let users = self
            .of
            .iter()
            .filter(|(_, uses)| uses.iter().any(|(of, _)| *of == connection));
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
        let mut index = UsesIndex::default();
        let uses = |items: &[ItemId], absent: &[&str]| {
            let items = items.iter().map(|item| Use::Item(vault, *item));
            let absent = absent.iter().map(|title| Use::Absent(vault, (*title).to_owned()));
            HashMap::from([(1, items.chain(absent).collect())])
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
