//! ClusterExternalSecret: the same ExternalSecret in many namespaces.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use super::{Condition, GoDuration};

/// A ClusterExternalSecret.
pub type ClusterExternalSecret = Object<ClusterExternalSecretSpec, ClusterExternalSecretStatus>;

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterExternalSecretSpec {
    /// The ExternalSecrets' spec, handed on as it is.
    pub external_secret_spec: serde_json::Value,
    /// Their name; this resource's when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub external_secret_name: String,
    /// Their labels and annotations.
    pub external_secret_metadata: ExternalSecretMetadata,
    /// Namespaces by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// More of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Namespaces by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// How often it is looked at. `refreshTime` in manifests.
    #[serde(rename = "refreshTime", skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<GoDuration>,
}

/// Labels and annotations of the ExternalSecrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExternalSecretMetadata {
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterExternalSecretStatus {
    /// The ExternalSecrets' name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub external_secret_name: String,
    /// Where it did not work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_namespaces: Vec<FailedNamespace>,
    /// Where it did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub provisioned_namespaces: Vec<String>,
    /// `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Where it did not work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedNamespace {
    /// The namespace.
    pub namespace: String,
    /// Why.
    pub reason: String,
}
