//! Why a client has no connection to a server, in words.

use std::error::Error;
use std::io;

use reqwest::Url;
use rustls::{CertificateError, InvalidMessage};
use sidevault_net::LookupError;

/// The client could not connect to a server. It sent nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{server} can't be reached: {reason}")]
pub struct Unreachable {
    /// Scheme, host and port of the server's URL.
    pub server: String,
    /// What failed.
    pub reason: UnreachableReason,
}

/// Which part of connecting to a server failed. The texts say what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnreachableReason {
    /// The host name has no address, or no DNS server answered. Holds the whole sentence.
    #[error("{0}")]
    Name(String),
    /// The host refused the connection.
    #[error("connection refused; no server listens on this port")]
    Refused,
    /// The connection was not made within the client's connect time-out.
    #[error("no answer to the connection attempt; the host is down, or a firewall drops the packets")]
    TimedOut,
    /// This machine has no route to the address.
    #[error("this machine has no network route to the address")]
    NoRoute,
    /// The server closed the connection while it was being made.
    #[error("the server closed the connection before any request was sent")]
    Closed,
    /// The URL is `https`, and the server does not speak TLS on this port. Holds the `http` URL.
    #[error("the server does not speak TLS on this port; use {0}")]
    NoTls(String),
    /// The server's certificate was not accepted. Says why.
    #[error("{0}")]
    Certificate(String),
    /// The TLS handshake failed for another reason.
    #[error("the TLS handshake failed: {0}")]
    Tls(&'static str),
    /// Anything else, in the words of the library that failed.
    #[error("{0}")]
    Other(String),
}

impl Unreachable {
    pub(crate) fn new(url: &Url, error: &reqwest::Error) -> Self {
        Self {
            server: origin(url),
            reason: reason(url, error),
        }
    }
}

/// Scheme, host and port of a URL. The path is left out, because it may contain a title.
pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The error and its sources, outermost first.
pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn reason(url: &Url, error: &reqwest::Error) -> UnreachableReason {
    if let Some(reason) = chain(error).find_map(|cause| known(url, cause)) {
        return reason;
    }
    if error.is_timeout() {
        return UnreachableReason::TimedOut;
    }
    // The outer layers only say that connecting failed.
    let innermost = chain(error).last();
    UnreachableReason::Other(innermost.map(ToString::to_string).unwrap_or_default())
}

fn known(url: &Url, error: &(dyn Error + 'static)) -> Option<UnreachableReason> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // `source` of an I/O error skips the error that it wraps.
        let inner = error.get_ref().and_then(|inner| known(url, inner));
        return inner.or_else(|| of_kind(error.kind()));
    }
    if let Some(error) = error.downcast_ref::<LookupError>() {
        return Some(UnreachableReason::Name(error.to_string()));
    }
    error.downcast_ref::<rustls::Error>().map(|error| of_tls(url, error))
}

fn of_kind(kind: io::ErrorKind) -> Option<UnreachableReason> {
    match kind {
        io::ErrorKind::ConnectionRefused => Some(UnreachableReason::Refused),
        io::ErrorKind::TimedOut => Some(UnreachableReason::TimedOut),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::AddrNotAvailable => {
            Some(UnreachableReason::NoRoute)
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof => {
            Some(UnreachableReason::Closed)
        }
        _ => None,
    }
}

fn of_tls(url: &Url, error: &rustls::Error) -> UnreachableReason {
    match error {
        rustls::Error::InvalidCertificate(error) => UnreachableReason::Certificate(of_certificate(error)),
        // What a server that speaks HTTP sends is no TLS record.
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            let mut plain = url.clone();
            // Succeeds: both schemes are HTTP's.
            plain.set_scheme("http").ok();
            plain.set_port(url.port_or_known_default()).ok();
            UnreachableReason::NoTls(origin(&plain))
        }
        rustls::Error::PeerIncompatible(_) => {
            UnreachableReason::Tls("the server supports no TLS version and cipher suite that this client supports")
        }
        rustls::Error::AlertReceived(_) => UnreachableReason::Tls("the server ended it with an alert"),
        rustls::Error::InvalidMessage(_) | rustls::Error::PeerMisbehaved(_) => {
            UnreachableReason::Tls("the server's messages are invalid")
        }
        _ => UnreachableReason::Tls("the TLS library reports an internal error"),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "its certificate is not trusted: the authority that signed it is unknown; \
                                            set SSL_CERT_FILE to a PEM file with the certificate of that authority"
            .to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "its certificate is not valid for the host of this URL, but for {}; use such a name",
            quoted(presented)
        ),
        CertificateError::NotValidForName => "its certificate is not valid for the host of this URL".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; compare the clocks of both machines".to_owned()
        }
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        _ => "its certificate is not one that a server may use, or is damaged".to_owned(),
    }
}

/// The first names of a certificate. A certificate may have thousands.
fn quoted(names: &[String]) -> String {
    const NAMED: usize = 5;
    if names.is_empty() {
        return "no name at all".to_owned();
    }
    // The TLS library gives each name as `DnsName("example.com")` or `IpAddress(127.0.0.1)`.
    let bare = |name: &String| {
        let name = name.split_once('(').map_or(name.as_str(), |(_, name)| name);
        let name: String = name.trim_end_matches(')').trim_matches('"').chars().take(253).collect();
        format!("{name:?}")
    };
    let shown: Vec<String> = names.iter().take(NAMED).map(bare).collect();
    let more = if names.len() > NAMED { " and others" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("https://vault.example:8443/hunter2").unwrap()
    }

    #[test]
    fn io_errors_are_recognised_inside_other_errors() {
        let wrapped = |error: io::Error| known(&url(), &io::Error::other(error)).unwrap();
        assert_eq!(
            wrapped(io::ErrorKind::ConnectionRefused.into()),
            UnreachableReason::Refused
        );
        assert_eq!(
            wrapped(io::ErrorKind::NetworkUnreachable.into()),
            UnreachableReason::NoRoute
        );
        let name = LookupError::NotFound("vault.example".to_owned());
        assert_eq!(wrapped(name.clone().into()), UnreachableReason::Name(name.to_string()));
    }

    #[test]
    fn tls_errors_say_what_to_do() {
        let text = |error: rustls::Error| {
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            known(&url(), &error).unwrap().to_string()
        };
        assert_eq!(
            text(InvalidMessage::InvalidContentType.into()),
            "the server does not speak TLS on this port; use http://vault.example:8443"
        );
        assert!(text(CertificateError::UnknownIssuer.into()).contains("set SSL_CERT_FILE"));
        let names = CertificateError::NotValidForNameContext {
            expected: "vault.example".try_into().unwrap(),
            presented: vec!["DnsName(\"a.example\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()],
        };
        assert_eq!(
            text(names.into()),
            "its certificate is not valid for the host of this URL, but for \"a.example\", \"127.0.0.1\"; use such a name"
        );
    }

    #[test]
    fn many_names_of_a_certificate_are_cut() {
        let names = vec!["x".repeat(5000); 5000];
        assert!(quoted(&names).len() < 2000);
    }
}
