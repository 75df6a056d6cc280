//! Everything that depends on SQLite itself: how its files are opened, checked and closed, and what its file formats tell.

mod connection_pool;
mod wal_index;

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlStr, SqliteConnection};

use crate::StoreError;

pub(crate) use connection_pool::ConnectionPool;
pub(crate) use wal_index::{WalIndexWatcher, WalStamp};

/// SQLite cuts the write-ahead log's file to this many bytes (`PRAGMA journal_size_limit`) once all of the log is in the
/// database. Without a limit the file keeps the largest size that it ever had, for example while a long read kept SQLite from
/// moving the log into the database.
const LOG_BYTES: &str = "8388608";

/// How long a connection waits for a lock (`PRAGMA busy_timeout`).
const BUSY: Duration = Duration::from_secs(10);

/// Creates the database if there is none, and opens the writer's connection to it.
pub(crate) async fn open_writer(path: &Path) -> Result<SqliteConnection, StoreError> {
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

/// A connection for the writer, to a database that exists.
pub(crate) async fn connect_writer(path: &Path) -> Result<SqliteConnection, StoreError> {
    let options = options(path)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit returns only when it is on disk.
        .synchronous(SqliteSynchronous::Full)
        // Deleted rows are overwritten with zeros.
        .pragma("secure_delete", "ON")
        .pragma("journal_size_limit", LOG_BYTES);
    Ok(options.connect().await?)
}

/// Moves all of the write-ahead log into the database and truncates the log's file. False if a reader's transaction, which
/// may be another program's, still needs the log after `wait`.
pub(crate) async fn empty_log(conn: &mut SqliteConnection, wait: Duration) -> Result<bool, StoreError> {
    set_busy(conn, wait).await?;
    let busy = sqlx::query_scalar::<_, i64>("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut *conn)
        .await;
    set_busy(conn, BUSY).await?;
    Ok(busy? == 0)
}

async fn set_busy(conn: &mut SqliteConnection, wait: Duration) -> Result<(), StoreError> {
    // A pragma takes no bound parameter. The text that is put in is a number, so it can't inject SQL.
    let sql = format!("PRAGMA busy_timeout = {}", wait.as_millis());
    sqlx::query(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

/// The schema changes of `migrations/`, oldest first. They are listed by hand because the macro `sqlx::migrate!` would compile
/// SQLite and the asynchronous runtime a second time, for the build machine.
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

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .pragma("temp_store", "MEMORY")
        // 1 MiB for each connection. The file is not memory-mapped: mapped pages count as resident once for each connection.
        .pragma("cache_size", "-1024")
        .statement_cache_capacity(64)
        .disable_statement_logging()
}

/// Checks that the database is a complete store: a writer may still be creating it, or its write-ahead log may be missing.
pub(crate) async fn check_readable(conn: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    match has_schema(conn).await {
        Ok(true) => Ok(()),
        Ok(false) if lacks_log(path) => Err(StoreError::Empty(path.to_owned())),
        // A writer is creating it at this moment.
        Ok(false) => Err(StoreError::Missing(path.to_owned())),
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
async fn has_schema(conn: &mut SqliteConnection) -> Result<bool, StoreError> {
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = 'tokens'")
        .fetch_one(conn)
        .await?;
    Ok(tables == 1)
}

/// Empties the log and closes the writer's connection. After that a copy of the database's file alone is complete, even if an
/// api still reads the database, for which SQLite keeps the log's file.
pub(crate) async fn close(mut conn: SqliteConnection) -> Result<(), StoreError> {
    let emptied = empty_log(&mut conn, Duration::from_millis(500)).await;
    conn.close().await?;
    emptied.map(drop)
}

/// The path of one of the files that SQLite keeps beside a database: `-wal` or `-shm`.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
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

fn has_bytes(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() > 0)
}
