//! External Secrets' metrics that have one series per object.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::object_key::ObjectKey;
use crate::types::Condition;

/// The metrics of the objects of one kind. They are counted per object and made into series only when `/metrics` is
/// requested: five series for each of thousands of objects would take most of the operator's memory.
#[derive(Clone)]
pub(crate) struct ObjectMetrics {
    prefix: &'static str,
    extended: bool,
    objects: Arc<Mutex<HashMap<ObjectKey, Counts>>>,
}

/// The labels that Kubernetes recommends, and External Secrets' names for them in Prometheus.
const RECOMMENDED: [(&str, &str); 6] = [
    ("app.kubernetes.io/name", "app_kubernetes_io_name"),
    ("app.kubernetes.io/instance", "app_kubernetes_io_instance"),
    ("app.kubernetes.io/version", "app_kubernetes_io_version"),
    ("app.kubernetes.io/component", "app_kubernetes_io_component"),
    ("app.kubernetes.io/part-of", "app_kubernetes_io_part_of"),
    ("app.kubernetes.io/managed-by", "app_kubernetes_io_managed_by"),
];

/// The recommended labels of one object, under their names in Prometheus.
type RecommendedLabels = Option<Arc<[(&'static str, String)]>>;

#[derive(Clone, Default)]
struct Counts {
    recommended: RecommendedLabels,
    reconciles: u64,
    failures: i64,
    /// The last reconcile's duration in nanoseconds.
    last_duration: u64,
    ready: Option<bool>,
}

impl ObjectMetrics {
    pub(super) fn new(prefix: &'static str, extended: bool) -> Self {
        Self {
            prefix,
            extended,
            objects: Arc::default(),
        }
    }

    /// Counts a reconcile. `labels` are the object's.
    pub(crate) fn reconciled(&self, key: &ObjectKey, labels: Option<&BTreeMap<String, String>>, took: Duration) {
        let recommended: RecommendedLabels = labels.filter(|_| self.extended).map(|labels| {
            let all = RECOMMENDED.iter();
            all.filter_map(|(label, name)| Some((*name, labels.get(*label)?.clone())))
                .collect()
        });
        self.with(key, |counts| {
            counts.recommended = recommended;
            counts.reconciles += 1;
            counts.last_duration = took.as_nanos().try_into().unwrap_or(u64::MAX);
        });
    }

    /// Counts a reconcile that failed.
    pub(crate) fn failed(&self, key: &ObjectKey) {
        self.with(key, |counts| counts.failures += 1);
    }

    /// Sets the status of the object's `Ready` condition.
    pub(crate) fn condition(&self, key: &ObjectKey, condition: &Condition) {
        self.with(key, |counts| counts.ready = Some(condition.status == "True"));
    }

    /// Removes the series of an object that was deleted.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.objects.lock().remove(key);
    }

    fn with(&self, key: &ObjectKey, change: impl FnOnce(&mut Counts)) {
        change(self.objects.lock().entry(key.clone()).or_default());
    }
}

impl fmt::Debug for ObjectMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectMetrics")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Collector for ObjectMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A copy, because a client that reads slowly must not block reconciles.
        let objects: Vec<(ObjectKey, Counts)> = self
            .objects
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

        // OpenMetrics gives the name of every counter the suffix `_total`, which External Secrets' name does not have. A
        // gauge has no suffix, and one that only grows looks the same to a dashboard.
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
        // External Secrets has nanoseconds here.
        let help = "The last reconcile's duration in nanoseconds";
        let mut series = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (key, counts) in &objects {
            ConstGauge::new(counts.last_duration as f64).encode(series.encode_family(&labels(key, counts, &[]))?)?;
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
    let recommended = counts.recommended.iter().flat_map(|recommended| recommended.iter());
    labels.extend(recommended.map(|(name, value)| (*name, value.as_str())));
    labels
}
