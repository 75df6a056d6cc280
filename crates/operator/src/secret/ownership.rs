//! The owner references and the owner label of a Secret.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;

use super::DesiredSecretError;
use crate::hash;
use crate::names::LABEL_OWNER;
use crate::types::{CreationPolicy, ExternalSecret, GROUP};

const KIND: &str = "ExternalSecret";

/// Makes the ExternalSecret the controller of a Secret if `creationPolicy` is `Owner`, and removes its owner reference
/// and label otherwise.
///
/// # Errors
/// When another ExternalSecret controls the Secret, or `creationPolicy` is `Owner` and another controller does.
pub(super) fn apply(
    external_secret: &ExternalSecret,
    api_version: &str,
    meta: &mut ObjectMeta,
) -> Result<(), DesiredSecretError> {
    let name = external_secret.metadata.name.as_deref().unwrap_or_default();
    let controller = controller(meta);
    let ours = controller.is_some_and(|owner| is_external_secret(owner) && owner.name == name);
    if let Some(owner) = controller
        && is_external_secret(owner)
        && !ours
    {
        return Err(DesiredSecretError::OwnedByExternalSecret(owner.name.clone()));
    }
    let owned = external_secret.spec.target.creation_policy == CreationPolicy::Owner;
    if let Some(owner) = controller
        && owned
        && !ours
    {
        let (namespace, secret) = (meta.namespace.as_deref(), meta.name.as_deref());
        return Err(DesiredSecretError::OwnedByOther {
            secret: format!("{}/{}", namespace.unwrap_or_default(), secret.unwrap_or_default()),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
        });
    }
    let uid = external_secret.metadata.uid.as_deref().unwrap_or_default();
    let owners = meta.owner_references.get_or_insert_default();
    let labels = meta.labels.get_or_insert_default();
    let is_own = |owner: &OwnerReference| is_external_secret(owner) && owner.name == name;
    if owned {
        let reference = OwnerReference {
            api_version: api_version.to_owned(),
            kind: KIND.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        };
        // Also replaces a reference with an old uid: that of an ExternalSecret that was deleted and created again.
        match owners.iter_mut().find(|owner| is_own(owner)) {
            Some(known) => *known = reference,
            None => owners.push(reference),
        }
        let namespace = external_secret.metadata.namespace.as_deref().unwrap_or_default();
        labels.insert(LABEL_OWNER.to_owned(), hash::owner(namespace, name));
    } else {
        if ours {
            owners.retain(|owner| !is_own(owner));
        }
        labels.remove(LABEL_OWNER);
    }
    if owners.is_empty() {
        meta.owner_references = None;
    }
    Ok(())
}

fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = meta.owner_references.iter().flatten();
    owners.into_iter().find(|owner| owner.controller == Some(true))
}

/// Compares the group and not the version: an owner reference keeps the version that was current when it was written.
fn is_external_secret(owner: &OwnerReference) -> bool {
    owner.kind == KIND && owner.api_version.split('/').next() == Some(GROUP)
}
