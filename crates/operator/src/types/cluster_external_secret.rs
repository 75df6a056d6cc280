//! ClusterExternalSecret: creates the same ExternalSecret in several namespaces.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use super::{Condition, GoDuration};

/// A ClusterExternalSecret.
pub type ClusterExternalSecret = Object<ClusterExternalSecretSpec, ClusterExternalSecretStatus>;

/// The spec of a ClusterExternalSecret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterExternalSecretSpec {
    /// The spec of the ExternalSecrets, copied without being parsed.
    pub external_secret_spec: serde_json::Value,
    /// The name of the ExternalSecrets; if empty, the name of the ClusterExternalSecret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub external_secret_name: String,
    /// The labels and annotations of the ExternalSecrets.
    pub external_secret_metadata: ExternalSecretMetadata,
    /// Selects namespaces by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// More selectors; a namespace that any of them matches is selected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Selects namespaces by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// How often to reconcile without a change. `refreshTime` in manifests.
    #[serde(rename = "refreshTime", skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<GoDuration>,
}

/// The labels and annotations of the ExternalSecrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExternalSecretMetadata {
    /// Annotations by key.
    pub annotations: BTreeMap<String, String>,
    /// Labels by key.
    pub labels: BTreeMap<String, String>,
}

/// The status of a ClusterExternalSecret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterExternalSecretStatus {
    /// The name of the ExternalSecrets.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub external_secret_name: String,
    /// The namespaces in which the ExternalSecret could not be created or updated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_namespaces: Vec<FailedNamespace>,
    /// The namespaces in which the ExternalSecret is up to date.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub provisioned_namespaces: Vec<String>,
    /// The condition `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A namespace in which the ExternalSecret could not be created or updated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedNamespace {
    /// The name of the namespace.
    pub namespace: String,
    /// The error.
    pub reason: String,
}
