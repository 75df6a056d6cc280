//! The namespaces that a ClusterExternalSecret selects.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::controllers::namespaces::matches;
use crate::informer::Informer;
use crate::informers::Metadata;
use crate::kube_ext::is_not_found;
use crate::types::ClusterExternalSecretSpec;

/// The names of the selected namespaces. Without those that are being deleted, because nothing can be created in them.
///
/// # Errors
/// When a selector is invalid.
pub(super) fn selected(
    namespaces: &Informer<Metadata>,
    spec: &ClusterExternalSecretSpec,
) -> Result<BTreeSet<String>, String> {
    let mut selected = BTreeSet::new();
    for (key, namespace) in namespaces.all() {
        let no_labels = BTreeMap::new();
        let labels = namespace.metadata.labels.as_ref().unwrap_or(&no_labels);
        if is_selected(spec, &key.name, labels)? && namespace.metadata.deletion_timestamp.is_none() {
            selected.insert(key.name.to_string());
        }
    }
    Ok(selected)
}

/// Whether a namespace is selected by its name or its labels.
///
/// # Errors
/// When a selector is invalid.
pub(super) fn is_selected(
    spec: &ClusterExternalSecretSpec,
    name: &str,
    labels: &BTreeMap<String, String>,
) -> Result<bool, String> {
    let mut selected = spec.namespaces.iter().any(|known| known == name);
    // All selectors are tried, so that an invalid one is reported even after one that matches.
    for selector in spec.namespace_selector.iter().chain(&spec.namespace_selectors) {
        selected |= matches(selector, labels)?;
    }
    Ok(selected)
}

/// The finalizer that External Secrets 2.x adds to namespaces. This operator does not, so that a namespace can be deleted
/// while no operator runs. Its ExternalSecrets are deleted with it in any case.
pub(super) fn finalizer(name: &str) -> String {
    format!("externalsecrets.external-secrets.io/ces-{name}")
}

/// Removes External Secrets' finalizer from the namespaces for which `is_released` holds. Otherwise they could never be
/// deleted.
///
/// # Errors
/// The first write that the API server refuses.
pub(super) async fn release(
    client: &Client,
    namespaces: &Informer<Metadata>,
    name: &str,
    is_released: impl Fn(&str) -> bool,
) -> Result<(), kube::Error> {
    let finalizer = finalizer(name);
    let api: Api<Namespace> = Api::all(client.clone());
    for (key, namespace) in namespaces.all() {
        let finalizers = namespace.metadata.finalizers.as_deref().unwrap_or_default();
        if !finalizers.contains(&finalizer) || !is_released(&key.name) {
            continue;
        }
        let rest: Vec<&String> = finalizers.iter().filter(|known| **known != finalizer).collect();
        let version = &namespace.metadata.resource_version;
        let patch = json!({ "metadata": { "finalizers": rest, "resourceVersion": version } });
        match api
            .patch_metadata(&key.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => {}
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(spec: &str, name: &str, team: &str) -> Result<bool, String> {
        let spec: ClusterExternalSecretSpec = serde_json::from_str(spec).unwrap();
        is_selected(&spec, name, &BTreeMap::from([("team".to_owned(), team.to_owned())]))
    }

    #[test]
    fn a_namespace_is_selected_by_name_or_by_any_selector() {
        let spec = r#"{"namespaces":["infra"],"namespaceSelector":{"matchLabels":{"team":"a"}},
            "namespaceSelectors":[{"matchExpressions":[{"key":"team","operator":"In","values":["b"]}]}]}"#;
        for (name, team, expected) in [
            ("infra", "z", true),
            ("x", "a", true),
            ("x", "b", true),
            ("x", "c", false),
        ] {
            assert_eq!(selected(spec, name, team), Ok(expected), "{name} {team}");
        }
        assert_eq!(selected("{}", "x", "a"), Ok(false), "none by default");
        assert_eq!(
            selected(r#"{"namespaceSelector":{}}"#, "x", "a"),
            Ok(true),
            "an empty selector selects all"
        );
    }

    #[test]
    fn an_invalid_selector_is_an_error() {
        let spec = r#"{"namespaceSelector":{"matchExpressions":[{"key":"team","operator":"Like","values":["b"]}]}}"#;
        assert!(selected(spec, "x", "a").is_err());
    }
}
