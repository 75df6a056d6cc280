//! External Secrets' series of every object.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::object_key::ObjectKey;
use crate::types::Condition;

/// What is counted of one kind of resource. Kept once an object, and spelled out when it is asked for: thousands of
/// objects times five series would be most of the memory.
#[derive(Clone)]
pub(crate) struct Kind {
    prefix: &'static str,
    extended: bool,
    objects: Arc<Mutex<HashMap<ObjectKey, Counts>>>,
}

/// The labels that Kubernetes recommends, and what External Secrets makes of their names for Prometheus.
const RECOMMENDED: [(&str, &str); 6] = [
    ("app.kubernetes.io/name", "app_kubernetes_io_name"),
    ("app.kubernetes.io/instance", "app_kubernetes_io_instance"),
    ("app.kubernetes.io/version", "app_kubernetes_io_version"),
    ("app.kubernetes.io/component", "app_kubernetes_io_component"),
    ("app.kubernetes.io/part-of", "app_kubernetes_io_part_of"),
    ("app.kubernetes.io/managed-by", "app_kubernetes_io_managed_by"),
];

/// Those of an object.
type Extended = Option<Arc<[(&'static str, String)]>>;

#[derive(Clone, Default)]
struct Counts {
    extended: Extended,
    reconciles: u64,
    failures: i64,
    /// Of the last reconcile, in nanoseconds.
    took: u64,
    ready: Option<bool>,
}

impl Kind {
    pub(super) fn new(prefix: &'static str, extended: bool) -> Self {
        Self {
            prefix,
            extended,
            objects: Arc::default(),
        }
    }

    /// Counts a reconcile of an object with these labels.
    pub(crate) fn reconciled(&self, key: &ObjectKey, labels: Option<&BTreeMap<String, String>>, took: Duration) {
        let extended: Extended = labels.filter(|_| self.extended).map(|labels| {
            let known = RECOMMENDED.iter();
            known
                .filter_map(|(label, name)| Some((*name, labels.get(*label)?.clone())))
                .collect()
        });
        self.with(key, |counts| {
            counts.extended = extended;
            counts.reconciles += 1;
            counts.took = took.as_nanos().try_into().unwrap_or(u64::MAX);
        });
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, key: &ObjectKey) {
        self.with(key, |counts| counts.failures += 1);
    }

    /// Shows the condition `Ready`.
    pub(crate) fn condition(&self, key: &ObjectKey, condition: &Condition) {
        self.with(key, |counts| counts.ready = Some(condition.status == "True"));
    }

    /// Forgets an object.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    fn with(&self, key: &ObjectKey, change: impl FnOnce(&mut Counts)) {
        change(self.lock().entry(key.clone()).or_default());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectKey, Counts>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Collector for Kind {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A copy: who scrapes slowly must not hold up reconciles.
        let objects: Vec<(ObjectKey, Counts)> = self
            .lock()
            .iter()
            .map(|(key, counts)| (key.clone(), counts.clone()))
            .collect();
        let prefix = self.prefix;

        let name = format!("{prefix}_sync_calls");
        let mut series = encoder.encode_descriptor(&name, "Reconciles", None, MetricType::Counter)?;
        for (key, counts) in &objects {
            ConstCounter::new(counts.reconciles).encode(series.encode_family(&labels(key, counts, &[]))?)?;
        }

        // The encoding gives every counter a `_total`. External Secrets has names without one: gauges that only grow
        // look the same to a dashboard.
        let name = format!("{prefix}_sync_calls_error");
        let mut series = encoder.encode_descriptor(&name, "Reconciles that failed", None, MetricType::Gauge)?;
        for (key, counts) in objects.iter().filter(|(_, counts)| counts.failures > 0) {
            ConstGauge::new(counts.failures).encode(series.encode_family(&labels(key, counts, &[]))?)?;
        }

        let name = format!("{prefix}_status_condition");
        let mut series = encoder.encode_descriptor(&name, "Conditions", None, MetricType::Gauge)?;
        for (key, counts) in &objects {
            let Some(ready) = counts.ready else { continue };
            for (status, is) in [("True", ready), ("False", !ready)] {
                let labels = labels(key, counts, &[("condition", "Ready"), ("status", status)]);
                ConstGauge::new(i64::from(is)).encode(series.encode_family(&labels)?)?;
            }
        }

        let name = format!("{prefix}_reconcile_duration");
        // Nanoseconds, as External Secrets has it.
        let help = "The last reconcile's duration in nanoseconds";
        let mut series = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (key, counts) in &objects {
            ConstGauge::new(counts.took as f64).encode(series.encode_family(&labels(key, counts, &[]))?)?;
        }
        Ok(())
    }
}

fn labels<'a>(
    key: &'a ObjectKey,
    counts: &'a Counts,
    more: &[(&'static str, &'a str)],
) -> Vec<(&'static str, &'a str)> {
    let mut labels = vec![("name", &*key.name), ("namespace", &*key.namespace)];
    labels.extend(more);
    let extended = counts.extended.iter().flat_map(|extended| extended.iter());
    labels.extend(extended.map(|(name, value)| (*name, value.as_str())));
    labels
}
