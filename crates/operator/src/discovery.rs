//! Which of the resources the API server has, and in which version.

use kube::Client;

use crate::api_error::api_message;
use crate::types::{GROUP, Served, resource};

/// The API server does not have the resources.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// They are not installed.
    #[error(
        "the API server has no {0} of external-secrets.io: install the CustomResourceDefinitions first (deploy/crds)"
    )]
    Missing(&'static str),
    /// It could not be asked.
    #[error("the API server can't be asked for its resources: {0}")]
    Kubernetes(String),
}

impl From<kube::Error> for DiscoveryError {
    fn from(error: kube::Error) -> Self {
        Self::Kubernetes(api_message(&error))
    }
}

/// Asks the API server. The newest version that is known is taken.
pub(crate) async fn served(client: &Client) -> Result<Served, DiscoveryError> {
    let groups = client.list_api_groups().await?;
    let group = groups.groups.into_iter().find(|group| group.name == GROUP);
    let versions: Vec<String> = group
        .into_iter()
        .flat_map(|group| group.versions)
        .map(|version| version.version)
        .collect();
    let mut kinds = Vec::new();
    for version in ["v1", "v1beta1", "v1alpha1"] {
        if versions.iter().any(|served| served == version) {
            let list = client.list_api_group_resources(&format!("{GROUP}/{version}")).await?;
            kinds.extend(
                list.resources
                    .into_iter()
                    .map(|found| (version, found.kind, found.name)),
            );
        }
    }
    let find = |kind: &'static str, known: &[&str]| {
        let found = kinds
            .iter()
            .find(|(version, found, plural)| found == kind && known.contains(version) && !plural.contains('/'));
        found.map(|(version, kind, plural)| resource(version, kind, plural))
    };
    let need = |kind: &'static str| find(kind, &["v1", "v1beta1"]).ok_or(DiscoveryError::Missing(kind));
    Ok(Served {
        external_secret: need("ExternalSecret")?,
        secret_store: need("SecretStore")?,
        cluster_secret_store: need("ClusterSecretStore")?,
        cluster_external_secret: find("ClusterExternalSecret", &["v1", "v1beta1"]),
        push_secret: find("PushSecret", &["v1alpha1"]),
    })
}
