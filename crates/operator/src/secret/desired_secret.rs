//! Computes the desired Secret: no I/O and no clock but the templates' time limit.

use std::collections::BTreeMap;
use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::template::{self, TemplateError, TemplateTexts};
use super::{managed, ownership};
use crate::hash;
use crate::names::{ANNOTATION_DATA_HASH, LABEL_MANAGED};
use crate::types::{ExternalSecret, MergePolicy, Target, Template};
use crate::values::Values;

/// Why no desired Secret could be computed. The texts are External Secrets'.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DesiredSecretError {
    /// A template fails.
    #[error("could not apply template: {0}")]
    Template(#[from] TemplateError),
    /// A ConfigMap or Secret that `templateFrom` names can't be read. Holds the API server's answer.
    #[error("could not apply template: error fetching templateFrom data: {0}")]
    TemplateTexts(String),
    /// Another ExternalSecret owns the Secret that exists. Holds its name.
    #[error("secret is owned by another ExternalSecret: {0}")]
    OwnedByExternalSecret(String),
    /// A controller of another kind owns the Secret that exists.
    #[error(
        "could not set controller reference on secret: Object {secret} is already owned by another {kind} controller {name}"
    )]
    OwnedByOther {
        /// The Secret: `namespace/name`.
        secret: String,
        /// The owner's kind.
        kind: String,
        /// The owner's name.
        name: String,
    },
}

/// Computes the desired Secret. `secret` is the Secret that exists, or one that has only a name and a namespace if none
/// exists. Templates see `now` as the current time. Blocks for up to
/// [`MAX_TIME`](sidevault_template::limits::MAX_TIME) while it renders templates.
///
/// # Errors
/// See [`DesiredSecretError`].
pub(crate) fn desired_secret(
    external_secret: &ExternalSecret,
    api_version: &str,
    mut secret: Secret,
    values: &Values,
    texts: &TemplateTexts,
    now: SystemTime,
) -> Result<Secret, DesiredSecretError> {
    let target = &external_secret.spec.target;
    if target.immutable {
        secret.immutable = Some(true);
    }
    if takes_content(external_secret, &secret) {
        remove_own_keys(external_secret, &mut secret);
        set_content(external_secret, &mut secret, values, texts, now)?;
    }
    ownership::apply(external_secret, api_version, &mut secret.metadata)?;
    let labels = secret.metadata.labels.get_or_insert_default();
    labels.insert(LABEL_MANAGED.to_owned(), "true".to_owned());
    let hash = hash::data(secret.data.get_or_insert_default());
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_DATA_HASH.to_owned(), hash);
    // The API server stores no empty map, so an empty map would make an unchanged Secret look changed.
    secret.data = secret.data.filter(|data| !data.is_empty());
    Ok(secret)
}

/// Whether values and templates are written into a Secret: an immutable Secret that exists keeps its content.
pub(crate) fn takes_content(external_secret: &ExternalSecret, secret: &Secret) -> bool {
    secret.metadata.uid.is_none() || !external_secret.spec.target.immutable
}

/// Removes the keys, labels and annotations that this ExternalSecret wrote earlier, so that one that its manifest no
/// longer has is deleted.
fn remove_own_keys(external_secret: &ExternalSecret, secret: &mut Secret) {
    let own = managed::managed(secret, external_secret.metadata.name.as_deref().unwrap_or_default());
    let data = secret.data.get_or_insert_default();
    own.data.iter().for_each(|key| drop(data.remove(key)));
    let labels = secret.metadata.labels.get_or_insert_default();
    own.labels.iter().for_each(|key| drop(labels.remove(key)));
    let annotations = secret.metadata.annotations.get_or_insert_default();
    own.annotations.iter().for_each(|key| drop(annotations.remove(key)));
}

/// Sets the type, labels, annotations, data and finalizers from the values and the template.
fn set_content(
    external_secret: &ExternalSecret,
    secret: &mut Secret,
    values: &Values,
    texts: &TemplateTexts,
    now: SystemTime,
) -> Result<(), DesiredSecretError> {
    let target = &external_secret.spec.target;
    let template = target.template.as_ref();
    let (labels, annotations) = match template {
        Some(template) => (Some(&template.metadata.labels), Some(&template.metadata.annotations)),
        None => (
            external_secret.metadata.labels.as_ref(),
            external_secret.metadata.annotations.as_ref(),
        ),
    };
    if let Some(type_) = type_of(target) {
        check_privileges(type_, annotations, template)?;
        secret.type_ = Some(type_.to_owned());
    }
    extend(secret.metadata.labels.get_or_insert_default(), labels);
    extend(secret.metadata.annotations.get_or_insert_default(), annotations);
    let data = secret.data.get_or_insert_default();
    if !target.creation_policy.keeps_other_keys() {
        data.clear();
    }
    let templates_alone = template.is_some_and(|template| {
        template.merge_policy != MergePolicy::Merge && !(template.data.is_empty() && template.template_from.is_empty())
    });
    if !templates_alone {
        let values = values.iter();
        data.extend(values.map(|(key, value)| (key.clone(), ByteString(value.clone()))));
    }
    let Some(template) = template else { return Ok(()) };
    if secret.metadata.deletion_timestamp.is_none() {
        for finalizer in &template.metadata.finalizers {
            let finalizers = secret.metadata.finalizers.get_or_insert_default();
            if !finalizers.contains(finalizer) {
                finalizers.push(finalizer.clone());
            }
        }
    }
    if !matches!(template.engine_version.as_str(), "" | "v2") {
        let version = &template.engine_version;
        return Err(TemplateError(format!("template engine version {version:?} is unknown")).into());
    }
    template::fill(template, texts, values, now, secret)?;
    Ok(())
}

/// The type of the Secret, if the manifest sets it: `target.template.type`, or else `target.type`.
fn type_of(target: &Target) -> Option<&str> {
    let of_template = target.template.as_ref().map(|template| template.type_.as_str());
    of_template
        .filter(|type_| !type_.is_empty())
        .or(target.type_.as_deref())
}

fn extend(known: &mut BTreeMap<String, String>, more: Option<&BTreeMap<String, String>>) {
    let more = more.into_iter().flatten();
    known.extend(more.map(|(key, value)| (key.clone(), value.clone())));
}

/// Refuses the types of Secret that are credentials of the cluster: the API server writes a service account's token
/// into one of them and accepts the other as a bootstrap token. A user who may only write ExternalSecrets must not
/// obtain such a credential. `annotations` are those of the desired Secret.
fn check_privileges(
    type_: &str,
    annotations: Option<&BTreeMap<String, String>>,
    template: Option<&Template>,
) -> Result<(), TemplateError> {
    const TOKEN: &str = "kubernetes.io/service-account-token";
    const ACCOUNT: &str = "kubernetes.io/service-account.name";
    let refuse = |what: &str| Err(TemplateError(format!("template.type={type_:?} {what}is not allowed")));
    let names_account = annotations.is_some_and(|annotations| annotations.contains_key(ACCOUNT));
    let mut sources = template.into_iter().flat_map(|template| &template.template_from);
    match type_ {
        TOKEN if names_account => refuse(&format!("with annotation \"{ACCOUNT}\" ")),
        TOKEN if sources.any(|from| from.target.eq_ignore_ascii_case("annotations")) => {
            refuse("with templateFrom target=\"Annotations\" ")
        }
        "bootstrap.kubernetes.io/token" => refuse(""),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn made_of(annotations: Value, target: Value, secret: Value) -> Result<Secret, DesiredSecretError> {
        let external_secret = json!({
            "metadata": { "name": "es", "namespace": "ns", "uid": "new", "annotations": annotations },
            "spec": { "target": target },
        });
        let external_secret: ExternalSecret = serde_json::from_value(external_secret).unwrap();
        let secret = serde_json::from_value(secret).unwrap();
        let api_version = "external-secrets.io/v1";
        desired_secret(
            &external_secret,
            api_version,
            secret,
            &Values::new(),
            &TemplateTexts::default(),
            SystemTime::UNIX_EPOCH,
        )
    }

    #[test]
    fn no_spelling_of_a_credential_type_is_accepted() {
        let (token, account) = (
            "kubernetes.io/service-account-token",
            json!({"kubernetes.io/service-account.name": "admin"}),
        );
        let refused = [
            (account.clone(), json!({"type": token})),
            (json!({}), json!({"type": "bootstrap.kubernetes.io/token"})),
            (
                json!({}),
                json!({"template": {"type": "bootstrap.kubernetes.io/token"}}),
            ),
            (
                json!({}),
                json!({"template": {"type": token, "metadata": {"annotations": account}}}),
            ),
            (
                json!({}),
                json!({"type": token, "template": {"metadata": {"annotations": account}}}),
            ),
            (
                json!({}),
                json!({"type": token, "template": {"templateFrom": [{"target": "annotations", "literal": ""}]}}),
            ),
        ];
        for (annotations, target) in refused {
            let made = made_of(annotations, target.clone(), json!({}));
            assert!(matches!(made, Err(DesiredSecretError::Template(_))), "{target}");
        }
        // The Secret gets the template's annotations, not the ExternalSecret's.
        assert!(made_of(account, json!({"type": token, "template": {}}), json!({})).is_ok());
        assert!(made_of(json!({}), json!({"type": "Opaque"}), json!({})).is_ok());
    }

    #[test]
    fn a_recreated_external_secret_takes_over_the_secret_of_its_old_uid() {
        let owned_by = |kind: &str, name: &str| {
            json!({"metadata": {"name": "s", "namespace": "ns", "uid": "u", "ownerReferences": [{
                "apiVersion": "external-secrets.io/v1beta1", "kind": kind, "name": name, "uid": "old", "controller": true}]}})
        };
        let made = made_of(json!({}), json!({}), owned_by("ExternalSecret", "es")).unwrap();
        let owners = made.metadata.owner_references.unwrap();
        assert_eq!((owners.len(), owners[0].uid.as_str()), (1, "new"));
        let other = made_of(json!({}), json!({}), owned_by("ExternalSecret", "other"));
        assert!(matches!(other, Err(DesiredSecretError::OwnedByExternalSecret(_))));
        let other = made_of(json!({}), json!({}), owned_by("Thing", "es"));
        assert!(matches!(other, Err(DesiredSecretError::OwnedByOther { .. })));
    }

    #[test]
    fn empty_data_is_omitted_as_the_api_server_does() {
        let made = made_of(json!({}), json!({}), json!({})).unwrap();
        assert_eq!(made.data, None);
        let again = made_of(json!({}), json!({}), serde_json::to_value(&made).unwrap()).unwrap();
        assert_eq!(again, made);
    }
}
