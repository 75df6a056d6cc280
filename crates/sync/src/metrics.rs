//! What sync counts, for Prometheus. No titles, no values.

use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::status::{SourceState, WriterState};

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

/// Sync's series, all prefixed `sidevault_`.
pub struct Metrics {
    registry: Registry,
    commit_duration: Histogram,
    batch_size: Histogram,
    propagation: Histogram,
    writable: Gauge,
    unwritable_since: Gauge,
    disk_free: Gauge,
    low_disk_threshold: Gauge,
    activity_not_kept: Counter,
    source_up: Family<SourceLabel, Gauge>,
    source_last_success: Family<SourceLabel, Gauge>,
    source_failed_files: Family<SourceLabel, Gauge>,
    links: Gauge,
    reconnects: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 14));
        let mut metrics = Self {
            registry: Registry::with_prefix("sidevault"),
            commit_duration: seconds(),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            propagation: seconds(),
            writable: Gauge::default(),
            unwritable_since: Gauge::default(),
            disk_free: Gauge::default(),
            low_disk_threshold: Gauge::default(),
            activity_not_kept: Counter::default(),
            source_up: Family::default(),
            source_last_success: Family::default(),
            source_failed_files: Family::default(),
            links: Gauge::default(),
            reconnects: Counter::default(),
        };
        let r = &mut metrics.registry;
        r.register_with_unit(
            "store_commit_duration",
            "Time of a commit, waiting for the disk included",
            Unit::Seconds,
            metrics.commit_duration.clone(),
        );
        r.register(
            "store_commit_batch_size",
            "Jobs in one commit",
            metrics.batch_size.clone(),
        );
        r.register_with_unit(
            "change_propagation",
            "Time from a source's event until the change is readable",
            Unit::Seconds,
            metrics.propagation.clone(),
        );
        r.register(
            "store_writable",
            "1 if the last write to the store succeeded, 0 if none does",
            metrics.writable.clone(),
        );
        r.register(
            "store_unwritable_since_timestamp_seconds",
            "Since when no write succeeds, Unix time; 0 if they do",
            metrics.unwritable_since.clone(),
        );
        r.register_with_unit(
            "store_disk_free",
            "Free room on the data directory's disk",
            Unit::Bytes,
            metrics.disk_free.clone(),
        );
        r.register_with_unit(
            "store_low_disk_threshold",
            "Free room below which activity and old versions of items are not kept (SIDEVAULT_LOW_DISK_MB)",
            Unit::Bytes,
            metrics.low_disk_threshold.clone(),
        );
        r.register(
            "store_activity_not_kept",
            "Records of activity that were not kept for lack of room",
            metrics.activity_not_kept.clone(),
        );
        r.register(
            "source_up",
            "1 if the source as a whole can be read",
            metrics.source_up.clone(),
        );
        r.register(
            "source_last_success_timestamp_seconds",
            "When the source was last read, Unix time",
            metrics.source_last_success.clone(),
        );
        r.register(
            "source_failed_files",
            "Files of the source that can't be read",
            metrics.source_failed_files.clone(),
        );
        r.register("bus_connected", "Links to api processes", metrics.links.clone());
        r.register("bus_links", "Links made since the start", metrics.reconnects.clone());
        metrics
    }
}

impl Metrics {
    /// In Prometheus' text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _infallible = text::encode(&mut text, &self.registry);
        text
    }

    pub(crate) fn committed(&self, jobs: usize, took: Duration) {
        self.commit_duration.observe(took.as_secs_f64());
        self.batch_size.observe(jobs as f64);
    }

    /// Free room, in bytes.
    pub(crate) fn disk_free(&self, bytes: u64) {
        self.disk_free.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The free room, in bytes, below which activity and old versions of items are not kept.
    pub(crate) fn low_disk_threshold(&self, bytes: u64) {
        self.low_disk_threshold.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// So many records of activity were not kept.
    pub(crate) fn activity_not_kept(&self, records: usize) {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        self.activity_not_kept.inc_by(records);
    }

    pub(crate) fn writer(&self, state: &WriterState) {
        let since = match state {
            WriterState::Failed { since, .. } => since.as_millis() / 1000,
            _ => 0,
        };
        self.writable.set(i64::from(since == 0));
        self.unwritable_since.set(since);
    }

    pub(crate) fn propagated(&self, took: Duration) {
        self.propagation.observe(took.as_secs_f64());
    }

    pub(crate) fn linked(&self) {
        self.links.inc();
        self.reconnects.inc();
    }

    pub(crate) fn unlinked(&self) {
        self.links.dec();
    }

    pub(crate) fn source(&self, name: &str, state: &SourceState) {
        let source = SourceLabel {
            source: name.to_owned(),
        };
        let up = matches!(state, SourceState::Read { .. });
        self.source_up.get_or_create(&source).set(i64::from(up));
        if let SourceState::Read { failed, .. } = state {
            let now = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            self.source_last_success
                .get_or_create(&source)
                .set(now.as_secs().cast_signed());
            self.source_failed_files
                .get_or_create(&source)
                .set(i64::try_from(failed.len()).unwrap_or(i64::MAX));
        }
    }
}
