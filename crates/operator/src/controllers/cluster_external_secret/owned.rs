//! The ExternalSecrets a ClusterExternalSecret makes.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, DynamicObject, PostParams, Preconditions};
use kube::core::{ApiResource, ObjectMeta};
use serde_json::Value;

use crate::api_error::api_message;
use crate::informer::IndexKey;
use crate::names::ANNOTATION_FORCE_SYNC;
use crate::object_key::ObjectKey;
use crate::operator::{Operator, is_conflict, is_not_found};
use crate::types::{ClusterExternalSecret, GROUP, GoDuration};

const KIND: &str = "ClusterExternalSecret";
const INTERVAL: &str = "refreshInterval";

/// Why an ExternalSecret is not there, or still is.
#[derive(Debug, thiserror::Error)]
pub(super) enum OwnedError {
    /// Someone else's has its name.
    #[error("external secret already exists in namespace")]
    Exists,
    /// It can't be made or changed.
    #[error("could not create or update ExternalSecret: {why}", why = api_message(.0))]
    Write(kube::Error),
    /// It can't be deleted.
    #[error("external secret in non matching namespace could not be deleted: {why}", why = api_message(.0))]
    Delete(kube::Error),
}

impl OwnedError {
    /// Whether it changed meanwhile.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Write(error) | Self::Delete(error) if is_conflict(error))
    }

    /// Whether trying again may help; a change to someone else's is seen.
    pub(super) fn may_pass(&self) -> bool {
        !matches!(self, Self::Exists)
    }
}

/// The ClusterExternalSecret that owns an object, whatever its version.
pub(crate) fn owner(meta: &ObjectMeta) -> Option<&str> {
    let mut owners = meta.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    let is_one = owner.kind == KIND && owner.api_version.split('/').next() == Some(GROUP);
    is_one.then_some(owner.name.as_str())
}

/// Those that a ClusterExternalSecret owns, whatever its status says of them; and those that the status tells of, which may
/// be there and not readable.
pub(super) fn all(operator: &Operator, ces: &ClusterExternalSecret) -> BTreeSet<ObjectKey> {
    let name = ces.metadata.name.as_deref().unwrap_or_default();
    let owned = operator
        .informers
        .external_secrets
        .indexed(&IndexKey::Parent(name.into()));
    let told = ces.status.iter().flat_map(|status| {
        let namespaces = status.provisioned_namespaces.iter();
        namespaces.map(|namespace| ObjectKey::new(namespace.as_str(), status.external_secret_name.as_str()))
    });
    let told = told.filter(|key| !key.name.is_empty());
    owned.into_iter().chain(told).collect()
}

/// Makes the ExternalSecret of a namespace, or makes it as it should be. What is as it should be costs no request:
/// there may be thousands of namespaces.
pub(super) async fn apply(
    operator: &Operator,
    ces: &ClusterExternalSecret,
    namespace: &str,
    name: &str,
) -> Result<(), OwnedError> {
    let Some(own) = &operator.served.cluster_external_secret else {
        return Ok(());
    };
    let resource = &operator.served.external_secret;
    let api = operator.api(resource, namespace);
    let write = PostParams::default();
    let as_wanted = |known: DynamicObject| {
        if owner(&known.metadata) != ces.metadata.name.as_deref() {
            return Err(OwnedError::Exists);
        }
        let mut wanted = known.clone();
        fill(&mut wanted, ces, own);
        Ok((wanted != known).then_some(wanted))
    };
    match operator
        .informers
        .external_secrets
        .whole(&ObjectKey::new(namespace, name))
    {
        Some(known) => {
            if as_wanted(known)?.is_none() {
                return Ok(());
            }
        }
        None => {
            let mut new = DynamicObject::new(name, resource).within(namespace);
            fill(&mut new, ces, own);
            match api.create(&write, &new).await {
                // It was not seen yet.
                Err(error) if is_conflict(&error) => {}
                outcome => return outcome.map(drop).map_err(OwnedError::Write),
            }
        }
    }
    let existing = api.get(name).await.map_err(OwnedError::Write)?;
    match as_wanted(existing)? {
        Some(wanted) => api
            .replace(name, &write, &wanted)
            .await
            .map(drop)
            .map_err(OwnedError::Write),
        None => Ok(()),
    }
}

/// Deletes an ExternalSecret, if it is still this one's.
pub(super) async fn delete(operator: &Operator, key: &ObjectKey, owner_name: &str) -> Result<(), OwnedError> {
    let api = operator.api(&operator.served.external_secret, &key.namespace);
    let Some(existing) = api.get_opt(&key.name).await.map_err(OwnedError::Delete)? else {
        return Ok(());
    };
    if owner(&existing.metadata) != Some(owner_name) {
        return Ok(());
    }
    let this_one = DeleteParams::default().preconditions(Preconditions {
        uid: existing.metadata.uid,
        resource_version: None,
    });
    match api.delete(&key.name, &this_one).await {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        Err(error) => Err(OwnedError::Delete(error)),
    }
}

/// Spec, labels and annotations are the ClusterExternalSecret's to say; the rest stays.
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
    // The same said otherwise would be a change that has all values read again.
    if let (Some(known), Some(wanted)) = (external_secret.data["spec"].get(INTERVAL), spec.get_mut(INTERVAL))
        && interval(known).is_some_and(|known| Some(known) == interval(wanted))
    {
        *wanted = known.clone();
    }
    external_secret.data["spec"] = spec;
}

/// External Secrets reads the spec and writes it anew: 1h becomes 1h0m0s, and a template has metadata.
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
    #![allow(clippy::unwrap_used)]
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
    fn the_spec_is_handed_on_whole_and_force_sync_is_mirrored() {
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
        assert_eq!(es.metadata.annotations.unwrap().len(), 1, "it is taken away again");
    }

    #[test]
    fn labels_that_others_put_on_go_and_finalizers_stay() {
        let mut es = DynamicObject::new("db", &resource("v1", "ExternalSecret", "externalsecrets"));
        es.metadata.labels = Some([("x".to_owned(), "y".to_owned())].into());
        es.metadata.finalizers = Some(vec!["f".to_owned()]);
        filled(&mut es, json!({}));
        assert_eq!(es.metadata.labels, Some([("a".to_owned(), "b".to_owned())].into()));
        assert_eq!(es.metadata.finalizers.unwrap(), ["f"]);
    }

    #[test]
    fn another_kind_of_the_same_name_is_no_owner() {
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
