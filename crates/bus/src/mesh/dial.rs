//! Keeping one connection to one peer.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use sidevault_keys::BusKey;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::Backoff;
use super::resolve::resolve;
use crate::connection::Connection;
use crate::handshake::HandshakeError;

/// How long looking up a name and opening a TCP connection may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that lived this long was a good one; only then do the pauses start over.
const MIN_UPTIME: Duration = Duration::from_secs(5);

/// Dials `target` whenever there is no connection to it, until nobody takes connections any more.
pub(super) async fn run(target: String, key: BusKey, ready: mpsc::Sender<Connection>) {
    tokio::select! {
        () = keep_connected(&target, &key, &ready) => {}
        () = ready.closed() => {}
    }
}

async fn keep_connected(target: &str, key: &BusKey, ready: &mpsc::Sender<Connection>) {
    let mut backoff = Backoff::new();
    let mut log = Log::default();
    loop {
        match dial(target, key).await {
            Ok(mut connection) => {
                log.connected(target);
                let (ended, since) = (connection.watch_end(), Instant::now());
                if ready.send(connection).await.is_err() {
                    return;
                }
                // The sender is never used: an error, meaning that it was dropped, is what is waited for.
                let _ = ended.await;
                if since.elapsed() >= MIN_UPTIME {
                    backoff.reset();
                }
            }
            Err(error) => log.failed(target, &error),
        }
        sleep(backoff.pause()).await;
    }
}

async fn dial(target: &str, key: &BusKey) -> Result<Connection, DialError> {
    let connect = async { TcpStream::connect(&resolve(target).await?[..]).await };
    let stream = timeout(CONNECT_TIMEOUT, connect).await.map_err(|_| DialError::TimedOut)?;
    let stream = stream.map_err(DialError::Unreachable)?;
    // Calls are small and somebody waits for each.
    stream.set_nodelay(true).map_err(DialError::Unreachable)?;
    Ok(Connection::connect(stream, key).await?.with_remote(target))
}

#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("cannot be reached: {0}")]
    Unreachable(std::io::Error),
    #[error("cannot be reached: no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
}

/// Writes a line only when the state changes.
#[derive(Default)]
struct Log {
    /// `None` before the first attempt.
    state: Option<State>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Connected,
    Unreachable,
    Refused(Discriminant<HandshakeError>),
}

impl Log {
    fn connected(&mut self, target: &str) {
        if self.state.replace(State::Connected) != Some(State::Connected) {
            tracing::info!(peer = target, "bus connected");
        } else {
            tracing::debug!(peer = target, "bus connected again");
        }
    }

    fn failed(&mut self, target: &str, error: &DialError) {
        let state = match error {
            DialError::Unreachable(_) | DialError::TimedOut => State::Unreachable,
            DialError::Handshake(error) => State::Refused(discriminant(error)),
        };
        if self.state.replace(state) == Some(state) {
            tracing::debug!(peer = target, %error, "bus peer still not connected");
        } else {
            tracing::warn!(peer = target, %error, "bus peer not connected; trying again until it is");
        }
    }
}
