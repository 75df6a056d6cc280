use sidevault_client::ClientError;
use sidevault_keys::{CredentialsError, IssueError};
use sidevault_store::{CommandRefusal, FailureKind, StoreError};
use sidevault_sync::backup::{BackupError, RemoteFault};
use sidevault_sync::{ConfigError, SyncError};

use super::Failure;

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
            StoreError::Locked(_) | StoreError::NotLeader | StoreError::Occupied | StoreError::AnotherStore => {
                Self::Conflict(message)
            }
            StoreError::WrongKeys(_)
            | StoreError::Corrupt { .. }
            | StoreError::Incomplete
            | StoreError::CopyDiffers(_)
            | StoreError::NotBackup { .. }
            | StoreError::BackupDiffers(_) => Self::Integrity(message),
            StoreError::Setting(_)
            | StoreError::Directory { .. }
            | StoreError::Newer(_)
            | StoreError::Unreleased(_)
            | StoreError::Replica => Self::Config(message),
            StoreError::OutcomeUnknown => Self::Unreachable(message),
            StoreError::LogNotRead(_)
            | StoreError::Full
            | StoreError::Unusable(_)
            | StoreError::Sql(_)
            | StoreError::Migrate(_)
            | StoreError::ChangeUnknown(_)
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
            FailureKind::Exists | FailureKind::Conflict | FailureKind::PreconditionFailed => {
                Self::Conflict(refusal.message)
            }
            FailureKind::Ephemeral => Self::Config(refusal.message),
            FailureKind::Standby | FailureKind::Unavailable => Self::Unreachable(refusal.message),
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
            ClientError::Ambiguous { .. } => Self::Conflict(message),
            ClientError::Config(_) | ClientError::Status { status: 400, .. } => Self::Usage(message),
            _ => Self::Failed(message),
        }
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let message = error.to_string();
        match error {
            BackupError::Store(error) => error.into(),
            BackupError::Exists(_) => Self::Conflict(message),
            BackupError::None(_) => Self::NotFound(message),
            BackupError::Decrypt { .. } | BackupError::SegmentMissing { .. } | BackupError::Segment { .. } => {
                Self::Integrity(message)
            }
            BackupError::Settings(_) => Self::Config(message),
            BackupError::Remote { kind, .. } => match kind {
                RemoteFault::Missing => Self::NotFound(message),
                RemoteFault::Denied => Self::Denied(message),
                RemoteFault::Unreachable => Self::Unreachable(message),
                RemoteFault::Other => Self::Failed(message),
            },
            BackupError::Io { .. } => Self::Failed(message),
        }
    }
}
