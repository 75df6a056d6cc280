//! Frames on a byte stream, each with one message.
//!
//! ```text
//! stream   record, record, record …
//! record   length (2 bytes, big-endian) | body, at most 65,535 bytes: one Noise transport message
//! body     more (1 byte: 1 or 0) | chunk of the message; all chunks but a message's last are full
//! ```
//!
//! Noise numbers the records of each direction. A record that was changed, repeated, left out or moved can't be decrypted,
//! and the link ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use snow::StatelessTransportState;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

/// The longest message body, in bytes: 32 MiB.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// The longest frame, in bytes: a message body and its head.
const MAX_FRAME: usize = MAX_MESSAGE + crate::message::HEAD;

/// The longest record body, in bytes: the limit of Noise, and of a length of two bytes.
const MAX_RECORD: usize = 65_535;
/// The bytes that ChaCha20-Poly1305 adds to a record.
const TAG: usize = 16;
const MAX_CHUNK: usize = MAX_RECORD - TAG - 1;

const LAST: u8 = 0;
const MORE: u8 = 1;

/// A writer with this many waiting bytes sends them before it takes more.
const WRITE_BATCH: usize = 64 * 1024;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the other side closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the other side has been silent for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("a record was altered, repeated or lost")]
    Forged,
    #[error("a message is longer than {MAX_MESSAGE} bytes")]
    TooLarge,
    #[error("the other side violates the bus protocol ({0})")]
    Protocol(&'static str),
}

/// The encryption of one direction: Noise, or none within a process.
pub(crate) struct Cipher {
    noise: Option<Arc<StatelessTransportState>>,
    /// The number of the next record.
    nonce: u64,
}

impl Cipher {
    pub(crate) fn plain() -> Self {
        Self { noise: None, nonce: 0 }
    }

    /// The ciphers of a link: one to write with and one to read with.
    pub(crate) fn noise(state: StatelessTransportState) -> (Self, Self) {
        let state = Arc::new(state);
        let direction = |state| Self {
            noise: Some(state),
            nonce: 0,
        };
        (direction(Arc::clone(&state)), direction(state))
    }

    /// Encrypts `body` and appends it to `output`.
    fn seal(&mut self, body: &[u8], output: &mut Vec<u8>) -> Result<(), LinkError> {
        let Some(noise) = &self.noise else {
            output.extend_from_slice(body);
            return Ok(());
        };
        let start = output.len();
        output.resize(start + body.len() + TAG, 0);
        noise
            .write_message(self.nonce, body, &mut output[start..])
            .map_err(|_| LinkError::Protocol("too many records"))?;
        self.nonce += 1;
        Ok(())
    }

    /// Decrypts a record into `body`. Its old content is replaced.
    fn open(&mut self, record: &[u8], body: &mut Vec<u8>) -> Result<(), LinkError> {
        body.clear();
        let Some(noise) = &self.noise else {
            body.extend_from_slice(record);
            return Ok(());
        };
        body.resize(record.len().saturating_sub(TAG), 0);
        noise
            .read_message(self.nonce, record, body)
            .map_err(|_| LinkError::Forged)?;
        self.nonce += 1;
        Ok(())
    }
}

/// Writes frames. They are sent by [`flush`](Self::flush), or before it when many bytes wait.
pub(crate) struct FrameWriter<W> {
    stream: W,
    cipher: Cipher,
    body: Vec<u8>,
    waiting: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(crate) fn new(stream: W, cipher: Cipher) -> Self {
        Self {
            stream,
            cipher,
            body: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Writes one frame with `head` and then `payload`, together at most [`MAX_FRAME`] bytes.
    pub(crate) async fn write(&mut self, head: &[u8], payload: &[u8]) -> Result<(), LinkError> {
        if head.len() + payload.len() > MAX_FRAME {
            return Err(LinkError::TooLarge);
        }
        let (mut head, mut payload) = (head, payload);
        loop {
            let from_head = head.len().min(MAX_CHUNK);
            let from_payload = payload.len().min(MAX_CHUNK - from_head);
            let more = from_head < head.len() || from_payload < payload.len();
            self.body.clear();
            self.body.push(if more { MORE } else { LAST });
            self.body.extend_from_slice(&head[..from_head]);
            self.body.extend_from_slice(&payload[..from_payload]);
            (head, payload) = (&head[from_head..], &payload[from_payload..]);
            self.record()?;
            if self.is_full() {
                self.send().await?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Appends a record with `self.body` to the waiting bytes.
    fn record(&mut self) -> Result<(), LinkError> {
        let start = self.waiting.len();
        self.waiting.extend_from_slice(&[0; 2]);
        self.cipher.seal(&self.body, &mut self.waiting)?;
        let length = u16::try_from(self.waiting.len() - start - 2).map_err(|_| LinkError::TooLarge)?;
        self.waiting[start..start + 2].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Whether enough bytes wait that they should be sent now.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= WRITE_BATCH
    }

    async fn send(&mut self) -> Result<(), LinkError> {
        self.stream.write_all(&self.waiting).await?;
        self.waiting.clear();
        Ok(())
    }

    /// Sends all waiting frames.
    pub(crate) async fn flush(&mut self) -> Result<(), LinkError> {
        self.send().await?;
        Ok(self.stream.flush().await?)
    }

    /// Sends all waiting frames and closes this direction of the stream.
    pub(crate) async fn close(&mut self) -> Result<(), LinkError> {
        self.flush().await?;
        Ok(self.stream.shutdown().await?)
    }
}

/// Reads frames.
pub(crate) struct FrameReader<R> {
    stream: BufReader<R>,
    cipher: Cipher,
    /// How long to wait for the next record; `None` waits without a limit.
    timeout: Option<Duration>,
    record: Vec<u8>,
    body: Vec<u8>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R, cipher: Cipher, timeout: Option<Duration>) -> Self {
        let stream = BufReader::with_capacity(16 * 1024, stream);
        Self {
            stream,
            cipher,
            timeout,
            record: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Reads the next frame. This is not cancel-safe: if the future is dropped, a part of a frame may be lost.
    ///
    /// # Errors
    /// [`LinkError::Closed`] if the stream ended between two frames. After any error the reader can't be used again.
    pub(crate) async fn read(&mut self) -> Result<Bytes, LinkError> {
        let mut frame = BytesMut::new();
        loop {
            self.next_record().await.map_err(|error| match error {
                // The stream ended within a frame, so the connection broke.
                LinkError::Closed if !frame.is_empty() => LinkError::Io(io::ErrorKind::UnexpectedEof.into()),
                error => error,
            })?;
            let chunk = match self.body.split_first() {
                Some((&LAST, chunk)) if frame.is_empty() => {
                    return Ok(Bytes::copy_from_slice(chunk));
                }
                Some((&LAST | &MORE, chunk)) => chunk,
                _ => return Err(LinkError::Protocol("record without a valid first byte")),
            };
            if frame.len() + chunk.len() > MAX_FRAME {
                return Err(LinkError::TooLarge);
            }
            frame.extend_from_slice(chunk);
            match self.body.first() {
                Some(&LAST) => return Ok(frame.freeze()),
                // Without this check, records without content could keep a frame incomplete for ever.
                _ if chunk.len() < MAX_CHUNK => {
                    return Err(LinkError::Protocol("chunk that is not full"));
                }
                _ => {}
            }
        }
    }

    /// Reads one record and decrypts it into `self.body`.
    async fn next_record(&mut self) -> Result<(), LinkError> {
        let length = match self.timeout {
            None => read_record(&mut self.stream, &mut self.record).await?,
            Some(limit) => tokio::time::timeout(limit, read_record(&mut self.stream, &mut self.record))
                .await
                .map_err(|_| LinkError::Silent(limit))??,
        };
        self.cipher.open(&self.record[..length], &mut self.body)
    }
}

/// Reads one record into the front of `buffer` and returns its length.
async fn read_record(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Result<usize, LinkError> {
    let mut length = [0; 2];
    if stream.read(&mut length[..1]).await? == 0 {
        return Err(LinkError::Closed);
    }
    stream.read_exact(&mut length[1..]).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    stream.read_exact(&mut buffer[..length]).await?;
    Ok(length)
}

#[cfg(test)]
mod tests;
