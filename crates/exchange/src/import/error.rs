use std::io;

/// Why an export can't be read. No message has a value of the export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Reading failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The export is in none of the formats that are known.
    #[error("{0}")]
    Unknown(String),
    /// The export is in a format, or a variant of one, that can't be imported.
    #[error("{0}")]
    Format(String),
    /// The export breaks a rule of its format.
    #[error("{place}: {reason}")]
    Malformed {
        /// Where: a member of an archive, or a line and column.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The export has more than a limit allows.
    #[error("{what} is larger than {limit} bytes, which is the most that an import reads")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The export needs a password, and there is none.
    #[error("{0}")]
    NoPassword(String),
    /// The password, or the key, does not open the export.
    #[error("{0}")]
    WrongPassword(String),
    /// The caller of [`Source::items`](super::Source::items) wants no more items.
    #[error("the import was stopped")]
    Stopped,
}

impl ImportError {
    /// An error of the export at a place.
    pub fn malformed(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Malformed {
            place: place.into(),
            reason: reason.into(),
        }
    }
}
