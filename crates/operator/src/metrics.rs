//! Metrics under External Secrets' names and labels, and those of controller-runtime that its dashboard reads.

mod kind;
mod queue;

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub(crate) use kind::Kind;
use queue::Queues;
pub(crate) use queue::WorkQueue;

/// A call to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CallLabels {
    provider: &'static str,
    call: &'static str,
    status: &'static str,
}

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

fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Metrics {
    /// With `extended`, the series of an object have its labels too, as far as Kubernetes recommends them.
    pub(crate) fn new(extended: bool) -> Arc<Self> {
        let mut registry = Registry::default();
        let kinds = [
            "externalsecret",
            "secretstore",
            "clustersecretstore",
            "clusterexternalsecret",
            "pushsecret",
        ]
        .map(|prefix| {
            let kind = Kind::new(prefix, extended);
            registry.register_collector(Box::new(kind.clone()));
            kind
        });
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
    pub(crate) fn queue(&self, controller: &str, max_per_group: usize) -> WorkQueue {
        WorkQueue::start(&self.queues, controller, max_per_group)
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
