use std::path::PathBuf;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The setting `SIDEVAULT_STORE` names no database.
    #[error("SIDEVAULT_STORE: {0}")]
    Setting(String),
    /// The store does not exist. sync creates it on its first start.
    #[error("no database at {0}: start `sidevault sync` (or `sidevault quickstart`) once; it creates the database")]
    Missing(String),
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
    Locked(String),
    /// Another process became the writer, because this one did not renew its lease in time.
    #[error("another sync process has become the leader, which alone may write")]
    NotLeader,
    /// The connection was lost during a commit, and the database can't be asked whether the commit succeeded.
    #[error("the connection to the database was lost during a commit; whether the write was carried out is not known")]
    OutcomeUnknown,
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
    /// A copy into this store was interrupted.
    #[error("a copy into this store is not complete: finish it with `sidevault store move`")]
    Incomplete,
    /// The directory holds an api's copy of a store in PostgreSQL.
    #[error(
        "this is an api's copy of a store in PostgreSQL (SIDEVAULT_REPLICA), which no sync may write to; `sidevault store move` makes a store from it"
    )]
    Replica,
    /// An api's copy is of another store than the database holds.
    #[error(
        "the database holds another store than the copy (SIDEVAULT_REPLICA), so the copy stays as it is: to copy this store, name an empty directory"
    )]
    AnotherStore,
    /// A store is to be copied to where a store is already.
    #[error("there is a store in the target already: name an empty database or directory")]
    Occupied,
    /// A copied store is not equal to its source.
    #[error("the copied table {0} differs from the original: empty the target, and copy again")]
    CopyDiffers(&'static str),
    /// A file is no backup, or can't be read.
    #[error("{path} is not a backup that can be read: {cause}")]
    NotBackup {
        /// The file.
        path: PathBuf,
        /// The error when it was read.
        cause: String,
    },
    /// A backup is not what its manifest says.
    #[error(
        "the backup is damaged, or was changed: its table {0} is not what it was when the backup was made; use another backup"
    )]
    BackupDiffers(&'static str),
    /// A change is not in the change log: it is too old, or the store is another one.
    #[error("the change {0} is not in the store's change log: the store was restored, or too much has changed since")]
    ChangeUnknown(i64),
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
    /// The database was written by another commit of Sidevault, whose migration with this number was another one.
    #[error(
        "the store was made by another commit of Sidevault (migration {0} has changed since); before the first release such a store can't be upgraded: docs/upgrade.md says how to make it anew"
    )]
    Unreleased(i64),
    /// A sealed row can't be decrypted, or does not hold what it should: it was damaged, altered, or moved here from another row.
    #[error("a row of the database is damaged, or was changed by another program: {row}")]
    Corrupt {
        /// Which row: its kind and ids.
        row: String,
    },
    /// The volume or a quota is full. The database has ended the transaction.
    #[error("the disk of the data directory is full")]
    Full,
    /// The database can't be used. SQLite: the disk fails or is read-only, or another program holds a lock. PostgreSQL: the server
    /// can't be reached, is a standby, or has no room for another connection.
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

/// Classes of PostgreSQL's error codes (<https://www.postgresql.org/docs/current/errcodes-appendix.html>) whose cause is the
/// server and not one statement: connection exception, invalid authorization, insufficient resources, operator intervention,
/// system error.
const SERVER_CLASSES: [&str; 5] = ["08", "28", "53", "57", "58"];

/// Single codes with such a cause: read-only transaction (the server is a standby), idle for too long in a transaction, lock not
/// available, and the rollbacks that a transaction can cause another one.
const SERVER_CODES: [&str; 5] = ["25006", "25P03", "55P03", "40001", "40P01"];

/// PostgreSQL's `disk_full`.
const DISK_FULL: &str = "53100";

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error::{Io, PoolClosed, Protocol, Tls, WorkerCrashed};
        let code = match &error {
            sqlx::Error::Database(error) => error.code(),
            // This connection can't be used any more.
            WorkerCrashed | Io(_) | Tls(_) | Protocol(_) | PoolClosed => return Self::Unusable(error),
            _ => None,
        };
        let code = code.as_deref().unwrap_or_default();
        // PostgreSQL's codes have five characters, SQLite's are numbers of at most four digits.
        let (is_full, is_unusable) = if code.len() == 5 {
            let is_unusable = SERVER_CLASSES.contains(&&code[..2]) || SERVER_CODES.contains(&code);
            (code == DISK_FULL, is_unusable)
        } else {
            // The low byte of an extended result code is the primary code.
            let primary = code.parse::<u32>().unwrap_or_default() & 0xff;
            (primary == FULL, FILE_CODES.contains(&primary))
        };
        match (is_full, is_unusable) {
            (true, _) => Self::Full,
            (false, true) => Self::Unusable(error),
            (false, false) => Self::Sql(error),
        }
    }
}

impl StoreError {
    /// Whether the cause is the disk or the database's files, so that every other write fails at the moment, too.
    pub fn is_disk_error(&self) -> bool {
        matches!(self, Self::Full | Self::Unusable(_) | Self::Io { .. } | Self::NotLeader)
    }

    pub(crate) fn of_migration(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => Self::newer(version),
            sqlx::migrate::MigrateError::VersionMismatch(version) => Self::Unreleased(version),
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            other => Self::Migrate(other),
        }
    }

    /// The database has a schema change that this version does not know.
    pub(crate) fn newer(migration: i64) -> Self {
        Self::Newer(format!("migration {migration}"))
    }

    pub(crate) fn corrupt(row: impl Into<String>) -> Self {
        Self::Corrupt { row: row.into() }
    }
}
