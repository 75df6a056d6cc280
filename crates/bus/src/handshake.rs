//! The handshake, in which both sides prove that they have the same bus key.
//!
//! It is `Noise_NNpsk0_25519_ChaChaPoly_SHA256` (the Noise Protocol Framework, revision 34). Each link has fresh keys, so
//! recorded traffic can't be decrypted with credentials that leak later. The pre-shared key is used from the first message
//! on, so the accepting side does very little work for a client without the key.
//!
//! ```text
//! dialling side   psk, e   ->
//!                          <-  e, ee          accepting side; or a record of length 0, which means "wrong key": then the dialling
//!                                             side sends the first message again with its next key, or closes
//!                 first frame of the link ->  proves that the first message was not a recording
//! ```
//!
//! Each side may have several keys: while the root key of the credentials file is replaced, one side may have the old and the new one,
//! and the other side only one of them. The dialling side begins with the newest.

use std::io;

use sidevault_keys::BusKeys;
use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// The prologue is part of the handshake, so a peer with another protocol version fails it.
const PROLOGUE: &[u8] = b"sidevault-bus/1";
/// The longest handshake message, in bytes. A valid one has 48.
const MAX_HANDSHAKE: usize = 1024;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Reading or writing failed.
    #[error("the connection broke during the handshake: {0}")]
    Io(#[from] io::Error),
    /// The other side closed the connection.
    #[error("the other side closed the connection during the handshake")]
    Closed,
    /// The handshake took longer than 5 seconds.
    #[error("the other side did not complete the handshake in time")]
    TimedOut,
    /// The other side does not speak this protocol.
    #[error("the other side does not speak the bus protocol (another service on this port?)")]
    NotBus,
    /// This side found that the keys differ.
    #[error("the other side has another bus key (does it use another credentials file, or another version?)")]
    WrongKey,
    /// The other side reports that the keys differ. The report is not authenticated, so it is a hint only.
    #[error(
        "the other side refuses the bus key of this side (does it use another credentials file, or another version?)"
    )]
    Refused,
    /// No random numbers are available, or this crate has a fault.
    #[error("the handshake could not be carried out: no random numbers, or a fault in this program")]
    Internal,
}

impl HandshakeError {
    /// Whether the keys differ, so that another attempt fails, too.
    pub fn is_wrong_key(&self) -> bool {
        matches!(self, Self::WrongKey | Self::Refused)
    }
}

/// Performs the handshake as the dialling side, with the newest key that the other side accepts.
pub(crate) async fn dial<S>(stream: &mut S, keys: &BusKeys) -> Result<StatelessTransportState, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut outcome = Err(HandshakeError::Refused);
    for (earlier, key) in keys.iter().enumerate() {
        outcome = dial_with(stream, key).await;
        match outcome {
            Err(HandshakeError::Refused) => {}
            // A version that accepts one attempt only closes the connection after it.
            Err(HandshakeError::Closed | HandshakeError::Io(_)) if earlier > 0 => return Err(HandshakeError::Refused),
            _ => break,
        }
    }
    outcome
}

async fn dial_with<S>(stream: &mut S, key: &[u8; 32]) -> Result<StatelessTransportState, HandshakeError>
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

/// Performs the handshake as the accepting side, with any of its keys. After it, the other side may still be a recording of an earlier
/// handshake, until its first frame was decrypted.
pub(crate) async fn accept<S>(stream: &mut S, keys: &BusKeys) -> Result<StatelessTransportState, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for attempt in 0..BusKeys::MAX {
        let message = match receive(stream).await {
            Err(HandshakeError::Closed | HandshakeError::Io(_)) if attempt > 0 => return Err(HandshakeError::WrongKey),
            received => received?,
        };
        for key in keys.iter() {
            let mut state = builder(key)?.build_responder().map_err(internal)?;
            if state.read_message(&message, &mut [0; MAX_HANDSHAKE]).is_ok() {
                send(stream, &mut state).await?;
                return state.into_stateless_transport_mode().map_err(internal);
            }
        }
        // Best effort: this lets the other side's log name the cause, or try its next key.
        let _ = stream.write_all(&[0; 2]).await;
        let _ = stream.flush().await;
    }
    Err(HandshakeError::WrongKey)
}

fn builder(key: &[u8; 32]) -> Result<Builder<'_>, HandshakeError> {
    let pattern = PATTERN.parse().map_err(internal)?;
    Builder::new(pattern)
        .prologue(PROLOGUE)
        .and_then(|builder| builder.psk(0, key))
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
