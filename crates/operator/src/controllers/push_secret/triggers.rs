//! What makes a PushSecret be reconciled, apart from its interval.

use super::stores;
use crate::index::IndexKey;
use crate::informer::{ObjectChange, is_new_or_changed};
use crate::informers::Informers;
use crate::object_key::ObjectKey;
use crate::queues::Queues;
use crate::types::{PushDeletionPolicy, PushSecret, Store, condition};

pub(crate) use super::stores::index;

/// A PushSecret was created, changed or deleted. Its stores may need their finalizer now, or no longer.
pub(crate) fn on_push_secret(
    informers: &Informers,
    queues: &Queues,
    key: &ObjectKey,
    change: ObjectChange<'_, PushSecret>,
) {
    let needed_stores = |push_secret: &PushSecret| -> Vec<IndexKey> {
        if push_secret.spec.deletion_policy == PushDeletionPolicy::Delete {
            index(key, push_secret)
        } else {
            Vec::new()
        }
    };
    let stores = match change {
        ObjectChange::Applied(now, before) => {
            if !is_new_or_changed(before.as_ref(), now) {
                return;
            }
            queues.add_push_secret(key, now);
            let mut stores = needed_stores(now);
            stores.extend(before.iter().flat_map(|before| needed_stores(before)));
            stores
        }
        ObjectChange::Deleted(before) => {
            queues.push_secrets.forget(key);
            queues.add_push_secret(key, before);
            needed_stores(before)
        }
        ObjectChange::Unreadable(_, error) => {
            tracing::warn!(push_secret = %key, %error, "the PushSecret does not fit the resource definition and is ignored");
            return;
        }
    };
    stores::requeue_stores(informers, queues, stores);
}

/// A store has changed, or has become ready or not ready: the PushSecrets that write to it and are not ready try again.
pub(crate) fn on_store(informers: &Informers, queues: &Queues, store: &Store) {
    for (key, push_secret) in stores::users(informers, store) {
        let mut references = push_secret.spec.secret_store_refs.iter();
        let selects_it = references.any(|reference| stores::selects(reference, store).unwrap_or_default());
        let status = push_secret.status.as_ref();
        let is_ready = status.is_some_and(|status| condition::is_ready(&status.conditions));
        if selects_it && !is_ready {
            queues.add_push_secret(&key, &push_secret);
        }
    }
}
