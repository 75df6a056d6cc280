//! Every limit of the HTTP side, in one place.

use std::time::Duration;

/// The largest request body, in bytes. Above: 413.
pub(crate) const BODY_BYTES: usize = 4 << 20;

/// The largest body that is taken at once, in bytes. Items without files are far smaller.
pub(crate) const SMALL_BODY_BYTES: usize = 64 << 10;

/// How many larger bodies may be in work at once: each is in memory several times, here and in sync. Further ones wait
/// before they are read, for [`BODY_TIME`] at most. Above: 503.
pub(crate) const LARGE_BODIES: usize = 8;

/// How long a body may take to arrive. Above: 408.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(30);

/// The longest path and query, in bytes. Above: 414.
pub(crate) const URI_BYTES: usize = 32 << 10;

/// The most bytes of header names and values. Above: 431.
pub(crate) const HEADER_BYTES: usize = 48 << 10;

/// How much of a request's head is read at all; beyond, the connection is closed with a bare 431.
pub(crate) const HEAD_BYTES: usize = 128 << 10;

/// How much of a body that nobody wants is read, so that the connection can be used again; as much as Go's server reads.
pub(crate) const UNREAD_BYTES: usize = 256 << 10;

/// How long that may take.
pub(crate) const UNREAD_TIME: Duration = Duration::from_secs(5);

/// How long a request's head may take to arrive, idle time of the connection included.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(60);

/// How long an answer may take to begin. Above: 504.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(60);

/// How long a TLS handshake may take.
pub(crate) const TLS_TIME: Duration = Duration::from_secs(10);

/// How many connections may be open. Further ones wait to be accepted.
pub(crate) const CONNECTIONS: usize = 4096;

/// How many requests may be in work at once. Above: 503.
pub(crate) const REQUESTS: usize = 2048;

/// How many requests of one HTTP/2 connection may be in work at once.
pub(crate) const STREAMS: u32 = 256;

/// How many event streams may be open. Above: 503.
pub(crate) const EVENT_STREAMS: usize = 512;

/// How long requests in work may take to finish after a signal to stop.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(25);

/// How many tokens are kept verified.
pub(crate) const VERIFIED_TOKENS: usize = 4096;
