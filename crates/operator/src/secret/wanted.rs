//! The wanted Secret.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::template::{self, Sources, TemplateError};
use super::{managed, ownership};
use crate::hash;
use crate::names::{ANNOTATION_DATA_HASH, LABEL_MANAGED};
use crate::types::{ExternalSecret, MergePolicy, Template};
use crate::values::Values;

/// Why there is no such Secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// A template fails.
    #[error("could not apply template: {0}")]
    Template(#[from] TemplateError),
    /// Another ExternalSecret owns it.
    #[error("secret is owned by another ExternalSecret: {0}")]
    OwnedByExternalSecret(String),
    /// Another controller owns it.
    #[error("could not set controller reference on secret: it is already owned by {kind} {name}")]
    OwnedByOther {
        /// The owner's kind.
        kind: String,
        /// The owner's name.
        name: String,
    },
}

/// The Secret as it should be, from the one that is there (an empty one with its name, if none is).
///
/// # Errors
/// See [`Refusal`]. Nothing was changed then.
pub(crate) fn wanted(
    external_secret: &ExternalSecret,
    api_version: &str,
    mut secret: Secret,
    values: &Values,
    sources: &Sources,
) -> Result<Secret, Refusal> {
    let target = &external_secret.spec.target;
    let is_new = secret.metadata.uid.is_none();
    if target.immutable {
        secret.immutable = Some(true);
    }
    // What is immutable and there already keeps its content.
    if is_new || !target.immutable {
        forget_own(external_secret, &mut secret);
        content(external_secret, &mut secret, values, sources)?;
    }
    ownership::apply(external_secret, api_version, &mut secret.metadata)?;
    let labels = secret.metadata.labels.get_or_insert_default();
    labels.insert(LABEL_MANAGED.to_owned(), "true".to_owned());
    let hash = hash::data(secret.data.get_or_insert_default());
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_DATA_HASH.to_owned(), hash);
    Ok(secret)
}

/// Takes away what this ExternalSecret wrote before, so that what a manifest no longer has does not stay behind.
fn forget_own(external_secret: &ExternalSecret, secret: &mut Secret) {
    let own = managed::managed(secret, external_secret.metadata.name.as_deref().unwrap_or_default());
    let data = secret.data.get_or_insert_default();
    own.data.iter().for_each(|key| drop(data.remove(key)));
    let labels = secret.metadata.labels.get_or_insert_default();
    own.labels.iter().for_each(|key| drop(labels.remove(key)));
    let annotations = secret.metadata.annotations.get_or_insert_default();
    own.annotations.iter().for_each(|key| drop(annotations.remove(key)));
}

fn content(
    external_secret: &ExternalSecret,
    secret: &mut Secret,
    values: &Values,
    sources: &Sources,
) -> Result<(), Refusal> {
    let target = &external_secret.spec.target;
    let template = target.template.as_ref();
    if let Some(template) = template {
        check_privileges(template)?;
    }
    let meta = &external_secret.metadata;
    let (labels, annotations) = match template {
        Some(template) => (Some(&template.metadata.labels), Some(&template.metadata.annotations)),
        None => (meta.labels.as_ref(), meta.annotations.as_ref()),
    };
    let own_labels = secret.metadata.labels.get_or_insert_default();
    own_labels.extend(
        labels
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    let own_annotations = secret.metadata.annotations.get_or_insert_default();
    own_annotations.extend(
        annotations
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    if let Some(template) = template
        && secret.metadata.deletion_timestamp.is_none()
    {
        for finalizer in &template.metadata.finalizers {
            let finalizers = secret.metadata.finalizers.get_or_insert_default();
            if !finalizers.contains(finalizer) {
                finalizers.push(finalizer.clone());
            }
        }
    }
    let data = secret.data.get_or_insert_default();
    if !target.creation_policy.keeps_other_keys() {
        data.clear();
    }
    let mut put_values = || {
        data.extend(
            values
                .iter()
                .map(|(key, value)| (key.clone(), ByteString(value.clone()))),
        )
    };
    let Some(template) = template else {
        put_values();
        // The seed's spelling, for those who have no template.
        if let Some(type_) = &target.type_ {
            secret.type_ = Some(type_.clone());
        }
        return Ok(());
    };
    let no_templates = template.data.is_empty() && template.template_from.is_empty();
    if template.merge_policy == MergePolicy::Merge || no_templates {
        put_values();
    }
    let type_ = Some(&template.type_)
        .filter(|type_| !type_.is_empty())
        .or(target.type_.as_ref());
    if let Some(type_) = type_ {
        secret.type_ = Some(type_.clone());
    }
    if !matches!(template.engine_version.as_str(), "" | "v2") {
        return Err(TemplateError(format!(
            "template engine version {:?} is unknown",
            template.engine_version
        ))
        .into());
    }
    template::fill(template, sources, values, secret)?;
    Ok(())
}

/// Refuses Secrets that the API server would put a credential into, or take one from: whoever may write an
/// ExternalSecret must not get more than that.
fn check_privileges(template: &Template) -> Result<(), TemplateError> {
    const TOKEN: &str = "kubernetes.io/service-account-token";
    const ACCOUNT: &str = "kubernetes.io/service-account.name";
    let refuse = |what: String| {
        Err(TemplateError(format!(
            "template.type={:?} {what}is not allowed",
            template.type_
        )))
    };
    match template.type_.as_str() {
        TOKEN if template.metadata.annotations.contains_key(ACCOUNT) => {
            refuse(format!("with annotation \"{ACCOUNT}\" "))
        }
        TOKEN
            if template
                .template_from
                .iter()
                .any(|from| from.target.eq_ignore_ascii_case("annotations")) =>
        {
            refuse("with templateFrom target=\"Annotations\" ".to_owned())
        }
        "bootstrap.kubernetes.io/token" => refuse(String::new()),
        _ => Ok(()),
    }
}
