use std::path::PathBuf;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No database there (yet): sync makes it on its first start.
    #[error("no database at {0}: start `sidevault sync` (or `sidevault quickstart`) once; it creates it")]
    Missing(PathBuf),
    /// The data directory can't be used.
    #[error(
        "can't use the data directory {path}: {cause}; it must be writable by uid {uid} (elsewhere: XDG_DATA_HOME; in Kubernetes: fsGroup: 999)"
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Who tried.
        uid: u32,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Another process is the writer.
    #[error("another sync process writes to {0}; only one may: stop it first")]
    Locked(PathBuf),
    /// The database was sealed with other keys.
    #[error("the database was made with another credentials file; use that one, or a new data directory (cause: {0})")]
    WrongKeys(String),
    /// The database comes from a newer version.
    #[error("the database was written by a newer Sidevault ({0}); upgrade this one: it never downgrades a store")]
    Newer(String),
    /// A sealed row could not be opened: damaged, moved, or swapped.
    #[error("a sealed row is damaged or not where it belongs: {place}")]
    Corrupt {
        /// Which row.
        place: String,
    },
    /// The database failed.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// A migration failed.
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A file operation on the database's files failed.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}

impl StoreError {
    pub(crate) fn corrupt(place: impl Into<String>) -> Self {
        Self::Corrupt { place: place.into() }
    }
}
