//! SecretStore and ClusterSecretStore: a Connect server, its token and its vaults.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Object;
use serde::{Deserialize, Serialize};

use super::{Condition, Interval};

/// A SecretStore or a ClusterSecretStore.
pub type Store = Object<StoreSpec, StoreStatus>;

/// The kind of a store: a store without a namespace is a ClusterSecretStore.
pub fn store_kind(store: &Store) -> &'static str {
    match store.metadata.namespace {
        Some(_) => "SecretStore",
        None => "ClusterSecretStore",
    }
}

/// The spec of a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StoreSpec {
    /// The controller class that is responsible for the store; if empty, all controllers are.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub controller: String,
    /// The provider. The operator supports `onepassword` only.
    pub provider: Provider,
    /// How often the store is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<Interval>,
    /// The namespaces that may use a ClusterSecretStore: those that match any condition, or all if there is no
    /// condition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<NamespaceCondition>,
}

/// The provider of a store. Members of other providers are ignored.
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
    /// The URL of the server.
    pub connect_host: String,
    /// Where the token is.
    pub auth: Auth,
    /// The names or ids of vaults, each with its position in the order in which they are searched.
    pub vaults: BTreeMap<String, i64>,
}

/// Where a token is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Auth {
    /// The Secret that holds the token.
    pub secret_ref: AuthSecretRef,
}

/// The Secret that holds a token, in one of two spellings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthSecretRef {
    /// The spelling of External Secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_token_secret_ref: Option<SecretKeyRef>,
    /// A shorter spelling that older guides use. External Secrets does not accept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_token: Option<SecretKeyRef>,
}

impl AuthSecretRef {
    /// The reference, in either spelling.
    pub fn token(&self) -> Option<&SecretKeyRef> {
        self.connect_token_secret_ref.as_ref().or(self.connect_token.as_ref())
    }
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretKeyRef {
    /// The name of the Secret.
    pub name: String,
    /// The namespace of the Secret: required in a ClusterSecretStore, and the namespace of the store otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The key of the Secret.
    pub key: String,
}

/// Selects namespaces: those that match any member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceCondition {
    /// Selects namespaces by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Selects namespaces by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Selects namespaces by regular expressions in RE2 syntax, which may match any part of the name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespace_regexes: Vec<String>,
}

/// The status of a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreStatus {
    /// The condition `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Always `ReadWrite`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<String>,
}
