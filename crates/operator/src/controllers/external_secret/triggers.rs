//! What makes an ExternalSecret be reconciled, apart from its interval and from events of Connect servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::core::ObjectMeta;
use kube::runtime::events::EventType;
use parking_lot::Mutex;

use crate::controllers::cluster_external_secret;
use crate::index::{IndexKey, TemplateKind};
use crate::informer::{ObjectChange, is_new_or_changed};
use crate::informers::{Informers, ManagedSecret};
use crate::object_key::ObjectKey;
use crate::provider::DependencyIndex;
use crate::queues::Queues;
use crate::recorder::Recorder;
use crate::secret::target_name;
use crate::stores::{named_stores, store_key};
use crate::types::{ExternalSecret, Served, StoreRef, condition};
use crate::work::Trigger;

/// The least time between two reconciles of an ExternalSecret that its templates cause.
const TEMPLATE_INTERVAL: Duration = Duration::from_secs(1);

/// The index keys of an ExternalSecret.
pub(crate) fn index(key: &ObjectKey, external_secret: &ExternalSecret) -> Vec<IndexKey> {
    let named = named_stores(external_secret);
    let mut index_keys: Vec<IndexKey> = if named.is_empty() {
        vec![IndexKey::Store(ObjectKey::cluster(""))]
    } else {
        let keys = named.into_iter().map(|store| store_key(store, &key.namespace));
        keys.map(IndexKey::Store).collect()
    };
    let parent = cluster_external_secret::owner(&external_secret.metadata);
    index_keys.extend(parent.map(|parent| IndexKey::Parent(parent.into())));
    let template = external_secret.spec.target.template.iter();
    for from in template.flat_map(|template| &template.template_from) {
        let config_map = from.config_map.iter().map(|source| (TemplateKind::ConfigMap, source));
        let secret = from.secret.iter().map(|source| (TemplateKind::Secret, source));
        index_keys.extend(config_map.chain(secret).map(|(kind, source)| {
            IndexKey::Template(kind, ObjectKey::new(key.namespace.clone(), source.name.as_str()))
        }));
    }
    let target = target_name(external_secret);
    // Usually the Secret has the ExternalSecret's name, and then its key shares the strings.
    index_keys.push(IndexKey::Target(if target == &*key.name {
        key.clone()
    } else {
        ObjectKey::new(key.namespace.clone(), target)
    }));
    index_keys
}

/// An ExternalSecret was created, changed or deleted. `started_at` is when the operator requested the first list.
pub(crate) fn on_external_secret(
    informers: &Informers,
    queues: &Queues,
    started_at: Instant,
    key: &ObjectKey,
    change: &ObjectChange<'_, ExternalSecret>,
) {
    match change {
        // Values may have changed while no operator ran, so the objects of the first list are read anew.
        ObjectChange::Applied(external_secret, None) if !informers.external_secrets.is_ready() => {
            queues.add_external_secret(key, external_secret, Trigger::SourceChanged, started_at);
        }
        ObjectChange::Applied(external_secret, before) => {
            if is_new_or_changed(before.as_ref(), external_secret) {
                queues.add_external_secret(key, external_secret, Trigger::WatchEvent, Instant::now());
            }
        }
        ObjectChange::Deleted(_) => queues.add_deleted_external_secret(key),
        ObjectChange::Unreadable(_, error) => {
            tracing::warn!(external_secret = %key, %error, "the ExternalSecret does not fit the resource definition");
        }
    }
}

/// Records an event about an ExternalSecret that does not fit the resource definition.
pub(crate) fn record_unreadable(
    recorder: &Arc<Recorder>,
    served: &Served,
    meta: &ObjectMeta,
    error: &serde_json::Error,
) {
    let (recorder, resource, meta) = (recorder.clone(), served.external_secret.clone(), meta.clone());
    let note = format!("the resource can't be read: {error}");
    tokio::spawn(async move {
        recorder
            .record(&resource, &meta, EventType::Warning, "UpdateFailed", note)
            .await;
    });
}

/// A Secret that an ExternalSecret writes was created, changed or deleted.
pub(crate) fn on_target(
    informers: &Informers,
    queues: &Queues,
    key: &ObjectKey,
    change: &ObjectChange<'_, ManagedSecret>,
) {
    // A list that is repeated shows objects that have not changed.
    if let ObjectChange::Applied(now, Some(before)) = change
        && now.identity == before.identity
    {
        return;
    }
    for key in informers.external_secrets.indexed(&IndexKey::Target(key.clone())) {
        requeue(informers, queues, &key, Trigger::WatchEvent, Instant::now());
    }
}

/// A ConfigMap or Secret that may hold templates was created or changed.
///
/// The Secret that one ExternalSecret writes may hold the template of another, and so on in a circle. So an ExternalSecret
/// that was read just now is reconciled after [`TEMPLATE_INTERVAL`].
pub(crate) fn on_template(
    informers: &Arc<Informers>,
    queues: &Arc<Queues>,
    dependencies: &Mutex<DependencyIndex>,
    kind: TemplateKind,
    key: &ObjectKey,
) {
    let now = Instant::now();
    let recently = now.checked_sub(TEMPLATE_INTERVAL);
    for key in informers
        .external_secrets
        .indexed(&IndexKey::Template(kind, key.clone()))
    {
        if recently.is_some_and(|recently| dependencies.lock().was_read_since(&key, recently)) {
            let (informers, queues) = (informers.clone(), queues.clone());
            tokio::spawn(async move {
                tokio::time::sleep(TEMPLATE_INTERVAL).await;
                requeue(&informers, &queues, &key, Trigger::SourceChanged, Instant::now());
            });
        } else {
            requeue(informers, queues, &key, Trigger::SourceChanged, now);
        }
    }
}

/// A store has changed, or has become ready or not ready: the ExternalSecrets that use it and are not ready try again.
pub(crate) fn on_store(informers: &Informers, queues: &Queues, default_store: Option<&StoreRef>, store: &ObjectKey) {
    let is_default = default_store
        .is_some_and(|default| *default.name == *store.name && default.is_cluster() == store.namespace.is_empty());
    let external_secrets = &informers.external_secrets;
    let mut dependents = external_secrets.indexed(&IndexKey::Store(store.clone()));
    if is_default {
        let naming_none = external_secrets.indexed(&IndexKey::Store(ObjectKey::cluster("")));
        let in_reach = |key: &ObjectKey| store.namespace.is_empty() || key.namespace == store.namespace;
        dependents.extend(naming_none.into_iter().filter(in_reach));
    }
    for key in dependents {
        let Some(external_secret) = external_secrets.get(&key) else {
            continue;
        };
        let status = external_secret.status.as_ref();
        if status.is_some_and(|status| condition::is_ready(&status.conditions)) {
            continue;
        }
        let was_synced = status.is_some_and(|status| status.synced_resource_version.is_some());
        // The first reconcile of a new ExternalSecret may run right now, and need not be repeated.
        let trigger = if was_synced {
            Trigger::SourceChanged
        } else {
            Trigger::WatchEvent
        };
        queues.add_external_secret(&key, &external_secret, trigger, Instant::now());
    }
}

/// Queues an ExternalSecret, if it still exists.
pub(crate) fn requeue(
    informers: &Informers,
    queues: &Queues,
    key: &ObjectKey,
    trigger: Trigger,
    requested_at: Instant,
) {
    if let Some(external_secret) = informers.external_secrets.get(key) {
        queues.add_external_secret(key, &external_secret, trigger, requested_at);
    }
}
