//! The caches of all kinds that the operator follows.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use kube::api::DynamicObject;
use kube::core::ObjectMeta;

use crate::informer::{Informer, Watched};
use crate::names::LABEL_OWNER;
use crate::object_key::ObjectKey;
use crate::stores::Stores;
use crate::types::{ClusterExternalSecret, ExternalSecret, PushSecret};

/// The caches of all kinds that the operator follows. A kind that the API server does not have, or that the options turn
/// off, has an empty cache.
pub(crate) struct Informers {
    pub(crate) external_secrets: Arc<Informer<ExternalSecret>>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) cluster_external_secrets: Arc<Informer<ClusterExternalSecret>>,
    pub(crate) push_secrets: Arc<Informer<PushSecret>>,
    /// The Secrets that ExternalSecrets have written.
    pub(crate) targets: Arc<Informer<ManagedSecret>>,
    pub(crate) namespaces: Arc<Informer<Metadata>>,
}

impl Informers {
    /// Waits until each kind was listed once.
    pub(crate) async fn wait_ready(&self) {
        self.stores.wait_ready().await;
        self.namespaces.wait_ready().await;
        self.targets.wait_ready().await;
        self.external_secrets.wait_ready().await;
        self.cluster_external_secrets.wait_ready().await;
        self.push_secrets.wait_ready().await;
    }
}

/// The metadata of an object.
pub(crate) struct Metadata {
    pub(crate) metadata: ObjectMeta,
}

impl Watched for Metadata {
    type Encoded = Arc<Self>;

    fn encode(object: &mut DynamicObject) -> Result<(Arc<Self>, Arc<Self>), serde_json::Error> {
        let metadata = Arc::new(Self {
            metadata: std::mem::take(&mut object.metadata),
        });
        Ok((metadata.clone(), metadata))
    }

    fn decode(encoded: &Arc<Self>) -> Option<Arc<Self>> {
        Some(encoded.clone())
    }
}

impl Informer<Metadata> {
    /// The labels of a cluster-scoped object, such as a namespace.
    pub(crate) fn labels(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let object = self.get(&ObjectKey::cluster(name))?;
        Some(object.metadata.labels.clone().unwrap_or_default())
    }
}

/// What is cached of a Secret that an ExternalSecret has written.
pub(crate) struct ManagedSecret {
    pub(crate) identity: Identity,
    /// The Secret's namespace, and the hash of the ExternalSecret that owns it.
    pub(crate) owner: Option<ObjectKey>,
}

impl Watched for ManagedSecret {
    type Encoded = Arc<Self>;

    fn encode(object: &mut DynamicObject) -> Result<(Arc<Self>, Arc<Self>), serde_json::Error> {
        let labels = object.metadata.labels.as_ref();
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let secret = Arc::new(Self {
            owner: labels
                .and_then(|labels| labels.get(LABEL_OWNER))
                .map(|owner| ObjectKey::new(namespace, owner.as_str())),
            identity: Identity::of(&object.metadata),
        });
        Ok((secret.clone(), secret))
    }

    fn decode(encoded: &Arc<Self>) -> Option<Arc<Self>> {
        Some(encoded.clone())
    }
}

/// One version of one object: a hash of its uid and resource version. A hash, because thousands are cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64);

impl Identity {
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        let mut hasher = DefaultHasher::new();
        (&meta.uid, &meta.resource_version).hash(&mut hasher);
        Self(hasher.finish())
    }
}
