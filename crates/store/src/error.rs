use std::path::PathBuf;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not exist. sync creates it on its first start.
    #[error("no database at {0}: start `sidevault sync` (or `sidevault quickstart`) once; it creates the database")]
    Missing(PathBuf),
    /// The data directory can't be used.
    #[error(
        "can't use the data directory {path}: {cause}; the directory must be writable by uid {uid} (set XDG_DATA_HOME to use another one; in Kubernetes set fsGroup: 999)"
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The effective user id of this process.
        uid: u32,
        /// The operating system's error.
        cause: std::io::Error,
    },
    /// Another process is the writer.
    #[error("another sync process writes to {0}; only one may: stop it first")]
    Locked(PathBuf),
    /// The database has no tables. A copy of a store is like this if the write-ahead log was not copied with it.
    #[error(
        "{0} holds no tables yet. If it is a copy of a store, its {0}-wal is missing: copy both, or copy after sync was stopped"
    )]
    Empty(PathBuf),
    /// The write-ahead log holds changes, and the volume is read-only, so that SQLite can't move them into the database.
    #[error(
        "{0}-wal holds changes that are not in the database yet, and its directory is read-only: start `sidevault sync` once where the directory is writable, or mount the volume writable"
    )]
    LogNotRead(PathBuf),
    /// The keys of the database were wrapped with another credentials file.
    #[error(
        "the database was created with another credentials file: use that file, or a new data directory (cause: {0})"
    )]
    WrongKeys(String),
    /// The database was written by a newer version.
    #[error(
        "the database was written by a newer Sidevault ({0}): use that version or a later one; a store is never downgraded"
    )]
    Newer(String),
    /// A sealed row can't be decrypted, or does not hold what it should: it was damaged, altered, or moved here from another row.
    #[error("a row of the database is damaged, or was changed by another program: {row}")]
    Corrupt {
        /// Which row: its kind and ids.
        row: String,
    },
    /// The volume or a quota is full. SQLite has ended the transaction.
    #[error("the disk of the data directory is full")]
    Full,
    /// SQLite can't use the database's files: the disk fails or is read-only, or another program holds a lock.
    #[error("the database can't be used: {0}")]
    Unusable(sqlx::Error),
    /// A statement failed.
    #[error("the database refused a statement: {0}")]
    Sql(sqlx::Error),
    /// A migration failed.
    #[error("the database's schema can't be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A file operation on the database's files failed.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: std::io::Error,
    },
}

/// SQLite's result codes (<https://www.sqlite.org/rescode.html>) whose cause is the database's files and not one statement:
/// BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, CORRUPT, CANTOPEN, PROTOCOL, AUTH, NOTADB.
const FILE_CODES: [u32; 11] = [5, 6, 7, 8, 9, 10, 11, 14, 15, 23, 26];

/// SQLITE_FULL.
const FULL: u32 = 13;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<u32>().ok()),
            // The connection's thread ended, so this connection can't be used any more.
            sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) => return Self::Unusable(error),
            _ => None,
        };
        // The low byte of an extended result code is the primary code.
        match code.map(|code| code & 0xff) {
            Some(FULL) => Self::Full,
            Some(code) if FILE_CODES.contains(&code) => Self::Unusable(error),
            _ => Self::Sql(error),
        }
    }
}

impl StoreError {
    /// Whether the cause is the disk or the database's files, so that every other write fails at the moment, too.
    pub fn is_disk_error(&self) -> bool {
        matches!(self, Self::Full | Self::Unusable(_) | Self::Io { .. })
    }

    pub(crate) fn corrupt(row: impl Into<String>) -> Self {
        Self::Corrupt { row: row.into() }
    }
}
