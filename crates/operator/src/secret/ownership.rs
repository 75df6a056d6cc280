//! Who owns a Secret.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;

use super::DesiredSecretError;
use crate::hash;
use crate::names::LABEL_OWNER;
use crate::types::{CreationPolicy, ExternalSecret, GROUP};

const KIND: &str = "ExternalSecret";

/// Takes, keeps or gives up the ownership of a Secret, as the creation policy says.
///
/// # Errors
/// When another ExternalSecret owns it, or it is to be owned and another controller does.
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
    let uid = external_secret.metadata.uid.as_deref().unwrap_or_default();
    match owned {
        true => {
            // Its own of an earlier uid is taken over: it was deleted and made anew.
            if let Some(owner) = controller
                && !ours
            {
                let (namespace, secret) = (meta.namespace.as_deref(), meta.name.as_deref());
                return Err(DesiredSecretError::OwnedByOther {
                    secret: format!("{}/{}", namespace.unwrap_or_default(), secret.unwrap_or_default()),
                    kind: owner.kind.clone(),
                    name: owner.name.clone(),
                });
            }
            let reference = OwnerReference {
                api_version: api_version.to_owned(),
                kind: KIND.to_owned(),
                name: name.to_owned(),
                uid: uid.to_owned(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            };
            let owners = meta.owner_references.get_or_insert_default();
            match owners
                .iter_mut()
                .find(|owner| is_external_secret(owner) && owner.name == name)
            {
                Some(known) => *known = reference,
                None => owners.push(reference),
            }
        }
        false if ours => {
            let owners = meta.owner_references.get_or_insert_default();
            owners.retain(|owner| !(is_external_secret(owner) && owner.name == name));
            if owners.is_empty() {
                meta.owner_references = None;
            }
        }
        false => {}
    }
    let labels = meta.labels.get_or_insert_default();
    match owned {
        true => {
            let namespace = external_secret.metadata.namespace.as_deref().unwrap_or_default();
            labels.insert(LABEL_OWNER.to_owned(), hash::owner(namespace, name));
        }
        false => {
            labels.remove(LABEL_OWNER);
        }
    }
    Ok(())
}

fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = meta.owner_references.iter().flatten();
    owners.into_iter().find(|owner| owner.controller == Some(true))
}

/// Whatever its version: that changes over time.
fn is_external_secret(owner: &OwnerReference) -> bool {
    owner.kind == KIND && owner.api_version.split('/').next() == Some(GROUP)
}
