//! Accepts connections. Most of this module protects it against clients without the bus key.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sidevault_keys::BusKeys;
use sidevault_net::without_ipv6;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::connection::Connection;
use crate::handshake::HandshakeError;

/// The most handshakes at a time. One more ends the oldest. So a flood of idle connections ends its own handshakes; a real
/// peer's takes milliseconds.
const MAX_HANDSHAKES: usize = 64;

/// How many addresses with a wrong key are remembered, so that each is logged once. Further addresses are not logged.
const MAX_REMEMBERED: usize = 256;

/// How many connections the operating system may hold until they are accepted.
const BACKLOG: u32 = 1024;

pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    bind_exactly(address).or_else(|error| match without_ipv6(address, &error) {
        Some(address) => bind_exactly(address),
        None => Err(error),
    })
}

fn bind_exactly(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    // Otherwise a restart fails while connections of the earlier process are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until the receiver of `ready` is dropped.
pub(super) async fn run(listener: TcpListener, key: BusKeys, ready: mpsc::Sender<Connection>) {
    let log = Arc::new(Log::default());
    let mut handshakes = Handshakes::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    log.accepting();
                    handshakes.start(handshake(stream, remote, key.clone(), Arc::clone(&log)));
                }
                Err(error) => {
                    log.cannot_accept(&error);
                    // The usual reason is "too many open files", which passes.
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(connection) = handshakes.next_done() => {
                // While the channel is full, no connection is accepted.
                if let Some(connection) = connection && ready.send(connection).await.is_err() {
                    return;
                }
            }
            () = ready.closed() => return,
        }
    }
}

async fn handshake(stream: TcpStream, remote: SocketAddr, key: BusKeys, log: Arc<Log>) -> Option<Connection> {
    // An error shows again when the stream is used.
    let _ = stream.set_nodelay(true);
    match Connection::accept(stream, &key).await {
        Ok(connection) => {
            log.connected(remote);
            Some(connection.with_remote(remote))
        }
        Err(error) => {
            log.refused(remote, &error);
            None
        }
    }
}

/// The running handshakes. All of them end when this is dropped.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<Option<Connection>>,
    /// The tasks, oldest first.
    order: VecDeque<AbortHandle>,
}

impl Handshakes {
    fn start(&mut self, handshake: impl Future<Output = Option<Connection>> + Send + 'static) {
        self.order.retain(|task| !task.is_finished());
        if self.order.len() >= MAX_HANDSHAKES
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        self.order.push_back(self.tasks.spawn(handshake));
    }

    /// Waits for the next handshake to end and returns its result; `None` if none is running.
    async fn next_done(&mut self) -> Option<Option<Connection>> {
        // An error means that the task was aborted.
        Some(self.tasks.join_next().await?.unwrap_or_default())
    }
}

/// Logs the first refusal of an address at `warn` and further ones at `debug`.
#[derive(Default)]
struct Log(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    refused: HashSet<IpAddr>,
    cannot_accept: bool,
}

impl Log {
    fn connected(&self, remote: SocketAddr) {
        self.0.lock().refused.remove(&remote.ip());
        tracing::debug!(peer = %remote, "bus connection accepted");
    }

    fn refused(&self, remote: SocketAddr, error: &HandshakeError) {
        let is_first = {
            let refused = &mut self.0.lock().refused;
            error.is_wrong_key() && refused.len() < MAX_REMEMBERED && refused.insert(remote.ip())
        };
        if is_first {
            tracing::warn!(peer = %remote, %error, "bus connection refused (further ones from there are not logged)");
        } else {
            tracing::debug!(peer = %remote, %error, "bus connection refused");
        }
    }

    fn accepting(&self) {
        self.0.lock().cannot_accept = false;
    }

    fn cannot_accept(&self, error: &io::Error) {
        if !std::mem::replace(&mut self.0.lock().cannot_accept, true) {
            tracing::warn!(%error, "bus connections can't be accepted at the moment");
        }
    }
}
