//! Reads the objects of a cluster that may have to do with an item. No Secret is read.

use futures_util::future::try_join_all;

use crate::cli::ItemUses;
use crate::exit::Failure;
use crate::kubectl::{Kubectl, Scope};
use crate::manifests::tree::Node;
use crate::manifests::{Object, Objects};

/// The resources of External Secrets that refer to items.
const EXTERNAL_SECRETS: [&str; 5] = [
    "externalsecrets",
    "clusterexternalsecrets",
    "pushsecrets",
    "secretstores",
    "clustersecretstores",
];
/// The resources that have Pods, and those that own them.
const WORKLOADS: [&str; 7] = [
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "replicasets.apps",
    "jobs.batch",
    "cronjobs.batch",
    "pods",
];

/// Reads the objects: of one namespace, or of all.
///
/// # Errors
/// [`Failure::Denied`] if a kind may not be listed, [`Failure::Unreachable`] if the API server does not answer, [`Failure::Failed`]
/// without kubectl.
pub(super) async fn read(arguments: &ItemUses) -> Result<Objects, Failure> {
    let kubectl = Kubectl {
        context: arguments.context.as_deref(),
        scope: arguments.namespace.as_deref().map_or(Scope::All, Scope::One),
        advice: "install it, or leave out the cluster (--no-cluster)",
    };
    let mut kinds: Vec<String> = WORKLOADS.map(str::to_owned).to_vec();
    kinds.extend(kubectl.external_secrets(&EXTERNAL_SECRETS).await?);
    let lists = try_join_all(kinds.iter().map(|kind| kubectl.list(kind))).await?;
    let read = |item| Object::read(0, Node::from_json(item));
    Ok(Objects(lists.into_iter().flatten().filter_map(read).collect()))
}
