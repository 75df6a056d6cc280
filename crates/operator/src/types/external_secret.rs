//! ExternalSecret: names the values of stores from which a Secret is made.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use super::{Condition, GoDuration};

/// An ExternalSecret.
pub type ExternalSecret = Object<ExternalSecretSpec, ExternalSecretStatus>;

/// The spec of an ExternalSecret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalSecretSpec {
    /// The store of all entries that do not name a store themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_store_ref: Option<StoreRef>,
    /// The Secret that is written.
    pub target: Target,
    /// When the values are read again; `Periodic` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_policy: Option<RefreshPolicy>,
    /// How often the values are read; an hour if absent, and once if 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<GoDuration>,
    /// Restricts at which times the interval may cause a refresh; if absent, at any time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_windows: Option<SyncWindows>,
    /// Entries of one value each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<Data>,
    /// Entries of many values each. A key of `data` replaces the same key of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data_from: Vec<DataFrom>,
}

/// A reference to a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreRef {
    /// The name of the store. A reference with an empty name counts as absent.
    pub name: String,
    /// `SecretStore` (also when empty) or `ClusterSecretStore`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

impl StoreRef {
    /// Whether the reference is to a ClusterSecretStore.
    pub fn is_cluster(&self) -> bool {
        self.kind() == "ClusterSecretStore"
    }

    /// The kind of the store: External Secrets takes every other word for `SecretStore`.
    pub fn kind(&self) -> &'static str {
        match &*self.kind {
            "ClusterSecretStore" => "ClusterSecretStore",
            _ => "SecretStore",
        }
    }
}

/// When values are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefreshPolicy {
    /// Never: they are read once.
    CreatedOnce,
    /// After every interval, and when the resource changes.
    Periodic,
    /// When the resource changes.
    OnChange,
}

/// Times at which the refresh interval may, or may not, cause a refresh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncWindows {
    /// Whether open windows allow or deny refreshes.
    pub kind: WindowKind,
    /// The windows. One open window is enough to allow or deny.
    #[serde(default)]
    pub windows: Vec<SyncWindow>,
}

/// Whether an open window allows or denies refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowKind {
    /// The interval causes a refresh only while a window is open.
    Allow,
    /// The interval causes no refresh while a window is open.
    Deny,
}

/// A recurring time span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncWindow {
    /// When the window opens: five cron fields in UTC, `@daily` and the like, or `@every 1h`.
    pub schedule: String,
    /// How long the window stays open.
    pub duration: GoDuration,
}

/// Whether the Secret is created, and whether the ExternalSecret owns it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CreationPolicy {
    /// The Secret is created and owned, and deleted with the ExternalSecret.
    #[default]
    Owner,
    /// The Secret is created and not owned.
    Orphan,
    /// Keys are written to a Secret that exists. It is not created.
    Merge,
    /// No Secret is written.
    None,
    /// The Secret is created if it does not exist; then as `Merge`.
    CreateOrMerge,
}

impl CreationPolicy {
    /// Whether keys that other clients wrote to the Secret are kept.
    pub fn keeps_other_keys(self) -> bool {
        matches!(self, Self::Merge | Self::CreateOrMerge)
    }

    /// The policy as manifests and messages spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Owner => "Owner",
            Self::Orphan => "Orphan",
            Self::Merge => "Merge",
            Self::None => "None",
            Self::CreateOrMerge => "CreateOrMerge",
        }
    }
}

/// What happens to the Secret when the store has none of its values any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// The Secret is deleted.
    Delete,
    /// The keys that the ExternalSecret wrote are removed.
    Merge,
    /// The Secret stays as it is.
    #[default]
    Retain,
}

/// The Secret that an ExternalSecret writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Target {
    /// The name of the Secret; if empty, the name of the ExternalSecret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whether the Secret is created and owned.
    pub creation_policy: CreationPolicy,
    /// What happens to the Secret when the store has none of its values any more.
    pub deletion_policy: DeletionPolicy,
    /// A template for the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// An object of another kind than Secret; not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<serde_json::Value>,
    /// Whether the Secret is immutable once it is created.
    pub immutable: bool,
    /// The type of the Secret. External Secrets has this member in `template` only.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
}

/// A template for a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Template {
    /// The type of the Secret.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub type_: String,
    /// `v2` or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub engine_version: String,
    /// The labels, annotations and finalizers of the Secret.
    pub metadata: TemplateMetadata,
    /// Whether the Secret also gets the keys that were read from the store.
    pub merge_policy: MergePolicy,
    /// Templates by the key of the Secret that they render.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Templates in ConfigMaps and Secrets, and literal templates of several keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub template_from: Vec<TemplateFrom>,
}

/// The metadata of the Secret. The values of labels and annotations are templates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TemplateMetadata {
    /// Annotations by key.
    pub annotations: BTreeMap<String, String>,
    /// Labels by key.
    pub labels: BTreeMap<String, String>,
    /// Finalizers that are added to the Secret.
    pub finalizers: Vec<String>,
}

/// Whether a Secret with templates also gets the keys that were read from the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergePolicy {
    /// The Secret gets only the keys of templates.
    #[default]
    Replace,
    /// The Secret gets both.
    Merge,
}

/// Templates in a ConfigMap or a Secret, or a literal template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateFrom {
    /// A ConfigMap of the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<TemplateRef>,
    /// A Secret of the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<TemplateRef>,
    /// What is rendered: `Data` (also if empty), `Annotations` or `Labels`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// A literal template that renders a YAML mapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub literal: Option<String>,
    /// How rendered values are decoded.
    pub values_decoding_strategy: DecodingStrategy,
}

/// A reference to keys of a ConfigMap or a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TemplateRef {
    /// The name of the object.
    pub name: String,
    /// The keys that hold templates.
    pub items: Vec<TemplateRefItem>,
}

/// One key of a ConfigMap or a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateRefItem {
    /// The name of the key.
    pub key: String,
    /// Whether the template renders one value or a YAML mapping.
    pub template_as: TemplateScope,
}

/// What a template renders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TemplateScope {
    /// One value, with the key of the template.
    #[default]
    Values,
    /// A YAML mapping of keys to values.
    KeysAndValues,
}

/// An entry of one value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Data {
    /// The key of the Secret that gets the value.
    pub secret_key: String,
    /// Where the value is in the store.
    pub remote_ref: RemoteRef,
    /// Another store than that of the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<SourceRef>,
}

/// Where a value is in a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RemoteRef {
    /// The title or id of the item.
    pub key: String,
    /// The label of a field or the name of a file. The prefixes `field/` and `file/` say which of the two.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub property: String,
    /// Empty or `latest`, or the number of a version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// How names are converted to keys.
    pub conversion_strategy: ConversionStrategy,
    /// How the value is decoded.
    pub decoding_strategy: DecodingStrategy,
    /// Whether the value may contain NUL bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null_byte_policy: Option<NullBytePolicy>,
}

/// How characters of a name that a key may not contain are converted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConversionStrategy {
    /// Each is replaced by `_`.
    #[default]
    Default,
    /// Each is replaced by its code point, as in `_U0020_`.
    Unicode,
}

/// How values are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecodingStrategy {
    /// As base64 or base64url, whichever the value is valid in first; otherwise the value stays as it is.
    Auto,
    /// As base64.
    Base64,
    /// As base64url.
    Base64URL,
    /// The value stays as it is.
    #[default]
    None,
}

/// Whether a value may contain NUL bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NullBytePolicy {
    /// It may.
    Ignore,
    /// A NUL byte is an error.
    Fail,
}

/// The source of an entry, if it is not the store of the spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceRef {
    /// A store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_ref: Option<StoreRef>,
    /// A generator; not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_ref: Option<serde_json::Value>,
}

/// An entry of many values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataFrom {
    /// Reads all values of one item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extract: Option<RemoteRef>,
    /// Reads values of all items that match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub find: Option<Find>,
    /// Operations that rename keys, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rewrite: Vec<Rewrite>,
    /// Another store than that of the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<SourceRef>,
}

/// Selects items and values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Find {
    /// The title of the items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A pattern for the labels of fields and the names of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<FindName>,
    /// Tags that an item must have. The values of this map are ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// How names are converted to keys.
    pub conversion_strategy: ConversionStrategy,
    /// How values are decoded.
    pub decoding_strategy: DecodingStrategy,
    /// Whether a value may contain NUL bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null_byte_policy: Option<NullBytePolicy>,
}

/// A pattern for names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FindName {
    /// A regular expression in RE2 syntax. It may match any part of the name.
    pub regexp: String,
}

/// One operation on keys: the first member that is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rewrite {
    /// Merges values that are JSON objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge: Option<RewriteMerge>,
    /// Renames keys by a regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regexp: Option<RewriteRegexp>,
    /// Renames keys by a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<RewriteTransform>,
}

/// Merges values that are JSON objects into one object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RewriteMerge {
    /// The key of the merged object with the strategy `JSON`.
    pub into: String,
    /// The keys of the objects that are merged last, in order. Their members replace those of other objects.
    pub priority: Vec<String>,
    /// Whether a key of `priority` may be missing.
    pub priority_policy: MergePriorityPolicy,
    /// Whether two objects may have the same member.
    pub conflict_policy: MergeConflictPolicy,
    /// How the merged object is stored.
    pub strategy: MergeStrategy,
}

// The API server accepts only these words. A manifest that is older than this check may have the empty word, which
// External Secrets reads as the default.

/// Whether a key of `priority` may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergePriorityPolicy {
    /// A missing key is an error.
    #[default]
    #[serde(alias = "")]
    Strict,
    /// A missing key is ignored.
    IgnoreNotFound,
}

/// Whether two merged objects may have the same member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergeConflictPolicy {
    /// A member of two objects is an error.
    #[default]
    #[serde(alias = "")]
    Error,
    /// The member of the later object is kept.
    Ignore,
}

/// How a merged object is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergeStrategy {
    /// Each member becomes a value with a key of its own. These replace all other values.
    #[default]
    #[serde(alias = "")]
    Extract,
    /// The object becomes one more value, as JSON.
    #[serde(rename = "JSON")]
    Json,
}

/// Replaces all matches of a pattern in keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RewriteRegexp {
    /// The pattern, in RE2 syntax.
    pub source: String,
    /// The replacement. `$1` stands for the first group of the pattern.
    pub target: String,
}

/// Renames keys by a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RewriteTransform {
    /// The template. It sees the key as `.value`.
    pub template: String,
}

/// The status of an ExternalSecret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalSecretStatus {
    /// When values were last read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_time: Option<Time>,
    /// The version of the resource that the values were read for, see `hash::resource_version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced_resource_version: Option<String>,
    /// The condition `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The Secret, as servicebinding.io expects it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding: Option<LocalObjectReference>,
}

impl ExternalSecretSpec {
    /// Whether the values are read after every interval.
    pub fn is_periodic(&self) -> bool {
        matches!(self.refresh_policy, None | Some(RefreshPolicy::Periodic))
    }

    /// Whether any entry of `dataFrom` uses a generator.
    pub fn uses_generators(&self) -> bool {
        let mut sources = self.data_from.iter().filter_map(|many| many.source_ref.as_ref());
        sources.any(|source| source.generator_ref.is_some())
    }
}
