//! A byte stream on which both sides have proved that they have the bus key.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use sidevault_keys::BusKeys;
use snow::StatelessTransportState;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::frame::{Cipher, FrameReader, FrameWriter, LinkError};
use crate::handshake::{self, HandshakeError};
use crate::message::{self, Kind};

/// The time limit of a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection ends if the other side sends nothing for this time, in which it should send three pings.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// A byte stream for the bus: a TCP connection, a Unix socket, a pipe in memory.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type BoxStream = Box<dyn Stream>;

/// An authenticated, encrypted connection. [`peer::start`](crate::peer::start) turns it into a link.
pub struct Connection {
    pub(crate) reader: FrameReader<ReadHalf<BoxStream>>,
    pub(crate) writer: FrameWriter<WriteHalf<BoxStream>>,
    pub(crate) remote: String,
    /// Dropped together with the connection, so that the receiver of [`Connection::watch_end`] gets to know its end.
    pub(crate) ended: Option<oneshot::Sender<Infallible>>,
    /// See [`Connection::short_lived`].
    pub(crate) short_lived: bool,
}

impl Connection {
    /// Performs the handshake on a stream that this side opened.
    ///
    /// # Errors
    /// [`HandshakeError`], at the latest after 5 seconds.
    pub async fn connect<S>(mut stream: S, key: &BusKeys) -> Result<Self, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        with_timeout(async {
            let state = handshake::dial(&mut stream, key).await?;
            let mut connection = Self::encrypted(Box::new(stream), state);
            // This frame completes the handshake: see `accept`.
            let hello = connection.writer.write(&Kind::Ping.head(), &[]).await;
            hello.map_err(lost)?;
            connection.writer.flush().await.map_err(lost)?;
            Ok(connection)
        })
        .await
    }

    /// Performs the handshake on a stream that the other side opened.
    ///
    /// # Errors
    /// [`HandshakeError`], at the latest after 5 seconds or 4 KiB.
    pub async fn accept<S>(mut stream: S, key: &BusKeys) -> Result<Self, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        with_timeout(async {
            let state = handshake::accept(&mut stream, key).await?;
            let mut connection = Self::encrypted(Box::new(stream), state);
            // The first message of a handshake may be a recording. Only a peer with the keys of this handshake can send
            // a frame that can be decrypted.
            let hello = connection.reader.read().await.map_err(lost)?;
            match message::parse(hello).map_err(lost)? {
                (Kind::Ping, _) => Ok(connection),
                _ => Err(HandshakeError::NotBus),
            }
        })
        .await
    }

    fn encrypted(stream: BoxStream, state: StatelessTransportState) -> Self {
        let (write, read) = Cipher::noise(state);
        Self::new(stream, write, read, Some(SILENCE_TIMEOUT))
    }

    fn new(stream: BoxStream, write: Cipher, read: Cipher, patience: Option<Duration>) -> Self {
        let (read_half, write_half) = tokio::io::split(stream);
        Self {
            reader: FrameReader::new(read_half, read, patience),
            writer: FrameWriter::new(write_half, write),
            remote: String::new(),
            ended: None,
            short_lived: false,
        }
    }

    /// The address of the other side, for logs; empty if it is not known.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// Marks a connection that is expected to end soon, such as that of an administrator's command: its end is never logged
    /// as a warning.
    #[must_use]
    pub fn short_lived(mut self) -> Self {
        self.short_lived = true;
        self
    }

    pub(crate) fn with_remote(mut self, remote: impl fmt::Display) -> Self {
        self.remote = remote.to_string();
        self
    }

    /// A receiver that fails when the connection, or the link that it became, has ended. It never receives a value.
    pub(crate) fn watch_end(&mut self) -> oneshot::Receiver<Infallible> {
        let (ended, watcher) = oneshot::channel();
        self.ended = Some(ended);
        watcher
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

/// Both ends of a connection within one process. The frames are the same, but not encrypted. It has no limit for silence:
/// both ends run in this process, and nothing would connect them again.
pub fn in_memory() -> (Connection, Connection) {
    let (a, b) = tokio::io::duplex(256 * 1024);
    let end =
        |stream| Connection::new(Box::new(stream), Cipher::plain(), Cipher::plain(), None).with_remote("in memory");
    (end(a), end(b))
}

async fn with_timeout(
    handshake: impl Future<Output = Result<Connection, HandshakeError>>,
) -> Result<Connection, HandshakeError> {
    timeout(HANDSHAKE_TIMEOUT, handshake)
        .await
        .unwrap_or(Err(HandshakeError::TimedOut))
}

/// The handshake error for a failure of the first frame.
fn lost(error: LinkError) -> HandshakeError {
    match error {
        LinkError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => HandshakeError::Closed,
        LinkError::Io(error) => HandshakeError::Io(error),
        LinkError::Closed => HandshakeError::Closed,
        LinkError::Silent(_) => HandshakeError::TimedOut,
        LinkError::Forged => HandshakeError::WrongKey,
        LinkError::TooLarge | LinkError::Protocol(_) => HandshakeError::NotBus,
    }
}

#[cfg(test)]
mod tests;
