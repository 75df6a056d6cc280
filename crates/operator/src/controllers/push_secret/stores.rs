//! The stores of a PushSecret, and what holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::super::namespaces::{matches, may_use};
use crate::controllers::store;
use crate::informer::{IndexKey, Informer};
use crate::object_key::ObjectKey;
use crate::operator::{Operator, has_finalizer, store_key};
use crate::types::{GROUP, PushDeletionPolicy, PushSecret, PushStoreRef, Store, StoreRef, store_kind};
use crate::work::{Requeue, Trigger};

/// On stores whose values are to go with a PushSecret: without the store they could not.
const FINALIZER: &str = "secretstore.externalsecrets.io/finalizer";

/// The stores of a PushSecret by their keys in its status: `SecretStore/name`.
pub(super) type Stores = BTreeMap<String, Arc<Store>>;

/// A reference to the one store of its name.
pub(super) fn named(reference: &PushStoreRef) -> StoreRef {
    StoreRef {
        name: reference.name.clone(),
        kind: reference.kind.clone(),
    }
}

/// A store's key in a PushSecret's status.
pub(super) fn status_key(store: &Store) -> String {
    format!(
        "{}/{}",
        store_kind(store),
        store.metadata.name.as_deref().unwrap_or_default()
    )
}

/// The store that a key in a PushSecret's status names.
fn told(status_key: &str) -> StoreRef {
    let (kind, name) = status_key.split_once('/').unwrap_or(("", status_key));
    StoreRef {
        name: name.to_owned(),
        kind: kind.to_owned(),
    }
}

/// Whether a reference means a store; of a SecretStore, one in the PushSecret's namespace.
///
/// # Errors
/// When its selector makes no sense.
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

/// All stores it names, whosever they are.
///
/// # Errors
/// When a selector makes no sense, or there is no store of a name.
pub(super) fn all(operator: &Operator, push_secret: &PushSecret) -> Result<Stores, String> {
    let namespace = push_secret.metadata.namespace.as_deref().unwrap_or_default();
    let mut stores = Stores::new();
    for reference in &push_secret.spec.secret_store_refs {
        // A selector wins over a name here, unlike in `dataTo`.
        if let Some(selector) = &reference.label_selector {
            let key = store_key(&named(reference), namespace);
            for store in of_namespace(operator, &key.namespace) {
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
        let store = operator
            .store(&reference, namespace)
            .ok_or_else(|| format!("could not get {kind} {name:?}, {kind}.{GROUP} {name:?} not found"))?;
        stores.insert(status_key(&store), store);
    }
    Ok(stores)
}

/// Whether none of its stores is this operator's to write to.
pub(super) fn are_managed_elsewhere(operator: &Operator, stores: &Stores) -> bool {
    !stores.is_empty() && !stores.values().any(|store| is_ours(operator, store))
}

/// Those of this operator that values can be written to.
///
/// # Errors
/// When an entry of `dataTo` selects none of them.
pub(super) fn writable(operator: &Operator, push_secret: &PushSecret, all: Stores) -> Result<Stores, String> {
    let mut stores = all;
    stores.retain(|_, store| store.metadata.deletion_timestamp.is_none() && is_ours(operator, store));
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

/// A store that values were written to before.
///
/// # Errors
/// When it is not there any more.
pub(super) fn of_status(operator: &Operator, status_key: &str, namespace: &str) -> Result<Arc<Store>, String> {
    operator
        .store(&told(status_key), namespace)
        .ok_or_else(|| format!("could not get secrets client for store {status_key}: there is none"))
}

/// Refuses a ClusterSecretStore that is not for this namespace.
pub(super) fn check_allowed(operator: &Operator, store: &Store, namespace: &str) -> Result<(), String> {
    let name = store.metadata.name.as_deref().unwrap_or_default();
    match store.metadata.namespace.is_some() || may_use(operator, store, namespace)? {
        true => Ok(()),
        false => Err(format!(
            "could not get secrets client for store {name}: using cluster store {name:?} is not allowed from namespace \
             {namespace:?}: denied by spec.condition"
        )),
    }
}

pub(super) fn is_ours(operator: &Operator, store: &Store) -> bool {
    operator.is_own_class(store) && store.spec.provider.onepassword.is_some()
}

/// The stores of a namespace; without one, those of the cluster.
fn of_namespace(operator: &Operator, namespace: &str) -> Vec<Arc<Store>> {
    let all = operator.stores_of(namespace).all();
    let stores = all.filter(|(key, _)| &*key.namespace == namespace);
    stores.map(|(_, store)| store).collect()
}

/// Whether values in a store are to go with a PushSecret.
fn is_held_by(store: &Store, key: &str, push_secret: &PushSecret) -> bool {
    if push_secret.spec.deletion_policy != PushDeletionPolicy::Delete {
        return false;
    }
    let in_reach = store.metadata.namespace.is_none() || store.metadata.namespace == push_secret.metadata.namespace;
    let wrote = || {
        push_secret
            .status
            .as_ref()
            .is_some_and(|status| status.synced_push_secrets.contains_key(key))
    };
    let will = || {
        let mut references = push_secret.spec.secret_store_refs.iter();
        references.any(|reference| selects(reference, store).unwrap_or_default())
    };
    in_reach && (wrote() || will())
}

/// What a PushSecret is to be found by: the stores it names, and those that its status tells of; those without a name
/// are the ones it selects by label.
pub(crate) fn index(key: &ObjectKey, push_secret: &PushSecret) -> Vec<IndexKey> {
    let meant = push_secret.spec.secret_store_refs.iter().map(|reference| {
        let mut meant = named(reference);
        if reference.label_selector.is_some() {
            meant.name.clear();
        }
        meant
    });
    let status = push_secret.status.iter();
    let told = status.flat_map(|status| status.synced_push_secrets.keys().map(|key| told(key)));
    let stores = meant.chain(told);
    stores
        .map(|store| IndexKey::Store(store_key(&store, &key.namespace)))
        .collect()
}

/// The PushSecrets that may have to do with a store.
pub(super) fn users(operator: &Operator, store: &Store) -> impl Iterator<Item = (ObjectKey, Arc<PushSecret>)> {
    let by_name = ObjectKey::of(&store.metadata);
    let by_label = ObjectKey::new(by_name.namespace.clone(), "");
    let informer = &operator.informers.push_secrets;
    let keys: BTreeSet<ObjectKey> = [by_name, by_label]
        .into_iter()
        .flat_map(|key| informer.indexed(&IndexKey::Store(key)))
        .collect();
    keys.into_iter().filter_map(|key| {
        let push_secret = informer.get(&key)?;
        Some((key, push_secret))
    })
}

/// Whether the store has its finalizer, and whether it should.
fn holds(operator: &Operator, store: &Store) -> (bool, bool) {
    let key = status_key(store);
    let should = users(operator, store).any(|(_, push_secret)| is_held_by(store, &key, &push_secret));
    (has_finalizer(&store.metadata, FINALIZER), should)
}

/// Puts the finalizer on a store, or takes it off. `Some` ends the store's turn.
pub(crate) async fn hold(operator: &Operator, informer: &Informer<Store>, store: &Store) -> Option<Requeue> {
    operator.served.push_secret.as_ref()?;
    let leaving = store.metadata.deletion_timestamp.is_some();
    let (is, should_be) = holds(operator, store);
    let unchanged = if leaving { Some(Requeue::OnChange) } else { None };
    // The API server lets nothing be added to what is being deleted.
    if is == should_be || (leaving && should_be) {
        return unchanged;
    }
    let resource = operator.store_resource(store);
    let written = operator
        .set_finalizer(informer, resource, store, FINALIZER, should_be)
        .await;
    written.err().or(unchanged)
}

/// Looks at the stores of a PushSecret whose status was written.
pub(super) fn wake_after(operator: &Operator, push_secret: &PushSecret) {
    if push_secret.spec.deletion_policy == PushDeletionPolicy::Delete {
        wake(operator, index(&ObjectKey::of(&push_secret.metadata), push_secret));
    }
}

/// Looks at the stores that are, or are no longer, to be held: as a PushSecret's index has them.
pub(super) fn wake(operator: &Operator, stores: Vec<IndexKey>) {
    for by in stores {
        let IndexKey::Store(of) = by else { continue };
        let informer = operator.stores_of(&of.namespace);
        let stores: Vec<Arc<Store>> = match &*of.name {
            "" => of_namespace(operator, &of.namespace),
            _ => informer.get(&of).into_iter().collect(),
        };
        for store in stores {
            let (is, should_be) = holds(operator, &store);
            if is != should_be {
                let key = ObjectKey::of(&store.metadata);
                let queue = operator.queues.of_store(&key);
                queue.add(
                    key.clone(),
                    &store::concurrency_group(&key),
                    Trigger::WatchEvent,
                    Instant::now(),
                );
            }
        }
    }
}

/// The concurrency group of a PushSecret: the stores it names together, because each of them can delay it.
pub(super) fn concurrency_group(push_secret: &PushSecret) -> String {
    let namespace = push_secret.metadata.namespace.as_deref().unwrap_or_default();
    let group = |store: &PushStoreRef| match store.label_selector {
        None => store::concurrency_group(&store_key(&named(store), namespace)),
        // Which stores these are changes: a group of its own.
        Some(_) => ObjectKey::of(&push_secret.metadata).to_string(),
    };
    let groups: BTreeSet<String> = push_secret.spec.secret_store_refs.iter().map(group).collect();
    groups.into_iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn store(namespace: Option<&str>) -> Store {
        serde_json::from_value(json!({
            "apiVersion": "external-secrets.io/v1", "kind": "x",
            "metadata": { "name": "s", "namespace": namespace, "labels": { "a": "b" } }, "spec": {},
        }))
        .unwrap()
    }

    fn held(spec: serde_json::Value, status: serde_json::Value, store: &Store) -> bool {
        let push_secret = serde_json::from_value(json!({
            "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
            "metadata": { "name": "p", "namespace": "n" }, "spec": spec, "status": status,
        }))
        .unwrap();
        is_held_by(store, &status_key(store), &push_secret)
    }

    #[test]
    fn a_reference_means_a_store_of_its_kind_by_name_or_labels() {
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
    fn a_store_is_held_by_what_will_be_or_was_written_to_it() {
        let refs = json!([{ "name": "s" }]);
        let deletes = json!({ "deletionPolicy": "Delete", "secretStoreRefs": refs });
        assert!(held(deletes.clone(), json!({}), &store(Some("n"))));
        assert!(!held(deletes, json!({}), &store(Some("elsewhere"))));
        assert!(!held(json!({ "secretStoreRefs": refs }), json!({}), &store(Some("n"))));
        let moved = json!({ "deletionPolicy": "Delete", "secretStoreRefs": [{ "name": "other" }] });
        let wrote = json!({ "syncedPushSecrets": { "ClusterSecretStore/s": {} } });
        assert!(held(moved.clone(), wrote.clone(), &store(None)));
        assert!(!held(moved, wrote, &store(Some("n"))));
    }
}
