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
    /// A database without tables: what is left of a store if its write-ahead log is not copied with it.
    #[error(
        "{0} holds no tables yet. If it is a copy of a store, its {0}-wal is missing: copy both, or copy after sync was stopped"
    )]
    Empty(PathBuf),
    /// The write-ahead log still holds changes, and the volume is read-only, so they can't be moved into the database.
    #[error(
        "{0}-wal holds changes that are not in the database yet, and its directory is read-only: start `sidevault sync` once where it can be written to, or mount it writable"
    )]
    LogNotRead(PathBuf),
    /// The database was sealed with other keys.
    #[error("the database was made with another credentials file; use that one, or a new data directory (cause: {0})")]
    WrongKeys(String),
    /// The database comes from a newer version.
    #[error("the database was written by a newer Sidevault ({0}); upgrade this one: it never downgrades a store")]
    Newer(String),
    /// A sealed row can't be decrypted, or does not hold what it should: it was damaged, altered, or moved here from another row.
    #[error("a row of the database is damaged, or was changed by another program: {row}")]
    Corrupt {
        /// Which row: its kind and ids.
        row: String,
    },
    /// There is no room on the volume (or below a quota): SQLite ended the transaction.
    #[error("the disk of the data directory is full")]
    Full,
    /// SQLite can't use the database's files: the disk fails, is read-only, or another program holds a lock.
    #[error("the database can't be used: {0}")]
    Unusable(sqlx::Error),
    /// The database failed.
    #[error("database: {0}")]
    Sql(sqlx::Error),
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

/// SQLite's result codes (<https://www.sqlite.org/rescode.html>) that concern the database's files, not one statement:
/// BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, CORRUPT, CANTOPEN, PROTOCOL, AUTH, NOTADB.
const OF_THE_FILES: [u32; 11] = [5, 6, 7, 8, 9, 10, 11, 14, 15, 23, 26];

/// SQLITE_FULL.
const FULL: u32 = 13;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<u32>().ok()),
            // The connection's thread ended: nothing can be done over it.
            sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) => return Self::Unusable(error),
            _ => None,
        };
        // The low byte of an extended code is the plain one.
        match code.map(|code| code & 0xff) {
            Some(FULL) => Self::Full,
            Some(code) if OF_THE_FILES.contains(&code) => Self::Unusable(error),
            _ => Self::Sql(error),
        }
    }
}

impl StoreError {
    /// Whether the disk or the database's files are at fault, so that every write fails at the moment, and not this write.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Full | Self::Unusable(_) | Self::Io { .. })
    }

    pub(crate) fn corrupt(row: impl Into<String>) -> Self {
        Self::Corrupt { row: row.into() }
    }
}
