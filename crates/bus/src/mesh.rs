//! Makes connections: listens, dials, and dials again after a loss.

mod dial;
mod listen;
mod resolve;

use std::io;
use std::net::SocketAddr;

use sidevault_keys::BusKeys;
use tokio::sync::mpsc;

use crate::connection::Connection;

/// How many connections may wait in the channel to their receiver.
const READY_CAPACITY: usize = 16;

/// Where to listen and whom to dial.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The address to accept connections on. `[::]` accepts IPv4, too; on a machine without IPv6, `0.0.0.0` is used instead.
    pub listen: Option<SocketAddr>,
    /// The peers to keep one connection to, each as `host:port`. A name is looked up for each attempt.
    pub dial: Vec<String>,
}

/// The bus can't listen on its address.
#[derive(Debug, thiserror::Error)]
#[error("can't listen for the bus on {address}: {source}")]
pub struct BindError {
    /// The configured address.
    pub address: SocketAddr,
    /// The operating system's error.
    pub source: io::Error,
}

/// Starts to listen and to dial. Returns a receiver of authenticated connections, and the address that is listened on, which
/// has the chosen port if port 0 was configured. After the receiver is dropped, no more connections are made; those that were
/// received stay open.
///
/// A dialled connection that ends is dialled again after a pause of up to 5 s. A peer is logged when its state changes, not
/// for every attempt. Must be called within a tokio runtime.
///
/// # Errors
/// [`BindError`] if the address is taken or is not an address of this machine. A peer that can't be reached is not an error:
/// it may start later.
pub fn connections(
    options: Options,
    key: BusKeys,
) -> Result<(mpsc::Receiver<Connection>, Option<SocketAddr>), BindError> {
    let (ready, connections) = mpsc::channel(READY_CAPACITY);
    let mut local = None;
    if let Some(address) = options.listen {
        let listener = listen::bind(address).map_err(|source| BindError { address, source })?;
        local = Some(listener.local_addr().map_err(|source| BindError { address, source })?);
        tokio::spawn(listen::run(listener, key.clone(), ready.clone()));
    }
    for target in options.dial {
        tokio::spawn(dial::run(target, key.clone(), ready.clone()));
    }
    Ok((connections, local))
}

#[cfg(test)]
mod tests;
