//! Metrics under External Secrets' names and labels, and those of controller-runtime that its dashboard reads.

mod queue;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use queue::Queues;
pub(crate) use queue::WorkQueue;

use crate::queue::ObjectKey;
use crate::types::Condition;

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ObjectLabels {
    name: String,
    namespace: String,
}

/// An object's condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ConditionLabels {
    name: String,
    namespace: String,
    condition: String,
    status: String,
}

/// A call to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CallLabels {
    provider: &'static str,
    call: &'static str,
    status: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    /// Of ExternalSecrets.
    pub(crate) external_secrets: Kind,
    /// Of SecretStores.
    pub(crate) stores: Kind,
    /// Of ClusterSecretStores.
    pub(crate) cluster_stores: Kind,
    /// Of ClusterExternalSecrets.
    pub(crate) cluster_external_secrets: Kind,
    /// Of PushSecrets.
    pub(crate) push_secrets: Kind,
    calls: Family<CallLabels, Gauge>,
    /// From a change at a server to its being in the Secret.
    pub(crate) event_lag: Histogram,
    queues: Queues,
}

/// What is counted of one kind of resource.
#[derive(Clone, Default)]
pub(crate) struct Kind {
    calls: Family<ObjectLabels, Counter>,
    errors: Family<ObjectLabels, Gauge>,
    conditions: Family<ConditionLabels, Gauge>,
    duration: Family<ObjectLabels, Seconds>,
}

fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::default();
        let kinds = [
            "externalsecret",
            "secretstore",
            "clustersecretstore",
            "clusterexternalsecret",
            "pushsecret",
        ]
        .map(|prefix| Kind::register(&mut registry, prefix));
        let [
            external_secrets,
            stores,
            cluster_stores,
            cluster_external_secrets,
            push_secrets,
        ] = kinds;
        let calls = Family::default();
        registry.register(
            "externalsecret_provider_api_calls_count",
            "Calls to the provider",
            calls.clone(),
        );
        let event_lag = times();
        registry.register(
            "sidevault_operator_event_lag_seconds",
            "From a server's word of a change to the Secret that has it",
            event_lag.clone(),
        );
        let queues = Queues::register(&mut registry);
        Arc::new(Self {
            registry,
            external_secrets,
            stores,
            cluster_stores,
            cluster_external_secrets,
            push_secrets,
            calls,
            event_lag,
            queues,
        })
    }

    /// Counts a call to a provider: `call` as External Secrets names it.
    pub(crate) fn called(&self, call: &'static str, succeeded: bool) {
        let labels = CallLabels {
            provider: "1Password/Connect",
            call,
            status: if succeeded { "success" } else { "error" },
        };
        self.calls.get_or_create(&labels).inc();
    }

    /// What is counted of one queue.
    pub(crate) fn queue(&self, controller: &str, width: usize) -> WorkQueue {
        WorkQueue::start(&self.queues, controller, width)
    }

    /// The text of `/metrics` (OpenMetrics).
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Kind {
    fn register(registry: &mut Registry, prefix: &str) -> Self {
        let kind = Self::default();
        // The encoding gives every counter a `_total`. External Secrets has names without one: gauges that only grow
        // look the same to a dashboard.
        registry.register(format!("{prefix}_sync_calls"), "Reconciles", kind.calls.clone());
        registry.register(
            format!("{prefix}_sync_calls_error"),
            "Reconciles that failed",
            kind.errors.clone(),
        );
        registry.register(
            format!("{prefix}_status_condition"),
            "Conditions",
            kind.conditions.clone(),
        );
        registry.register(
            format!("{prefix}_reconcile_duration"),
            "The last reconcile's duration in nanoseconds",
            kind.duration.clone(),
        );
        kind
    }

    /// Counts a reconcile.
    pub(crate) fn reconciled(&self, key: &ObjectKey, took: Duration) {
        let labels = labels(key);
        self.calls.get_or_create(&labels).inc();
        // Nanoseconds, as External Secrets has it.
        self.duration.get_or_create(&labels).set(took.as_secs_f64() * 1e9);
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, key: &ObjectKey) {
        self.errors.get_or_create(&labels(key)).inc();
    }

    /// Shows a condition.
    pub(crate) fn condition(&self, key: &ObjectKey, condition: &Condition) {
        for status in ["True", "False"] {
            let labels = condition_labels(key, &condition.type_, status);
            self.conditions
                .get_or_create(&labels)
                .set(i64::from(condition.status == status));
        }
    }

    /// Forgets an object.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        let labels = labels(key);
        self.calls.remove(&labels);
        self.errors.remove(&labels);
        self.duration.remove(&labels);
        for status in ["True", "False"] {
            self.conditions.remove(&condition_labels(key, "Ready", status));
        }
    }
}

fn labels(key: &ObjectKey) -> ObjectLabels {
    ObjectLabels {
        name: key.name.clone(),
        namespace: key.namespace.clone(),
    }
}

fn condition_labels(key: &ObjectKey, condition: &str, status: &str) -> ConditionLabels {
    ConditionLabels {
        name: key.name.clone(),
        namespace: key.namespace.clone(),
        condition: condition.to_owned(),
        status: status.to_owned(),
    }
}
