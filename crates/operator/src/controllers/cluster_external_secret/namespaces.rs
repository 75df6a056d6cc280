//! The namespaces of a ClusterExternalSecret.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::super::namespaces::matches;
use crate::operator::{Operator, is_not_found};
use crate::types::ClusterExternalSecretSpec;

/// The names of those that are selected, without those that are being deleted: nothing can be made there.
///
/// # Errors
/// When a selector makes no sense.
pub(super) fn selected(operator: &Operator, spec: &ClusterExternalSecretSpec) -> Result<BTreeSet<String>, String> {
    let mut selected = BTreeSet::new();
    for (key, namespace) in operator.informers.namespaces.all() {
        let none = BTreeMap::new();
        let labels = namespace.metadata.labels.as_ref().unwrap_or(&none);
        if is_selected(spec, &key.name, labels)? && namespace.metadata.deletion_timestamp.is_none() {
            selected.insert(key.name.to_string());
        }
    }
    Ok(selected)
}

/// Whether a namespace is selected, by name or by label.
///
/// # Errors
/// When a selector makes no sense.
pub(super) fn is_selected(
    spec: &ClusterExternalSecretSpec,
    name: &str,
    labels: &BTreeMap<String, String>,
) -> Result<bool, String> {
    let mut selected = spec.namespaces.iter().any(|known| known == name);
    // All of them, so that one that makes no sense is told of wherever it stands.
    for selector in spec.namespace_selector.iter().chain(&spec.namespace_selectors) {
        selected |= matches(selector, labels)?;
    }
    Ok(selected)
}

/// The finalizer that External Secrets 2.x puts on namespaces. It is not put on here: a namespace can then be deleted
/// while no operator runs, and what is in it goes all the same.
pub(super) fn finalizer(name: &str) -> String {
    format!("externalsecrets.external-secrets.io/ces-{name}")
}

/// Takes External Secrets' finalizer off namespaces that nothing is made in any more. Without that they could never be
/// deleted.
pub(super) async fn release(operator: &Operator, name: &str, which: impl Fn(&str) -> bool) -> Result<(), kube::Error> {
    let finalizer = finalizer(name);
    let api: Api<Namespace> = Api::all(operator.client.clone());
    for (key, namespace) in operator.informers.namespaces.all() {
        let finalizers = namespace.metadata.finalizers.as_deref().unwrap_or_default();
        if !finalizers.contains(&finalizer) || !which(&key.name) {
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
    #![allow(clippy::unwrap_used)]
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
    fn a_selector_that_makes_no_sense_is_an_error() {
        let spec = r#"{"namespaceSelector":{"matchExpressions":[{"key":"team","operator":"Like","values":["b"]}]}}"#;
        assert!(selected(spec, "x", "a").is_err());
    }
}
