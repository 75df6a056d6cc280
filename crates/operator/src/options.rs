//! The options of an operator.

use std::net::SocketAddr;
use std::time::Duration;

use crate::types::StoreRef;

/// The options of an operator. They have the names and meanings of External Secrets' flags.
#[derive(Clone, Debug)]
pub struct Options {
    /// Maximum of concurrent reconciles per store, and per other kind.
    pub concurrent: usize,
    /// The only namespace to follow; `None` for all. With one namespace, ClusterExternalSecrets are ignored, and
    /// ClusterSecretStores are used only if the operator may list and watch them.
    pub namespace: Option<String>,
    /// The class of this operator: stores whose `spec.controller` is another are ignored.
    pub controller_class: String,
    /// Where `/metrics` is served; `None` for nowhere.
    pub metrics_address: Option<SocketAddr>,
    /// Where `/healthz` and `/readyz` are served; `None` for nowhere.
    pub health_address: Option<SocketAddr>,
    /// How one of several replicas is elected; `None` if there is only one.
    pub leader_election: Option<Election>,
    /// Whether ClusterSecretStores are used and checked.
    pub cluster_stores: bool,
    /// Whether SecretStores are checked. They are used in any case.
    pub secret_stores: bool,
    /// Whether ClusterExternalSecrets are reconciled.
    pub cluster_external_secrets: bool,
    /// Whether PushSecrets are reconciled.
    pub push_secrets: bool,
    /// Whether the metrics of an object also have its labels of `app.kubernetes.io/`.
    pub extended_metric_labels: bool,
    /// How often to recheck stores that set no `refreshInterval`.
    pub store_interval: Duration,
    /// Whether an ExternalSecret fails at once while its store is not ready.
    pub flood_gate: bool,
    /// The store of ExternalSecrets that name none.
    pub default_store: Option<StoreRef>,
    /// The left and right delimiter of template actions; an empty one stands for External Secrets' own.
    pub template_delimiters: (String, String),
    /// Whether the operator writes no Secrets and only sets the annotation `force-sync`, on which another operator acts.
    pub poke_only: bool,
    /// Whether workloads that use a Secret are restarted when it changes, if an annotation asks for that.
    pub restart_workloads: bool,
}

/// How one of several replicas is elected, by a Lease as in client-go.
#[derive(Clone, Debug)]
pub struct Election {
    /// The Lease's name.
    pub name: String,
    /// The Lease's namespace.
    pub namespace: String,
    /// This replica's name.
    pub identity: String,
    /// How long the Lease is valid after its last renewal.
    pub lease: Duration,
    /// How long after its last successful renewal the holder stops to work; shorter than `lease`.
    pub deadline: Duration,
    /// How often the holder renews the Lease, and the others try to take it.
    pub retry: Duration,
}

impl Election {
    /// Checks what client-go checks: the holder stops before the Lease runs out, and tries to renew it more than once before
    /// it stops.
    ///
    /// # Errors
    /// Names the flags that contradict each other.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (lease, deadline, retry) = (
            "--leader-election-lease-duration",
            "--leader-election-renew-deadline",
            "--leader-election-retry-period",
        );
        if self.lease < Duration::from_secs(1) {
            return Err(format!("{lease} must be at least 1s"));
        }
        if self.retry.is_zero() {
            return Err(format!("{retry} must be more than 0"));
        }
        if self.lease <= self.deadline {
            return Err(format!("{lease} must be longer than {deadline}"));
        }
        // The period between two tries varies by up to a fifth.
        if self.deadline <= self.retry.mul_f64(1.2) {
            return Err(format!("{deadline} must be longer than 1.2 times {retry}"));
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrent: 16,
            namespace: None,
            controller_class: "default".to_owned(),
            metrics_address: None,
            health_address: None,
            leader_election: None,
            cluster_stores: true,
            secret_stores: true,
            cluster_external_secrets: true,
            push_secrets: true,
            extended_metric_labels: false,
            store_interval: Duration::from_secs(300),
            flood_gate: true,
            default_store: None,
            template_delimiters: ("{{".to_owned(), "}}".to_owned()),
            poke_only: false,
            restart_workloads: false,
        }
    }
}
