//! Everything that depends on SQLite itself: how its files are opened, checked and closed, and what its file formats tell.

mod wal_index;
mod writer_lock;

use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use sqlx::any::AnyConnectOptions;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use crate::connection::{Connection, Settings};
use crate::database::database_file;
use crate::{StoreError, migrations};

pub(crate) use wal_index::{WalIndexWatcher, WalStamp};
pub(crate) use writer_lock::WriterLock;

/// Begins a transaction of the writer. The lock is taken now, so that no later statement of the transaction has to wait for it.
pub(crate) const BEGIN: &str = "BEGIN IMMEDIATE";

/// How long a connection waits for a lock (`PRAGMA busy_timeout`).
const BUSY: Duration = Duration::from_secs(10);

/// Settings of every connection. `busy_timeout` is [`BUSY`] in milliseconds. The cache takes 1 MiB for each connection. The file
/// is not memory-mapped: mapped pages count as resident once for each connection.
const PRAGMAS: &str = "PRAGMA busy_timeout = 10000; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -1024";

/// Settings of readers' connections.
const READER_PRAGMAS: &str = "PRAGMA query_only = ON";

/// Settings of the writer's connection:
///
/// - A commit returns only when it is on disk.
/// - Deleted rows are overwritten with zeros.
/// - SQLite cuts the write-ahead log's file to this many bytes once all of the log is in the database. Without a limit the file
///   keeps the largest size that it ever had, for example while a long read kept SQLite from moving the log into the database.
const WRITER_PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; \
     PRAGMA journal_size_limit = 8388608";

/// Creates the database if there is none, and opens the writer's connection to it.
pub(crate) async fn open_writer(dir: &Path) -> Result<Connection, StoreError> {
    let path = &database_file(dir);
    let failed = |path: &Path, cause| StoreError::Io {
        path: path.to_owned(),
        cause,
    };
    // SQLite gives its other files the mode of this one. An existing file is not opened here: to close it would drop the locks
    // that SQLite may have on it in this process.
    let create = |path: &Path| File::options().create_new(true).write(true).mode(0o600).open(path);
    // This file exists while a writer creates the database. Without it, a database without tables is an incomplete copy.
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
        .run_direct(None, conn.inner(), false)
        .await
        .map_err(StoreError::of_migration)?;
    remove_if_there(&unfinished).map_err(|cause| failed(&unfinished, cause))?;
    Ok(conn)
}

/// A connection for the writer, to a database that exists.
pub(crate) async fn connect_writer(path: &Path) -> Result<Connection, StoreError> {
    let mut conn = connect(path, false).await?;
    conn.run(WRITER_PRAGMAS).await?;
    Ok(conn)
}

/// A connection for a reader. It never writes, but it opens the database for reading and writing: while no writer runs, a reader
/// must be able to recover the write-ahead log.
pub(crate) async fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing(path.display().to_string()));
    }
    // On a read-only volume without a log the database's file is complete and can't change.
    let immutable = is_read_only(path) && !has_bytes(&beside(path, "-wal"));
    let connected = async {
        let mut conn = connect(path, immutable).await?;
        conn.run(READER_PRAGMAS).await?;
        Ok(conn)
    };
    connected.await.map_err(|error| explained(error, path))
}

/// Copies the database, as one transaction sees it, into a new file that only this user may read. The new file has no unused pages.
pub(crate) async fn copy_into(conn: &mut Connection, file: &Path) -> Result<(), StoreError> {
    create_empty(file)?;
    // SQLite takes the statement for a change of the database that is copied.
    conn.run("PRAGMA query_only = OFF").await?;
    sqlx::query("VACUUM INTO $1")
        .bind(file.to_string_lossy().into_owned())
        .execute(&mut *conn)
        .await?;
    conn.run(READER_PRAGMAS).await
}

/// Opens a database that has no write-ahead log, and that only this connection uses.
pub(crate) async fn connect_single_file(path: &Path) -> Result<Connection, StoreError> {
    let mut conn = connect(path, false).await?;
    conn.run("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON")
        .await?;
    Ok(conn)
}

/// Creates a database with empty tables, to be filled by this connection only. If that fails, the file is useless.
pub(crate) async fn create_single_file(path: &Path) -> Result<Connection, StoreError> {
    create_empty(path)?;
    let mut conn = connect(path, false).await?;
    migrator()
        .run_direct(None, conn.inner(), false)
        .await
        .map_err(StoreError::of_migration)?;
    conn.run("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").await?;
    Ok(conn)
}

/// Opens a file that no process changes. SQLite makes no file beside it.
pub(crate) async fn connect_immutable(path: &Path) -> Result<Connection, StoreError> {
    let mut conn = connect(path, true).await?;
    conn.run(READER_PRAGMAS).await?;
    Ok(conn)
}

/// Makes an empty file that only this user may read. An existing file is emptied, and the files that SQLite keeps beside it are
/// removed: a process that was killed may have left a rollback journal, which SQLite would play into the new content.
pub(crate) fn create_empty(path: &Path) -> Result<File, StoreError> {
    let create = || {
        for suffix in ["-journal", "-wal", "-shm"] {
            remove_if_there(&beside(path, suffix))?;
        }
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(file)
    };
    create().map_err(|cause| StoreError::Io {
        path: path.to_owned(),
        cause,
    })
}

async fn connect(path: &Path, immutable: bool) -> Result<Connection, StoreError> {
    sqlx::any::install_default_drivers();
    // Without a slash, so that the URL's parser takes the path as it is.
    let path = percent_encode(path.as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC);
    let options: AnyConnectOptions = format!("sqlite:{path}?immutable={immutable}").parse()?;
    let settings = Settings {
        keeps_statements: true,
        timeout: None,
    };
    let mut conn = Connection::new(options.disable_statement_logging().connect().await?, settings);
    conn.run(PRAGMAS).await?;
    Ok(conn)
}

/// Moves all of the write-ahead log into the database and truncates the log's file. False if a reader's transaction, which
/// may be another program's, still needs the log after `wait`.
pub(crate) async fn empty_log(conn: &mut Connection, wait: Duration) -> Result<bool, StoreError> {
    set_busy(conn, wait).await?;
    let busy = sqlx::query_scalar::<_, i64>("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut *conn)
        .await;
    set_busy(conn, BUSY).await?;
    Ok(busy? == 0)
}

async fn set_busy(conn: &mut Connection, wait: Duration) -> Result<(), StoreError> {
    // A pragma takes no bound parameter. The text that is put in is a number, so it can't inject SQL.
    let sql = format!("PRAGMA busy_timeout = {}", wait.as_millis());
    sqlx::query(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

/// The schema changes of `migrations/sqlite/`, oldest first.
fn migrator() -> Migrator {
    migrations::migrator([(1, "store", include_str!("../../../migrations/sqlite/0001_store.sql"))])
}

/// Checks that the database is a complete store that this version can read: a writer may still be creating it, its write-ahead log
/// may be missing, or a newer version may have changed it.
pub(crate) async fn check_readable(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    match has_schema(conn).await {
        Ok(true) => migrations::check_readable(conn).await,
        Ok(false) if lacks_log(path) => Err(StoreError::Empty(path.to_owned())),
        // A writer is creating it at this moment.
        Ok(false) => Err(StoreError::Missing(path.display().to_string())),
        Err(error) => Err(explained(error, path)),
    }
}

/// The error for a database whose log SQLite can't move into it. SQLite itself says only that it can't open the file.
fn explained(error: StoreError, path: &Path) -> StoreError {
    if is_read_only(path) && has_bytes(&beside(path, "-wal")) {
        StoreError::LogNotRead(path.to_owned())
    } else {
        error
    }
}

/// Whether the migrations have run: a database's file exists a moment before its tables.
async fn has_schema(conn: &mut Connection) -> Result<bool, StoreError> {
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = 'tokens'")
        .fetch_one(conn)
        .await?;
    Ok(tables == 1)
}

/// Empties the log and closes the writer's connection. After that a copy of the database's file alone is complete, even if an
/// api still reads the database, for which SQLite keeps the log's file.
pub(crate) async fn close(mut conn: Connection) -> Result<(), StoreError> {
    let emptied = empty_log(&mut conn, Duration::from_millis(500)).await;
    conn.close().await?;
    emptied.map(drop)
}

/// The path of one of the files that SQLite keeps beside a database: `-journal`, `-wal` or `-shm`.
pub(crate) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// Removes a file. That it is not there is no error.
pub(crate) fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

/// Whether this process can't create files in the database's directory.
fn is_read_only(database: &Path) -> bool {
    let dir = database.parent().unwrap_or(Path::new("."));
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_err()
}

/// Whether the database's file has content but no write-ahead log, in which its tables may have been.
fn lacks_log(database: &Path) -> bool {
    has_bytes(database) && !has_bytes(&beside(database, "-wal"))
}

pub(crate) fn has_bytes(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn filled(path: &Path, value: &str) {
        create_empty(path).unwrap();
        let mut conn = connect_single_file(path).await.unwrap();
        conn.run("CREATE TABLE t (value TEXT NOT NULL)").await.unwrap();
        for _ in 0..200 {
            sqlx::query("INSERT INTO t (value) VALUES ($1)")
                .bind(value.repeat(1000))
                .execute(&mut conn)
                .await
                .unwrap();
        }
        conn.close().await.unwrap();
    }

    /// A process that is killed in a transaction leaves a journal. SQLite would play it into whatever has the database's name.
    #[tokio::test]
    async fn a_new_file_does_not_get_the_pages_of_a_killed_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("database");
        filled(&path, "old").await;
        let journal = beside(&path, "-journal");
        let mut conn = connect_single_file(&path).await.unwrap();
        // A transaction that does not fit into the cache writes its journal to the disk.
        conn.run("PRAGMA cache_size = 1").await.unwrap();
        conn.run("BEGIN").await.unwrap();
        conn.run("UPDATE t SET value = upper(value)").await.unwrap();
        let left = std::fs::read(&journal).unwrap();
        assert!(!left.is_empty());
        drop(conn);

        let new = dir.path().join("new");
        filled(&new, "new").await;
        std::fs::write(&journal, left).unwrap();
        let mut to = create_empty(&path).unwrap();
        std::io::copy(&mut File::open(&new).unwrap(), &mut to).unwrap();
        let mut conn = connect_single_file(&path).await.unwrap();
        let values: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t WHERE value LIKE 'new%'")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert_eq!(values, 200);
        conn.close().await.unwrap();
    }
}
