//! Which namespaces a cluster-scoped resource applies to.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use sidevault_go::regex::Regex;

use crate::informer::Informer;
use crate::informers::Metadata;
use crate::types::Store;

/// Whether a ClusterSecretStore may be used from a namespace.
///
/// # Errors
/// When a condition is invalid, or the labels of the namespace are not known.
pub(super) fn may_use(namespaces: &Informer<Metadata>, store: &Store, namespace: &str) -> Result<bool, String> {
    let conditions = &store.spec.conditions;
    for condition in conditions {
        if let Some(selector) = &condition.namespace_selector {
            let labels = namespaces
                .labels(namespace)
                .ok_or_else(|| format!("failed to get a namespace {namespace:?}"))?;
            if matches(selector, &labels)? {
                return Ok(true);
            }
        }
        if condition.namespaces.iter().any(|name| name == namespace) {
            return Ok(true);
        }
        for pattern in &condition.namespace_regexes {
            let pattern = Regex::new(pattern)
                .map_err(|error| format!("failed to compile regex {pattern}: {}", error.quoting(pattern)))?;
            if pattern.is_match(namespace) {
                return Ok(true);
            }
        }
    }
    Ok(conditions.is_empty())
}

/// Whether a selector matches labels. An empty selector matches all.
///
/// # Errors
/// When the selector is invalid.
pub(super) fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> Result<bool, String> {
    let parsed: Selector = selector
        .clone()
        .try_into()
        .map_err(|error| format!("failed to convert label selector: {error}"))?;
    Ok(parsed.matches(labels))
}
