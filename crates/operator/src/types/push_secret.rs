//! PushSecret: values of a Secret are written to a store.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::core::Object;
use serde::{Deserialize, Serialize};

use super::{Condition, GoDuration, RewriteRegexp, RewriteTransform, Template};

/// A PushSecret.
pub type PushSecret = Object<PushSecretSpec, PushSecretStatus>;

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushSecretSpec {
    /// How often; the resource's default is an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<GoDuration>,
    /// Where to.
    pub secret_store_refs: Vec<PushStoreRef>,
    /// Whether a value that is there is replaced.
    pub update_policy: UpdatePolicy,
    /// Whether values go with the PushSecret.
    pub deletion_policy: PushDeletionPolicy,
    /// Which Secret.
    pub selector: PushSelector,
    /// Which values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<PushData>,
    /// Many values at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data_to: Vec<PushDataTo>,
    /// Changes the values on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// A store by name, or stores by label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushStoreRef {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// `SecretStore` (also when empty) or `ClusterSecretStore`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

/// Whether a value that is there is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdatePolicy {
    /// It is.
    #[default]
    Replace,
    /// It stays.
    IfNotExists,
}

/// Whether values go with the PushSecret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PushDeletionPolicy {
    /// They go.
    Delete,
    /// They stay.
    #[default]
    None,
}

/// Which Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushSelector {
    /// A Secret of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<PushSource>,
    /// A generator; not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_ref: Option<serde_json::Value>,
}

/// A Secret by name, or Secrets by label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushSource {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// One value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushData {
    /// From where to where.
    #[serde(rename = "match")]
    pub match_: PushMatch,
    /// Tags and the vault: `{"apiVersion","kind","spec":{"tags","vault"}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// How keys become names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion_strategy: Option<PushConversion>,
}

/// From where to where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushMatch {
    /// The key in the Secret; empty stands for all of it, as JSON.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_key: String,
    /// Where to.
    pub remote_ref: PushRemoteRef,
}

/// Where to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushRemoteRef {
    /// The item's title.
    pub remote_key: String,
    /// The field's label; `password` when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub property: String,
}

/// How keys become names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PushConversion {
    /// They are the names.
    #[default]
    None,
    /// `_U0020_` becomes the character.
    ReverseUnicode,
}

/// Many values at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushDataTo {
    /// Which of the stores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_ref: Option<PushStoreRef>,
    /// The item for all values; an item each when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_key: String,
    /// Which keys; all when absent.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub match_: Option<PushDataToMatch>,
    /// What is done to the names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rewrite: Vec<PushRewrite>,
    /// As in [`PushData`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// How keys become names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion_strategy: Option<PushConversion>,
}

/// Which keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushDataToMatch {
    /// A pattern (RE2).
    pub regexp: String,
}

/// What is done to names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushRewrite {
    /// By a pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regexp: Option<RewriteRegexp>,
    /// By a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<RewriteTransform>,
}

/// What was written: by store (`SecretStore/name`), then by item (and property).
pub type SyncedPushSecrets = BTreeMap<String, BTreeMap<String, PushData>>;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushSecretStatus {
    /// When values were last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_time: Option<Time>,
    /// Which state of the resource they were written for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced_resource_version: Option<String>,
    /// What was written.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub synced_push_secrets: SyncedPushSecrets,
    /// `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
