//! What a statically linked program in an empty container needs to reach other hosts: names are resolved without the C
//! library, whose resolver such a program can't use, and HTTP clients have the certificate authorities compiled in. Also
//! chooses the address to listen on without IPv6.

#[cfg(feature = "dns")]
mod dns;
#[cfg(feature = "http")]
mod http;
mod listen;
#[cfg(not(feature = "dns"))]
mod system;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(feature = "dns")]
use dns::resolve;
#[cfg(feature = "http")]
pub use http::{Authorities, BundleError, client_builder};
pub use listen::without_ipv6;
#[cfg(not(feature = "dns"))]
use system::resolve;

/// Why a host name could not be resolved, in words: the text of the resolver's own error is a dump of its data
/// structures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// The DNS server says that the name has no address, or the text is not a host name. Holds the name.
    NotFound(String),
    /// The DNS server did not answer, or it answered with an error. Holds the name.
    NoAnswer(String),
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(host) => write!(
                f,
                "the host name {host:?} was not found: neither DNS nor /etc/hosts has an address for it"
            ),
            Self::NoAnswer(host) => write!(
                f,
                "the host name {host:?} could not be looked up: no DNS server of /etc/resolv.conf gave an answer"
            ),
        }
    }
}

impl std::error::Error for LookupError {}

impl From<LookupError> for io::Error {
    fn from(error: LookupError) -> Self {
        let kind = match error {
            LookupError::NotFound(_) => io::ErrorKind::NotFound,
            LookupError::NoAnswer(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Returns the addresses of a host from `/etc/hosts` or the DNS servers of `/etc/resolv.conf`. Both files are read at
/// each call: connections are reused, so lookups are rare, and in a cluster addresses change.
///
/// Without a `resolv.conf` the resolver asks port 53 of this machine, as the C library does (resolv.conf(5)). It never
/// asks a public DNS server, so that the names of internal hosts are not sent to one.
///
/// # Errors
/// A [`LookupError`] inside the [`io::Error`].
pub async fn lookup(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
        // RFC 6761, 6.3: a resolver answers this name itself.
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    Ok(resolve(host).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_and_addresses_need_no_name_server() {
        assert_eq!(lookup("127.0.0.1").await.unwrap(), [IpAddr::from([127, 0, 0, 1])]);
        for name in ["localhost", "LocalHost."] {
            let both = lookup(name).await.unwrap();
            assert!(both.contains(&Ipv4Addr::LOCALHOST.into()) && both.contains(&Ipv6Addr::LOCALHOST.into()));
        }
    }

    #[tokio::test]
    async fn a_text_that_is_no_host_name_is_not_found() {
        let error = lookup(&"x".repeat(64)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
