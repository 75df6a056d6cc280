//! Metrics under External Secrets' names and labels, and those of controller-runtime that its dashboard reads.

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

/// A queue or a controller.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    name: String,
    controller: String,
}

/// A controller and what came of a turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    controller: String,
    result: &'static str,
}

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OneController {
    controller: String,
}

/// A call to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CallLabels {
    provider: &'static str,
    call: &'static str,
    status: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;
type HistogramOf<L> = Family<L, Histogram, fn() -> Histogram>;

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

#[derive(Clone)]
struct Queues {
    depth: Family<ControllerLabels, Gauge>,
    adds: Family<ControllerLabels, Counter>,
    retries: Family<ControllerLabels, Counter>,
    waited: HistogramOf<ControllerLabels>,
    worked: HistogramOf<ControllerLabels>,
    reconciles: Family<ResultLabels, Counter>,
    errors: Family<OneController, Counter>,
    time: HistogramOf<OneController>,
    active: Family<OneController, Gauge>,
    width: Family<OneController, Gauge>,
}

/// What controller-runtime says may come of a turn.
const RESULTS: [&str; 4] = ["success", "error", "requeue", "requeue_after"];

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
        let queue = WorkQueue::of(self.queues.clone(), controller);
        let width = i64::try_from(width).unwrap_or(i64::MAX);
        self.queues.width.get_or_create(&queue.one).set(width);
        // From the start: a rate does not see the first of a series that comes with it.
        for result in RESULTS {
            drop(self.queues.reconciles.get_or_create(&queue.result(result)));
        }
        let Queues { errors, active, time, depth, adds, retries, waited, worked, .. } = &self.queues;
        drop((errors.get_or_create(&queue.one), active.get_or_create(&queue.one), time.get_or_create(&queue.one)));
        let labels = &queue.labels;
        drop((depth.get_or_create(labels), adds.get_or_create(labels), retries.get_or_create(labels)));
        drop((waited.get_or_create(labels), worked.get_or_create(labels)));
        queue
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

impl Queues {
    fn new() -> Self {
        Self {
            depth: Family::default(),
            adds: Family::default(),
            retries: Family::default(),
            waited: Family::new_with_constructor(times),
            worked: Family::new_with_constructor(times),
            reconciles: Family::default(),
            errors: Family::default(),
            time: Family::new_with_constructor(times),
            active: Family::default(),
            width: Family::default(),
        }
    }

    fn register(registry: &mut Registry) -> Self {
        let queues = Self::new();
        registry.register("workqueue_depth", "Objects that wait", queues.depth.clone());
        registry.register("workqueue_adds", "Objects that were asked for", queues.adds.clone());
        registry.register(
            "workqueue_retries",
            "Objects that come up again",
            queues.retries.clone(),
        );
        registry.register("workqueue_queue_duration_seconds", "Waits", queues.waited.clone());
        registry.register("workqueue_work_duration_seconds", "Turns", queues.worked.clone());
        registry.register(
            "controller_runtime_reconcile",
            "Turns by result",
            queues.reconciles.clone(),
        );
        registry.register(
            "controller_runtime_reconcile_errors",
            "Turns that failed",
            queues.errors.clone(),
        );
        registry.register(
            "controller_runtime_reconcile_time_seconds",
            "Turns",
            queues.time.clone(),
        );
        registry.register(
            "controller_runtime_active_workers",
            "Workers at work",
            queues.active.clone(),
        );
        registry.register(
            "controller_runtime_max_concurrent_reconciles",
            "Workers",
            queues.width.clone(),
        );
        queues
    }
}

/// What is counted of one queue.
#[derive(Clone)]
pub(crate) struct WorkQueue {
    queues: Queues,
    labels: ControllerLabels,
    one: OneController,
}

impl WorkQueue {
    fn of(queues: Queues, controller: &str) -> Self {
        Self {
            queues,
            labels: ControllerLabels {
                name: controller.to_owned(),
                controller: controller.to_owned(),
            },
            one: OneController {
                controller: controller.to_owned(),
            },
        }
    }

    /// A queue that no registry knows.
    #[cfg(test)]
    pub(crate) fn unregistered(controller: &str) -> Self {
        Self::of(Queues::new(), controller)
    }

    fn result(&self, result: &'static str) -> ResultLabels {
        ResultLabels {
            controller: self.one.controller.clone(),
            result,
        }
    }

    /// An object waits.
    pub(crate) fn added(&self) {
        self.queues.adds.get_or_create(&self.labels).inc();
        self.queues.depth.get_or_create(&self.labels).inc();
    }

    /// Its turn came.
    pub(crate) fn taken(&self, waited: Duration) {
        self.queues.depth.get_or_create(&self.labels).dec();
        self.queues
            .waited
            .get_or_create(&self.labels)
            .observe(waited.as_secs_f64());
        self.queues.active.get_or_create(&self.one).inc();
    }

    /// Its turn is over.
    pub(crate) fn worked(&self, took: Duration) {
        self.queues
            .worked
            .get_or_create(&self.labels)
            .observe(took.as_secs_f64());
        self.queues.time.get_or_create(&self.one).observe(took.as_secs_f64());
        self.queues.active.get_or_create(&self.one).dec();
    }

    /// It comes up again after a failure.
    pub(crate) fn retried(&self) {
        self.queues.retries.get_or_create(&self.labels).inc();
    }

    /// Counts what came of it.
    pub(crate) fn outcome(&self, outcome: crate::queue::Outcome) {
        use crate::queue::Outcome;
        let result = match outcome {
            Outcome::Done => "success",
            Outcome::After(_) => "requeue_after",
            Outcome::Again => "requeue",
            Outcome::Failed => "error",
        };
        self.queues.reconciles.get_or_create(&self.result(result)).inc();
        if outcome == Outcome::Failed {
            self.queues.errors.get_or_create(&self.one).inc();
        }
    }
}
