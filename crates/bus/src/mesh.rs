//! Who talks to whom: listening, dialling, and dialling again.

mod dial;
mod listen;
mod resolve;

use std::io;
use std::net::SocketAddr;

use sidevault_keys::BusKey;
use tokio::sync::mpsc;

use crate::connection::Connection;

/// Room for connections nobody has taken yet.
const READY_CAPACITY: usize = 16;

/// Where connections come from.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Accept connections here. `[::]` accepts over IPv4 too, and falls back to `0.0.0.0` where there is no IPv6.
    pub listen: Option<SocketAddr>,
    /// Keep one connection to each of these, as `host:port`. Names are looked up anew for every attempt.
    pub dial: Vec<String>,
}

/// Why listening is impossible.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for the bus on {address}: {source}")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the operating system said.
    pub source: io::Error,
}

/// Starts listening and dialling. Returns the authenticated connections as they come, and the address listened on
/// (of use if port 0 was asked for). Dropping the receiver ends both, but no connection handed out already.
///
/// A dialled connection that ends is dialled again after a pause, from 100 ms up to 5 s. The log gets a line when
/// the state of a peer changes, not for every attempt. Must be called within a tokio runtime.
///
/// # Errors
/// [`BindError`] if the address is taken or not this machine's. Peers that cannot be reached are no error: they may
/// come up later.
pub fn connections(
    options: Options,
    key: BusKey,
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
