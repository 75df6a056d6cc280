//! ExternalSecret: which values, from which store, into which Secret.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use super::{Condition, GoDuration};

/// An ExternalSecret.
pub type ExternalSecret = Object<ExternalSecretSpec, ExternalSecretStatus>;

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalSecretSpec {
    /// The store of all entries that name none of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_store_ref: Option<StoreRef>,
    /// The Secret.
    pub target: Target,
    /// When the values are read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_policy: Option<RefreshPolicy>,
    /// How often; the resource's default is an hour, 0 means once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<GoDuration>,
    /// When the interval alone makes values be read; at any time when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_windows: Option<SyncWindows>,
    /// Single values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<Data>,
    /// Many values at once. These come first; `data` wins over them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data_from: Vec<DataFrom>,
}

/// Names a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreRef {
    /// Its name; empty counts as no reference.
    pub name: String,
    /// `SecretStore` (also when empty) or `ClusterSecretStore`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

impl StoreRef {
    /// Whether it is a ClusterSecretStore.
    pub fn is_cluster(&self) -> bool {
        self.kind() == "ClusterSecretStore"
    }

    /// The kind it names.
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
    /// Once, ever.
    CreatedOnce,
    /// At every interval, and when the resource changes.
    Periodic,
    /// Only when the resource changes.
    OnChange,
}

/// Times at which the interval alone makes values be read, or does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncWindows {
    /// Which of the two.
    pub kind: WindowKind,
    /// The times; one that is open is enough.
    #[serde(default)]
    pub windows: Vec<SyncWindow>,
}

/// What an open window does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowKind {
    /// Values are read only while one is open.
    Allow,
    /// Values are not read while one is open.
    Deny,
}

/// A time that comes again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncWindow {
    /// When it opens: five fields of cron in UTC, `@daily` and the like, or `@every 1h`.
    pub schedule: String,
    /// How long it stays open.
    pub duration: GoDuration,
}

/// Who owns the Secret, and whether it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CreationPolicy {
    /// Made, owned, and gone with the ExternalSecret.
    #[default]
    Owner,
    /// Made, not owned.
    Orphan,
    /// Not made; keys are put into one that is there.
    Merge,
    /// Nothing is written.
    None,
    /// Made if missing, else as `Merge`.
    CreateOrMerge,
}

impl CreationPolicy {
    /// Whether keys that others put into the Secret stay.
    pub fn keeps_other_keys(self) -> bool {
        matches!(self, Self::Merge | Self::CreateOrMerge)
    }

    /// The word in manifests and messages.
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

/// What happens when the store has no values any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// The Secret is deleted.
    Delete,
    /// Its keys are.
    Merge,
    /// It stays as it is.
    #[default]
    Retain,
}

/// The Secret that is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Target {
    /// Its name; the ExternalSecret's when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Who owns it.
    pub creation_policy: CreationPolicy,
    /// What happens when there are no values any more.
    pub deletion_policy: DeletionPolicy,
    /// A blueprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// Something that is no Secret; not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<serde_json::Value>,
    /// Whether the Secret can't be changed once made.
    pub immutable: bool,
    /// The Secret's type, for those who write it here rather than in `template`; ours, not External Secrets'.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
}

/// A blueprint of the Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Template {
    /// The Secret's type.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub type_: String,
    /// `v2` or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub engine_version: String,
    /// Labels, annotations and finalizers.
    pub metadata: TemplateMetadata,
    /// `Merge` keeps the fetched keys beside the templates'.
    pub merge_policy: MergePolicy,
    /// Templates by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Templates that live elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub template_from: Vec<TemplateFrom>,
}

/// Metadata of the Secret. Labels and annotations are templates too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TemplateMetadata {
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Finalizers.
    pub finalizers: Vec<String>,
}

/// What becomes of fetched keys when there are templates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergePolicy {
    /// Only the templates' keys.
    #[default]
    Replace,
    /// Both.
    Merge,
}

/// Templates in a ConfigMap, a Secret, or written out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateFrom {
    /// In a ConfigMap of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<TemplateRef>,
    /// In a Secret of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<TemplateRef>,
    /// `Data` (also when empty), `Annotations` or `Labels`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Written out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub literal: Option<String>,
    /// How what comes out is decoded.
    pub values_decoding_strategy: DecodingStrategy,
}

/// Some keys of a ConfigMap or Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TemplateRef {
    /// Its name.
    pub name: String,
    /// The keys.
    pub items: Vec<TemplateRefItem>,
}

/// One key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateRefItem {
    /// The key.
    pub key: String,
    /// Whether the template gives one value, or a YAML mapping of keys and values.
    pub template_as: TemplateScope,
}

/// What a template gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TemplateScope {
    /// One value.
    #[default]
    Values,
    /// A YAML mapping.
    KeysAndValues,
}

/// One value of the Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Data {
    /// The key in the Secret.
    pub secret_key: String,
    /// Where the value is.
    pub remote_ref: RemoteRef,
    /// Another store for this value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<SourceRef>,
}

/// Where a value is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RemoteRef {
    /// The item's title or id.
    pub key: String,
    /// The field's label, or the file's name; `field/` and `file/` say which.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub property: String,
    /// Empty or `latest`, or a version's number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// How names become keys.
    pub conversion_strategy: ConversionStrategy,
    /// How the value is decoded.
    pub decoding_strategy: DecodingStrategy,
    /// Whether a value may hold NUL bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null_byte_policy: Option<NullBytePolicy>,
}

/// How names become keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConversionStrategy {
    /// What a key can't hold becomes `_`.
    #[default]
    Default,
    /// It becomes `_U0020_`.
    Unicode,
}

/// How values are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecodingStrategy {
    /// Base64 if it is, else base64url if it is, else not at all.
    Auto,
    /// Base64.
    Base64,
    /// Base64url.
    Base64URL,
    /// Not at all.
    #[default]
    None,
}

/// Whether a value may hold NUL bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NullBytePolicy {
    /// It may.
    Ignore,
    /// It is an error.
    Fail,
}

/// Another source for an entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceRef {
    /// Another store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_ref: Option<StoreRef>,
    /// A generator; not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_ref: Option<serde_json::Value>,
}

/// Many values at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataFrom {
    /// All of one item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extract: Option<RemoteRef>,
    /// Of all items that match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub find: Option<Find>,
    /// What is done to the keys, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rewrite: Vec<Rewrite>,
    /// Another store for this entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<SourceRef>,
}

/// Which items.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Find {
    /// The item's title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A pattern for labels and file names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<FindName>,
    /// Tags the item must have; values don't matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// How names become keys.
    pub conversion_strategy: ConversionStrategy,
    /// How values are decoded.
    pub decoding_strategy: DecodingStrategy,
    /// Whether a value may hold NUL bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null_byte_policy: Option<NullBytePolicy>,
}

/// A pattern.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FindName {
    /// A regular expression (RE2), matched anywhere.
    pub regexp: String,
}

/// What is done to keys: the first that is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rewrite {
    /// Values that are JSON objects are merged into one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge: Option<RewriteMerge>,
    /// Keys are replaced by a pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regexp: Option<RewriteRegexp>,
    /// Keys go through a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<RewriteTransform>,
}

/// Values that are JSON objects are merged into one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RewriteMerge {
    /// The key of the result, for the strategy `JSON`.
    pub into: String,
    /// Keys that come last, and so win, in order.
    pub priority: Vec<String>,
    /// What a key in `priority` that is not there means.
    pub priority_policy: MergePriorityPolicy,
    /// What it means when two objects have the same member.
    pub conflict_policy: MergeConflictPolicy,
    /// What the result becomes.
    pub strategy: MergeStrategy,
}

// Of these the API server lets no other words through, but the empty one may stand in a manifest that is older than the
// rule; to External Secrets it is the default.

/// What a key in `priority` that is not there means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergePriorityPolicy {
    /// An error.
    #[default]
    #[serde(alias = "")]
    Strict,
    /// Nothing.
    IgnoreNotFound,
}

/// What it means when two objects have the same member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergeConflictPolicy {
    /// An error.
    #[default]
    #[serde(alias = "")]
    Error,
    /// The later object wins.
    Ignore,
}

/// What merged objects become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergeStrategy {
    /// Each member a key of its own, in the place of what there was.
    #[default]
    #[serde(alias = "")]
    Extract,
    /// One more value, as JSON.
    #[serde(rename = "JSON")]
    Json,
}

/// Keys are replaced by a pattern.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RewriteRegexp {
    /// The pattern (RE2).
    pub source: String,
    /// What stands in its place; `$1` is a group.
    pub target: String,
}

/// Keys go through a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RewriteTransform {
    /// The template; the key is `.value`.
    pub template: String,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalSecretStatus {
    /// When values were last read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_time: Option<Time>,
    /// Which state of the resource they were read for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced_resource_version: Option<String>,
    /// `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The Secret (servicebinding.io).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding: Option<LocalObjectReference>,
}

impl ExternalSecretSpec {
    /// Whether the values are read at every interval.
    pub fn is_periodic(&self) -> bool {
        matches!(self.refresh_policy, None | Some(RefreshPolicy::Periodic))
    }

    /// Whether any of its values comes from a generator.
    pub fn uses_generators(&self) -> bool {
        let mut sources = self.data_from.iter().filter_map(|many| many.source_ref.as_ref());
        sources.any(|source| source.generator_ref.is_some())
    }
}
