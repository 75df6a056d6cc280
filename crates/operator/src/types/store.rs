//! SecretStore and ClusterSecretStore: where values are.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use super::{Condition, Interval};

/// A SecretStore or a ClusterSecretStore.
pub type Store = Object<StoreSpec, StoreStatus>;

/// Which of the two a store is: one without a namespace is the cluster's.
pub fn store_kind(store: &Store) -> &'static str {
    match store.metadata.namespace {
        Some(_) => "SecretStore",
        None => "ClusterSecretStore",
    }
}

/// How values are reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StoreSpec {
    /// The class of controller it is for; empty is for all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub controller: String,
    /// The provider. Only `onepassword` is ours.
    pub provider: Provider,
    /// How often it is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<Interval>,
    /// Which namespaces may use it (ClusterSecretStore); one is enough, none lets all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<NamespaceCondition>,
}

/// The provider; others than ours are not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provider {
    /// A Connect server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub onepassword: Option<OnePassword>,
}

/// A Connect server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OnePassword {
    /// Its URL.
    pub connect_host: String,
    /// The token.
    pub auth: Auth,
    /// Vaults by name or id, with the order they are searched in.
    pub vaults: BTreeMap<String, i64>,
}

/// The token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Auth {
    /// In a Secret.
    pub secret_ref: AuthSecretRef,
}

/// The token's Secret, in one of two spellings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthSecretRef {
    /// External Secrets' spelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_token_secret_ref: Option<SecretKeyRef>,
    /// The short spelling that older guides use; ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_token: Option<SecretKeyRef>,
}

impl AuthSecretRef {
    /// The reference, however it is spelled.
    pub fn token(&self) -> Option<&SecretKeyRef> {
        self.connect_token_secret_ref.as_ref().or(self.connect_token.as_ref())
    }
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretKeyRef {
    /// The Secret's name.
    pub name: String,
    /// Its namespace: needed in a ClusterSecretStore, the store's own otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The key.
    pub key: String,
}

/// Which namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceCondition {
    /// By label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// By name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// By pattern (RE2, matched anywhere).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespace_regexes: Vec<String>,
}

/// What is known of the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreStatus {
    /// `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// `ReadWrite`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<String>,
}
