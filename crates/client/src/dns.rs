//! Name resolution without the C library, which a statically linked program cannot rely on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Asks what `/etc/resolv.conf` and `/etc/hosts` say, read when the first name is asked for.
///
/// Without a `resolv.conf` it asks this machine's own port 53, as the C library does (resolv.conf(5)), and never a
/// public server: names of internal hosts stay inside.
#[derive(Clone, Default)]
pub(crate) struct SystemResolver {
    resolver: std::sync::Arc<OnceLock<TokioResolver>>,
}

impl SystemResolver {
    fn get(&self) -> Result<&TokioResolver, NetError> {
        if let Some(resolver) = self.resolver.get() {
            return Ok(resolver);
        }
        let resolver = from_system()?;
        Ok(self.resolver.get_or_init(|| resolver))
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.get()?.lookup_ip(name.as_str()).await?;
            // The port is the URL's.
            let addresses: Vec<SocketAddr> = addresses.iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn from_system() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
        let here = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![here]);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    });
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    // Connections are kept, so look-ups are rare; a remembered "no such name" would hide a service that just started.
    options.cache_size = 0;
    builder.build()
}
