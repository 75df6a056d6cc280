//! All that is SQLite's own: how a connection is opened, and how a reader learns of a commit
//! without asking the database.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};

use crate::StoreError;

/// The writer's connection. `synchronous=FULL`: a commit is on disk before it is acknowledged.
pub(crate) async fn open_writer(path: &Path) -> Result<SqliteConnection, StoreError> {
    // SQLite gives its other files the same mode. Only ever a new file is opened here: closing
    // one that SQLite uses in this process would drop its locks.
    match File::options().create_new(true).write(true).mode(0o600).open(path) {
        Err(cause) if cause.kind() != ErrorKind::AlreadyExists => {
            return Err(StoreError::Io {
                path: path.to_owned(),
                cause,
            });
        }
        _ => {}
    }
    let mut conn = options(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await?;
    sqlx::migrate!("../../migrations")
        .run_direct(None, &mut conn, false)
        .await
        .map_err(|error| match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => StoreError::Newer(format!("migration {version}")),
            other => StoreError::Migrate(other),
        })?;
    Ok(conn)
}

/// Readers' connections. They never write; they open read-write only because a reader must be
/// able to recover the write-ahead log when no writer runs.
pub(crate) async fn open_readers(path: &Path, connections: u32) -> Result<SqlitePool, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing(path.to_owned()));
    }
    let pool = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(10))
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options(path).pragma("query_only", "ON"))
        .await?;
    Ok(pool)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(10))
        .pragma("temp_store", "MEMORY")
        // Not mapped: mapped pages count as resident memory once for each connection.
        .pragma("cache_size", "-1024")
        .statement_cache_capacity(64)
        .disable_statement_logging()
}

/// Whether the migrations have run (a database file may exist a moment before its tables).
pub(crate) async fn has_schema(pool: &SqlitePool) -> Result<bool, StoreError> {
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = 'tokens'")
        .fetch_one(pool)
        .await?;
    Ok(tables == 1)
}

/// Moves what is in the write-ahead log into the database, so that the log does not grow.
pub(crate) async fn close(conn: SqliteConnection) -> Result<(), StoreError> {
    conn.close().await?;
    Ok(())
}

/// Tells, for the price of one `pread`, whether anything was committed since it was last asked.
///
/// In WAL mode each commit rewrites the header of the `-shm` file, the WAL index
/// (<https://www.sqlite.org/walformat.html#the_wal_index_header>): it holds a counter of
/// transactions and the checksum of the last frame. Comparing its 48 bytes is what
/// `PRAGMA data_version` does, without the way to the connection's thread.
pub(crate) struct CommitClock {
    file: &'static File,
    path: PathBuf,
}

/// What [`CommitClock::read`] saw. Equal stamps: nothing was committed in between.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp([u8; 48]);

impl Stamp {
    /// Like no stamp that is ever read: a WAL index starts with its format's number.
    pub(crate) const NEVER: Self = Self([0; 48]);
}

/// The `-shm` files this process ever opened here, by device and inode, never closed: closing
/// any descriptor of such a file would drop SQLite's own POSIX locks on it in this process.
static OPENED: Mutex<BTreeMap<(u64, u64), &'static File>> = Mutex::new(BTreeMap::new());

impl CommitClock {
    /// Opens the clock. A connection to the database must be open already and outlive it.
    pub(crate) fn open(database: &Path) -> Result<Self, StoreError> {
        let mut path = database.as_os_str().to_owned();
        path.push("-shm");
        let path = PathBuf::from(path);
        match Self::opened_once(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(cause) => Err(StoreError::Io { path, cause }),
        }
    }

    fn opened_once(path: &Path) -> std::io::Result<&'static File> {
        let mut opened = OPENED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let metadata = std::fs::metadata(path)?;
        match opened.entry((metadata.dev(), metadata.ino())) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(place) => Ok(*place.insert(Box::leak(Box::new(File::open(path)?)))),
        }
    }

    pub(crate) fn read(&self) -> Result<Stamp, StoreError> {
        let mut stamp = Stamp([0; 48]);
        match self.file.read_exact_at(&mut stamp.0, 0) {
            Ok(()) => Ok(stamp),
            Err(cause) => Err(StoreError::Io {
                path: self.path.clone(),
                cause,
            }),
        }
    }
}
