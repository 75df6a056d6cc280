//! PushSecret: writes values of a Secret to stores.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::core::Object;
use serde::{Deserialize, Serialize};

use super::{Condition, GoDuration, RewriteRegexp, RewriteTransform, Template};

/// A PushSecret.
pub type PushSecret = Object<PushSecretSpec, PushSecretStatus>;

/// The spec of a PushSecret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushSecretSpec {
    /// How often values are written again; an hour if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<GoDuration>,
    /// The stores that are written to.
    pub secret_store_refs: Vec<PushStoreRef>,
    /// Whether existing values are replaced.
    pub update_policy: UpdatePolicy,
    /// Whether values are removed from the stores with the PushSecret.
    pub deletion_policy: PushDeletionPolicy,
    /// The Secret, or Secrets, whose values are written.
    pub selector: PushSelector,
    /// Entries of one value each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<PushData>,
    /// Entries of many values each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data_to: Vec<PushDataTo>,
    /// A template that changes the values before they are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// A store by name, or stores by label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushStoreRef {
    /// The name of the store.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Selects stores by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// `SecretStore` (also when empty) or `ClusterSecretStore`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

/// Whether existing values of a store are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdatePolicy {
    /// They are replaced.
    #[default]
    Replace,
    /// They are kept.
    IfNotExists,
}

/// Whether values are removed from the stores with the PushSecret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PushDeletionPolicy {
    /// They are removed.
    Delete,
    /// They are kept.
    #[default]
    None,
}

/// The source of the values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushSelector {
    /// A Secret, or Secrets, of the same namespace.
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
    /// The name of the Secret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Selects Secrets by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// An entry of one value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushData {
    /// The key of the Secret, and where its value is written.
    #[serde(rename = "match")]
    pub match_: PushMatch,
    /// The tags and the vault of the item: `{"apiVersion","kind","spec":{"tags","vault"}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// How keys are converted to names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion_strategy: Option<PushConversion>,
}

/// A key of the Secret, and where its value is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushMatch {
    /// The key of the Secret. If it is empty, all values of the Secret are written as one JSON object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_key: String,
    /// Where the value is written.
    pub remote_ref: PushRemoteRef,
}

/// Where a value is written in a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushRemoteRef {
    /// The title or id of the item.
    pub remote_key: String,
    /// The label of the field; `password` if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub property: String,
}

/// How keys of the Secret are converted to names of items and fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PushConversion {
    /// They are used as they are.
    #[default]
    None,
    /// `_U0020_` is replaced by the character with this code point.
    ReverseUnicode,
}

/// An entry of many values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushDataTo {
    /// The store of `secretStoreRefs` that is written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_ref: Option<PushStoreRef>,
    /// The title of the item that gets all values. If it is empty, each value gets an item of its own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_key: String,
    /// Selects keys of the Secret; all keys if absent.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub match_: Option<PushDataToMatch>,
    /// Operations that rename the values, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rewrite: Vec<PushRewrite>,
    /// As in [`PushData`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// How keys are converted to names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion_strategy: Option<PushConversion>,
}

/// Selects keys of the Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushDataToMatch {
    /// A regular expression in RE2 syntax.
    pub regexp: String,
}

/// One operation that renames values: the first member that is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushRewrite {
    /// Renames by a regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regexp: Option<RewriteRegexp>,
    /// Renames by a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<RewriteTransform>,
}

/// What was written: by store (`SecretStore/name`), then by item, or by item and property.
pub type SyncedPushSecrets = BTreeMap<String, BTreeMap<String, PushData>>;

/// The status of a PushSecret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushSecretStatus {
    /// When values were last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_time: Option<Time>,
    /// The version of the resource that the values were written for, see `hash::resource_version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced_resource_version: Option<String>,
    /// What was written, so that a value that the manifest no longer has can be removed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub synced_push_secrets: SyncedPushSecrets,
    /// The condition `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
