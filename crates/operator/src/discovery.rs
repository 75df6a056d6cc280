//! Finds out which of External Secrets' resources the API server has, and in which version.

use kube::{Client, Config};

use crate::error::OperatorError;
use crate::types::{GROUP, Served, resource};

/// Asks the API server for the resources. Of several versions, the newest that the operator knows is used.
///
/// # Errors
/// When the API server does not answer, or lacks a resource that the operator can't do without.
pub(crate) async fn served(client: &Client, config: &Config) -> Result<Served, OperatorError> {
    let unreachable = |error| OperatorError::from_api(config, &error);
    let groups = client.list_api_groups().await.map_err(unreachable)?;
    let group = groups.groups.into_iter().find(|group| group.name == GROUP);
    let versions: Vec<String> = group
        .into_iter()
        .flat_map(|group| group.versions)
        .map(|version| version.version)
        .collect();
    let mut kinds = Vec::new();
    for version in ["v1", "v1beta1", "v1alpha1"] {
        if versions.iter().any(|served| served == version) {
            let list = client.list_api_group_resources(&format!("{GROUP}/{version}")).await;
            let resources = list.map_err(unreachable)?.resources.into_iter();
            kinds.extend(resources.map(|found| (version, found.kind, found.name)));
        }
    }
    let find = |kind: &'static str, known: &[&str]| {
        // A name with a slash is a subresource, such as `externalsecrets/status`.
        let found = kinds
            .iter()
            .find(|(version, found, plural)| found == kind && known.contains(version) && !plural.contains('/'));
        found.map(|(version, kind, plural)| resource(version, kind, plural))
    };
    let need = |kind: &'static str| find(kind, &["v1", "v1beta1"]).ok_or(OperatorError::MissingResource(kind));
    Ok(Served {
        external_secret: need("ExternalSecret")?,
        secret_store: need("SecretStore")?,
        cluster_secret_store: need("ClusterSecretStore")?,
        cluster_external_secret: find("ClusterExternalSecret", &["v1", "v1beta1"]),
        push_secret: find("PushSecret", &["v1alpha1"]),
    })
}
