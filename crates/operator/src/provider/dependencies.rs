//! Which items and vaults each ExternalSecret depends on, so that a change at a Connect server requeues the
//! ExternalSecrets that use the changed item, and no others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use sidevault_model::{ItemId, VaultId};

use crate::object_key::ObjectKey;

/// A part of a Connect server that the result of a [`RemoteQuery`](super::RemoteQuery) depends on: the result may be
/// different once this part has changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Dependency {
    /// An item that was read.
    Item(VaultId, ItemId),
    /// A title or an id that a vault does not have, or a title that several of its items have. A new item may get this
    /// title.
    Absent(VaultId, String),
    /// A vault all of whose items were searched.
    Vault(VaultId),
}

/// What the results of all queries to one store depend on.
pub(crate) type Dependencies = HashSet<Dependency>;

/// The dependencies of each ExternalSecret, and the ExternalSecrets by dependency.
#[derive(Default)]
pub(crate) struct DependencyIndex {
    by_object: HashMap<ObjectKey, ObjectDependencies>,
    dependents: BTreeMap<(ObjectKey, Dependency), HashSet<ObjectKey>>,
}

/// What one ExternalSecret depends on, each with its store.
struct ObjectDependencies {
    /// When the read of its values began.
    read_began: Instant,
    /// Sorted.
    dependencies: Box<[(ObjectKey, Dependency)]>,
}

impl DependencyIndex {
    /// Replaces the dependencies of an ExternalSecret with those of a read that began at `read_began`.
    pub(crate) fn set(
        &mut self,
        key: &ObjectKey,
        read_began: Instant,
        dependencies: &HashMap<ObjectKey, Dependencies>,
    ) {
        let dependencies = dependencies
            .iter()
            .flat_map(|(store, dependencies)| dependencies.iter().map(|one| (store.clone(), one.clone())));
        // An equal dependency of another ExternalSecret shares its strings.
        let dependencies = dependencies.map(|one| {
            self.dependents
                .get_key_value(&one)
                .map_or(one, |(known, _)| known.clone())
        });
        let mut dependencies: Box<[(ObjectKey, Dependency)]> = dependencies.collect();
        dependencies.sort_unstable();
        if let Some(known) = self.by_object.get_mut(key)
            && known.dependencies == dependencies
        {
            known.read_began = read_began;
            return;
        }
        self.remove(key);
        for one in &dependencies {
            self.dependents.entry(one.clone()).or_default().insert(key.clone());
        }
        let dependencies = ObjectDependencies {
            read_began,
            dependencies,
        };
        self.by_object.insert(key.clone(), dependencies);
    }

    /// Removes an ExternalSecret.
    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        let Some(removed) = self.by_object.remove(key) else {
            return;
        };
        for one in removed.dependencies {
            if let Some(keys) = self.dependents.get_mut(&one) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(&one);
                }
            }
        }
    }

    /// The ExternalSecrets that use an item or searched its vault.
    pub(crate) fn of_item(&self, store: &ObjectKey, vault: VaultId, item: ItemId) -> HashSet<ObjectKey> {
        [Dependency::Item(vault, item), Dependency::Vault(vault)]
            .into_iter()
            .filter_map(|dependency| self.dependents.get(&(store.clone(), dependency)))
            .flatten()
            .cloned()
            .collect()
    }

    /// The ExternalSecrets that use an item or searched its vault, each with its store and the dependency.
    pub(crate) fn users(&self, vault: VaultId, item: ItemId) -> Vec<(&ObjectKey, &ObjectKey, &Dependency)> {
        let wanted = [Dependency::Item(vault, item), Dependency::Vault(vault)];
        let found = self
            .dependents
            .iter()
            .filter(|((_, dependency), _)| wanted.contains(dependency));
        found
            .flat_map(|((store, dependency), keys)| keys.iter().map(move |key| (key, store, dependency)))
            .collect()
    }

    /// The ExternalSecrets that looked for a title or an id in a vault and did not find exactly one item.
    pub(crate) fn of_absent(&self, store: &ObjectKey, vault: VaultId, title: &str) -> HashSet<ObjectKey> {
        let absent = Dependency::Absent(vault, title.to_owned());
        let dependents = self.dependents.get(&(store.clone(), absent));
        dependents.cloned().unwrap_or_default()
    }

    /// Whether any ExternalSecret looked for an item in a vault and did not find exactly one.
    pub(crate) fn anyone_misses_something(&self, store: &ObjectKey, vault: VaultId) -> bool {
        // The empty title is the first in the order of the map.
        let from = (store.clone(), Dependency::Absent(vault, String::new()));
        let next = self.dependents.range(from..).next();
        next.is_some_and(|((of, dependency), _)| {
            of == store && matches!(dependency, Dependency::Absent(in_vault, _) if *in_vault == vault)
        })
    }

    /// Whether the last read of an ExternalSecret began after `at`. Such a read has seen every change made at `at`.
    pub(crate) fn was_read_since(&self, key: &ObjectKey, at: Instant) -> bool {
        self.by_object.get(key).is_some_and(|known| known.read_began > at)
    }

    /// The ExternalSecrets that depend on anything of a store.
    pub(crate) fn of_store(&self, store: &ObjectKey) -> HashSet<ObjectKey> {
        let dependents = self
            .by_object
            .iter()
            .filter(|(_, known)| known.dependencies.iter().any(|(of, _)| of == store));
        dependents.map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dependents_of_a_changed_item_are_found() {
        let vault = VaultId::parse("abcdefghijklmnopqrstuvwxyz").unwrap();
        let (a, b) = (
            ItemId::parse("aaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap(),
            ItemId::parse("bbbbbbbbbbbbbbbbbbbbbbbbbb").unwrap(),
        );
        let (one, two) = (ObjectKey::new("ns", "one"), ObjectKey::new("ns", "two"));
        let (store, other) = (ObjectKey::new("", "store"), ObjectKey::new("", "other"));
        let now = Instant::now();
        let mut index = DependencyIndex::default();
        let dependencies = |items: &[ItemId], absent: &[&str]| {
            let items = items.iter().map(|item| Dependency::Item(vault, *item));
            let absent = absent
                .iter()
                .map(|title| Dependency::Absent(vault, (*title).to_owned()));
            HashMap::from([(store.clone(), items.chain(absent).collect())])
        };
        index.set(&one, now, &dependencies(&[a], &[]));
        index.set(&two, now, &dependencies(&[b], &["gone"]));
        assert_eq!(index.of_item(&store, vault, a), HashSet::from([one.clone()]));
        assert_eq!(index.of_absent(&store, vault, "gone"), HashSet::from([two.clone()]));
        assert!(index.of_item(&other, vault, a).is_empty());
        let users = |item| {
            index
                .users(vault, item)
                .iter()
                .map(|(key, ..)| (*key).clone())
                .collect::<Vec<_>>()
        };
        assert_eq!([users(a), users(b)], [vec![one.clone()], vec![two.clone()]]);
        index.set(&one, now, &dependencies(&[b], &[]));
        assert!(index.of_item(&store, vault, a).is_empty());
        assert_eq!(index.of_item(&store, vault, b).len(), 2);
        index.remove(&two);
        assert!(!index.anyone_misses_something(&store, vault));
        assert_eq!(index.of_store(&store), HashSet::from([one]));
    }
}
