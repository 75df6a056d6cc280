//! The stores that a PushSecret writes to, and the finalizer that keeps them from being deleted before its values are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::controllers::namespaces::{matches, may_use};
use crate::index::IndexKey;
use crate::informers::Informers;
use crate::kube_ext::{ObjectWriter, has_finalizer};
use crate::object_key::ObjectKey;
use crate::queues::Queues;
use crate::stores::{Stores as AllStores, named, store_key};
use crate::types::{
    GROUP, PushDeletionPolicy, PushSecret, PushStoreRef, Store, StoreRef, StoreSpec, StoreStatus, store_kind,
};
use crate::work::Requeue;

/// On stores that a PushSecret with the deletion policy `Delete` has written to or will: without the store, its values
/// could not be deleted.
const FINALIZER: &str = "secretstore.externalsecrets.io/finalizer";

/// Stores by their keys in the status of a PushSecret: `SecretStore/name`.
pub(super) type Stores = BTreeMap<String, Arc<Store>>;

/// The key of a store in the status of a PushSecret.
pub(super) fn status_key(store: &Store) -> String {
    format!(
        "{}/{}",
        store_kind(store),
        store.metadata.name.as_deref().unwrap_or_default()
    )
}

/// The store that a key in the status of a PushSecret names.
fn parse_status_key(status_key: &str) -> StoreRef {
    let (kind, name) = status_key.split_once('/').unwrap_or(("", status_key));
    StoreRef {
        name: name.to_owned(),
        kind: kind.to_owned(),
    }
}

/// Whether a reference selects a store, by name or by labels. SecretStores of other namespaces must be left out before.
///
/// # Errors
/// When the label selector is invalid.
pub(super) fn selects(reference: &PushStoreRef, store: &Store) -> Result<bool, String> {
    let of_kind = store_kind(store) == named(reference).kind();
    match (&reference.label_selector, reference.name.as_str()) {
        (None, "") => Ok(false),
        (Some(selector), "") => {
            let labels = store.metadata.labels.clone().unwrap_or_default();
            Ok(of_kind && matches(selector, &labels)?)
        }
        (_, name) => Ok(of_kind && store.metadata.name.as_deref() == Some(name)),
    }
}

/// All stores that a PushSecret names or selects, including those of other controllers.
///
/// # Errors
/// When a selector is invalid, or no store has a name.
pub(super) fn named_by(all: &AllStores, push_secret: &PushSecret) -> Result<Stores, String> {
    let namespace = push_secret.metadata.namespace.as_deref().unwrap_or_default();
    let mut stores = Stores::new();
    for reference in &push_secret.spec.secret_store_refs {
        // A selector wins over a name here, unlike in `dataTo`.
        if let Some(selector) = &reference.label_selector {
            let key = store_key(&named(reference), namespace);
            for store in all.in_namespace(&key.namespace) {
                if matches(selector, &store.metadata.labels.clone().unwrap_or_default())? {
                    stores.insert(status_key(&store), store);
                }
            }
            continue;
        }
        if reference.name.is_empty() {
            return Err("refStore Name must be provided".to_owned());
        }
        let reference = named(reference);
        let (name, kind) = (&reference.name, reference.kind());
        let store = all
            .get(&reference, namespace)
            .ok_or_else(|| format!("could not get {kind} {name:?}, {kind}.{GROUP} {name:?} not found"))?;
        stores.insert(status_key(&store), store);
    }
    Ok(stores)
}

/// Whether all stores of a PushSecret belong to other controllers.
pub(super) fn are_managed_elsewhere(all: &AllStores, stores: &Stores) -> bool {
    !stores.is_empty() && !stores.values().any(|store| all.serves(store))
}

/// The stores that this operator serves and that are not being deleted.
///
/// # Errors
/// When an entry of `dataTo` selects none of them.
pub(super) fn writable(all: &AllStores, push_secret: &PushSecret, mut stores: Stores) -> Result<Stores, String> {
    stores.retain(|_, store| store.metadata.deletion_timestamp.is_none() && all.serves(store));
    for (index, many) in push_secret.spec.data_to.iter().enumerate() {
        let Some(reference) = many.store_ref.as_ref().filter(|reference| reference.name.is_empty()) else {
            continue;
        };
        let mut any = stores.is_empty();
        for store in stores.values() {
            any |= selects(reference, store).map_err(|error| format!("dataTo[{index}]: {error}"))?;
        }
        if !any {
            return Err(format!(
                "dataTo[{index}]: labelSelector does not match any store in secretStoreRefs"
            ));
        }
    }
    Ok(stores)
}

/// The store that a key in the status names, to which values were written before.
///
/// # Errors
/// When the store does not exist any more.
pub(super) fn of_status(all: &AllStores, status_key: &str, namespace: &str) -> Result<Arc<Store>, String> {
    all.get(&parse_status_key(status_key), namespace)
        .ok_or_else(|| format!("could not get secrets client for store {status_key}: there is none"))
}

/// Checks that a store may be used from a namespace.
///
/// # Errors
/// When the conditions of a ClusterSecretStore exclude the namespace.
pub(super) fn check_allowed(informers: &Informers, store: &Store, namespace: &str) -> Result<(), String> {
    if store.metadata.namespace.is_some() || may_use(&informers.namespaces, store, namespace)? {
        return Ok(());
    }
    let name = store.metadata.name.as_deref().unwrap_or_default();
    Err(format!(
        "could not get secrets client for store {name}: using cluster store {name:?} is not allowed from namespace \
         {namespace:?}: denied by spec.condition"
    ))
}

/// Whether a PushSecret needs a store until its values are deleted from it.
fn is_needed_by(store: &Store, key: &str, push_secret: &PushSecret) -> bool {
    if push_secret.spec.deletion_policy != PushDeletionPolicy::Delete {
        return false;
    }
    let is_in_reach = store.metadata.namespace.is_none() || store.metadata.namespace == push_secret.metadata.namespace;
    let has_written = || {
        push_secret
            .status
            .as_ref()
            .is_some_and(|status| status.synced_push_secrets.contains_key(key))
    };
    let will_write = || {
        let mut references = push_secret.spec.secret_store_refs.iter();
        references.any(|reference| selects(reference, store).unwrap_or_default())
    };
    is_in_reach && (has_written() || will_write())
}

/// The index keys of a PushSecret: the stores that it names, and those that its status names. A label selector has a key
/// with an empty name.
pub(crate) fn index(key: &ObjectKey, push_secret: &PushSecret) -> Vec<IndexKey> {
    let in_spec = push_secret.spec.secret_store_refs.iter().map(|reference| {
        let mut reference_by_name = named(reference);
        if reference.label_selector.is_some() {
            reference_by_name.name.clear();
        }
        reference_by_name
    });
    let status = push_secret.status.iter();
    let in_status = status.flat_map(|status| status.synced_push_secrets.keys().map(|key| parse_status_key(key)));
    let stores = in_spec.chain(in_status);
    stores
        .map(|store| IndexKey::Store(store_key(&store, &key.namespace)))
        .collect()
}

/// The PushSecrets that name a store, or that may select it by label.
pub(super) fn users(informers: &Informers, store: &Store) -> impl Iterator<Item = (ObjectKey, Arc<PushSecret>)> {
    let by_name = ObjectKey::of(&store.metadata);
    let by_label = ObjectKey::new(by_name.namespace.clone(), "");
    let push_secrets = informers.push_secrets.clone();
    let keys: BTreeSet<ObjectKey> = [by_name, by_label]
        .into_iter()
        .flat_map(|key| push_secrets.indexed(&IndexKey::Store(key)))
        .collect();
    keys.into_iter().filter_map(move |key| {
        let push_secret = push_secrets.get(&key)?;
        Some((key, push_secret))
    })
}

/// Whether the store should have the finalizer.
fn needs_finalizer(informers: &Informers, store: &Store) -> bool {
    let key = status_key(store);
    users(informers, store).any(|(_, push_secret)| is_needed_by(store, &key, &push_secret))
}

/// Adds the finalizer to the stores that PushSecrets need, and removes it from the others.
pub(crate) struct StoreFinalizer {
    pub(crate) informers: Arc<Informers>,
}

impl StoreFinalizer {
    /// Adds the finalizer to a store or removes it. Returns `Some` if the reconcile of the store ends here, because the
    /// write failed or the store is being deleted.
    pub(crate) async fn update(&self, writer: &ObjectWriter<StoreSpec, StoreStatus>, store: &Store) -> Option<Requeue> {
        let is_deleted = store.metadata.deletion_timestamp.is_some();
        let end = is_deleted.then_some(Requeue::OnChange);
        let needed = needs_finalizer(&self.informers, store);
        // The API server refuses to add a finalizer to an object that is being deleted.
        if is_deleted && needed {
            return end;
        }
        let written = writer.set_finalizer(store, FINALIZER, needed).await;
        written.err().or(end)
    }
}

/// Queues the stores of a PushSecret whose status has changed.
pub(super) fn requeue_stores_of(informers: &Informers, queues: &Queues, push_secret: &PushSecret) {
    if push_secret.spec.deletion_policy == PushDeletionPolicy::Delete {
        let index_keys = index(&ObjectKey::of(&push_secret.metadata), push_secret);
        requeue_stores(informers, queues, index_keys);
    }
}

/// Queues the stores whose finalizer has to be added or removed. `index_keys` are those of PushSecrets.
pub(super) fn requeue_stores(informers: &Informers, queues: &Queues, index_keys: Vec<IndexKey>) {
    for index_key in index_keys {
        let IndexKey::Store(key) = index_key else { continue };
        let stores: Vec<Arc<Store>> = match &*key.name {
            "" => informers.stores.in_namespace(&key.namespace),
            _ => informers.stores.by_key(&key).into_iter().collect(),
        };
        for store in stores {
            if has_finalizer(&store.metadata, FINALIZER) != needs_finalizer(informers, &store) {
                queues.add_store(&ObjectKey::of(&store.metadata));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn store(namespace: Option<&str>) -> Store {
        serde_json::from_value(json!({
            "apiVersion": "external-secrets.io/v1", "kind": "x",
            "metadata": { "name": "s", "namespace": namespace, "labels": { "a": "b" } }, "spec": {},
        }))
        .unwrap()
    }

    fn needed(spec: serde_json::Value, status: serde_json::Value, store: &Store) -> bool {
        let push_secret = serde_json::from_value(json!({
            "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
            "metadata": { "name": "p", "namespace": "n" }, "spec": spec, "status": status,
        }))
        .unwrap();
        is_needed_by(store, &status_key(store), &push_secret)
    }

    #[test]
    fn a_reference_selects_stores_of_its_kind_by_name_or_labels() {
        let selects = |reference: serde_json::Value, store: &Store| {
            selects(&serde_json::from_value(reference).unwrap(), store).unwrap()
        };
        assert!(selects(json!({ "name": "s" }), &store(Some("n"))));
        assert!(!selects(json!({ "name": "s" }), &store(None)));
        assert!(selects(
            json!({ "name": "s", "kind": "ClusterSecretStore" }),
            &store(None)
        ));
        assert!(selects(
            json!({ "labelSelector": { "matchLabels": { "a": "b" } } }),
            &store(Some("n"))
        ));
        assert!(!selects(
            json!({ "labelSelector": { "matchLabels": { "a": "c" } } }),
            &store(Some("n"))
        ));
        assert!(!selects(json!({}), &store(Some("n"))));
    }

    #[test]
    fn a_store_is_needed_by_push_secrets_that_have_written_or_will_write_to_it() {
        let refs = json!([{ "name": "s" }]);
        let deletes = json!({ "deletionPolicy": "Delete", "secretStoreRefs": refs });
        assert!(needed(deletes.clone(), json!({}), &store(Some("n"))));
        assert!(!needed(deletes, json!({}), &store(Some("elsewhere"))));
        assert!(!needed(
            json!({ "secretStoreRefs": refs }),
            json!({}),
            &store(Some("n"))
        ));
        let moved = json!({ "deletionPolicy": "Delete", "secretStoreRefs": [{ "name": "other" }] });
        let wrote = json!({ "syncedPushSecrets": { "ClusterSecretStore/s": {} } });
        assert!(needed(moved.clone(), wrote.clone(), &store(None)));
        assert!(!needed(moved, wrote, &store(Some("n"))));
    }
}
