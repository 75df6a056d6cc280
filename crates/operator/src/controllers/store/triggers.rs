//! What a change of a store triggers: a check of the store itself, and reconciles of the objects that use it.

use crate::controllers::{external_secret, push_secret};
use crate::informer::{ObjectChange, is_new_or_changed};
use crate::informers::Informers;
use crate::object_key::ObjectKey;
use crate::provider::Connections;
use crate::queues::Queues;
use crate::types::{Store, StoreRef, condition};

/// A store was created, changed or deleted.
pub(crate) fn on_store(
    informers: &Informers,
    queues: &Queues,
    connections: &Connections,
    default_store: Option<&StoreRef>,
    key: &ObjectKey,
    change: ObjectChange<'_, Store>,
) {
    match change {
        ObjectChange::Applied(store, before) => {
            let is_changed = is_new_or_changed(before.as_ref(), store);
            if is_changed {
                queues.add_store(key);
            }
            // When a store changes or becomes ready, requeue its dependents now. A new store becomes ready later.
            let is_update = before
                .as_ref()
                .is_some_and(|before| is_changed || readiness(before) != readiness(store));
            if is_update {
                external_secret::triggers::on_store(informers, queues, default_store, key);
                push_secret::triggers::on_store(informers, queues, store);
            }
        }
        ObjectChange::Deleted(_) => {
            queues.of_store(key).forget(key);
            // One more reconcile, which removes the metrics of the store.
            queues.add_store(key);
            connections.close(key);
        }
        ObjectChange::Unreadable(_, error) => {
            tracing::warn!(store = %key, %error, "the store does not fit the resource definition and is ignored");
        }
    }
}

/// A store may work again: check it now if it is not ready.
pub(crate) fn recheck(informers: &Informers, queues: &Queues, key: &ObjectKey) {
    let store = informers.stores.by_key(key);
    let status = store.as_ref().and_then(|store| store.status.as_ref());
    if status.is_some_and(|status| !condition::is_ready(&status.conditions)) {
        queues.add_store(key);
    }
}

fn readiness(store: &Store) -> Option<bool> {
    let status = store.status.as_ref()?;
    Some(condition::is_ready(&status.conditions))
}
