//! Why a write to a tree is not carried out.

use std::io;

use rustix::io::Errno;
use sidevault_model::Invalid;
use sidevault_sops::SopsError;
use sidevault_store::{CommandRefusal, FailureKind, StoreError};

use super::super::beneath::BeneathError;
use super::super::draft::DocumentError;
use crate::queue::{self, JobError, QueueClosed};

/// Why a write is not carried out.
pub(super) enum WriteError {
    Refused(CommandRefusal),
    /// sync is stopping.
    Closed(QueueClosed),
}

pub(super) fn refuse(kind: FailureKind, message: impl Into<String>) -> WriteError {
    WriteError::Refused(CommandRefusal::new(kind, message))
}

impl From<CommandRefusal> for WriteError {
    fn from(refusal: CommandRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<QueueClosed> for WriteError {
    fn from(closed: QueueClosed) -> Self {
        Self::Closed(closed)
    }
}

impl From<Invalid> for WriteError {
    fn from(invalid: Invalid) -> Self {
        refuse(FailureKind::Invalid, invalid.to_string())
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Refused(queue::refusal(&error))
    }
}

impl From<JobError> for WriteError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Closed(closed) => Self::Closed(closed),
            JobError::Store(error) => error.into(),
            JobError::WrongAnswer => refuse(FailureKind::Internal, error.to_string()),
        }
    }
}

/// An error about a file of the tree.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error(transparent)]
    Sops(#[from] SopsError),
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The request asks for something that the file can't hold. The text says what, why, and what to do.
    #[error("{0}")]
    NotKept(String),
    /// The file is not what the client saw.
    #[error(
        "the file was changed meanwhile (conflict): read the item again, and repeat the change if it is still right"
    )]
    Changed,
    #[error("there is a file of this name already (conflict)")]
    Exists,
    /// The file can't be read as it is.
    #[error("{0}. Repair the file first (conflict)")]
    Unreadable(String),
    #[error(transparent)]
    Beneath(#[from] BeneathError),
    /// The file can't be written.
    #[error(transparent)]
    Write(#[from] io::Error),
    /// A fault of Sidevault or of the machine, with its text.
    #[error("{0}")]
    Fault(String),
}

impl FileError {
    /// [`Self::refusal`], as the outcome of a write.
    pub(super) fn about(self, file: &str) -> WriteError {
        WriteError::Refused(self.refusal(file))
    }

    /// The refusal for the client. It names the file by its path in the tree, which is no secret: `/health` does, too.
    pub(super) fn refusal(self, file: &str) -> CommandRefusal {
        let kind = match &self {
            Self::Sops(SopsError::NotEditable { .. } | SopsError::NotSealable { .. } | SopsError::Limit { .. })
            | Self::NotKept(_) => FailureKind::Invalid,
            Self::Changed | Self::Exists | Self::Unreadable(_) | Self::Sops(_) | Self::Document(_) => {
                FailureKind::Conflict
            }
            Self::Beneath(BeneathError::Changed | BeneathError::Missing) => return Self::Changed.refusal(file),
            Self::Beneath(_) => FailureKind::Conflict,
            Self::Write(error) => return unwritable(file, error),
            Self::Fault(_) => FailureKind::Internal,
        };
        CommandRefusal::new(kind, format!("{file}: {self}. Nothing was changed"))
    }
}

fn unwritable(file: &str, error: &io::Error) -> CommandRefusal {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let (kind, problem) = match errno {
        Some(Errno::ROFS) => (
            FailureKind::ReadOnly,
            "the source's directory is on a read-only volume; mount it for writing".to_owned(),
        ),
        Some(Errno::ACCESS | Errno::PERM) => (
            FailureKind::ReadOnly,
            "sync's user may not write there, or could not keep the file's owner; give the source's directory to the user \
             that sync runs as"
                .to_owned(),
        ),
        Some(Errno::BUSY) => (
            FailureKind::ReadOnly,
            "the file is mounted by itself, so it can't be replaced; mount its directory instead".to_owned(),
        ),
        Some(Errno::NOSPC | Errno::DQUOT) => (
            FailureKind::Unavailable,
            "the disk of the source's directory is full; writes work again once it has free space".to_owned(),
        ),
        _ => (FailureKind::Unavailable, error.to_string()),
    };
    let message = format!("{file} can't be written: {problem}. Nothing was changed");
    // Every 403 of Connect begins with this word.
    CommandRefusal::new(
        kind,
        match kind {
            FailureKind::ReadOnly => format!("Authorization: {message}"),
            _ => message,
        },
    )
}
