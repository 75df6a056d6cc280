//! Proving, before anything else is said, that both sides hold the same bus key.
//!
//! The handshake is `Noise_NNpsk0_25519_ChaChaPoly_SHA256` (the Noise Protocol Framework, revision 34): fresh keys
//! for each link, so that a later leak of the credentials does not open recorded traffic, mixed with the pre-shared
//! key from its first byte, so that the side that accepts does next to no work for a stranger.
//!
//! ```text
//! dialling side   psk, e   ->
//!                          <-  e, ee          accepting side; or a record of length 0: "not with this key"
//!                 first frame of the link ->  proves that the first message was no recording
//! ```

use std::io;

use sidevault_keys::BusKey;
use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// Bound into the handshake: links of another protocol version fail it.
const PROLOGUE: &[u8] = b"sidevault-bus/1";
/// Longest handshake message in bytes; a real one has 48.
const MAX_HANDSHAKE: usize = 1024;

/// Why a connection did not become a link.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The stream failed.
    #[error("the connection broke during the handshake: {0}")]
    Io(#[from] io::Error),
    /// The stream ended.
    #[error("the other side closed the connection during the handshake")]
    Closed,
    /// It took longer than 5 seconds.
    #[error("the other side did not complete the handshake in time")]
    TimedOut,
    /// Not our protocol at all.
    #[error("the other side does not speak the bus protocol (another service on this port?)")]
    NotBus,
    /// The keys differ, as this side found.
    #[error("the other side holds another bus key (does it use another credentials file, or another version?)")]
    WrongKey,
    /// The keys differ, as the other side says. Anyone can say so: a hint, not a fact.
    #[error("the other side refuses this side's bus key (does it use another credentials file, or another version?)")]
    Refused,
    /// No randomness, or a fault in this software.
    #[error("the handshake could not be made")]
    Internal,
}

impl HandshakeError {
    /// Whether the two sides hold different keys, so that trying again will not help.
    pub fn is_wrong_key(&self) -> bool {
        matches!(self, Self::WrongKey | Self::Refused)
    }
}

/// The dialling side.
pub(crate) async fn dial<S>(stream: &mut S, key: &BusKey) -> Result<StatelessTransportState, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut state = builder(key)?.build_initiator().map_err(internal)?;
    send(stream, &mut state).await?;
    let message = receive(stream).await?;
    if message.is_empty() {
        return Err(HandshakeError::Refused);
    }
    state
        .read_message(&message, &mut [0; MAX_HANDSHAKE])
        .map_err(|_| HandshakeError::WrongKey)?;
    state.into_stateless_transport_mode().map_err(internal)
}

/// The accepting side. Once this returns, the dialling side has shown the key but could be a recording, until its
/// first frame decrypts.
pub(crate) async fn accept<S>(stream: &mut S, key: &BusKey) -> Result<StatelessTransportState, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut state = builder(key)?.build_responder().map_err(internal)?;
    let message = receive(stream).await?;
    if state.read_message(&message, &mut [0; MAX_HANDSHAKE]).is_err() {
        // So that the other side's log can name the cause. Whether it arrives does not matter.
        let _ = stream.write_all(&[0; 2]).await;
        let _ = stream.flush().await;
        return Err(HandshakeError::WrongKey);
    }
    send(stream, &mut state).await?;
    state.into_stateless_transport_mode().map_err(internal)
}

fn builder(key: &BusKey) -> Result<Builder<'_>, HandshakeError> {
    let pattern = PATTERN.parse().map_err(internal)?;
    Builder::new(pattern)
        .prologue(PROLOGUE)
        .and_then(|builder| builder.psk(0, key.as_bytes()))
        .map_err(internal)
}

fn internal(_: snow::Error) -> HandshakeError {
    HandshakeError::Internal
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, state: &mut HandshakeState) -> Result<(), HandshakeError> {
    let mut message = vec![0; 2 + MAX_HANDSHAKE];
    let length = state.write_message(&[], &mut message[2..]).map_err(internal)?;
    let prefix = u16::try_from(length).map_err(|_| HandshakeError::Internal)?;
    message[..2].copy_from_slice(&prefix.to_be_bytes());
    stream.write_all(&message[..2 + length]).await?;
    Ok(stream.flush().await?)
}

async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, HandshakeError> {
    let ended = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => HandshakeError::Closed,
        _ => HandshakeError::Io(error),
    };
    let length = usize::from(stream.read_u16().await.map_err(ended)?);
    if length > MAX_HANDSHAKE {
        return Err(HandshakeError::NotBus);
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await.map_err(ended)?;
    Ok(message)
}
