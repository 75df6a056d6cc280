//! The metrics of sync, in Prometheus' format. They hold no titles and no values.

use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};

use sidevault_model::Timestamp;

#[cfg(feature = "git")]
use crate::status::RemoteState;
use crate::status::{SourceState, WriterState};

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

/// A [`Family`] with these labels has one metric, which is missing until it is first used.
type NoLabels = [(&'static str, &'static str); 0];

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct CommitLabels {
    source: String,
    commit: String,
}

/// The metrics of sync. All names start with `sidevault_`.
pub struct Metrics {
    registry: Registry,
    commit_duration: Histogram,
    batch_size: Histogram,
    propagation: Histogram,
    writable: Gauge,
    unwritable_since: Gauge,
    leader: Gauge,
    lease_term: Gauge,
    disk_free: Gauge,
    low_disk_threshold: Gauge,
    activity_not_kept: Counter,
    source_up: Family<SourceLabel, Gauge>,
    source_last_success: Family<SourceLabel, Gauge>,
    source_failed_files: Family<SourceLabel, Gauge>,
    #[cfg_attr(not(feature = "git"), allow(dead_code, reason = "only Git sources set it"))]
    git_up: Family<SourceLabel, Gauge>,
    #[cfg_attr(not(feature = "git"), allow(dead_code, reason = "only Git sources set it"))]
    git_last_check: Family<SourceLabel, Gauge>,
    #[cfg_attr(not(feature = "git"), allow(dead_code, reason = "only Git sources set it"))]
    git_commit_time: Family<SourceLabel, Gauge>,
    #[cfg_attr(not(feature = "git"), allow(dead_code, reason = "only Git sources set it"))]
    git_commit: Family<CommitLabels, Gauge>,
    /// The labels of `git_commit` by source. The earlier ones are removed.
    #[cfg(feature = "git")]
    last_commit: parking_lot::Mutex<std::collections::BTreeMap<String, CommitLabels>>,
    links: Gauge,
    reconnects: Counter,
    backup_last_success: Family<NoLabels, Gauge>,
    backup_failures: Family<NoLabels, Counter>,
    backup_shipped: Family<NoLabels, Gauge>,
    backup_unshipped_since: Family<NoLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 14));
        let mut registry = Registry::with_prefix("sidevault");
        let r = &mut registry;
        Self {
            commit_duration: with_unit(
                r,
                "store_commit_duration",
                "Time of a commit, with the wait for the disk",
                Unit::Seconds,
                seconds(),
            ),
            batch_size: registered(
                r,
                "store_commit_batch_size",
                "Jobs in one commit",
                Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            ),
            propagation: with_unit(
                r,
                "change_propagation",
                "Time from a source's file event until the change can be read",
                Unit::Seconds,
                seconds(),
            ),
            writable: registered(
                r,
                "store_writable",
                "1 if the last write to the store succeeded, else 0",
                Gauge::default(),
            ),
            unwritable_since: registered(
                r,
                "store_unwritable_since_timestamp_seconds",
                "Unix time since which writes to the store fail; 0 while they succeed",
                Gauge::default(),
            ),
            leader: registered(
                r,
                "sync_leader",
                "1 if this process leads, and so writes; 0 if it is a standby",
                Gauge::default(),
            ),
            lease_term: registered(
                r,
                "sync_lease_term",
                "Number of this leader, which grows with each new one; 0 for a store in a data directory",
                Gauge::default(),
            ),
            disk_free: with_unit(
                r,
                "store_disk_free",
                "Free space on the data directory's disk",
                Unit::Bytes,
                Gauge::default(),
            ),
            low_disk_threshold: with_unit(
                r,
                "store_low_disk_threshold",
                "Free space below which activity and old versions of items are not kept (SIDEVAULT_LOW_DISK_MB)",
                Unit::Bytes,
                Gauge::default(),
            ),
            activity_not_kept: registered(
                r,
                "store_activity_not_kept",
                "Activity records dropped for lack of disk space",
                Counter::default(),
            ),
            source_up: registered(
                r,
                "source_up",
                "1 if the source as a whole can be read, else 0",
                Family::default(),
            ),
            source_last_success: registered(
                r,
                "source_last_success_timestamp_seconds",
                "Unix time of the source's last successful scan",
                Family::default(),
            ),
            source_failed_files: registered(
                r,
                "source_failed_files",
                "Files of the source that can't be read",
                Family::default(),
            ),
            git_up: registered(
                r,
                "git_up",
                "1 if the source's last check of its Git remote succeeded, else 0",
                Family::default(),
            ),
            git_last_check: registered(
                r,
                "git_last_check_timestamp_seconds",
                "Unix time of the source's last successful check of its Git remote",
                Family::default(),
            ),
            git_commit_time: registered(
                r,
                "git_commit_timestamp_seconds",
                "Unix time of the commit that the source serves",
                Family::default(),
            ),
            git_commit: registered(
                r,
                "git_commit_info",
                "1 for the commit that the source serves",
                Family::default(),
            ),
            #[cfg(feature = "git")]
            last_commit: parking_lot::Mutex::default(),
            links: registered(
                r,
                "bus_connected",
                "Connected api processes and commands",
                Gauge::default(),
            ),
            reconnects: registered(
                r,
                "bus_links",
                "Connections of api processes and commands since the start",
                Counter::default(),
            ),
            backup_last_success: registered(
                r,
                "backup_last_success_timestamp_seconds",
                "Unix time of the newest backup that sync has made; 0 if there is none. Only if sync makes backups",
                Family::default(),
            ),
            backup_failures: registered(r, "backup_failures", "Backups that failed", Family::default()),
            backup_shipped: registered(
                r,
                "backup_shipped_sequence",
                "Number of the newest change that a continuous backup has. Only if sync backs up continuously",
                Family::default(),
            ),
            backup_unshipped_since: registered(
                r,
                "backup_unshipped_since_timestamp_seconds",
                "Unix time since which there are changes that a continuous backup has not; 0 if it has all",
                Family::default(),
            ),
            registry,
        }
    }
}

/// Registers a metric and returns it.
fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// Registers a metric whose name ends with a unit, and returns it.
fn with_unit<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, unit: Unit, metric: M) -> M {
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

impl Metrics {
    /// All metrics in Prometheus' text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String never fails.
        text::encode(&mut text, &self.registry).ok();
        text
    }

    /// Counts a commit.
    pub(crate) fn committed(&self, jobs: usize, took: Duration) {
        self.commit_duration.observe(took.as_secs_f64());
        self.batch_size.observe(jobs as f64);
    }

    /// Sets the free space, in bytes.
    pub(crate) fn disk_free(&self, bytes: u64) {
        self.disk_free.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Sets the limit of free space, in bytes, below which activity and old versions of items are not kept.
    pub(crate) fn low_disk_threshold(&self, bytes: u64) {
        self.low_disk_threshold.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts activity records that were dropped.
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

    /// Notes that this process leads, as the leader with this number; 0 for a store in a data directory.
    pub(crate) fn leads(&self, term: i64) {
        self.leader.set(1);
        self.lease_term.set(term);
    }

    /// Notes that this process does not lead any more.
    pub(crate) fn stands_by(&self) {
        self.leader.set(0);
    }

    pub(crate) fn propagated(&self, took: Duration) {
        self.propagation.observe(took.as_secs_f64());
    }

    /// Sets the time of the newest backup.
    pub(crate) fn backed_up(&self, last: Option<Timestamp>) {
        let seconds = last.map_or(0, Timestamp::as_seconds);
        self.backup_last_success.get_or_create(&[]).set(seconds);
        // So that the counter is there, with 0.
        drop(self.backup_failures.get_or_create(&[]));
    }

    /// Notes that a continuous backup has every change up to this one.
    pub(crate) fn shipped(&self, through: i64) {
        self.backup_shipped.get_or_create(&[]).set(through);
        self.unshipped_since(None);
    }

    /// Notes since when there are changes that a continuous backup has not.
    pub(crate) fn unshipped_since(&self, since: Option<Timestamp>) {
        let seconds = since.map_or(0, Timestamp::as_seconds);
        self.backup_unshipped_since.get_or_create(&[]).set(seconds);
    }

    /// Removes the metrics of a continuous backup, because another process makes it now.
    pub(crate) fn ships_nothing(&self) {
        self.backup_shipped.clear();
        self.backup_unshipped_since.clear();
    }

    /// Removes the metrics of backups, because another process makes them now.
    pub(crate) fn makes_no_backups(&self) {
        self.backup_last_success.clear();
        self.backup_failures.clear();
    }

    /// Counts a backup that failed.
    pub(crate) fn backup_failed(&self) {
        self.backup_failures.get_or_create(&[]).inc();
    }

    /// Counts a new connection.
    pub(crate) fn linked(&self) {
        self.links.inc();
        self.reconnects.inc();
    }

    pub(crate) fn unlinked(&self) {
        self.links.dec();
    }

    /// Notes what is known of a source's repository.
    #[cfg(feature = "git")]
    pub(crate) fn remote(&self, name: &str, state: &RemoteState) {
        let source = SourceLabel {
            source: name.to_owned(),
        };
        self.git_up.get_or_create(&source).set(i64::from(state.error.is_none()));
        if let Some(checked) = &state.checked {
            self.git_last_check
                .get_or_create(&source)
                .set(checked.as_millis() / 1000);
        }
        if let Some(commit) = &state.commit {
            self.git_commit_time
                .get_or_create(&source)
                .set(commit.time.as_seconds());
            let labels = CommitLabels {
                source: name.to_owned(),
                commit: commit.id.clone(),
            };
            let mut last = self.last_commit.lock();
            let before = last.insert(name.to_owned(), labels.clone());
            if let Some(before) = before.filter(|before| *before != labels) {
                self.git_commit.remove(&before);
            }
            self.git_commit.get_or_create(&labels).set(1);
        }
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
