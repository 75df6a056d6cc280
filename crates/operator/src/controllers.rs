//! One controller a kind: whose turn it is, and what came of it.

pub(crate) mod cluster_external_secret;
pub(crate) mod external_secret;
mod namespaces;
pub(crate) mod push_secret;
mod refresh;
pub(crate) mod store;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::metrics::WorkQueue;
use crate::queue::Queue;
use crate::work::{Requeue, Work};

/// Works through a queue until `stop`, then lets what is under way come to its end.
pub(crate) async fn run<F: Future<Output = Requeue> + Send + 'static>(
    queue: Arc<Queue>,
    metrics: WorkQueue,
    stop: CancellationToken,
    turn: impl Fn(Work) -> F,
) {
    let mut turns = JoinSet::new();
    while let Some(work) = stop.run_until_cancelled(queue.next()).await {
        let (queue, metrics, turn) = (queue.clone(), metrics.clone(), turn(work.clone()));
        turns.spawn(async move {
            // A turn that panics is one that failed: the queue must hear of its end all the same.
            let outcome = AssertUnwindSafe(turn)
                .catch_unwind()
                .await
                .unwrap_or(Requeue::AfterFailure);
            metrics.outcome(outcome);
            queue.done(&work, outcome);
        });
        while turns.try_join_next().is_some() {}
    }
    while turns.join_next().await.is_some() {}
}
