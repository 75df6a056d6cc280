//! What an operator is told at start.

use std::net::SocketAddr;
use std::time::Duration;

use crate::types::StoreRef;

/// What an operator is told at start. The names are External Secrets' flags'.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many objects of one store, and of each other kind, are in work at once.
    pub concurrent: usize,
    /// The only namespace that is looked at; all when absent. ClusterExternalSecrets are left alone then, and
    /// ClusterSecretStores are too unless this operator may list and watch them.
    pub namespace: Option<String>,
    /// Stores of other classes are left alone.
    pub controller_class: String,
    /// Where metrics are served; nowhere when absent.
    pub metrics_address: Option<SocketAddr>,
    /// Where `/healthz` and `/readyz` are served; nowhere when absent.
    pub health_address: Option<SocketAddr>,
    /// Whether one of several replicas works at a time.
    pub leader_election: Option<Election>,
    /// ClusterSecretStores are looked at.
    pub cluster_stores: bool,
    /// SecretStores are looked at.
    pub secret_stores: bool,
    /// ClusterExternalSecrets are looked at.
    pub cluster_external_secrets: bool,
    /// PushSecrets are looked at.
    pub push_secrets: bool,
    /// Metrics of a resource have its labels of `app.kubernetes.io/` too.
    pub extended_metric_labels: bool,
    /// How often stores are looked at that say nothing of it themselves.
    pub store_interval: Duration,
    /// An ExternalSecret is not synced while its store is not ready.
    pub flood_gate: bool,
    /// The store of ExternalSecrets that name none.
    pub default_store: Option<StoreRef>,
    /// What templates' actions stand between.
    pub template_delimiters: (String, String),
    /// Only `force-sync` is annotated, for another operator to act on.
    pub poke_only: bool,
    /// Workloads that use a Secret are restarted when it changes, if they ask for it.
    pub restart_workloads: bool,
}

/// How one of several replicas is chosen.
#[derive(Clone, Debug)]
pub struct Election {
    /// The Lease's name.
    pub name: String,
    /// The Lease's namespace.
    pub namespace: String,
    /// This replica's name.
    pub identity: String,
    /// How long a replica that is silent keeps the Lease.
    pub lease: Duration,
    /// How long after its last renewal the holder stops; shorter than `lease`.
    pub deadline: Duration,
    /// How often the Lease is renewed, or tried for.
    pub retry: Duration,
}

impl Election {
    /// As client-go checks it: the holder has to stop before another may begin, and to try more than once before that.
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
        // Tries are spread by up to a fifth.
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
