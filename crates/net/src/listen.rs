//! Chooses the address to listen on where there is no IPv6.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The address to listen on after `address` failed with `error`. On a machine without IPv6, `[::]` is replaced by `0.0.0.0`
/// with the same port. Returns `None` for any other address and any other error.
pub fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    // Linux's number; `io::ErrorKind` has no stable kind for it. A kernel without IPv6 fails with it.
    const EAFNOSUPPORT: i32 = 97;
    // IPv6 that is switched off by sysctl fails with EADDRNOTAVAIL.
    let has_no_ipv6 = matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || error.raw_os_error() == Some(EAFNOSUPPORT);
    let is_all_addresses = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    (has_no_ipv6 && is_all_addresses).then(|| (Ipv4Addr::UNSPECIFIED, address.port()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_addresses_fall_back_to_ipv4_and_only_without_ipv6() {
        let all: SocketAddr = (Ipv6Addr::UNSPECIFIED, 80).into();
        for error in [io::Error::from_raw_os_error(97), io::ErrorKind::AddrNotAvailable.into()] {
            assert_eq!(without_ipv6(all, &error), Some((Ipv4Addr::UNSPECIFIED, 80).into()));
            assert_eq!(without_ipv6((Ipv6Addr::LOCALHOST, 80).into(), &error), None);
        }
        assert_eq!(without_ipv6(all, &io::ErrorKind::AddrInUse.into()), None);
    }
}
