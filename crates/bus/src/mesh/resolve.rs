//! Looks up the addresses of a peer.

use std::io;
use std::net::SocketAddr;

/// The addresses of `host:port`.
///
/// # Errors
/// If `target` is not `host:port` or the look-up fails.
pub(super) async fn resolve(target: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = target.parse() {
        return Ok(vec![address]);
    }
    let malformed = || io::Error::new(io::ErrorKind::InvalidInput, "the peer's address must be host:port");
    let (host, port) = target.rsplit_once(':').ok_or_else(malformed)?;
    let port: u16 = port.parse().map_err(|_| malformed())?;
    let addresses = sidevault_net::lookup(host).await?;
    Ok(addresses.into_iter().map(|address| (address, port).into()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_and_addresses_need_no_name_server() {
        assert_eq!(resolve("127.0.0.1:5").await.unwrap(), ["127.0.0.1:5".parse().unwrap()]);
        assert_eq!(resolve("[::1]:5").await.unwrap(), ["[::1]:5".parse().unwrap()]);
        let both = resolve("localhost:5").await.unwrap();
        assert!(both.contains(&"127.0.0.1:5".parse().unwrap()) && both.contains(&"[::1]:5".parse().unwrap()));
        assert!(resolve("localhost").await.is_err());
    }
}
