//! How a command ends: a message for a person, and a number for a script.

use std::process::ExitCode;

use sidevault_client::ClientError;
use sidevault_keys::{CredentialsError, IssueError};
use sidevault_store::{CommandRefusal, FailureKind, StoreError};
use sidevault_sync::{ConfigError, SyncError};

/// Why a command did not do what it was asked. The message says what, why and what next, and
/// holds no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Anything that fits nowhere else.
    #[error("{0}")]
    Failed(String),
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A vault, item, token or store isn't there.
    #[error("{0}")]
    NotFound(String),
    /// The token is not accepted, or lacks the right.
    #[error("{0}")]
    Denied(String),
    /// Something is there already, or was changed by someone else.
    #[error("{0}")]
    Conflict(String),
    /// The server can't be reached. Worth another try.
    #[error("{0}")]
    Unreachable(String),
    /// `doctor` found something; it said what.
    #[error("{0}")]
    Found(String),
    /// Data is damaged, or was sealed with other keys.
    #[error("{0}")]
    Integrity(String),
    /// A setting or a file that configures the program is wrong.
    #[error("{0}")]
    Config(String),
    /// Whoever read the output has stopped reading; that is fine (`| head`).
    #[error("nobody reads the output")]
    Unread,
}

impl Failure {
    /// The exit status, as `man sidevault` lists them.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Unread => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Denied(_) => 4,
            Self::Conflict(_) => 5,
            Self::Unreachable(_) => 6,
            Self::Found(_) => 7,
            Self::Integrity(_) => 8,
            // sysexits.h: EX_CONFIG.
            Self::Config(_) => 78,
        }
    }

    /// Says it on stderr and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Unread => {}
            failure => eprintln!("sidevault: {failure}"),
        }
        ExitCode::from(self.code())
    }
}

/// What the manual says of the exit status.
pub(crate) const EXIT_STATUS: &str = "\
Exit status:
  0    done
  1    failed
  2    wrong usage
  3    not found
  4    denied (401, 403)
  5    conflict: it exists already, or someone else writes
  6    unreachable: try again later
  7    doctor found something
  8    damaged data, or the wrong keys
  78   wrong configuration
  130  interrupted";

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<CredentialsError> for Failure {
    fn from(error: CredentialsError) -> Self {
        let message = error.to_string();
        match error {
            CredentialsError::AlreadyExists { .. } => Self::Conflict(message),
            CredentialsError::WrongPassphrase => Self::Integrity(message),
            _ => Self::Config(message),
        }
    }
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Self {
        let message = error.to_string();
        match error {
            IssueError::Signing => Self::Failed(message),
            _ => Self::Usage(message),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Missing(_) | StoreError::Empty(_) => Self::NotFound(message),
            StoreError::Locked(_) => Self::Conflict(message),
            StoreError::WrongKeys(_) | StoreError::Corrupt { .. } => Self::Integrity(message),
            StoreError::Directory { .. } | StoreError::Newer(_) => Self::Config(message),
            StoreError::LogNotRead(_)
            | StoreError::Full
            | StoreError::Unusable(_)
            | StoreError::Sql(_)
            | StoreError::Migrate(_)
            | StoreError::Io { .. } => Self::Failed(message),
        }
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::Store(error) => error.into(),
            SyncError::Stopped => Self::Failed(error.to_string()),
            error => Self::Config(error.to_string()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<CommandRefusal> for Failure {
    fn from(refusal: CommandRefusal) -> Self {
        match refusal.kind {
            FailureKind::Invalid => Self::Usage(refusal.message),
            FailureKind::NotFound => Self::NotFound(refusal.message),
            FailureKind::ReadOnly => Self::Denied(refusal.message),
            FailureKind::Exists => Self::Conflict(refusal.message),
            FailureKind::Ephemeral => Self::Config(refusal.message),
            FailureKind::Unavailable => Self::Unreachable(refusal.message),
            FailureKind::Internal => Self::Failed(refusal.message),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match &error {
            error if error.is_not_found() => Self::NotFound(message),
            error if error.is_denied() => Self::Denied(message),
            error if error.is_conflict() => Self::Conflict(message),
            error if error.is_unreachable() || error.status() == Some(503) => Self::Unreachable(message),
            ClientError::Config(_) | ClientError::Ambiguous { .. } | ClientError::Status { status: 400, .. } => {
                Self::Usage(message)
            }
            _ => Self::Failed(message),
        }
    }
}
