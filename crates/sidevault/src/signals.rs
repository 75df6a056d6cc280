//! SIGTERM and SIGINT end the process in order.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::{EXIT_INTERRUPTED, Failure};

/// Catches SIGTERM and SIGINT from now on. Returns a token that the first signal cancels; a second signal ends the process
/// at once, with exit status 130.
///
/// # Errors
/// If the system does not let the process catch signals.
pub(crate) fn stop_token() -> Result<CancellationToken, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!("stopping");
        stopping.cancel();
        next().await;
        std::process::exit(EXIT_INTERRUPTED);
    });
    Ok(stop)
}
