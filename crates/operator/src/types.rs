//! The resources of `external-secrets.io`, with the members that the operator reads. Changes are sent as patches, so
//! members that are not listed here keep their values.
//!
//! The operator finds out at start which version the API server serves ([`Served`]): v1, or else v1beta1 (External
//! Secrets before 0.16). The members listed here have the same names in both.

mod cluster_external_secret;
pub(crate) mod condition;
mod duration;
mod external_secret;
mod push_secret;
mod store;

pub use cluster_external_secret::*;
pub use condition::Condition;
pub use duration::{GoDuration, Interval};
pub use external_secret::*;
use kube::core::ApiResource;
pub use push_secret::*;
pub use store::*;

/// The API group of all resources here.
pub const GROUP: &str = "external-secrets.io";

/// The version of each resource that the API server serves.
#[derive(Clone, Debug)]
pub struct Served {
    /// ExternalSecret.
    pub external_secret: ApiResource,
    /// SecretStore.
    pub secret_store: ApiResource,
    /// ClusterSecretStore.
    pub cluster_secret_store: ApiResource,
    /// ClusterExternalSecret; `None` if the API server does not serve it.
    pub cluster_external_secret: Option<ApiResource>,
    /// PushSecret; `None` if the API server does not serve it.
    pub push_secret: Option<ApiResource>,
}

/// Describes a resource of the group to kube's client.
pub(crate) fn resource(version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: version.to_owned(),
        api_version: format!("{GROUP}/{version}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}
