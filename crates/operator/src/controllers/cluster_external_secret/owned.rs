//! Writes the ExternalSecrets of a ClusterExternalSecret.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, PostParams, Preconditions};
use kube::core::{ApiResource, ObjectMeta};
use serde_json::Value;

use crate::api_error::api_message;
use crate::index::IndexKey;
use crate::informer::Informer;
use crate::kube_ext::{is_conflict, is_not_found};
use crate::names::ANNOTATION_FORCE_SYNC;
use crate::object_key::ObjectKey;
use crate::types::{ClusterExternalSecret, ExternalSecret, GROUP, GoDuration};

const KIND: &str = "ClusterExternalSecret";
const INTERVAL: &str = "refreshInterval";

/// Why an ExternalSecret could not be written or deleted.
#[derive(Debug, thiserror::Error)]
pub(super) enum OwnedError {
    /// An ExternalSecret of another owner has the name.
    #[error("external secret already exists in namespace")]
    Exists,
    /// It could not be created or changed.
    #[error("could not create or update ExternalSecret: {why}", why = api_message(.0))]
    Write(kube::Error),
    /// It could not be deleted.
    #[error("external secret in non matching namespace could not be deleted: {why}", why = api_message(.0))]
    Delete(kube::Error),
}

impl OwnedError {
    /// Whether another client changed the ExternalSecret at the same time.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Write(error) | Self::Delete(error) if is_conflict(error))
    }

    /// Whether a retry can help. If an ExternalSecret of another owner has the name, only its deletion helps, which the
    /// watch delivers.
    pub(super) fn may_pass(&self) -> bool {
        !matches!(self, Self::Exists)
    }
}

/// The name of the ClusterExternalSecret that owns an object, in any API version.
pub(crate) fn owner(meta: &ObjectMeta) -> Option<&str> {
    let mut owners = meta.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    let is_one = owner.kind == KIND && owner.api_version.split('/').next() == Some(GROUP);
    is_one.then_some(owner.name.as_str())
}

/// Writes and deletes the ExternalSecrets of one ClusterExternalSecret.
pub(super) struct OwnedWriter<'a> {
    pub(super) client: &'a Client,
    pub(super) external_secrets: &'a Informer<ExternalSecret>,
    /// The version of ExternalSecrets that the API server has.
    pub(super) resource: &'a ApiResource,
    pub(super) owner: &'a ClusterExternalSecret,
    /// The version of ClusterExternalSecrets that the API server has.
    pub(super) owner_resource: &'a ApiResource,
}

impl OwnedWriter<'_> {
    /// The ExternalSecrets that the ClusterExternalSecret owns by their owner reference, and those that its status names,
    /// which may exist although they are not in the cache.
    pub(super) fn all(&self) -> BTreeSet<ObjectKey> {
        let owned = self
            .external_secrets
            .indexed(&IndexKey::Parent(self.owner_name().into()));
        let in_status = self.owner.status.iter().flat_map(|status| {
            let namespaces = status.provisioned_namespaces.iter();
            namespaces.map(|namespace| ObjectKey::new(namespace.as_str(), status.external_secret_name.as_str()))
        });
        let in_status = in_status.filter(|key| !key.name.is_empty());
        owned.into_iter().chain(in_status).collect()
    }

    /// Creates or changes the ExternalSecret of a namespace. There may be thousands of namespaces, so an ExternalSecret that
    /// is as desired in the cache costs no request.
    pub(super) async fn apply(&self, namespace: &str, name: &str) -> Result<(), OwnedError> {
        let api = self.api(namespace);
        let parameters = PostParams::default();
        match self.external_secrets.get_dynamic(&ObjectKey::new(namespace, name)) {
            Some(cached) => {
                if self.desired(cached)?.is_none() {
                    return Ok(());
                }
            }
            None => {
                let mut new = DynamicObject::new(name, self.resource).within(namespace);
                fill(&mut new, self.owner, self.owner_resource);
                match api.create(&parameters, &new).await {
                    // It exists, and the watch has not delivered it yet.
                    Err(error) if is_conflict(&error) => {}
                    result => return result.map(drop).map_err(OwnedError::Write),
                }
            }
        }
        let existing = api.get(name).await.map_err(OwnedError::Write)?;
        let Some(desired) = self.desired(existing)? else {
            return Ok(());
        };
        let replaced = api.replace(name, &parameters, &desired).await;
        replaced.map(drop).map_err(OwnedError::Write)
    }

    /// Deletes an ExternalSecret, if the ClusterExternalSecret still owns it.
    pub(super) async fn delete(&self, key: &ObjectKey) -> Result<(), OwnedError> {
        let api = self.api(&key.namespace);
        let Some(existing) = api.get_opt(&key.name).await.map_err(OwnedError::Delete)? else {
            return Ok(());
        };
        if owner(&existing.metadata) != Some(self.owner_name()) {
            return Ok(());
        }
        let only_this = DeleteParams::default().preconditions(Preconditions {
            uid: existing.metadata.uid,
            resource_version: None,
        });
        match api.delete(&key.name, &only_this).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(OwnedError::Delete(error)),
        }
    }

    /// The ExternalSecret as it should be, or `None` if it is so already.
    fn desired(&self, existing: DynamicObject) -> Result<Option<DynamicObject>, OwnedError> {
        if owner(&existing.metadata) != Some(self.owner_name()) {
            return Err(OwnedError::Exists);
        }
        let mut desired = existing.clone();
        fill(&mut desired, self.owner, self.owner_resource);
        Ok((desired != existing).then_some(desired))
    }

    fn api(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, self.resource)
    }

    fn owner_name(&self) -> &str {
        self.owner.metadata.name.as_deref().unwrap_or_default()
    }
}

/// Sets the spec, labels, annotations and owner of an ExternalSecret as its ClusterExternalSecret says. The rest stays.
fn fill(external_secret: &mut DynamicObject, ces: &ClusterExternalSecret, own: &ApiResource) {
    let meta = &mut external_secret.metadata;
    let with = &ces.spec.external_secret_metadata;
    let mut annotations = with.annotations.clone();
    annotations.remove(ANNOTATION_FORCE_SYNC);
    let force_sync = ces
        .metadata
        .annotations
        .iter()
        .flatten()
        .find(|(key, _)| *key == ANNOTATION_FORCE_SYNC);
    annotations.extend(force_sync.map(|(key, value)| (key.clone(), value.clone())));
    meta.labels = Some(with.labels.clone()).filter(|labels| !labels.is_empty());
    meta.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
    let reference = OwnerReference {
        api_version: own.api_version.clone(),
        kind: own.kind.clone(),
        name: ces.metadata.name.clone().unwrap_or_default(),
        uid: ces.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let owners = meta.owner_references.get_or_insert_default();
    match owners.iter_mut().find(|owner| owner.controller == Some(true)) {
        Some(known) => *known = reference,
        None => owners.push(reference),
    }
    if !external_secret.data.is_object() {
        external_secret.data = serde_json::json!({});
    }
    let mut spec = ces.spec.external_secret_spec.clone();
    as_go_writes(&mut spec);
    // A different spelling of the same interval would be a change, after which all values are read again.
    if let (Some(known), Some(wanted)) = (external_secret.data["spec"].get(INTERVAL), spec.get_mut(INTERVAL))
        && interval(known).is_some_and(|known| Some(known) == interval(wanted))
    {
        *wanted = known.clone();
    }
    external_secret.data["spec"] = spec;
}

/// Changes a spec to what External Secrets writes after it has parsed it: `1h` becomes `1h0m0s`, and a template has
/// metadata.
fn as_go_writes(spec: &mut Value) {
    if let Some(known) = spec.get_mut(INTERVAL)
        && let Some(interval) = interval(known)
    {
        *known = interval.to_string().into();
    }
    if let Some(template) = spec.pointer_mut("/target/template").and_then(Value::as_object_mut) {
        template.entry("metadata").or_insert_with(|| serde_json::json!({}));
    }
}

fn interval(value: &Value) -> Option<GoDuration> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::resource;

    fn ces(annotations: serde_json::Value) -> ClusterExternalSecret {
        serde_json::from_value(json!({
            "apiVersion": "external-secrets.io/v1", "kind": KIND,
            "metadata": { "name": "db", "uid": "1", "annotations": annotations },
            "spec": {
                "externalSecretMetadata": { "labels": { "a": "b" }, "annotations": { "c": "d" } },
                "externalSecretSpec": { "refreshInterval": "1h", "unknownToUs": [1] },
            },
        }))
        .unwrap()
    }

    fn filled(external_secret: &mut DynamicObject, annotations: serde_json::Value) {
        fill(
            external_secret,
            &ces(annotations),
            &resource("v1", KIND, "clusterexternalsecrets"),
        );
    }

    #[test]
    fn the_spec_is_copied_with_unknown_fields_and_force_sync_is_copied() {
        let mut es = DynamicObject::new("db", &resource("v1", "ExternalSecret", "externalsecrets"));
        filled(&mut es, json!({ ANNOTATION_FORCE_SYNC: "7", "other": "x" }));
        assert_eq!(
            es.data["spec"],
            json!({ "refreshInterval": "1h0m0s", "unknownToUs": [1] })
        );
        let annotations = es.metadata.annotations.clone().unwrap();
        assert_eq!(annotations.len(), 2);
        assert_eq!(annotations[ANNOTATION_FORCE_SYNC], "7");
        assert_eq!(owner(&es.metadata), Some("db"));
        es.data["spec"]["refreshInterval"] = json!("60m");
        let before = es.clone();
        filled(&mut es, json!({ ANNOTATION_FORCE_SYNC: "7" }));
        assert!(es == before, "nothing to write");
        filled(&mut es, json!({}));
        assert_eq!(
            es.metadata.annotations.unwrap().len(),
            1,
            "the annotation was not removed"
        );
    }

    #[test]
    fn labels_of_others_are_removed_and_their_finalizers_stay() {
        let mut es = DynamicObject::new("db", &resource("v1", "ExternalSecret", "externalsecrets"));
        es.metadata.labels = Some([("x".to_owned(), "y".to_owned())].into());
        es.metadata.finalizers = Some(vec!["f".to_owned()]);
        filled(&mut es, json!({}));
        assert_eq!(es.metadata.labels, Some([("a".to_owned(), "b".to_owned())].into()));
        assert_eq!(es.metadata.finalizers.unwrap(), ["f"]);
    }

    #[test]
    fn an_object_of_another_kind_or_group_is_no_owner() {
        let meta = |api_version: &str, kind: &str| ObjectMeta {
            owner_references: Some(vec![OwnerReference {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                name: "db".to_owned(),
                controller: Some(true),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        };
        assert_eq!(owner(&meta("external-secrets.io/v1beta1", KIND)), Some("db"));
        assert_eq!(owner(&meta("other.io/v1", KIND)), None);
        assert_eq!(owner(&meta("external-secrets.io/v1", "Deployment")), None);
    }
}
