//! All that is SQLite's own: how a connection is opened, and how a reader learns of a commit
//! without asking the database.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlStr, SqliteConnection};
use tokio::sync::{MappedMutexGuard, Mutex as AsyncMutex, MutexGuard, Semaphore, SemaphorePermit};

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
    migrator()
        .run_direct(None, &mut conn, false)
        .await
        .map_err(|error| match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => StoreError::Newer(format!("migration {version}")),
            other => StoreError::Migrate(other),
        })?;
    Ok(conn)
}

/// The schema changes of `migrations/`, oldest first. The list is written out because `sqlx::migrate!` would compile
/// SQLite and the asynchronous runtime a second time, for the macro.
fn migrator() -> Migrator {
    let migrations = [(1, "store", include_str!("../../../migrations/0001_store.sql"))];
    Migrator::with_migrations(
        migrations
            .map(|(version, name, sql)| {
                let sql = SqlStr::from_static(sql);
                Migration::new(version, name.into(), MigrationType::Simple, sql, false)
            })
            .to_vec(),
    )
}

/// Readers' connections, each lent to one caller at a time.
///
/// Not sqlx's pool: it asks each connection whether it is alive before and after every use. With
/// SQLite each of that is as long a way, to the connection's thread and back, as the query's own.
pub(crate) struct Connections {
    options: SqliteConnectOptions,
    slots: Box<[Slot]>,
    /// As many as there are slots: whoever has a place finds a slot that is free.
    places: Semaphore,
}

/// A connection, once it was needed.
type Slot = AsyncMutex<Option<SqliteConnection>>;

/// A connection that is lent until this is dropped.
pub(crate) struct Lent<'a> {
    conn: MappedMutexGuard<'a, SqliteConnection>,
    _place: SemaphorePermit<'a>,
}

impl Connections {
    /// At most `most` connections; the first is opened now. They never write; they open
    /// read-write only because a reader must be able to recover the write-ahead log when no
    /// writer runs.
    pub(crate) async fn open(path: &Path, most: u32) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let connections = Self {
            options: options(path).pragma("query_only", "ON"),
            slots: (0..most).map(|_| Slot::default()).collect(),
            places: Semaphore::new(most as usize),
        };
        drop(connections.lend().await?);
        Ok(connections)
    }

    /// A connection of one's own; waits for one if all are lent.
    pub(crate) async fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let place = self.places.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        loop {
            for slot in &self.slots {
                let Ok(mut slot) = slot.try_lock() else { continue };
                if slot.is_none() {
                    *slot = Some(self.options.connect().await?);
                }
                if let Ok(conn) = MutexGuard::try_map(slot, Option::as_mut) {
                    return Ok(Lent { conn, _place: place });
                }
            }
        }
    }

    /// Closes them all, each as soon as nobody uses it.
    pub(crate) async fn close(&self) {
        self.places.close();
        for slot in &self.slots {
            if let Some(conn) = slot.lock().await.take() {
                // It was only read from: nothing can get lost.
                let _closed = conn.close().await;
            }
        }
    }
}

impl Deref for Lent<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.conn
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }
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
pub(crate) async fn has_schema(conn: &mut SqliteConnection) -> Result<bool, StoreError> {
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = 'tokens'")
        .fetch_one(conn)
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
