//! When a PushSecret is looked at.

use std::sync::Arc;
use std::time::Instant;

use super::stores;
use crate::informer::{ObjectChange, changed};
use crate::object_key::ObjectKey;
use crate::operator::Operator;
use crate::queue::Queue;
use crate::types::{PushDeletionPolicy, PushSecret, Store, condition};
use crate::work::Trigger;

fn look(queue: &Queue, key: &ObjectKey, push_secret: &PushSecret) {
    queue.add(
        key.clone(),
        &stores::concurrency_group(push_secret),
        Trigger::WatchEvent,
        Instant::now(),
    );
}

/// It changed.
pub(crate) fn seen(
    operator: Option<&Arc<Operator>>,
    queue: &Queue,
    key: &ObjectKey,
    seen: ObjectChange<'_, PushSecret>,
) {
    let deletes = |push_secret: &PushSecret| push_secret.spec.deletion_policy == PushDeletionPolicy::Delete;
    let stores = match seen {
        ObjectChange::Applied(now, before) => {
            if before
                .as_ref()
                .is_some_and(|before| !changed(&before.metadata, &now.metadata))
            {
                return;
            }
            look(queue, key, now);
            let which = [Some(now), before.as_ref()].into_iter().flatten();
            let which = which.filter(|push_secret| deletes(push_secret));
            which.flat_map(|push_secret| stores::index(key, push_secret)).collect()
        }
        ObjectChange::Deleted(before) => {
            queue.forget(key);
            look(queue, key, before);
            match deletes(before) {
                true => stores::index(key, before),
                false => Vec::new(),
            }
        }
        ObjectChange::Unreadable(_, error) => {
            tracing::warn!(push_secret = %key, %error, "the PushSecret can't be read");
            Vec::new()
        }
    };
    // Their stores may be held now, or need not be any more.
    if let Some(operator) = operator {
        stores::wake(operator, stores);
    }
}

/// A store is new or another: those that failed need not wait for their time.
pub(crate) fn of_store(operator: &Operator, store: &Store) {
    for (key, push_secret) in stores::users(operator, store) {
        let mut references = push_secret.spec.secret_store_refs.iter();
        let names = references.any(|reference| stores::selects(reference, store).unwrap_or_default());
        let status = push_secret.status.as_ref();
        let ready = status.and_then(|status| condition::ready(&status.conditions));
        if names && ready.is_none_or(|ready| ready.status != "True") {
            look(&operator.queues.push_secrets, &key, &push_secret);
        }
    }
}
