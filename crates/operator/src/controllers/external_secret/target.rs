//! Compares the Secret of an ExternalSecret with the desired one, and writes or deletes it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::api::core::v1::{LocalObjectReference, Secret};
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::core::ObjectMeta;
use parking_lot::Mutex;

use crate::api_error::api_message;
use crate::hash;
use crate::index::IndexKey;
use crate::informers::{Identity, Informers};
use crate::kube_ext::{is_conflict, is_not_found, is_terminating};
use crate::names::{ANNOTATION_DATA_HASH, LABEL_MANAGED, LABEL_OWNER, field_owner};
use crate::object_key::ObjectKey;
use crate::secret::{DesiredSecretError, desired_secret, takes_content, target_name};
use crate::template_reader::TemplateReader;
use crate::types::{CreationPolicy, ExternalSecret};
use crate::values::Values;

/// What was written.
pub(super) enum Applied {
    /// Nothing: there is no Secret, and the creation policy does not allow to create one.
    Missing,
    /// Nothing: the Secret was as desired.
    Unchanged,
    /// The Secret was created.
    Created,
    /// Labels, annotations, owners or the like were changed.
    Metadata,
    /// Values were changed.
    Data,
}

/// Why the Secret could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    /// Another client changed the Secret at the same time.
    #[error("the Secret changed meanwhile")]
    Conflict,
    /// The namespace is being deleted.
    #[error("the namespace is being deleted")]
    Terminating,
    /// The desired Secret can't be computed.
    #[error(transparent)]
    Refused(#[from] DesiredSecretError),
    /// The desired Secret can't be computed from the existing one.
    #[error("unable to mutate secret {0}: {1}")]
    Unchangeable(String, #[source] DesiredSecretError),
    /// The existing Secret is immutable, and its values would have to change.
    #[error("unable to update secret {0}: secret is immutable")]
    Immutable(String),
    /// The API server refused to change the existing Secret.
    #[error("unable to update secret {0}: {why}", why = api_message(.1))]
    Unwritable(String, kube::Error),
    /// Another request failed.
    #[error("{why}", why = api_message(.0))]
    Api(kube::Error),
}

impl From<kube::Error> for TargetError {
    fn from(error: kube::Error) -> Self {
        match error {
            error if is_conflict(&error) => Self::Conflict,
            error if is_terminating(&error) => Self::Terminating,
            error => Self::Api(error),
        }
    }
}

/// Writes and deletes the Secrets of ExternalSecrets.
pub(crate) struct TargetWriter {
    client: Client,
    informers: Arc<Informers>,
    templates: Arc<TemplateReader>,
    /// The API version of ExternalSecrets, for owner references.
    api_version: String,
    /// The version in which each ExternalSecret's Secret was last found to be as desired. As long as the API server has this
    /// version, the Secret need not be fetched.
    verified: Mutex<HashMap<ObjectKey, Identity>>,
}

impl TargetWriter {
    pub(crate) fn new(
        client: Client,
        informers: Arc<Informers>,
        templates: Arc<TemplateReader>,
        api_version: String,
    ) -> Self {
        Self {
            client,
            informers,
            templates,
            api_version,
            verified: Mutex::default(),
        }
    }

    /// Whether the Secret is as it was last written. It is fetched only if its version is not the last verified one.
    pub(super) async fn is_valid(
        &self,
        key: &ObjectKey,
        external_secret: &ExternalSecret,
    ) -> Result<bool, kube::Error> {
        if external_secret.spec.target.creation_policy == CreationPolicy::Orphan {
            return Ok(true);
        }
        let name = target_name(external_secret);
        let target = ObjectKey::new(key.namespace.clone(), name);
        if let Some(cached) = self.informers.targets.get(&target)
            && self.verified.lock().get(key) == Some(&cached.identity)
        {
            return Ok(true);
        }
        let Some(secret) = self.secrets(&key.namespace).get_opt(name).await? else {
            return Ok(false);
        };
        let is_intact = is_intact(&secret);
        if is_intact {
            self.set_verified(key, &secret);
        }
        Ok(is_intact)
    }

    /// Forgets an ExternalSecret that was deleted.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.verified.lock().remove(key);
    }

    /// Creates or changes the Secret. `binding` gets the Secret's name as soon as there is one.
    pub(super) async fn apply(
        &self,
        key: &ObjectKey,
        external_secret: &ExternalSecret,
        values: &Values,
        binding: &mut Option<LocalObjectReference>,
    ) -> Result<Applied, TargetError> {
        let name = target_name(external_secret);
        let api = self.secrets(&key.namespace);
        let write = PostParams {
            field_manager: Some(field_owner(&key.name)),
            ..PostParams::default()
        };
        let bound = Some(LocalObjectReference { name: name.to_owned() });
        let Some(existing) = api.get_opt(name).await? else {
            if external_secret.spec.target.creation_policy == CreationPolicy::Merge {
                return Ok(Applied::Missing);
            }
            let empty = Secret {
                metadata: ObjectMeta {
                    name: Some(name.to_owned()),
                    namespace: Some(key.namespace.to_string()),
                    ..ObjectMeta::default()
                },
                ..Secret::default()
            };
            let secret = self.desired(key, external_secret, empty, values).await?;
            let created = api.create(&write, &secret).await?;
            self.set_verified(key, &created);
            *binding = bound;
            return Ok(Applied::Created);
        };
        *binding = bound;
        let desired = self.desired(key, external_secret, existing.clone(), values).await;
        let desired = desired.map_err(|error| TargetError::Unchangeable(name.to_owned(), error))?;
        if desired == existing {
            self.set_verified(key, &existing);
            return Ok(Applied::Unchanged);
        }
        let is_immutable = existing.immutable == Some(true);
        let data_changes = desired.data != existing.data;
        let content_changes =
            (&desired.data, &desired.type_, desired.immutable) != (&existing.data, &existing.type_, existing.immutable);
        let write_this = if is_immutable {
            // The metadata of an immutable Secret may still change.
            Secret {
                metadata: desired.metadata,
                ..existing.clone()
            }
        } else {
            desired
        };
        if write_this != existing {
            let written = api.replace(name, &write, &write_this).await;
            let written = written.map_err(|error| match error.into() {
                // The Secret was deleted while we wrote. Report a conflict; the next reconcile decides whether to recreate
                // it.
                TargetError::Api(error) if is_not_found(&error) => TargetError::Conflict,
                TargetError::Api(error) => TargetError::Unwritable(name.to_owned(), error),
                other => other,
            })?;
            self.set_verified(key, &written);
        }
        if is_immutable && content_changes {
            return Err(TargetError::Immutable(name.to_owned()));
        }
        Ok(if data_changes { Applied::Data } else { Applied::Metadata })
    }

    /// Computes the desired Secret. Template sources are read only if the template is used.
    async fn desired(
        &self,
        key: &ObjectKey,
        external_secret: &ExternalSecret,
        secret: Secret,
        values: &Values,
    ) -> Result<Secret, DesiredSecretError> {
        let template = external_secret.spec.target.template.as_ref();
        let template = template.filter(|_| takes_content(external_secret, &secret));
        let texts = self.templates.read(&key.namespace, template).await;
        let texts = texts.map_err(|error| DesiredSecretError::TemplateTexts(api_message(&error)))?;
        let now = SystemTime::now();
        let compute = || desired_secret(external_secret, &self.api_version, secret, values, &texts, now);
        if template.is_none() {
            return compute();
        }
        // Templates may compute for seconds, and other tasks must not wait for them.
        tokio::task::block_in_place(compute)
    }

    /// Deletes the Secret if this ExternalSecret owns it. Returns whether it was deleted.
    pub(super) async fn delete_owned(&self, external_secret: &ExternalSecret) -> Result<bool, kube::Error> {
        let namespace = external_secret.metadata.namespace.as_deref().unwrap_or_default();
        let api = self.secrets(namespace);
        let name = target_name(external_secret);
        let Some(secret) = api.get_opt(name).await? else {
            return Ok(false);
        };
        let uid = external_secret.metadata.uid.as_deref();
        let mut owners = secret.metadata.owner_references.iter().flatten();
        let is_owned = owners.any(|owner| owner.controller == Some(true) && Some(owner.uid.as_str()) == uid);
        if is_owned {
            delete(&api, name, secret.metadata.uid).await?;
        }
        Ok(is_owned)
    }

    /// Deletes the Secrets that this ExternalSecret has written under another name.
    pub(super) async fn delete_orphans(&self, external_secret: &ExternalSecret) -> DeletedOrphans {
        let meta = &external_secret.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let owner = hash::owner(namespace, meta.name.as_deref().unwrap_or_default());
        let name = target_name(external_secret);
        let index_key = IndexKey::Owner(ObjectKey::new(namespace, owner.as_str()));
        let api = self.secrets(namespace);
        let mut deleted = DeletedOrphans::default();
        for key in self.informers.targets.indexed(&index_key) {
            if &*key.name == name {
                continue;
            }
            match delete_orphan(&api, &key.name, &owner).await {
                Ok(true) => deleted.count += 1,
                Ok(false) => {}
                Err(error) => {
                    deleted.error = Some(error);
                    break;
                }
            }
        }
        deleted
    }

    fn set_verified(&self, key: &ObjectKey, secret: &Secret) {
        self.verified.lock().insert(key.clone(), Identity::of(&secret.metadata));
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// What the deletion of orphaned Secrets has done.
#[derive(Default)]
pub(super) struct DeletedOrphans {
    /// How many Secrets were deleted.
    pub(super) count: usize,
    /// Why the rest could not be deleted.
    pub(super) error: Option<kube::Error>,
}

/// Whether a Secret's data are those that an ExternalSecret has written.
fn is_intact(secret: &Secret) -> bool {
    let meta = &secret.metadata;
    let managed = meta.labels.as_ref().and_then(|labels| labels.get(LABEL_MANAGED));
    let known_hash = meta
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(ANNOTATION_DATA_HASH));
    let hash = hash::data(secret.data.as_ref().unwrap_or(&Default::default()));
    managed.is_some_and(|managed| managed == "true") && known_hash == Some(&hash)
}

/// Deletes a Secret if its label still has this owner. Returns whether it was deleted.
async fn delete_orphan(api: &Api<Secret>, name: &str, owner: &str) -> Result<bool, kube::Error> {
    let Some(secret) = api.get_metadata_opt(name).await? else {
        return Ok(false);
    };
    let mut labels = secret.metadata.labels.iter().flatten();
    let is_owned = labels.any(|(label, value)| label == LABEL_OWNER && value == owner);
    if is_owned {
        delete(api, name, secret.metadata.uid).await?;
    }
    Ok(is_owned)
}

/// Deletes the Secret with this uid: one that was created anew under the same name stays.
async fn delete(api: &Api<Secret>, name: &str, uid: Option<String>) -> Result<(), kube::Error> {
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(name, &parameters).await {
        Err(error) if !is_not_found(&error) => Err(error),
        _ => Ok(()),
    }
}
