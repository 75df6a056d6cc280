//! All that is SQLite's own: how a connection is opened, and how a reader learns of a commit, and of other files,
//! without asking the database.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlStr, SqliteConnection};
use tokio::sync::{MappedMutexGuard, Mutex as AsyncMutex, MutexGuard, Semaphore, SemaphorePermit};

use crate::StoreError;

/// The write-ahead log's file is cut to this many bytes once all of the log is in the database. Without a limit the file would
/// keep the largest size that it ever had, for example while a long read kept SQLite from moving it into the database.
const LOG_BYTES: &str = "8388608";

/// How long a connection waits for a lock.
const BUSY: Duration = Duration::from_secs(10);

/// Makes the database if there is none, and opens the writer's connection to it.
pub(crate) async fn open_writer(path: &Path) -> Result<SqliteConnection, StoreError> {
    // SQLite gives its other files the same mode. Only ever a new file is opened here: closing
    // one that SQLite uses in this process would drop its locks.
    let failed = |path: &Path, cause| StoreError::Io {
        path: path.to_owned(),
        cause,
    };
    let create = |path: &Path| File::options().create_new(true).write(true).mode(0o600).open(path);
    // Tells a database that is only being made from one that a backup was meant to be.
    let unfinished = beside(path, "-unfinished");
    if !path.exists() {
        match create(&unfinished).and_then(|_| create(path)) {
            Err(cause) if cause.kind() != ErrorKind::AlreadyExists => return Err(failed(path, cause)),
            _ => {}
        }
    }
    let may_be_empty = unfinished.exists() || !lacks_log(path);
    let mut conn = connect_writer(path).await?;
    if !may_be_empty && !has_schema(&mut conn).await? {
        return Err(StoreError::Empty(path.to_owned()));
    }
    migrator()
        .run_direct(None, &mut conn, false)
        .await
        .map_err(|error| match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => StoreError::Newer(format!("migration {version}")),
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            other => StoreError::Migrate(other),
        })?;
    match std::fs::remove_file(&unfinished) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(failed(&unfinished, cause)),
        _ => Ok(conn),
    }
}

/// A connection for the writer, to a database that is there. `synchronous=FULL`: a commit is on disk before it is
/// acknowledged. `secure_delete`: deleted rows are overwritten with zeros.
pub(crate) async fn connect_writer(path: &Path) -> Result<SqliteConnection, StoreError> {
    let options = options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("secure_delete", "ON")
        .pragma("journal_size_limit", LOG_BYTES);
    Ok(options.connect().await?)
}

/// Moves all of the write-ahead log into the database and empties its file. False if a reader's transaction, which
/// may be another program's, still needs the log.
pub(crate) async fn empty_log(conn: &mut SqliteConnection, wait: Duration) -> Result<bool, StoreError> {
    set_busy(conn, wait).await?;
    let busy = sqlx::query_scalar::<_, i64>("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut *conn)
        .await;
    set_busy(conn, BUSY).await?;
    Ok(busy? == 0)
}

async fn set_busy(conn: &mut SqliteConnection, wait: Duration) -> Result<(), StoreError> {
    // A pragma takes no parameter. It is a number, so nothing can be injected.
    let sql = format!("PRAGMA busy_timeout = {}", wait.as_millis());
    sqlx::query(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
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
    path: PathBuf,
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
            path: path.to_owned(),
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
                    *slot = Some(self.connect().await?);
                }
                if let Ok(conn) = MutexGuard::try_map(slot, Option::as_mut) {
                    return Ok(Lent { conn, _place: place });
                }
            }
        }
    }

    async fn connect(&self) -> Result<SqliteConnection, StoreError> {
        let options = options(&self.path).pragma("query_only", "ON");
        // Nobody can write there, and no log is left to be read: the file is all there is.
        let immutable = is_read_only(&self.path) && !has_bytes(&beside(&self.path, "-wal"));
        let conn = options.immutable(immutable).connect().await;
        conn.map_err(|error| explained(error.into(), &self.path))
    }

    /// Replaces all connections by new ones, to the files that the path names now. If `check` refuses those files, the old
    /// connections stay. Waits until every old connection that is in use has been given back.
    pub(crate) async fn reopen(
        &self,
        check: impl AsyncFnOnce(&mut SqliteConnection) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut fresh = self.connect().await?;
        check(&mut fresh).await?;
        let mut fresh = Some(fresh);
        for slot in &self.slots {
            // As everyone who holds a slot does: so whoever has a place still finds a slot that is free.
            let _place = self.places.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
            if let Some(old) = std::mem::replace(&mut *slot.lock().await, fresh.take()) {
                // It was only read from: nothing can get lost.
                let _closed = old.close().await;
            }
        }
        Ok(())
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
        .busy_timeout(BUSY)
        .pragma("temp_store", "MEMORY")
        // Not mapped: mapped pages count as resident memory once for each connection.
        .pragma("cache_size", "-1024")
        .statement_cache_capacity(64)
        .disable_statement_logging()
}

/// Checks that the database is a complete store: a writer may still be making it, or its write-ahead log may be missing.
pub(crate) async fn check_readable(conn: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    match has_schema(conn).await {
        Ok(true) => Ok(()),
        Ok(false) if lacks_log(path) => Err(StoreError::Empty(path.to_owned())),
        // A writer is just making it.
        Ok(false) => Err(StoreError::Missing(path.to_owned())),
        Err(error) => Err(explained(error, path)),
    }
}

/// The error for a database whose log SQLite can't move into it, of which SQLite says only that it can't open the file.
fn explained(error: StoreError, path: &Path) -> StoreError {
    match is_read_only(path) && has_bytes(&beside(path, "-wal")) {
        true => StoreError::LogNotRead(path.to_owned()),
        false => error,
    }
}

/// Whether the migrations have run (a database file may exist a moment before its tables).
async fn has_schema(conn: &mut SqliteConnection) -> Result<bool, StoreError> {
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = 'tokens'")
        .fetch_one(conn)
        .await?;
    Ok(tables == 1)
}

/// Closes the writer's connection, with the log emptied: a copy of the database's file alone is then complete, even if
/// an api still reads it, and SQLite therefore keeps the log's file.
pub(crate) async fn close(mut conn: SqliteConnection) -> Result<(), StoreError> {
    let emptied = empty_log(&mut conn, Duration::from_millis(500)).await;
    conn.close().await?;
    emptied.map(drop)
}

/// One of the files that SQLite keeps beside a database: `-wal` or `-shm`.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// Whether this process can't make files where the database is.
fn is_read_only(database: &Path) -> bool {
    let dir = database.parent().unwrap_or(Path::new("."));
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_err()
}

/// Whether the database has a first page but no write-ahead log, in which the rest of it may have been.
fn lacks_log(database: &Path) -> bool {
    has_bytes(database) && !has_bytes(&beside(database, "-wal"))
}

fn has_bytes(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() > 0)
}

/// Tells, for the price of one `pread` and one `fstat`, whether anything was committed since it was last asked.
///
/// In WAL mode each commit rewrites the header of the `-shm` file, the WAL index
/// (<https://www.sqlite.org/walformat.html#the_wal_index_header>): it holds a counter of
/// transactions and the checksum of the last frame. Comparing its 48 bytes is what
/// `PRAGMA data_version` does, without the way to the connection's thread.
pub(crate) struct CommitClock {
    database: PathBuf,
    watched: RwLock<Watched>,
}

/// The files that are open for reading. After a restore the paths may name other files.
#[derive(Clone, Copy)]
struct Watched {
    database: Inode,
    /// The WAL index. None on a read-only volume without one.
    index: Option<(Inode, &'static File)>,
}

/// A file by device and inode.
type Inode = (u64, u64);

/// What [`CommitClock::read`] saw. Equal stamps: nothing was committed in between.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp([u8; 48]);

impl Stamp {
    /// Like no stamp that is ever read: a WAL index starts with its format's number.
    pub(crate) const NEVER: Self = Self([0; 48]);
    /// The stamp of a database that nobody can write to.
    const UNCHANGING: Self = Self([0xff; 48]);
}

/// The `-shm` files this process ever opened here, by device and inode, never closed: closing
/// any descriptor of such a file would drop SQLite's own POSIX locks on it in this process.
static OPENED: Mutex<BTreeMap<Inode, &'static File>> = Mutex::new(BTreeMap::new());

impl CommitClock {
    /// Opens the clock. A connection to the database must be open already and outlive it.
    pub(crate) fn open(database: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            database: database.to_owned(),
            watched: RwLock::new(Watched::open(database)?),
        })
    }

    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    /// Whether the paths name other files than those that are open, and a writer has opened the new ones already. Before that,
    /// a restore may still be copying.
    pub(crate) fn has_other_files(&self) -> bool {
        let watched = self.watched();
        let index = inode(&beside(&self.database, "-shm")).ok();
        let Ok(database) = inode(&self.database) else {
            return false;
        };
        let is_opened = index.is_some() || watched.index.is_none();
        is_opened && (database, index) != (watched.database, watched.index.map(|(inode, _)| inode))
    }

    /// Goes on with the files that the paths name now. A connection to them must be open already.
    pub(crate) fn reopen(&self) -> Result<(), StoreError> {
        let watched = Watched::open(&self.database)?;
        *self.watched.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = watched;
        Ok(())
    }

    pub(crate) fn read(&self) -> Result<Stamp, StoreError> {
        let Some((_, file)) = self.watched().index else {
            return Ok(Stamp::UNCHANGING);
        };
        let mut stamp = Stamp([0; 48]);
        let read = file.read_exact_at(&mut stamp.0, 0).and_then(|()| file.metadata());
        match read {
            // Deleted: other files are, or soon will be, in its place.
            Ok(metadata) if metadata.nlink() == 0 => Ok(Stamp::NEVER),
            Ok(_) => Ok(stamp),
            Err(cause) => Err(StoreError::Io {
                path: beside(&self.database, "-shm"),
                cause,
            }),
        }
    }

    fn watched(&self) -> Watched {
        *self.watched.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Watched {
    fn open(database: &Path) -> Result<Self, StoreError> {
        let index = beside(database, "-shm");
        let failed = |path: &Path, cause| StoreError::Io {
            path: path.to_owned(),
            cause,
        };
        Ok(Self {
            database: inode(database).map_err(|cause| failed(database, cause))?,
            index: match opened_once(&index) {
                Ok(opened) => Some(opened),
                Err(cause) if cause.kind() == ErrorKind::NotFound && is_read_only(database) => None,
                Err(cause) => return Err(failed(&index, cause)),
            },
        })
    }
}

fn inode(path: &Path) -> std::io::Result<Inode> {
    std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn opened_once(path: &Path) -> std::io::Result<(Inode, &'static File)> {
    let mut opened = OPENED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let inode = inode(path)?;
    let file = match opened.entry(inode) {
        Entry::Occupied(known) => *known.get(),
        Entry::Vacant(place) => *place.insert(Box::leak(Box::new(File::open(path)?))),
    };
    Ok((inode, file))
}
