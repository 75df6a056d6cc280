//! When a ClusterExternalSecret is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use kube::core::ObjectMeta;

use super::{namespaces, owned};
use crate::informer::{ObjectChange, changed};
use crate::object_key::ObjectKey;
use crate::operator::{Meta, Operator};
use crate::queue::Queue;
use crate::types::{ClusterExternalSecret, ExternalSecret};
use crate::work::Trigger;

fn look(queue: &Queue, name: &str) {
    queue.add(ObjectKey::cluster(name), "", Trigger::WatchEvent, Instant::now());
}

/// It changed.
pub(crate) fn seen(queue: &Queue, key: &ObjectKey, seen: ObjectChange<'_, ClusterExternalSecret>) {
    match seen {
        ObjectChange::Applied(now, before)
            if before
                .as_ref()
                .is_none_or(|before| changed(&before.metadata, &now.metadata)) =>
        {
            look(queue, &key.name);
        }
        ObjectChange::Applied(..) => {}
        ObjectChange::Deleted(_) => {
            queue.forget(key);
            look(queue, &key.name);
        }
        ObjectChange::Unreadable(_, error) => {
            tracing::warn!(cluster_external_secret = %key, %error, "the ClusterExternalSecret can't be read");
        }
    }
}

/// An ExternalSecret changed, or is gone: it may be one's own, or may have had its name.
pub(crate) fn of_owned(operator: Option<&Arc<Operator>>, queue: &Queue, seen: &ObjectChange<'_, ExternalSecret>) {
    let (meta, gone) = match seen {
        ObjectChange::Applied(now, Some(before)) if !changed(&before.metadata, &now.metadata) => return,
        ObjectChange::Applied(now, _) => (&now.metadata, false),
        ObjectChange::Deleted(before) => (&before.metadata, true),
        ObjectChange::Unreadable(meta, _) => (*meta, false),
    };
    if let Some(owner) = owned::owner(meta) {
        look(queue, owner);
    } else if let (true, Some(operator)) = (gone, operator) {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        for (key, ces) in operator.informers.cluster_external_secrets.all() {
            let failed = ces.status.iter().flat_map(|status| &status.failed_namespaces);
            if failed.into_iter().any(|failed| failed.namespace == namespace) {
                look(queue, &key.name);
            }
        }
    }
}

/// A namespace changed, or is gone.
pub(crate) fn of_namespace(operator: &Operator, key: &ObjectKey, seen: &ObjectChange<'_, Meta>) {
    let queue = &operator.queues.cluster_external_secrets;
    let parts = |meta: &ObjectMeta| (meta.labels.clone(), meta.deletion_timestamp.clone());
    let meta = match seen {
        ObjectChange::Applied(now, Some(before)) if parts(&now.metadata) == parts(&before.metadata) => return,
        ObjectChange::Applied(now, _) | ObjectChange::Deleted(now) => &now.metadata,
        ObjectChange::Unreadable(..) => return,
    };
    let none = BTreeMap::new();
    let labels = meta.labels.as_ref().unwrap_or(&none);
    for (ces_key, ces) in operator.informers.cluster_external_secrets.all() {
        let is = namespaces::is_selected(&ces.spec, &key.name, labels).unwrap_or_default();
        let was = ces.status.as_ref().is_some_and(|status| {
            status.provisioned_namespaces.iter().any(|name| **name == *key.name)
                || status
                    .failed_namespaces
                    .iter()
                    .any(|failed| *failed.namespace == *key.name)
        });
        if is || was {
            look(queue, &ces_key.name);
        }
    }
    if meta.deletion_timestamp.is_some() {
        // One that External Secrets holds for a ClusterExternalSecret that does not want it any more, or is gone.
        for finalizer in meta.finalizers.iter().flatten() {
            if let Some(name) = finalizer.strip_prefix(&namespaces::finalizer("")) {
                look(queue, name);
            }
        }
    }
}
