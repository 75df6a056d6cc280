//! Sends an administrator's command to the store's writer: over the socket of a running sync, else by opening the store for
//! the time of the command.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sidevault_bus::peer::Peer;
use sidevault_bus::{CallError, Connection, peer};
use sidevault_keys::Credentials;
use sidevault_store::{Command, CommandAnswer, CommandMessage, StoreError};
use sidevault_sync::{ADMIN_SOCKET, Offline};
use tokio::net::UnixStream;

use crate::exit::Failure;
use crate::installation::Installation;

/// How long the command waits for a writer that holds the store and does not listen on its socket: a sync that starts or
/// stops, or another command.
const OTHERS_TIME: Duration = Duration::from_secs(10);
/// The time between two attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// How long sync may take to answer a command.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Carries out the command.
///
/// # Errors
/// A refusal by the writer, or the reason why no writer can be reached.
pub(crate) async fn command(
    installation: &Installation,
    credentials: &Credentials,
    command: Command,
) -> Result<CommandAnswer, Failure> {
    let writer = Writer::open(installation, credentials).await?;
    let answer = writer.command(command).await;
    writer.close().await;
    answer
}

/// The store's writer, for any number of commands.
pub(crate) enum Writer {
    /// A running sync.
    Sync(Peer),
    /// This process, because no sync runs. It holds the store until it closes it.
    Store(Offline),
}

impl Writer {
    /// Connects to sync's socket, else opens the store.
    pub(crate) async fn open(installation: &Installation, credentials: &Credentials) -> Result<Self, Failure> {
        let database = installation.database()?;
        let deadline = Instant::now() + OTHERS_TIME;
        loop {
            if let Some(stream) = connect(installation).await? {
                return Ok(Self::Sync(peer_of(stream, credentials).await?));
            }
            match Offline::open(&database, &installation.data, credentials).await {
                Ok(store) => return Ok(Self::Store(store)),
                Err(StoreError::Locked(_)) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                Err(StoreError::Locked(path)) => {
                    return Err(Failure::Conflict(format!(
                        "another process writes to {} but offers no socket {ADMIN_SOCKET} there: run this command where \
                         sync runs (in Kubernetes: kubectl exec -c connect-sync)",
                        path
                    )));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Carries out a command. Several may wait for their answers at once.
    pub(crate) async fn command(&self, command: Command) -> Result<CommandAnswer, Failure> {
        let answer = match self {
            Self::Sync(peer) => ask(peer, &command).await?,
            Self::Store(store) => store.command(command).await?,
        };
        match answer {
            CommandAnswer::Refused(refusal) => Err(refusal.into()),
            answer => Ok(answer),
        }
    }

    /// Closes the store, if this process opened it.
    pub(crate) async fn close(self) {
        match self {
            Self::Sync(_) => {}
            Self::Store(store) => store.close().await,
        }
    }
}

/// Connects to sync's socket; `None` if no process listens on it.
pub(crate) async fn connect(installation: &Installation) -> Result<Option<UnixStream>, Failure> {
    let path = installation.data.join(ADMIN_SOCKET);
    match UnixStream::connect(&path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Failure::Denied(format!(
            "{}: {error}; run this as the user sync runs as",
            path.display()
        ))),
        Err(error) => Err(Failure::Unreachable(format!("{}: {error}", path.display()))),
    }
}

/// Sends the command over the socket.
pub(crate) async fn over(
    stream: UnixStream,
    credentials: &Credentials,
    command: &Command,
) -> Result<CommandAnswer, Failure> {
    ask(&peer_of(stream, credentials).await?, command).await
}

async fn peer_of(stream: UnixStream, credentials: &Credentials) -> Result<Peer, Failure> {
    let connection = Connection::connect(stream, &credentials.bus_keys())
        .await
        .map_err(|error| {
            Failure::Denied(format!(
                "sync does not accept these credentials ({error}): use the file it runs with (--session)"
            ))
        })?;
    let (peer, mut notices) = peer::start(connection);
    // Sync announces every commit. Notices that nobody takes would hold up the answers.
    tokio::spawn(async move { while notices.recv().await.is_some() {} });
    Ok(peer)
}

async fn ask(peer: &Peer, command: &Command) -> Result<CommandAnswer, Failure> {
    let message = CommandMessage {
        request_id: None,
        command,
    };
    let body = serde_json::to_vec(&message).map_err(|error| Failure::Failed(error.to_string()))?;
    let answer = match tokio::time::timeout(ANSWER_TIME, peer.call(Bytes::from(body))).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(CallError::Disconnected { maybe_executed: false })) => {
            return Err(Failure::Unreachable(
                "sync ended before it received the command; nothing was done".to_owned(),
            ));
        }
        Ok(Err(error)) => return Err(Failure::Unreachable(format!("sync: {error}"))),
        Err(_) => {
            return Err(Failure::Unreachable(
                "sync did not answer in time; the command may have been carried out".to_owned(),
            ));
        }
    };
    serde_json::from_slice(&answer)
        .map_err(|_| Failure::Failed("sync is of another version: its answer was not understood".to_owned()))
}
