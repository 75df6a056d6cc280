//! What makes a ClusterExternalSecret be reconciled, apart from its interval.

use std::collections::BTreeMap;

use kube::core::ObjectMeta;

use super::{namespaces, owned};
use crate::informer::{ObjectChange, is_new_or_changed};
use crate::informers::{Informers, Metadata};
use crate::object_key::ObjectKey;
use crate::queues::Queues;
use crate::types::{ClusterExternalSecret, ExternalSecret};

/// A ClusterExternalSecret was created, changed or deleted.
pub(crate) fn on_cluster_external_secret(
    queues: &Queues,
    key: &ObjectKey,
    change: ObjectChange<'_, ClusterExternalSecret>,
) {
    match change {
        ObjectChange::Applied(now, before) => {
            if is_new_or_changed(before.as_ref(), now) {
                queues.add_cluster_external_secret(&key.name);
            }
        }
        ObjectChange::Deleted(_) => {
            queues.cluster_external_secrets.forget(key);
            queues.add_cluster_external_secret(&key.name);
        }
        ObjectChange::Unreadable(_, error) => {
            tracing::warn!(cluster_external_secret = %key, %error, "the ClusterExternalSecret does not fit the resource \
                definition and is ignored");
        }
    }
}

/// An ExternalSecret was created, changed or deleted: its owner may have to restore it, or may take the name that has become
/// free.
pub(crate) fn on_external_secret(informers: &Informers, queues: &Queues, change: &ObjectChange<'_, ExternalSecret>) {
    let (meta, is_deleted) = match change {
        ObjectChange::Applied(now, before) if !is_new_or_changed(before.as_ref(), now) => return,
        ObjectChange::Applied(now, _) => (&now.metadata, false),
        ObjectChange::Deleted(before) => (&before.metadata, true),
        ObjectChange::Unreadable(meta, _) => (*meta, false),
    };
    if let Some(owner) = owned::owner(meta) {
        queues.add_cluster_external_secret(owner);
    } else if is_deleted {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        for (key, ces) in informers.cluster_external_secrets.all() {
            let failed = ces.status.iter().flat_map(|status| &status.failed_namespaces);
            if failed.into_iter().any(|failed| failed.namespace == namespace) {
                queues.add_cluster_external_secret(&key.name);
            }
        }
    }
}

/// A namespace was created, changed or deleted.
pub(crate) fn on_namespace(
    informers: &Informers,
    queues: &Queues,
    key: &ObjectKey,
    change: &ObjectChange<'_, Metadata>,
) {
    let parts = |meta: &ObjectMeta| (meta.labels.clone(), meta.deletion_timestamp.clone());
    let meta = match change {
        ObjectChange::Applied(now, Some(before)) if parts(&now.metadata) == parts(&before.metadata) => return,
        ObjectChange::Applied(now, _) | ObjectChange::Deleted(now) => &now.metadata,
        ObjectChange::Unreadable(..) => return,
    };
    let no_labels = BTreeMap::new();
    let labels = meta.labels.as_ref().unwrap_or(&no_labels);
    for (ces_key, ces) in informers.cluster_external_secrets.all() {
        let is_selected = namespaces::is_selected(&ces.spec, &key.name, labels).unwrap_or_default();
        let was_selected = ces.status.as_ref().is_some_and(|status| {
            let mut provisioned = status.provisioned_namespaces.iter();
            let mut failed = status.failed_namespaces.iter();
            provisioned.any(|name| **name == *key.name) || failed.any(|failed| *failed.namespace == *key.name)
        });
        if is_selected || was_selected {
            queues.add_cluster_external_secret(&ces_key.name);
        }
    }
    if meta.deletion_timestamp.is_some() {
        // External Secrets may have put its finalizer on the namespace for a ClusterExternalSecret that no longer selects
        // it, or no longer exists.
        for finalizer in meta.finalizers.iter().flatten() {
            if let Some(name) = finalizer.strip_prefix(&namespaces::finalizer("")) {
                queues.add_cluster_external_secret(name);
            }
        }
    }
}
