//! controller-runtime's series: work queues and turns.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::times;
use crate::work::Requeue;

/// A queue or a controller.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    name: String,
    controller: String,
}

/// A queue, and who waits in it. controller-runtime has had the label since its queues have priorities (0.21); all that
/// wait here are equal, and 0 is what it calls that.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DepthLabels {
    name: String,
    controller: String,
    priority: u8,
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

type HistogramOf<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Clone)]
pub(super) struct Queues {
    depth: Family<DepthLabels, Gauge>,
    adds: Family<ControllerLabels, Counter>,
    retries: Family<ControllerLabels, Counter>,
    waited: HistogramOf<ControllerLabels>,
    worked: HistogramOf<ControllerLabels>,
    reconciles: Family<ResultLabels, Counter>,
    errors: Family<OneController, Counter>,
    time: HistogramOf<OneController>,
    active: Family<OneController, Gauge>,
    max_per_group: Family<OneController, Gauge>,
}

/// What controller-runtime says may come of a turn.
const RESULTS: [&str; 4] = ["success", "error", "requeue", "requeue_after"];

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
            max_per_group: Family::default(),
        }
    }

    pub(super) fn register(registry: &mut Registry) -> Self {
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
            queues.max_per_group.clone(),
        );
        queues
    }
}

/// What is counted of one queue.
#[derive(Clone)]
pub(crate) struct WorkQueue {
    queues: Queues,
    labels: ControllerLabels,
    depth: DepthLabels,
    one: OneController,
}

impl WorkQueue {
    /// A queue's series, all of them there from the start.
    pub(super) fn start(queues: &Queues, controller: &str, max_per_group: usize) -> Self {
        let queue = Self::of(queues.clone(), controller);
        let max_per_group = i64::try_from(max_per_group).unwrap_or(i64::MAX);
        queues.max_per_group.get_or_create(&queue.one).set(max_per_group);
        // From the start: a rate does not see the first of a series that comes with it.
        for result in RESULTS {
            drop(queues.reconciles.get_or_create(&queue.result(result)));
        }
        let Queues {
            errors,
            active,
            time,
            depth,
            adds,
            retries,
            waited,
            worked,
            ..
        } = queues;
        drop((
            errors.get_or_create(&queue.one),
            active.get_or_create(&queue.one),
            time.get_or_create(&queue.one),
        ));
        let labels = &queue.labels;
        drop((
            depth.get_or_create(&queue.depth),
            adds.get_or_create(labels),
            retries.get_or_create(labels),
        ));
        drop((waited.get_or_create(labels), worked.get_or_create(labels)));
        queue
    }

    fn of(queues: Queues, controller: &str) -> Self {
        Self {
            queues,
            labels: ControllerLabels {
                name: controller.to_owned(),
                controller: controller.to_owned(),
            },
            depth: DepthLabels {
                name: controller.to_owned(),
                controller: controller.to_owned(),
                priority: 0,
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
        self.queues.depth.get_or_create(&self.depth).inc();
    }

    /// Its turn came.
    pub(crate) fn taken(&self, waited: Duration) {
        self.queues.depth.get_or_create(&self.depth).dec();
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
    pub(crate) fn outcome(&self, outcome: Requeue) {
        let result = match outcome {
            Requeue::OnChange => "success",
            Requeue::After(_) => "requeue_after",
            Requeue::AfterConflict => "requeue",
            Requeue::AfterFailure => "error",
        };
        self.queues.reconciles.get_or_create(&self.result(result)).inc();
        if outcome == Requeue::AfterFailure {
            self.queues.errors.get_or_create(&self.one).inc();
        }
    }
}
