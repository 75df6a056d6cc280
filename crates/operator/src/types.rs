//! The resources of `external-secrets.io`, as far as they are read. Members that are not here are left alone: changes
//! are sent as patches.
//!
//! The version is found out at start ([`Served`]): v1 where the API server has it, else v1beta1 (External Secrets
//! before 0.16). Both spell everything here alike.

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

/// The API group.
pub const GROUP: &str = "external-secrets.io";

/// Which versions the API server serves.
#[derive(Clone, Debug)]
pub struct Served {
    /// ExternalSecret.
    pub external_secret: ApiResource,
    /// SecretStore.
    pub secret_store: ApiResource,
    /// ClusterSecretStore.
    pub cluster_secret_store: ApiResource,
    /// ClusterExternalSecret; absent when there is no such resource.
    pub cluster_external_secret: Option<ApiResource>,
    /// PushSecret; absent when there is no such resource.
    pub push_secret: Option<ApiResource>,
}

/// An API resource of the group.
pub(crate) fn resource(version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: version.to_owned(),
        api_version: format!("{GROUP}/{version}"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}
