//! Keeps one connection to one peer.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use sidevault_keys::BusKeys;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::resolve::resolve;
use crate::connection::Connection;
use crate::handshake::HandshakeError;

/// How long the look-up of a name and the TCP connection may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that lasts this long resets the pauses between attempts. A shorter one does not: its peer may accept
/// each connection and close it at once.
const MIN_UPTIME: Duration = Duration::from_secs(5);

/// Dials `target` whenever there is no connection to it, until the receiver of `ready` is dropped.
pub(super) async fn run(target: String, key: BusKeys, ready: mpsc::Sender<Connection>) {
    tokio::select! {
        () = keep_connected(&target, &key, &ready) => {}
        () = ready.closed() => {}
    }
}

async fn keep_connected(target: &str, key: &BusKeys, ready: &mpsc::Sender<Connection>) {
    let mut pauses = pauses();
    let mut log = Log::default();
    loop {
        match dial(target, key).await {
            Ok(mut connection) => {
                log.connected(target);
                let (ended, since) = (connection.watch_end(), Instant::now());
                if ready.send(connection).await.is_err() {
                    return;
                }
                // Nothing is ever sent on this channel: it returns an error when the connection is dropped.
                let _ = ended.await;
                if since.elapsed() >= MIN_UPTIME {
                    pauses = self::pauses();
                }
            }
            Err(error) => log.failed(target, &error),
        }
        sleep(pauses.next().unwrap_or(CONNECT_TIMEOUT)).await;
    }
}

/// Pauses between attempts: random between 50 and 100 ms at first, twice that each time, between 2.5 and 5 s at last.
/// They are random so that many clients of a restarted server do not all come back at the same moment.
fn pauses() -> ExponentialBackoff {
    // Jitter adds a random part of at most the delay itself.
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_millis(2500))
        .with_jitter()
        .without_max_times()
        .build()
}

async fn dial(target: &str, key: &BusKeys) -> Result<Connection, DialError> {
    let connect = async { TcpStream::connect(&resolve(target).await?[..]).await };
    let stream = timeout(CONNECT_TIMEOUT, connect)
        .await
        .map_err(|_| DialError::TimedOut)?;
    let stream = stream.map_err(DialError::Unreachable)?;
    // Calls are small and a client waits for each: send them without Nagle's delay.
    stream.set_nodelay(true).map_err(DialError::Unreachable)?;
    Ok(Connection::connect(stream, key).await?.with_remote(target))
}

#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("the peer can't be reached: {0}")]
    Unreachable(std::io::Error),
    #[error("the peer can't be reached: no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
}

/// Logs a peer at `info` or `warn` when its state changes, and at `debug` for each attempt.
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
            tracing::warn!(peer = target, %error, "bus peer not connected; attempts go on until it is");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_seconds_and_do_not_end() {
        let mut pauses = pauses();
        for longest in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let pause = pauses.next().unwrap_or_default().as_millis();
            assert!((longest / 2..=longest).contains(&pause), "{pause} of {longest} ms");
        }
        assert_eq!(pauses.take(1000).count(), 1000);
    }
}
