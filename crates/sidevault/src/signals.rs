//! When to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// SIGTERM and SIGINT, caught from the moment this is made.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn catch() -> Result<Self, Failure> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// A token that the first signal cancels. A second one does not wait for anything.
    pub(crate) fn into_token(mut self) -> CancellationToken {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(async move {
            self.next().await;
            tracing::info!("stopping");
            stopping.cancel();
            self.next().await;
            // The status shells give for a process that SIGINT ended.
            std::process::exit(130);
        });
        stop
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
