//! Why the server closed connections, counted for `/metrics`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Why the server closed a connection. Connections that a client closed, or that ended after a response, do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The client sent no whole request for [`crate::limits::CLIENT_TIMEOUT`].
    RequestTimeout,
    /// The client read nothing of a response for [`crate::limits::CLIENT_TIMEOUT`].
    ResponseTimeout,
    /// An HTTP/2 client did not answer a ping for [`crate::limits::PING_TIMEOUT`].
    PingTimeout,
    /// The TLS handshake took longer than [`crate::limits::TLS_HANDSHAKE_TIMEOUT`].
    TlsTimeout,
    /// A new connection came while all connections, or all of its address, were open.
    ConnectionLimit,
    /// Other requests or responses waited for memory, and the client left a response unread.
    UnreadLimit,
    /// The process had too many open files to accept a further connection.
    DescriptorLimit,
    /// The connection was new, and no open connection could be closed for it.
    Refused,
}

impl CloseReason {
    const ALL: [Self; 8] = [
        Self::RequestTimeout,
        Self::ResponseTimeout,
        Self::PingTimeout,
        Self::TlsTimeout,
        Self::ConnectionLimit,
        Self::UnreadLimit,
        Self::DescriptorLimit,
        Self::Refused,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::RequestTimeout => "request_timeout",
            Self::ResponseTimeout => "response_timeout",
            Self::PingTimeout => "ping_timeout",
            Self::TlsTimeout => "tls_timeout",
            Self::ConnectionLimit => "connection_limit",
            Self::UnreadLimit => "unread_limit",
            Self::DescriptorLimit => "descriptor_limit",
            Self::Refused => "refused",
        }
    }
}

#[derive(Clone, Hash, PartialEq, Eq, Debug, EncodeLabelSet)]
struct Labels {
    reason: &'static str,
}

/// How many connections were closed for each reason. Clones count together.
#[derive(Clone, Default)]
pub(crate) struct ClosedConnections(Family<Labels, Counter>);

impl ClosedConnections {
    pub(crate) fn count(&self, reason: CloseReason, connections: usize) {
        self.labelled(reason).inc_by(connections as u64);
    }

    /// Adds the series to a registry, all of them with the value 0.
    pub(crate) fn register(&self, registry: &mut Registry) {
        for reason in CloseReason::ALL {
            self.count(reason, 0);
        }
        let help = "Connections closed by the server, by reason";
        registry.register("connections_closed", help, self.0.clone());
    }

    fn labelled(&self, reason: CloseReason) -> Counter {
        let reason = reason.label();
        self.0.get_or_create_owned(&Labels { reason })
    }

    #[cfg(test)]
    pub(crate) fn of(&self, reason: CloseReason) -> u64 {
        self.labelled(reason).get()
    }
}
