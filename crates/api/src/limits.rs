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

/// How much of a request body that the handler did not read is read and dropped, so that the connection can be used again.
/// Go's server reads as much.
pub(crate) const UNREAD_BODY_BYTES: usize = 256 << 10;

/// How long that may take.
pub(crate) const UNREAD_BODY_TIME: Duration = Duration::from_secs(5);

/// How long a peer may keep a connection waiting: for its first request, for the end of a request's head, for the next
/// request, or until it reads some more of an answer. It counts from the moment at which the connection was accepted.
pub(crate) const PEER_TIME: Duration = Duration::from_secs(60);

/// How long a connection may stay open after the server began to close it.
pub(crate) const LEAVE_TIME: Duration = Duration::from_secs(1);

/// How long an answer may take to begin. Above: 504.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(60);

/// How long a TLS handshake may take.
pub(crate) const TLS_TIME: Duration = Duration::from_secs(10);

/// How many connections may be open. A further one takes the place of one that waits for its peer.
pub(crate) const CONNECTIONS: usize = 4096;

/// How many of those may come from one address (of IPv6: from one /64). A further one takes the place of one of that
/// address that waits for its peer. Half, because behind one NAT, proxy or sidecar there may be all clients of a cluster:
/// those have more places than requests in work, so only connections without a request ever make room; and one hostile
/// address leaves as much again to all others.
pub(crate) const CONNECTIONS_OF_ONE: usize = CONNECTIONS / 2;

/// How many requests may be in work at once, until their answers are sent whole; half as many of one address. Above: 503,
/// if none ends in time.
pub(crate) const REQUESTS: usize = 2048;

/// The same for a port that serves only the status of its process (sync's `/health` and `/metrics`).
pub(crate) const STATUS_REQUESTS: usize = 256;

/// How many requests of one HTTP/2 connection may be in work at once; as many as RFC 9113, 6.5.2 wants at the least.
pub(crate) const STREAMS: u32 = 100;

/// How many bytes of answers may be in memory that their clients have not taken yet; half as many of one address. Further
/// answers wait.
pub(crate) const UNSENT_BYTES: usize = 12 << 20;

/// An answer of at most this many bytes does not count: [`REQUESTS`] bounds how many of them are in memory.
pub(crate) const SMALL_ANSWER_BYTES: usize = 8 << 10;

/// How much room there must be to produce the next part of an answer that is sent part by part.
pub(crate) const PART_BYTES: usize = 64 << 10;

/// The size, in bytes, of the pieces in which an answer is handed to the HTTP library: after each piece the server can tell
/// whether the peer reads.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// When requests or answers have to wait for room: how long another client may read nothing of its answers before its
/// connection is closed.
pub(crate) const UNREAD_GRACE: Duration = Duration::from_secs(3);

/// The same for one answer, while the client reads others.
pub(crate) const LEFT_ASIDE_GRACE: Duration = Duration::from_secs(20);

/// How many requests may wait for a place in work, or for room for their answer; half as many of one address. Above: 503.
pub(crate) const WAITING: usize = 512;

/// How long a request may wait for a place in work. Above: 503.
pub(crate) const PERMIT_TIME: Duration = Duration::from_secs(10);

/// How long an answer may wait for room. Above: 503.
pub(crate) const ROOM_TIME: Duration = Duration::from_secs(40);

/// How many event streams may be open. Above: 503.
pub(crate) const EVENT_STREAMS: usize = 512;

/// How long requests in work may take to finish after a signal to stop.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(25);

/// How many tokens are kept verified.
pub(crate) const VERIFIED_TOKENS: usize = 4096;
