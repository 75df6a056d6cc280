//! All limits of the HTTP side.

use std::time::Duration;

/// The largest request body, in bytes. Above: 413.
pub(crate) const MAX_BODY_BYTES: usize = 4 << 20;

/// The largest body, in bytes, that needs no permit. Items without files are far smaller.
pub(crate) const MAX_SMALL_BODY_BYTES: usize = 64 << 10;

/// How many larger bodies may be in progress at once. Each is in memory several times, in the api and in sync. A further one
/// waits for a permit before it is read, for [`BODY_TIMEOUT`] at most. Above: 503.
pub(crate) const MAX_LARGE_BODIES: usize = 8;

/// How long a body may take to arrive. Above: 408.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How many references a request to `/v1/resolve` may have. Above: 413.
pub(crate) const MAX_REFERENCES: usize = 1000;

/// The largest body of such a request, in bytes. Above: 413.
pub(crate) const MAX_RESOLVE_BODY_BYTES: usize = 256 << 10;

/// How many bytes the values in the response to such a request may have together. Above: 413.
pub(crate) const MAX_RESOLVED_BYTES: usize = 4 << 20;

/// How many bytes the items that are read for such a request may have together; they are read one after the other. Above: 413.
pub(crate) const MAX_RESOLVED_ITEM_BYTES: usize = 32 << 20;

/// The longest path and query, in bytes. Above: 414.
pub(crate) const MAX_URI_BYTES: usize = 32 << 10;

/// The most bytes of header names and values. Above: 431.
pub(crate) const MAX_HEADER_BYTES: usize = 48 << 10;

/// How many bytes of a request's head are read. Above: a 431 without a body, and the connection is closed.
pub(crate) const MAX_HEAD_BYTES: usize = 128 << 10;

/// How many bytes of a request body that no handler read are read and dropped, so that the connection can be used again.
/// Go's server reads as many.
pub(crate) const MAX_UNREAD_BODY_BYTES: usize = 256 << 10;

/// How long that may take.
pub(crate) const UNREAD_BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may keep a connection waiting: for its first request, for the rest of a request's head, for the next
/// request, or until it reads another [`PIECE_BYTES`] of a response. Counted from the moment at which the connection was
/// accepted.
pub(crate) const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a connection may stay open after the server began to close it.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a response may take to begin. Above: 504.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an HTTP/2 connection may be silent before the server sends a ping.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long a client may take to answer a ping. Above: its connection is closed.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a TLS handshake may take.
pub(crate) const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections may be open. When all are, a new one is accepted, and one that waits for its client is closed.
pub(crate) const MAX_CONNECTIONS: usize = 4096;

/// How many of those may come from one address (in IPv6, from one /64). When all are open, a new one is accepted, and one of
/// that address that waits for its client is closed. Half of all, because all clients of a cluster may be behind one NAT,
/// proxy or sidecar: then fewer requests than connections are in progress, so only connections without a request are closed.
/// And a hostile address leaves the other half to all others.
pub(crate) const MAX_CONNECTIONS_PER_ADDRESS: usize = MAX_CONNECTIONS / 2;

/// How many requests may be in progress at once, each until its response is sent whole; half as many of one address. A
/// further one waits for [`PERMIT_TIMEOUT`] at most. Above: 503.
pub(crate) const MAX_REQUESTS: usize = 2048;

/// [`MAX_REQUESTS`] for a port that serves only the status of its process (sync's `/health` and `/metrics`).
pub(crate) const MAX_STATUS_REQUESTS: usize = 256;

/// How many requests of one HTTP/2 connection may be in progress at once; RFC 9113, 6.5.2, recommends at least as many.
pub(crate) const MAX_HTTP2_STREAMS: u32 = 100;

/// How many bytes of responses that their clients have not read yet may be in memory; half as many of one address. Further
/// responses wait for [`MEMORY_TIMEOUT`] at most. Above: 503.
pub(crate) const MAX_UNSENT_BYTES: usize = 12 << 20;

/// Up to how many bytes a response does not count in [`MAX_UNSENT_BYTES`]: [`MAX_REQUESTS`] limits how many of them are in memory.
pub(crate) const SMALL_RESPONSE_BYTES: usize = 8 << 10;

/// How many bytes must be free of [`MAX_UNSENT_BYTES`] before the next part of a response that is sent part by part is produced.
pub(crate) const PART_BYTES: usize = 64 << 10;

/// The size, in bytes, of the pieces in which a response is handed to the HTTP library. Each piece that is written shows that the
/// client reads.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// When requests or responses wait for permits: how long a client may read nothing of any response before its connection is
/// closed.
pub(crate) const UNREAD_GRACE: Duration = Duration::from_secs(3);

/// When requests or responses wait for permits: how long a client may read nothing of one response, while it reads others.
pub(crate) const LEFT_ASIDE_GRACE: Duration = Duration::from_secs(20);

/// How many requests may wait for a permit, or for memory for their responses; half as many of one address. Above: 503.
pub(crate) const MAX_WAITING: usize = 512;

/// How long a request may wait for the permit to be in progress. Above: 503.
pub(crate) const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a response may wait for memory. Above: 503.
pub(crate) const MEMORY_TIMEOUT: Duration = Duration::from_secs(40);

/// How many event streams may be open. Above: 503.
pub(crate) const MAX_EVENT_STREAMS: usize = 512;

/// How long requests in progress may take to end after a signal to stop.
pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);

/// How many tokens are kept whose signatures were checked.
pub(crate) const MAX_VERIFIED_TOKENS: usize = 4096;

/// How long a request waits for the change that its header `Sidevault-Sequence` names, and a response for its own number.
pub(crate) const SEQUENCE_TIMEOUT: Duration = Duration::from_secs(5);

/// A read that is younger than this has no header `Age`.
pub(crate) const UNREPORTED_AGE: Duration = Duration::from_secs(2);
