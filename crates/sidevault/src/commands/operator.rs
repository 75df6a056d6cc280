//! `sidevault operator`: external-secrets.io resources become Kubernetes Secrets.

use sidevault_operator::{Election, OperatorError, Options};

use crate::cli::Operator;
use crate::exit::Failure;
use crate::signals::stop_token;

/// The file in a Pod that holds the Pod's namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Runs until a signal says stop, then finishes the reconciles that it has begun.
pub(crate) async fn run(arguments: Operator) -> Result<(), Failure> {
    let stop = stop_token()?;
    let leader_election = arguments.enable_leader_election.then(|| Election {
        name: arguments.leader_election_id.clone(),
        namespace: arguments
            .leader_election_namespace
            .clone()
            .unwrap_or_else(own_namespace),
        identity: identity(),
        lease: arguments.leader_election_lease_duration,
        deadline: arguments.leader_election_renew_deadline,
        retry: arguments.leader_election_retry_period,
    });
    let options = Options {
        concurrent: arguments.concurrent.max(1),
        namespace: arguments.namespace.filter(|namespace| !namespace.is_empty()),
        controller_class: arguments.controller_class,
        metrics_address: arguments.metrics_addr.0,
        health_address: arguments.health_addr.0,
        leader_election,
        cluster_stores: arguments.enable_cluster_store_reconciler,
        secret_stores: arguments.enable_secret_store_reconciler,
        cluster_external_secrets: arguments.enable_cluster_external_secret_reconciler,
        push_secrets: arguments.enable_push_secret_reconciler,
        extended_metric_labels: arguments.enable_extended_metric_labels,
        store_interval: arguments.store_requeue_interval,
        flood_gate: arguments.enable_flood_gate,
        default_store: arguments.default_store,
        template_delimiters: (arguments.template_left_delimiter, arguments.template_right_delimiter),
        poke_only: arguments.poke_only,
        restart_workloads: arguments.restart_workloads,
    };
    sidevault_operator::run(options, stop)
        .await
        .map_err(|error| match error {
            OperatorError::Unreachable { .. } => Failure::Unreachable(error.to_string()),
            OperatorError::Kubeconfig(_)
            | OperatorError::MissingResource(_)
            | OperatorError::Listen { .. }
            | OperatorError::Election(_) => Failure::Config(error.to_string()),
            OperatorError::Refused { .. } | OperatorError::LeaseLost => Failure::Failed(error.to_string()),
        })
}

fn own_namespace() -> String {
    let variable = std::env::var("POD_NAMESPACE")
        .ok()
        .filter(|namespace| !namespace.is_empty());
    let file = || {
        std::fs::read_to_string(NAMESPACE_FILE)
            .ok()
            .map(|namespace| namespace.trim().to_owned())
    };
    variable.or_else(file).unwrap_or_else(|| "default".to_owned())
}

/// The identity for leader election: the Pod's name, and a random number, so that a restarted container is another
/// candidate.
fn identity() -> String {
    let host = std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| "sidevault".to_owned());
    format!("{host}_{:016x}", rand::random::<u64>())
}
