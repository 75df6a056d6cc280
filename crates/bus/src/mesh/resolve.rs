//! A peer's addresses, without the C library, which a statically linked program can't rely on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;

/// The addresses of `host:port`. Read anew each time: dialling is rare, and Pods move.
pub(super) async fn resolve(target: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = target.parse() {
        return Ok(vec![address]);
    }
    let malformed = || io::Error::new(io::ErrorKind::InvalidInput, "not host:port");
    let (host, port) = target.rsplit_once(':').ok_or_else(malformed)?;
    let port: u16 = port.parse().map_err(|_| malformed())?;
    let addresses: Vec<IpAddr> = if host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
        // RFC 6761, 6.3: needs no look-up, so neither /etc/hosts nor /etc/resolv.conf.
        vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
    } else {
        let mut builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        let resolver = builder.build().map_err(io::Error::other)?;
        resolver
            .lookup_ip(host)
            .await
            .map_err(io::Error::other)?
            .iter()
            .collect()
    };
    Ok(addresses
        .into_iter()
        .map(|address| SocketAddr::new(address, port))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
