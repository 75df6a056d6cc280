//! Names to addresses without the C library, which a statically linked program can't rely on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// The addresses of a host, as `/etc/hosts` and the servers in `/etc/resolv.conf` have them. Both are read anew each time:
/// connections are kept, so look-ups are rare, and Pods move.
///
/// Without a `resolv.conf` it asks this machine's own port 53, as the C library does (resolv.conf(5)), and never a public
/// server: names of internal hosts stay inside.
///
/// # Errors
/// When nobody knows the name, or nobody answers.
pub async fn lookup(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
        // RFC 6761, 6.3: needs no look-up.
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let resolver = resolver().map_err(io::Error::other)?;
    let found = resolver.lookup_ip(host).await.map_err(io::Error::other)?;
    Ok(found.iter().collect())
}

fn resolver() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
        let here = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![here]);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    });
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    builder.build()
}

/// The same for clients of reqwest.
#[cfg(feature = "reqwest")]
pub struct Lookup;

#[cfg(feature = "reqwest")]
impl reqwest::dns::Resolve for Lookup {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            // The port is the URL's.
            let addresses = lookup(name.as_str()).await?;
            let addresses = addresses
                .into_iter()
                .map(|address| std::net::SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn localhost_and_addresses_need_no_name_server() {
        assert_eq!(lookup("127.0.0.1").await.unwrap(), [IpAddr::from([127, 0, 0, 1])]);
        for name in ["localhost", "LocalHost."] {
            let both = lookup(name).await.unwrap();
            assert!(both.contains(&Ipv4Addr::LOCALHOST.into()) && both.contains(&Ipv6Addr::LOCALHOST.into()));
        }
    }
}
