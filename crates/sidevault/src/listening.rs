//! Opening the ports on which the servers listen.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};

use sidevault_api::Listener;
use sidevault_bus::{Connection, mesh};
use sidevault_keys::Credentials;
use sidevault_net::without_ipv6;
use tokio::sync::mpsc;

use crate::exit::Failure;

/// Listens on `[::]`, which takes IPv4 too; on `0.0.0.0` where there is no IPv6.
///
/// # Errors
/// If the port can't be opened. The message names `variable`, which sets the port.
pub(crate) async fn everywhere(port: u16, variable: &str) -> Result<Listener, Failure> {
    let address = (Ipv6Addr::UNSPECIFIED, port).into();
    let listener = match Listener::bind(address).await {
        Err(error) => match without_ipv6(address, &error) {
            Some(address) => Listener::bind(address).await,
            None => Err(error),
        },
        bound => bound,
    };
    listener.map_err(|error| Failure::Config(format!("can't listen on port {port} ({variable}): {error}")))
}

/// Listens on one address.
///
/// # Errors
/// If the port can't be opened. The message names `argument`, which sets it.
pub(crate) async fn on(address: SocketAddr, argument: &str) -> Result<Listener, Failure> {
    Listener::bind(address).await.map_err(|error| {
        let next = match error.kind() {
            io::ErrorKind::AddrInUse => format!("; something listens there already: choose another {argument}"),
            _ => String::new(),
        };
        Failure::Config(format!("can't listen on {address}: {error}{next}"))
    })
}

/// Listens for the bus on all addresses, if `port` is set, and connects to `peers`. Returns the connections, and the address
/// that is listened on.
///
/// # Errors
/// If the port can't be opened. The message names the variable that sets it.
pub(crate) fn bus(
    port: Option<u16>,
    peers: Vec<String>,
    credentials: &Credentials,
) -> Result<(mpsc::Receiver<Connection>, Option<SocketAddr>), Failure> {
    let options = mesh::Options {
        listen: port.map(|port| (Ipv6Addr::UNSPECIFIED, port).into()),
        dial: peers,
    };
    mesh::connections(options, credentials.bus_keys())
        .map_err(|error| Failure::Config(format!("{error} (OP_BUS_PORT)")))
}
