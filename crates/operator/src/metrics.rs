//! Metrics under External Secrets' names and labels, and those of controller-runtime that External Secrets' dashboard reads.

mod objects;
mod queue;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

use objects::ObjectMetrics;
pub(crate) use queue::WorkQueue;
use queue::WorkQueues;

/// A call to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    provider: &'static str,
    call: &'static str,
    status: &'static str,
}

/// All metrics of the operator.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) external_secrets: ObjectMetrics,
    pub(crate) stores: ObjectMetrics,
    pub(crate) cluster_stores: ObjectMetrics,
    pub(crate) cluster_external_secrets: ObjectMetrics,
    pub(crate) push_secrets: ObjectMetrics,
    calls: Family<CallLabels, Gauge>,
    event_lag: Histogram,
    work_queues: WorkQueues,
}

/// Adds a metric to a registry and returns it.
fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// A histogram of durations from a millisecond to half a minute, in seconds.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Metrics {
    /// With `extended`, the series of an object also have those of its labels that Kubernetes recommends
    /// (`app.kubernetes.io/…`).
    pub(crate) fn new(extended: bool) -> Arc<Self> {
        let mut registry = Registry::default();
        let mut objects = |prefix| {
            let objects = ObjectMetrics::new(prefix, extended);
            registry.register_collector(Box::new(objects.clone()));
            objects
        };
        Arc::new(Self {
            external_secrets: objects("externalsecret"),
            stores: objects("secretstore"),
            cluster_stores: objects("clustersecretstore"),
            cluster_external_secrets: objects("clusterexternalsecret"),
            push_secrets: objects("pushsecret"),
            calls: registered(
                &mut registry,
                "externalsecret_provider_api_calls_count",
                "Calls to the provider",
                Family::default(),
            ),
            event_lag: registered(
                &mut registry,
                "sidevault_operator_event_lag_seconds",
                "Time from a server's event about a change to the written Secret",
                seconds(),
            ),
            work_queues: WorkQueues::register(&mut registry),
            registry,
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

    /// Measures the time from a server's event to the change that it has caused in Kubernetes, which was made just now.
    pub(crate) fn event_applied(&self, event_at: Instant) {
        self.event_lag.observe(event_at.elapsed().as_secs_f64());
    }

    /// The metrics of one controller's work queue. Its series exist from now on.
    pub(crate) fn queue(&self, controller: &str, max_per_group: usize) -> WorkQueue {
        self.work_queues.of(controller, max_per_group)
    }

    /// The text of `/metrics` (OpenMetrics).
    ///
    /// # Errors
    /// None in practice: the text is written to memory.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
