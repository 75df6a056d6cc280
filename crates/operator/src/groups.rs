//! The concurrency group of each object: the objects of a group share the workers of their store, and no others.
//!
//! See [`Queue`](crate::queue::Queue) for what a group is. Objects without a group of their own are in the group `""`.

use std::collections::BTreeSet;

use crate::object_key::ObjectKey;
use crate::stores::{named, named_stores, store_key};
use crate::types::{ExternalSecret, PushSecret, StoreRef};

/// The group of a store: its own, because each store waits for its own server.
pub(crate) fn of_store(key: &ObjectKey) -> String {
    key.to_string()
}

/// The group of an ExternalSecret: all its stores together, because each of them can delay it. Those that are being deleted
/// need no store, and are in the group `""`.
pub(crate) fn of_external_secret(external_secret: &ExternalSecret, default_store: Option<&StoreRef>) -> String {
    if external_secret.metadata.deletion_timestamp.is_some() {
        return String::new();
    }
    let namespace = external_secret.metadata.namespace.as_deref().unwrap_or_default();
    let named = named_stores(external_secret);
    let default_store = default_store.filter(|_| named.is_empty());
    let stores = named.into_iter().chain(default_store);
    join(stores.map(|store| of_store(&store_key(store, namespace))))
}

/// The group of a PushSecret: all stores that it names together, because each of them can delay it. Which stores a label
/// selects changes, so a PushSecret with a label selector has a group of its own.
pub(crate) fn of_push_secret(push_secret: &PushSecret) -> String {
    let namespace = push_secret.metadata.namespace.as_deref().unwrap_or_default();
    let references = push_secret.spec.secret_store_refs.iter();
    join(references.map(|reference| match reference.label_selector {
        None => of_store(&store_key(&named(reference), namespace)),
        Some(_) => ObjectKey::of(&push_secret.metadata).to_string(),
    }))
}

fn join(groups: impl Iterator<Item = String>) -> String {
    let groups: BTreeSet<String> = groups.collect();
    groups.into_iter().collect::<Vec<_>>().join(" ")
}
