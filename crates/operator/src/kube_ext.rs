//! What the controllers need of the Kubernetes API beyond kube-rs.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, Object, ObjectMeta};
use serde::Serialize;
use serde_json::json;

use crate::api_error::{api_message, names_terminating_namespace};
use crate::informer::{Informer, Watched, changed_beyond_status};
use crate::merge_patch;
use crate::names::FIELD_MANAGER;
use crate::object_key::ObjectKey;
use crate::work::Requeue;

/// Writes statuses and finalizers of the objects of one kind, and takes the API server's answers into the kind's informer,
/// so that the next reconcile does not see an object from before the write.
pub(crate) struct ObjectWriter<S, T>
where
    Object<S, T>: Watched,
    S: Clone,
    T: Clone,
{
    client: Client,
    resource: ApiResource,
    informer: Arc<Informer<Object<S, T>>>,
}

impl<S, T> ObjectWriter<S, T>
where
    Object<S, T>: Watched,
    S: Clone,
    T: Clone,
{
    pub(crate) fn new(client: Client, resource: ApiResource, informer: Arc<Informer<Object<S, T>>>) -> Self {
        Self {
            client,
            resource,
            informer,
        }
    }

    /// The kind in the version that the API server has.
    pub(crate) fn resource(&self) -> &ApiResource {
        &self.resource
    }

    /// The objects of the kind that are cached.
    pub(crate) fn informer(&self) -> &Informer<Object<S, T>> {
        &self.informer
    }

    /// The kind's API, in a namespace unless that is empty.
    pub(crate) fn api(&self, namespace: &str) -> Api<DynamicObject> {
        match namespace {
            "" => Api::all_with(self.client.clone(), &self.resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &self.resource),
        }
    }

    /// Patches the changed fields of an object's status. The informer's cache is updated at once, so our own write causes
    /// no reconcile.
    ///
    /// # Errors
    /// When the object is to be reconciled again, because the status could not be written.
    pub(crate) async fn write_status(&self, object: &Object<S, T>, status: &T) -> Result<(), Requeue>
    where
        T: Default + Serialize,
    {
        let Some(written) = self.patch_status(object, status).await? else {
            return Ok(());
        };
        // If the response also contains another client's edit, do not cache it: the watch must deliver it, so that it
        // triggers a reconcile.
        if let Some(known) = self.informer.get(&ObjectKey::of(&object.metadata))
            && !changed_beyond_status(&known.metadata, &written.metadata)
        {
            self.informer.apply_own_write(written);
        }
        Ok(())
    }

    /// Patches the changed fields of an object's status and leaves the informer's cache as it is: the watch delivers the
    /// change, and so triggers the objects that depend on this one.
    ///
    /// # Errors
    /// When the object is to be reconciled again, because the status could not be written.
    pub(crate) async fn write_status_uncached(&self, object: &Object<S, T>, status: &T) -> Result<(), Requeue>
    where
        T: Default + Serialize,
    {
        self.patch_status(object, status).await.map(drop)
    }

    async fn patch_status(&self, object: &Object<S, T>, status: &T) -> Result<Option<DynamicObject>, Requeue>
    where
        T: Default + Serialize,
    {
        let json = |status: &T| serde_json::to_value(status).unwrap_or_default();
        let before = object.status.as_ref().map_or_else(|| json(&T::default()), json);
        let patch = merge_patch::between(&before, &json(status));
        if patch == json!({}) {
            return Ok(None);
        }
        let (patch, meta) = (Patch::Merge(json!({ "status": patch })), &object.metadata);
        let api = self.api(meta.namespace.as_deref().unwrap_or_default());
        let name = meta.name.as_deref().unwrap_or_default();
        let written = api.patch_status(name, &patch_params(), &patch).await;
        written.map(Some).map_err(|error| self.refused(&error, meta, "status"))
    }

    /// Adds a finalizer to an object or removes it, provided that the object has not changed since it was cached. Nothing is
    /// written if it is already so.
    ///
    /// # Errors
    /// When the object is to be reconciled again, because the finalizers could not be written.
    pub(crate) async fn set_finalizer(
        &self,
        object: &Object<S, T>,
        finalizer: &str,
        present: bool,
    ) -> Result<(), Requeue> {
        let meta = &object.metadata;
        if has_finalizer(meta, finalizer) == present {
            return Ok(());
        }
        let mut finalizers = meta.finalizers.clone().unwrap_or_default();
        if present {
            finalizers.push(finalizer.to_owned());
        } else {
            finalizers.retain(|known| known != finalizer);
        }
        let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": meta.resource_version } });
        let api = self.api(meta.namespace.as_deref().unwrap_or_default());
        let name = meta.name.as_deref().unwrap_or_default();
        let written = api.patch(name, &patch_params(), &Patch::Merge(patch)).await;
        let written = written.map_err(|error| self.refused(&error, meta, "finalizers"))?;
        self.informer.apply_own_write(written);
        Ok(())
    }

    /// Logs why a part of an object could not be written, and tells when to try again.
    fn refused(&self, error: &kube::Error, meta: &ObjectMeta, part: &str) -> Requeue {
        if is_not_found(error) {
            return Requeue::OnChange;
        }
        if is_conflict(error) {
            return Requeue::AfterConflict;
        }
        let (kind, name) = (&self.resource.kind, ObjectKey::of(meta));
        tracing::warn!(%kind, %name, part, error = %api_message(error), "the object's {part} could not be written");
        Requeue::AfterFailure
    }
}

/// The resource of a kind of the core group.
pub(crate) fn core_resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// Whether an object has a finalizer.
pub(crate) fn has_finalizer(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|known| known == finalizer)
}

/// Parameters of a patch under this operator's field manager.
pub(crate) fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// The time, to the second as Kubernetes has it.
pub(crate) fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Whether the API server refused a write because the object has changed since it was read, or exists already.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    has_code(error, 409)
}

/// Whether the object does not exist.
pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    has_code(error, 404)
}

/// Whether the account lacks the right.
pub(crate) fn is_forbidden(error: &kube::Error) -> bool {
    has_code(error, 403)
}

/// Whether nothing can be created any more because the namespace is being deleted.
pub(crate) fn is_terminating(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if names_terminating_namespace(status))
}

fn has_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
