//! One controller per kind of object, and the loop that all of them run in.

pub(crate) mod cluster_external_secret;
pub(crate) mod external_secret;
pub(crate) mod force_sync;
mod namespaces;
pub(crate) mod push_secret;
mod refresh;
pub(crate) mod store;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::queue::Queue;
use crate::work::{Requeue, Work};

/// Brings one object to the state that its spec asks for.
pub(crate) trait Reconcile: Send + Sync + 'static {
    /// Reconciles an object, and tells when to do so again.
    fn reconcile(&self, work: &Work) -> impl Future<Output = Requeue> + Send;
}

/// Reconciles the objects of a queue until `stop`, then waits for the reconciles that run. `controller` is the name in logs.
///
/// Every log line of a reconcile has the fields `controller`, `object`, `trigger` and `reconcile_id`.
pub(crate) async fn run(
    controller: &'static str,
    queue: Arc<Queue>,
    reconciler: Arc<impl Reconcile>,
    stop: CancellationToken,
) {
    let mut reconciles = JoinSet::new();
    while let Some(work) = stop.run_until_cancelled(queue.next()).await {
        // A span of level error, because it has to be there whatever level the log has.
        let span = tracing::error_span!(
            "reconcile",
            controller,
            object = %work.key,
            trigger = work.trigger.name(),
            reconcile_id = format!("{:016x}", rand::random::<u64>()),
        );
        let (queue, reconciler) = (queue.clone(), reconciler.clone());
        let reconcile = async move {
            tracing::debug!("reconcile starts");
            let result = AssertUnwindSafe(reconciler.reconcile(&work)).catch_unwind().await;
            // A panic counts as a failure, so that the queue hands out the object again.
            let requeue = result.unwrap_or(Requeue::AfterFailure);
            tracing::debug!(?requeue, "reconcile ends");
            queue.done(&work, requeue);
        };
        reconciles.spawn(reconcile.instrument(span));
        // Drops the results of those that have ended, so that the set does not grow.
        while reconciles.try_join_next().is_some() {}
    }
    while reconciles.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::{Duration, Instant};

    use parking_lot::Mutex;
    use serde_json::Value;

    use super::*;
    use crate::metrics::WorkQueue;
    use crate::object_key::ObjectKey;
    use crate::work::Trigger;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Logs two lines per reconcile, with other reconciles between them. Stops the test with the last.
    struct Logging {
        stop: CancellationToken,
        expected: Mutex<usize>,
    }

    impl Reconcile for Logging {
        async fn reconcile(&self, work: &Work) -> Requeue {
            tracing::warn!("first line");
            tokio::task::yield_now().await;
            tracing::warn!("second line");
            let mut expected = self.expected.lock();
            *expected -= 1;
            if *expected == 0 {
                self.stop.cancel();
            }
            assert_ne!(&*work.key.name, "panics");
            Requeue::OnChange
        }
    }

    async fn run_and_log(names: &[&str]) -> (Vec<Value>, Arc<Queue>) {
        let sink = Sink::default();
        let writer = sink.clone();
        let log = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::WARN)
            .with_writer(move || writer.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(log);
        let queue = Queue::new(8, Duration::from_secs(1), WorkQueue::unregistered("test"));
        let queue = Arc::new(queue);
        for name in names {
            queue.add(ObjectKey::new("ns", *name), "", Trigger::SourceChanged, Instant::now());
        }
        let stop = CancellationToken::new();
        let reconciler = Logging {
            stop: stop.clone(),
            expected: Mutex::new(names.len()),
        };
        run("externalsecret", queue.clone(), Arc::new(reconciler), stop).await;
        let text = String::from_utf8(sink.0.lock().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines, queue)
    }

    #[tokio::test]
    async fn all_log_lines_of_one_reconcile_have_its_id() {
        let (lines, _) = run_and_log(&["one", "two"]).await;
        let span_of = |object: &str, message: &str| {
            let line = lines
                .iter()
                .find(|line| line["span"]["object"] == object && line["fields"]["message"] == message);
            line.unwrap_or_else(|| panic!("no line {message:?} of {object} in {lines:#?}"))["span"].clone()
        };
        let one = span_of("ns/one", "first line");
        assert_eq!(
            (&one["controller"], &one["trigger"]),
            (&"externalsecret".into(), &"source changed".into())
        );
        assert_eq!(one, span_of("ns/one", "second line"));
        assert_ne!(one["reconcile_id"], span_of("ns/two", "first line")["reconcile_id"]);
        assert_eq!(one["reconcile_id"].as_str().unwrap().len(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reconcile_that_panics_is_retried() {
        let (_, queue) = run_and_log(&["panics"]).await;
        assert_eq!(queue.next().await.trigger, Trigger::Retry);
    }
}
