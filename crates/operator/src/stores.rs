//! The SecretStores and ClusterSecretStores, and which of them this operator serves.

use std::sync::Arc;

use crate::informer::Informer;
use crate::object_key::ObjectKey;
use crate::types::{ExternalSecret, PushStoreRef, Store, StoreRef};

/// The caches of both kinds of store.
pub(crate) struct Stores {
    pub(crate) namespaced: Arc<Informer<Store>>,
    pub(crate) cluster: Arc<Informer<Store>>,
    /// Whether ClusterSecretStores are used at all.
    pub(crate) use_cluster: bool,
    /// The class of this operator: stores of another class belong to another controller.
    pub(crate) controller_class: String,
}

impl Stores {
    /// The store that a reference in a namespace names.
    pub(crate) fn get(&self, reference: &StoreRef, namespace: &str) -> Option<Arc<Store>> {
        self.by_key(&store_key(reference, namespace))
    }

    /// A store by its key; a ClusterSecretStore's has no namespace.
    pub(crate) fn by_key(&self, key: &ObjectKey) -> Option<Arc<Store>> {
        self.informer(&key.namespace).get(key)
    }

    /// The stores of a namespace; with an empty namespace, the ClusterSecretStores.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<Store>> {
        let all = self.informer(namespace).all();
        let stores = all.filter(|(key, _)| &*key.namespace == namespace);
        stores.map(|(_, store)| store).collect()
    }

    /// The cache that holds the stores of a namespace; with an empty namespace, the ClusterSecretStores.
    pub(crate) fn informer(&self, namespace: &str) -> &Arc<Informer<Store>> {
        match namespace {
            "" => &self.cluster,
            _ => &self.namespaced,
        }
    }

    /// Whether this operator serves a store: it is of this operator's class, and its provider is `onepassword`.
    pub(crate) fn serves(&self, store: &Store) -> bool {
        let is_own_class = store.spec.controller.is_empty() || store.spec.controller == self.controller_class;
        is_own_class && store.spec.provider.onepassword.is_some()
    }

    /// Waits until both kinds were listed once.
    pub(crate) async fn wait_ready(&self) {
        self.namespaced.wait_ready().await;
        self.cluster.wait_ready().await;
    }
}

/// The key of the store that a reference in a namespace names.
pub(crate) fn store_key(reference: &StoreRef, namespace: &str) -> ObjectKey {
    let namespace = if reference.is_cluster() { "" } else { namespace };
    ObjectKey::new(namespace, reference.name.as_str())
}

/// All stores that an ExternalSecret names, in the spec and in its entries.
pub(crate) fn named_stores(external_secret: &ExternalSecret) -> Vec<&StoreRef> {
    let spec = &external_secret.spec;
    let of_data = spec.data.iter().map(|data| &data.source_ref);
    let of_data_from = spec.data_from.iter().map(|entry| &entry.source_ref);
    let of_entries = of_data
        .chain(of_data_from)
        .flatten()
        .filter_map(|source| source.store_ref.as_ref());
    let all = spec.secret_store_ref.iter().chain(of_entries);
    all.filter(|reference| !reference.name.is_empty()).collect()
}

/// A PushSecret's reference as a reference by name.
pub(crate) fn named(reference: &PushStoreRef) -> StoreRef {
    StoreRef {
        name: reference.name.clone(),
        kind: reference.kind.clone(),
    }
}
