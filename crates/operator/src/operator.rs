//! What all controllers share.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, Object, ObjectMeta};
use serde::Serialize;
use serde_json::json;

use crate::api_error::{api_message, names_terminating_namespace};
use crate::informer::{self, Informer, Watched};
use crate::merge_patch;
use crate::metrics::Metrics;
use crate::names::{FIELD_MANAGER, LABEL_OWNER};
use crate::object_key::ObjectKey;
use crate::options::Options;
use crate::provider::{Connections, DependencyIndex};
use crate::queue::Queue;
use crate::recorder::Recorder;
use crate::templates::TemplateSources;
use crate::types::{ClusterExternalSecret, ExternalSecret, PushSecret, Served, Store, StoreRef};
use crate::work::Requeue;

/// An object's metadata alone.
pub(crate) struct Meta {
    /// The metadata.
    pub(crate) metadata: ObjectMeta,
}

impl Watched for Meta {
    type Encoded = Arc<Self>;

    fn encode(object: &mut DynamicObject) -> Result<(Arc<Self>, Arc<Self>), serde_json::Error> {
        let taken = Arc::new(Self {
            metadata: std::mem::take(&mut object.metadata),
        });
        Ok((taken.clone(), taken))
    }

    fn decode(encoded: &Arc<Self>) -> Option<Arc<Self>> {
        Some(encoded.clone())
    }
}

/// A Secret that is managed, as far as it is looked at in passing.
pub(crate) struct ManagedSecret {
    /// Which of all Secrets of its name this is.
    pub(crate) identity: Identity,
    /// Its namespace, and the hash of the ExternalSecret that it says it is of.
    pub(crate) owner: Option<ObjectKey>,
}

impl Watched for ManagedSecret {
    type Encoded = Arc<Self>;

    fn encode(object: &mut DynamicObject) -> Result<(Arc<Self>, Arc<Self>), serde_json::Error> {
        let labels = object.metadata.labels.as_ref();
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let taken = Arc::new(Self {
            owner: labels
                .and_then(|labels| labels.get(LABEL_OWNER))
                .map(|owner| ObjectKey::new(namespace, owner.as_str())),
            identity: Identity::of(&object.metadata),
        });
        Ok((taken.clone(), taken))
    }

    fn decode(encoded: &Arc<Self>) -> Option<Arc<Self>> {
        Some(encoded.clone())
    }
}

/// An object as it was at one time: a hash of its uid and resource version, since thousands are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64);

impl Identity {
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        let mut hasher = DefaultHasher::new();
        (&meta.uid, &meta.resource_version).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The objects the operator looks at, as far as it is told to.
pub(crate) struct Informers {
    /// To be found by the Secret they make.
    pub(crate) external_secrets: Arc<Informer<ExternalSecret>>,
    pub(crate) secret_stores: Arc<Informer<Store>>,
    pub(crate) cluster_stores: Arc<Informer<Store>>,
    pub(crate) cluster_external_secrets: Arc<Informer<ClusterExternalSecret>>,
    pub(crate) push_secrets: Arc<Informer<PushSecret>>,
    /// The Secrets that are managed, to be found by namespace and owner's hash.
    pub(crate) targets: Arc<Informer<ManagedSecret>>,
    /// Metadata of namespaces.
    pub(crate) namespaces: Arc<Informer<Meta>>,
}

/// One queue a kind.
pub(crate) struct QueueSet {
    pub(crate) external_secrets: Arc<Queue>,
    pub(crate) stores: Arc<Queue>,
    pub(crate) cluster_stores: Arc<Queue>,
    pub(crate) cluster_external_secrets: Arc<Queue>,
    pub(crate) push_secrets: Arc<Queue>,
}

impl QueueSet {
    /// The queue a store waits in.
    pub(crate) fn of_store(&self, key: &ObjectKey) -> &Arc<Queue> {
        match key.namespace.is_empty() {
            true => &self.cluster_stores,
            false => &self.stores,
        }
    }
}

/// What all controllers share.
pub(crate) struct Operator {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) served: Served,
    pub(crate) informers: Informers,
    pub(crate) queues: QueueSet,
    pub(crate) connections: Connections,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) recorder: Recorder,
    /// Follows the ConfigMaps and Secrets that templates live in.
    pub(crate) templates: TemplateSources,
    /// Which ExternalSecrets hang on what.
    pub(crate) uses: Mutex<DependencyIndex>,
    /// The Secrets that were found to be as they should, by ExternalSecret. While the API server shows the same, they
    /// need not be fetched.
    pub(crate) verified: Mutex<HashMap<ObjectKey, Identity>>,
    /// When what is there was asked for.
    pub(crate) started: Instant,
}

impl Operator {
    /// A store by reference.
    pub(crate) fn store(&self, reference: &StoreRef, namespace: &str) -> Option<Arc<Store>> {
        let key = store_key(reference, namespace);
        self.stores_of(&key.namespace).get(&key)
    }

    /// The stores that a key with this namespace is of: without one, those of the cluster.
    pub(crate) fn stores_of(&self, namespace: &str) -> &Arc<Informer<Store>> {
        match namespace {
            "" => &self.informers.cluster_stores,
            _ => &self.informers.secret_stores,
        }
    }

    /// Whether a store is there.
    pub(crate) fn has_store(&self, key: &ObjectKey) -> bool {
        self.stores_of(&key.namespace).get(key).is_some()
    }

    /// The API resource of a store.
    pub(crate) fn store_resource(&self, store: &Store) -> &ApiResource {
        match store.metadata.namespace {
            Some(_) => &self.served.secret_store,
            None => &self.served.cluster_secret_store,
        }
    }

    /// Whether a store is of this operator's class.
    pub(crate) fn is_own_class(&self, store: &Store) -> bool {
        store.spec.controller.is_empty() || store.spec.controller == self.options.controller_class
    }

    /// Which Secrets were found to be as they should.
    pub(crate) fn verified(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectKey, Identity>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which ExternalSecrets hang on what.
    pub(crate) fn uses(&self) -> std::sync::MutexGuard<'_, DependencyIndex> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Objects of a resource, in a namespace if it has one.
    pub(crate) fn api(&self, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        match namespace {
            "" => Api::all_with(self.client.clone(), resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, resource),
        }
    }

    /// Writes what is other in an object's status now. The informer learns it at once; without one, the watch tells it,
    /// and all that hangs on it with it.
    ///
    /// # Errors
    /// How the turn ends, if it could not be written.
    pub(crate) async fn write_status<S, T>(
        &self,
        informer: Option<&Informer<Object<S, T>>>,
        resource: &ApiResource,
        object: &Object<S, T>,
        status: &T,
    ) -> Result<(), Requeue>
    where
        Object<S, T>: Watched,
        S: Clone,
        T: Clone + Default + Serialize,
    {
        let json = |status: &T| serde_json::to_value(status).unwrap_or_default();
        let known = object.status.as_ref().map_or_else(|| json(&T::default()), json);
        let patch = merge_patch::between(&known, &json(status));
        if patch == json!({}) {
            return Ok(());
        }
        let (patch, meta) = (Patch::Merge(json!({ "status": patch })), &object.metadata);
        let api = self.api(resource, meta.namespace.as_deref().unwrap_or_default());
        let name = meta.name.as_deref().unwrap_or_default();
        let written = api.patch_status(name, &patch_params(), &patch).await;
        let written = written.map_err(|error| ended(&error, resource, meta, "status"))?;
        if let Some(informer) = informer
            // Someone's edit that the answer holds and the watch has not brought yet is for the watch to tell.
            && let Some(known) = informer.get(&ObjectKey::of(meta))
            && !informer::changed(&known.metadata, &written.metadata)
        {
            informer.apply_own_write(written);
        }
        Ok(())
    }

    /// Puts a finalizer on an object, or takes it off, if the object is still as it was seen. Nothing is written where it
    /// is so already.
    ///
    /// # Errors
    /// How the turn ends, if it could not be written.
    pub(crate) async fn set_finalizer<S, T>(
        &self,
        informer: &Informer<Object<S, T>>,
        resource: &ApiResource,
        object: &Object<S, T>,
        finalizer: &str,
        on: bool,
    ) -> Result<(), Requeue>
    where
        Object<S, T>: Watched,
        S: Clone,
        T: Clone,
    {
        let meta = &object.metadata;
        if has_finalizer(meta, finalizer) == on {
            return Ok(());
        }
        let mut finalizers = meta.finalizers.clone().unwrap_or_default();
        match on {
            true => finalizers.push(finalizer.to_owned()),
            false => finalizers.retain(|known| known != finalizer),
        }
        let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": meta.resource_version } });
        let api = self.api(resource, meta.namespace.as_deref().unwrap_or_default());
        let name = meta.name.as_deref().unwrap_or_default();
        let written = api.patch(name, &patch_params(), &Patch::Merge(patch)).await;
        informer.apply_own_write(written.map_err(|error| ended(&error, resource, meta, "finalizers"))?);
        Ok(())
    }
}

/// The key of the store that a reference names from a namespace.
pub(crate) fn store_key(reference: &StoreRef, namespace: &str) -> ObjectKey {
    let namespace = if reference.is_cluster() { "" } else { namespace };
    ObjectKey::new(namespace, reference.name.as_str())
}

/// Whether an object has a finalizer.
pub(crate) fn has_finalizer(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|known| known == finalizer)
}

/// Who writes, for those who look at an object's managed fields.
pub(crate) fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// How a turn ends that could not write a part of its object.
fn ended(error: &kube::Error, resource: &ApiResource, meta: &ObjectMeta, part: &str) -> Requeue {
    match error {
        error if is_not_found(error) => Requeue::OnChange,
        error if is_conflict(error) => Requeue::AfterConflict,
        error => {
            let (kind, object) = (&resource.kind, ObjectKey::of(meta));
            tracing::warn!(%kind, %object, part, error = %api_message(error), "could not be written");
            Requeue::AfterFailure
        }
    }
}

/// The time, to the second as Kubernetes has it.
pub(crate) fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Whether the API server refused a write since the object changed meanwhile.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    has_code(error, 409)
}

/// Whether there is no such object.
pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    has_code(error, 404)
}

/// Whether nothing can be made any more, since the namespace is being deleted.
pub(crate) fn is_terminating(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if names_terminating_namespace(status))
}

fn has_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
