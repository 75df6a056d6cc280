//! The Secret itself: is it as it should be, and if not, make it so.

use k8s_openapi::api::core::v1::{LocalObjectReference, Secret};
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::ObjectMeta;

use super::fetch;
use crate::api_error::api_message;
use crate::hash;
use crate::informer::IndexKey;
use crate::names::{ANNOTATION_DATA_HASH, LABEL_MANAGED, LABEL_OWNER, field_owner};
use crate::object_key::ObjectKey;
use crate::object_key::ObjectKey;
use crate::operator::{Identity, Operator, is_conflict, is_not_found, is_terminating};
use crate::secret::{DesiredSecretError, desired_secret, takes_content, target_name};
use crate::types::{CreationPolicy, ExternalSecret};
use crate::values::Values;

/// What it took for the Secret to be as it should.
pub(super) enum Applied {
    /// There is none, and it is not ours to make.
    Missing,
    /// Nothing.
    Unchanged,
    /// It was made.
    Created,
    /// Labels, annotations or the like were changed.
    Metadata,
    /// Its values were changed.
    Data,
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    /// The Secret changed meanwhile.
    #[error("the Secret changed meanwhile")]
    Conflict,
    /// The namespace is being deleted.
    #[error("the namespace is being deleted")]
    Terminating,
    /// There is no such Secret.
    #[error(transparent)]
    Refused(#[from] DesiredSecretError),
    /// The Secret that is there can't become what it should be.
    #[error("unable to mutate secret {0}: {1}")]
    Unchangeable(String, #[source] DesiredSecretError),
    /// It can't be changed.
    #[error("unable to update secret {0}: secret is immutable")]
    Immutable(String),
    /// The API server refused the change of the Secret that is there.
    #[error("unable to update secret {0}: {why}", why = api_message(.1))]
    Unwritable(String, kube::Error),
    /// The API server refused.
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

/// Whether the Secret is as it was left. Its content is only fetched if it changed since it was last looked at.
pub(super) async fn is_valid(
    operator: &Operator,
    key: &ObjectKey,
    external_secret: &ExternalSecret,
) -> Result<bool, kube::Error> {
    if external_secret.spec.target.creation_policy == CreationPolicy::Orphan {
        return Ok(true);
    }
    let name = target_name(external_secret);
    let target = ObjectKey::new(key.namespace.clone(), name);
    let seen = operator.informers.targets.get(&target);
    if let Some(seen) = &seen
        && operator.verified().get(key) == Some(&seen.identity)
    {
        return Ok(true);
    }
    let Some(secret) = secrets(operator, &key.namespace).get_opt(name).await? else {
        return Ok(false);
    };
    let valid = is_intact(&secret);
    if valid {
        operator.verified().insert(key.clone(), Identity::of(&secret.metadata));
    }
    Ok(valid)
}

fn is_intact(secret: &Secret) -> bool {
    let meta = &secret.metadata;
    let managed = meta.labels.as_ref().and_then(|labels| labels.get(LABEL_MANAGED));
    let known = meta
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(ANNOTATION_DATA_HASH));
    let hash = hash::data(secret.data.as_ref().unwrap_or(&Default::default()));
    managed.is_some_and(|managed| managed == "true") && known == Some(&hash)
}

/// Makes or changes the Secret. `binding` gets its name as soon as there is one.
pub(super) async fn apply(
    operator: &Operator,
    key: &ObjectKey,
    external_secret: &ExternalSecret,
    values: &Values,
    binding: &mut Option<LocalObjectReference>,
) -> Result<Applied, TargetError> {
    let name = target_name(external_secret);
    let api = secrets(operator, &key.namespace);
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
        let secret = mutate(operator, key, external_secret, empty, values).await?;
        let made = api.create(&write, &secret).await?;
        operator.verified().insert(key.clone(), Identity::of(&made.metadata));
        *binding = bound;
        return Ok(Applied::Created);
    };
    *binding = bound;
    let secret = mutate(operator, key, external_secret, existing.clone(), values)
        .await
        .map_err(|refusal| TargetError::Unchangeable(name.to_owned(), refusal))?;
    if secret == existing {
        operator
            .verified()
            .insert(key.clone(), Identity::of(&existing.metadata));
        return Ok(Applied::Unchanged);
    }
    let frozen = existing.immutable == Some(true);
    let data_changed = secret.data != existing.data;
    let content_changed =
        (&secret.data, &secret.type_, secret.immutable) != (&existing.data, &existing.type_, existing.immutable);
    let write_this = match frozen {
        false => secret,
        // Labels and annotations may change all the same.
        true => Secret {
            metadata: secret.metadata,
            ..existing.clone()
        },
    };
    if write_this != existing {
        let written = api.replace(name, &write, &write_this).await;
        let written = written.map_err(|error| match error.into() {
            // It went meanwhile: whether there is to be a new one is the next turn's to say.
            TargetError::Api(error) if is_not_found(&error) => TargetError::Conflict,
            TargetError::Api(error) => TargetError::Unwritable(name.to_owned(), error),
            other => other,
        })?;
        operator.verified().insert(key.clone(), Identity::of(&written.metadata));
    }
    match frozen && content_changed {
        true => Err(TargetError::Immutable(name.to_owned())),
        false if data_changed => Ok(Applied::Data),
        false => Ok(Applied::Metadata),
    }
}

/// The Secret as it should be. Templates that live elsewhere are read only if they are used.
async fn mutate(
    operator: &Operator,
    key: &ObjectKey,
    external_secret: &ExternalSecret,
    secret: Secret,
    values: &Values,
) -> Result<Secret, DesiredSecretError> {
    let template = external_secret.spec.target.template.as_ref();
    let template = template.filter(|_| takes_content(external_secret, &secret));
    let sources = fetch::sources(operator, &key.namespace, template).await;
    let sources = sources.map_err(|error| DesiredSecretError::TemplateTexts(api_message(&error)))?;
    let api_version = &operator.served.external_secret.api_version;
    let now = std::time::SystemTime::now();
    let compute = || desired_secret(external_secret, api_version, secret, values, &sources, now);
    if template.is_none() {
        return compute();
    }
    // Templates may compute for seconds, and other tasks must not wait for them.
    tokio::task::block_in_place(compute)
}

/// Deletes the Secret if this ExternalSecret owns it. Says whether there was one.
pub(super) async fn delete_owned(operator: &Operator, external_secret: &ExternalSecret) -> Result<bool, kube::Error> {
    let namespace = external_secret.metadata.namespace.as_deref().unwrap_or_default();
    let api = secrets(operator, namespace);
    let name = target_name(external_secret);
    let Some(secret) = api.get_opt(name).await? else {
        return Ok(false);
    };
    let mut owners = secret.metadata.owner_references.iter().flatten();
    let owned = owners.any(|owner| {
        owner.controller == Some(true) && Some(owner.uid.as_str()) == external_secret.metadata.uid.as_deref()
    });
    match owned {
        true => delete(&api, name, secret.metadata.uid).await.map(|()| true),
        false => Ok(false),
    }
}

/// Deletes Secrets this ExternalSecret made under another name.
pub(super) async fn delete_orphans(operator: &Operator, external_secret: &ExternalSecret) -> Result<(), kube::Error> {
    let meta = &external_secret.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let owner = hash::owner(namespace, meta.name.as_deref().unwrap_or_default());
    let name = target_name(external_secret);
    let made = operator
        .informers
        .targets
        .indexed(&IndexKey::Owner(ObjectKey::new(namespace, owner.as_str())));
    let api = secrets(operator, namespace);
    for key in made.into_iter().filter(|key| &*key.name != name) {
        let Some(secret) = api.get_metadata_opt(&key.name).await? else {
            continue;
        };
        let mut labels = secret.metadata.labels.iter().flatten();
        if !labels.any(|(label, value)| label == LABEL_OWNER && *value == owner) {
            continue;
        }
        delete(&api, &key.name, secret.metadata.uid).await?;
        let note = "secret deleted because it was orphaned";
        super::record_event(operator, external_secret, super::EventType::Normal, "Deleted", note).await;
    }
    Ok(())
}

/// Deletes the Secret that was looked at, and no other of its name.
async fn delete(api: &Api<Secret>, name: &str, uid: Option<String>) -> Result<(), kube::Error> {
    let how = DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(name, &how).await {
        Err(error) if !is_not_found(&error) => Err(error),
        _ => Ok(()),
    }
}

fn secrets(operator: &Operator, namespace: &str) -> Api<Secret> {
    Api::namespaced(operator.client.clone(), namespace)
}
