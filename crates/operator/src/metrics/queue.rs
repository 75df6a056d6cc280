//! controller-runtime's metrics of work queues and reconciles.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{registered, seconds};
use crate::work::Requeue;

/// Labels of client-go's work queue metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    name: String,
    controller: String,
}

/// Labels of a queue's depth. controller-runtime has the label `priority` since its queues have priorities (0.21), with 0
/// for objects of no particular priority, as all of ours are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DepthLabels {
    name: String,
    controller: String,
    priority: u8,
}

/// Labels of reconciles by result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    controller: String,
    result: &'static str,
}

/// Labels of controller-runtime's other metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: String,
}

type HistogramOf<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of all work queues.
pub(super) struct WorkQueues {
    depth: Family<DepthLabels, Gauge>,
    adds: Family<QueueLabels, Counter>,
    retries: Family<QueueLabels, Counter>,
    queue_duration: HistogramOf<QueueLabels>,
    work_duration: HistogramOf<QueueLabels>,
    reconciles: Family<ResultLabels, Counter>,
    errors: Family<ControllerLabels, Counter>,
    reconcile_time: HistogramOf<ControllerLabels>,
    active_workers: Family<ControllerLabels, Gauge>,
    max_concurrent: Family<ControllerLabels, Gauge>,
}

impl WorkQueues {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            depth: registered(
                registry,
                "workqueue_depth",
                "Objects that wait to be reconciled",
                Family::default(),
            ),
            adds: registered(
                registry,
                "workqueue_adds",
                "Objects that were queued",
                Family::default(),
            ),
            retries: registered(
                registry,
                "workqueue_retries",
                "Objects that were queued again after a failure",
                Family::default(),
            ),
            queue_duration: registered(
                registry,
                "workqueue_queue_duration_seconds",
                "Time that an object waited to be reconciled",
                Family::new_with_constructor(seconds),
            ),
            work_duration: registered(
                registry,
                "workqueue_work_duration_seconds",
                "Time that a reconcile took",
                Family::new_with_constructor(seconds),
            ),
            reconciles: registered(
                registry,
                "controller_runtime_reconcile",
                "Reconciles by result",
                Family::default(),
            ),
            errors: registered(
                registry,
                "controller_runtime_reconcile_errors",
                "Reconciles that failed",
                Family::default(),
            ),
            reconcile_time: registered(
                registry,
                "controller_runtime_reconcile_time_seconds",
                "Time that a reconcile took",
                Family::new_with_constructor(seconds),
            ),
            active_workers: registered(
                registry,
                "controller_runtime_active_workers",
                "Reconciles that run now",
                Family::default(),
            ),
            max_concurrent: registered(
                registry,
                "controller_runtime_max_concurrent_reconciles",
                "Maximum of concurrent reconciles per store",
                Family::default(),
            ),
        }
    }

    /// The metrics of one controller's queue. All series are created now, because a rate misses the first increment of a
    /// series that is created with it.
    pub(super) fn of(&self, controller: &str, max_per_group: usize) -> WorkQueue {
        let queue = QueueLabels {
            name: controller.to_owned(),
            controller: controller.to_owned(),
        };
        let depth = DepthLabels {
            name: controller.to_owned(),
            controller: controller.to_owned(),
            priority: 0,
        };
        let only_controller = ControllerLabels {
            controller: controller.to_owned(),
        };
        let reconciles = |result| {
            let labels = ResultLabels {
                controller: controller.to_owned(),
                result,
            };
            self.reconciles.get_or_create_owned(&labels)
        };
        let max_per_group = i64::try_from(max_per_group).unwrap_or(i64::MAX);
        self.max_concurrent.get_or_create(&only_controller).set(max_per_group);
        WorkQueue {
            depth: self.depth.get_or_create_owned(&depth),
            adds: self.adds.get_or_create_owned(&queue),
            retries: self.retries.get_or_create_owned(&queue),
            queue_duration: self.queue_duration.get_or_create_owned(&queue),
            work_duration: self.work_duration.get_or_create_owned(&queue),
            succeeded: reconciles("success"),
            failed: reconciles("error"),
            requeued: reconciles("requeue"),
            requeued_after: reconciles("requeue_after"),
            errors: self.errors.get_or_create_owned(&only_controller),
            reconcile_time: self.reconcile_time.get_or_create_owned(&only_controller),
            active_workers: self.active_workers.get_or_create_owned(&only_controller),
        }
    }
}

/// The metrics of one controller's work queue.
pub(crate) struct WorkQueue {
    depth: Gauge,
    adds: Counter,
    retries: Counter,
    queue_duration: Histogram,
    work_duration: Histogram,
    succeeded: Counter,
    failed: Counter,
    requeued: Counter,
    requeued_after: Counter,
    errors: Counter,
    reconcile_time: Histogram,
    active_workers: Gauge,
}

impl WorkQueue {
    /// Metrics that no registry has.
    #[cfg(test)]
    pub(crate) fn unregistered(controller: &str) -> Self {
        WorkQueues::register(&mut Registry::default()).of(controller, 1)
    }

    /// An object was queued.
    pub(crate) fn added(&self) {
        self.adds.inc();
        self.depth.inc();
    }

    /// The reconcile of an object begins.
    pub(crate) fn started(&self, waited: Duration) {
        self.depth.dec();
        self.queue_duration.observe(waited.as_secs_f64());
        self.active_workers.inc();
    }

    /// The reconcile of an object has ended.
    pub(crate) fn ended(&self, took: Duration, requeue: Requeue) {
        self.work_duration.observe(took.as_secs_f64());
        self.reconcile_time.observe(took.as_secs_f64());
        self.active_workers.dec();
        match requeue {
            Requeue::OnChange => self.succeeded.inc(),
            Requeue::After(_) => self.requeued_after.inc(),
            Requeue::AfterConflict => self.requeued.inc(),
            Requeue::AfterFailure => {
                self.errors.inc();
                self.failed.inc()
            }
        };
    }

    /// An object was scheduled to be reconciled again after a failure or a conflict.
    pub(crate) fn retried(&self) {
        self.retries.inc();
    }
}
