//! An administrator's command to the one that writes: over sync's socket if it runs, else by
//! opening the store for the time of the command.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sidevault_bus::{CallError, Connection, peer};
use sidevault_keys::Credentials;
use sidevault_store::{Command, CommandAnswer, CommandMessage, StoreError};
use sidevault_sync::{ADMIN_SOCKET, Offline};
use tokio::net::UnixStream;

use crate::exit::Failure;
use crate::installation::Installation;

/// How long a writer that can't be asked may take to end, or to listen.
const OTHERS_TIME: Duration = Duration::from_secs(10);
/// How long before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long sync may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Has the command carried out. What is refused is a [`Failure`].
pub(crate) async fn command(
    installation: &Installation,
    credentials: &Credentials,
    command: Command,
) -> Result<CommandAnswer, Failure> {
    let patience = Instant::now() + OTHERS_TIME;
    let answer = loop {
        if let Some(stream) = connect(installation).await? {
            break over(stream, credentials, &command).await?;
        }
        match Offline::open(&installation.data, credentials).await {
            Ok(store) => break store.command(command).await?,
            // A sync that starts or stops, or another command.
            Err(StoreError::Locked(_)) if Instant::now() < patience => tokio::time::sleep(PAUSE).await,
            Err(StoreError::Locked(path)) => {
                return Err(Failure::Conflict(format!(
                    "another process writes to {} but offers no socket {ADMIN_SOCKET} there: run this command where \
                     sync runs (in Kubernetes: kubectl exec -c connect-sync)",
                    path.display()
                )));
            }
            Err(error) => return Err(error.into()),
        }
    };
    match answer {
        CommandAnswer::Refused(refusal) => Err(refusal.into()),
        answer => Ok(answer),
    }
}

/// Sync's socket; `None` if nobody listens.
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

/// Asks the sync behind the socket.
pub(crate) async fn over(
    stream: UnixStream,
    credentials: &Credentials,
    command: &Command,
) -> Result<CommandAnswer, Failure> {
    let connection = Connection::connect(stream, &credentials.bus_key())
        .await
        .map_err(|error| {
            Failure::Denied(format!(
                "sync does not accept these credentials ({error}): use the file it runs with (--session)"
            ))
        })?;
    let (peer, _notices) = peer::start(connection);
    let message = CommandMessage {
        request_id: None,
        command,
    };
    let body = serde_json::to_vec(&message).map_err(|error| Failure::Failed(error.to_string()))?;
    let answer = match tokio::time::timeout(ANSWER_TIME, peer.call(Bytes::from(body))).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(CallError::Disconnected { maybe_executed: false })) => {
            return Err(Failure::Unreachable("sync went away; nothing was done".to_owned()));
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
