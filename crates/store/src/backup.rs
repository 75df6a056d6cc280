//! Backups: a consistent copy of a store in one SQLite file, and a manifest in it. Rows stay sealed, so no keys are needed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sidevault_keys::KeyEncryptionKey;
use sidevault_model::Timestamp;
use sqlx::Row as _;

use crate::connection::Connection;
use crate::database::{Database, database_file};
use crate::row_check::{RowCounts, check_rows};
use crate::sqlite::{self, WriterLock};
use crate::store_row::{StoreRow, StoreState};
use crate::tables::{TABLES, Table};
use crate::writer::SEALS_PER_KEY;
use crate::{StoreError, postgres};

/// The version of the manifest.
const FORMAT: u32 = 1;

/// What a backup holds. The table `backup`, which only backups have, holds it as JSON.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The version of this structure: 1.
    pub format: u32,
    /// The version of Sidevault that made the backup.
    pub made_by: String,
    /// When the backup was begun.
    pub taken_at: Timestamp,
    /// The number of the newest change that the backup has.
    pub newest_change: i64,
    /// What each table holds. A row that is missing or was changed is noticed by this.
    pub tables: BTreeMap<String, TableDigest>,
    /// SHA-256 of the manifest's own text, in hexadecimal. The chain of segments that follow the backup begins with it.
    #[serde(skip)]
    pub sha256: String,
}

/// The content of a table.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TableDigest {
    /// How many rows the table has.
    pub rows: u64,
    /// SHA-256 of the rows in the order of the primary key, in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// How many rows a table has.
    pub fn rows(&self, table: &str) -> u64 {
        self.tables.get(table).map_or(0, |digest| digest.rows)
    }
}

/// Writes a consistent copy of a store to the new file `file`, in a directory that is for the caller only. The store may be served and
/// written meanwhile. SQLite copies itself (`VACUUM INTO`); PostgreSQL's rows are read in one transaction.
///
/// # Errors
/// [`StoreError::Missing`] if there is no store; [`StoreError::Replica`] and [`StoreError::Incomplete`] for a copy. After an error the
/// file is not a backup.
pub async fn back_up(from: &Database, file: &Path) -> Result<Manifest, StoreError> {
    let taken_at = Timestamp::now();
    let mut source = from.connect_reader().await?;
    from.check_readable(&mut source).await?;
    let row = match StoreRow::read(&mut source).await? {
        Some(row) => row,
        None => return Err(StoreError::Missing(from.to_string())),
    };
    match (row.state, from) {
        (StoreState::Incomplete, _) => return Err(StoreError::Incomplete),
        (StoreState::Replica, _) => return Err(StoreError::Replica),
        (StoreState::Complete, Database::Sqlite(_)) => sqlite::copy_into(&mut source, file).await?,
        (StoreState::Complete, Database::Postgres(_)) => copy_rows(&mut source, row, file).await?,
    }
    source.close().await?;
    let mut copy = sqlite::connect_single_file(file).await?;
    copy.run("CREATE TABLE backup (manifest TEXT NOT NULL)").await?;
    let manifest = write_manifest(&mut copy, taken_at).await?;
    copy.close().await?;
    sync_file(file)?;
    Ok(manifest)
}

/// Writes the manifest of the rows that are there into the table `backup`, which is empty.
pub(crate) async fn write_manifest(conn: &mut Connection, taken_at: Timestamp) -> Result<Manifest, StoreError> {
    let mut manifest = Manifest {
        format: FORMAT,
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at,
        newest_change: newest_change(conn).await?.unwrap_or_default(),
        tables: digests(conn).await?,
        sha256: String::new(),
    };
    let json = serde_json::to_string(&manifest).map_err(|_| StoreError::corrupt("the manifest"))?;
    manifest.sha256 = HEXLOWER.encode(&Sha256::digest(&json));
    sqlx::query("INSERT INTO backup (manifest) VALUES ($1)")
        .bind(json)
        .execute(conn)
        .await?;
    Ok(manifest)
}

async fn copy_rows(source: &mut Connection, row: StoreRow, file: &Path) -> Result<(), StoreError> {
    let mut target = sqlite::create_single_file(file).await?;
    source.run(postgres::BEGIN_SNAPSHOT).await?;
    target.run("BEGIN").await?;
    for table in &TABLES {
        table.rows().replace(source, &mut target).await?;
    }
    row.write(&mut target).await?;
    target.run("COMMIT").await?;
    source.run("COMMIT").await?;
    target.close().await
}

/// How many versions an item may have got since a backup whose store is lost, or can't be read.
const UNKNOWN_VERSIONS: i64 = 1_000_000;

/// Reads a backup's manifest, and compares each table with it.
///
/// # Errors
/// [`StoreError::NotBackup`] if the file is none, or can't be read; [`StoreError::BackupDiffers`] if it was damaged or changed.
pub async fn check_backup(file: &Path) -> Result<Manifest, StoreError> {
    let mut conn = open(file).await?;
    let manifest = check(&mut conn, file).await?;
    conn.close().await?;
    Ok(manifest)
}

/// Decrypts each row of a backup.
///
/// # Errors
/// As [`check_backup`]; [`StoreError::WrongKeys`] if the backup is of a store with other keys; [`StoreError::Corrupt`] names the first
/// row that can't be decrypted.
pub async fn check_backup_with_keys(file: &Path, kek: KeyEncryptionKey) -> Result<(Manifest, RowCounts), StoreError> {
    let mut conn = open(file).await?;
    let manifest = check(&mut conn, file).await?;
    let rows = check_rows(&mut conn, kek).await?;
    conn.close().await?;
    Ok((manifest, rows))
}

async fn open(file: &Path) -> Result<Connection, StoreError> {
    sqlite::connect_immutable(file)
        .await
        .map_err(|error| not_backup(file, error))
}

async fn check(conn: &mut Connection, file: &Path) -> Result<Manifest, StoreError> {
    let stored = sqlx::query("SELECT manifest FROM backup").fetch_one(&mut *conn).await;
    let stored = stored.map_err(|error| not_backup(file, error.into()))?;
    let json: String = stored.try_get("manifest")?;
    let mut manifest: Manifest = serde_json::from_str(&json)
        .map_err(|error| not_backup(file, StoreError::corrupt(format!("the manifest ({error})"))))?;
    manifest.sha256 = HEXLOWER.encode(&Sha256::digest(&json));
    if manifest.format != FORMAT {
        return Err(StoreError::newer(manifest.format.into()));
    }
    let found = digests(conn).await.map_err(|error| not_backup(file, error))?;
    for table in &TABLES {
        if found.get(table.name) != manifest.tables.get(table.name) {
            return Err(StoreError::BackupDiffers(table.name));
        }
    }
    Ok(manifest)
}

fn not_backup(file: &Path, error: StoreError) -> StoreError {
    StoreError::NotBackup {
        path: file.to_owned(),
        cause: error.to_string(),
    }
}

/// What a restore did.
#[derive(Debug)]
pub struct Restored {
    /// The manifest of the backup.
    pub manifest: Manifest,
    /// Where the store that was there before is now.
    pub moved_to: Option<PathBuf>,
    /// What the store that was there before had and the backup has not.
    pub lost: Lost,
}

/// What a store had that the backup in its place has not.
#[derive(Debug, PartialEq, Eq)]
pub enum Lost {
    /// There was no store.
    NoStore,
    /// The store that was there could not be read: the cause.
    Unknown(String),
    /// The backup is of another store, or the changes since are not in the change log any more.
    OtherStore,
    /// These changes.
    Changes {
        /// How many.
        count: u64,
        /// When the newest was made. None if there are none.
        newest: Option<Timestamp>,
        /// The ids of tokens that were revoked since: they have to be revoked again.
        revoked: Vec<String>,
    },
}

/// Makes the store in the data directory `dir` from a backup, whose every row is checked before. With `replace`, a store that is there
/// already is moved aside, beside the new one. An api may be serving it; no sync may be running. Later writes use new data keys.
///
/// # Errors
/// [`StoreError::Locked`] if a sync writes to the directory; [`StoreError::Occupied`] if there is a store and `replace` is false; the
/// errors of [`check_backup_with_keys`]. After an error the directory has the store that it had before.
pub async fn restore(file: &Path, dir: &Path, replace: bool, kek: KeyEncryptionKey) -> Result<Restored, StoreError> {
    let _lock = WriterLock::take(dir)?;
    let database = database_file(dir);
    if database.exists() && !replace {
        return Err(StoreError::Occupied);
    }
    let (manifest, _) = check_backup_with_keys(file, kek).await?;
    let (lost, newest) = if database.exists() {
        match look_at_old(dir, &manifest).await {
            Ok((lost, newest)) => (lost, Some(newest)),
            Err(error) => (Lost::Unknown(error.to_string()), None),
        }
    } else {
        (Lost::NoStore, None)
    };
    let new = sqlite::beside(&database, ".restoring");
    if let Err(error) = prepare(file, &new, newest.filter(|_| matches!(lost, Lost::Changes { .. }))).await {
        // It may have filled the disk.
        fs::remove_file(&new).ok();
        return Err(error);
    }
    let aside = sqlite::beside(&database, &format!(".replaced-{}", Timestamp::now().as_millis()));
    let moved_to = move_aside(&database, &aside)?.then_some(aside);
    fs::rename(&new, &database).map_err(|cause| io(&database, cause))?;
    sync_file(dir)?;
    Ok(Restored {
        manifest,
        moved_to,
        lost,
    })
}

/// The highest version of an item, and of the content of a vault, that a store has given out.
#[derive(Clone, Copy)]
struct Newest {
    item: i64,
    content: i64,
}

impl Newest {
    async fn read(conn: &mut Connection) -> Result<Self, StoreError> {
        let row = sqlx::query(
            "SELECT (SELECT COALESCE(MAX(version), 0) FROM items) AS items,
             (SELECT COALESCE(MAX(version), 0) FROM changes) AS changes,
             (SELECT COALESCE(MAX(content_version), 0) FROM vaults) AS content",
        )
        .fetch_one(&mut *conn)
        .await?;
        // An item that was deleted since the backup has its last version in the change log.
        Ok(Self {
            item: i64::max(row.try_get("items")?, row.try_get("changes")?),
            content: row.try_get("content")?,
        })
    }

    /// The same for a store of which only a backup is left.
    fn after_unknown(self) -> Self {
        Self {
            item: self.item.saturating_add(UNKNOWN_VERSIONS),
            content: self.content.saturating_add(UNKNOWN_VERSIONS),
        }
    }
}

/// Copies the backup to where its store will be, and makes a store of it. `newest` is what the store in its place has given out, if
/// that is known.
async fn prepare(file: &Path, new: &Path, newest: Option<Newest>) -> Result<(), StoreError> {
    let mut from = File::open(file).map_err(|cause| io(file, cause))?;
    let mut to = sqlite::create_empty(new)?;
    std::io::copy(&mut from, &mut to).map_err(|cause| io(new, cause))?;
    let mut conn = sqlite::connect_single_file(new).await?;
    conn.run("DROP TABLE backup").await?;
    // The store may have sealed more rows with these keys after the backup than the backup counts.
    sqlx::query("UPDATE vault_keys SET seals = $1 WHERE purpose = 'seal'")
        .bind(SEALS_PER_KEY)
        .execute(&mut conn)
        .await?;
    // Clients compare versions, so none may come a second time with another content.
    let newest = match newest {
        Some(newest) => newest,
        None => Newest::read(&mut conn).await?.after_unknown(),
    };
    sqlx::query("UPDATE store SET min_version = $1")
        .bind(newest.item.saturating_add(1).min(u32::MAX.into()))
        .execute(&mut conn)
        .await?;
    sqlx::query("UPDATE vaults SET content_version = $1")
        .bind(newest.content.saturating_add(1))
        .execute(&mut conn)
        .await?;
    // Readers expect it, also before a writer has opened the store.
    conn.run("PRAGMA journal_mode = WAL").await?;
    conn.close().await?;
    sync_file(new)
}

/// What the store in the directory has and the backup has not, and the versions that it has given out.
async fn look_at_old(dir: &Path, backup: &Manifest) -> Result<(Lost, Newest), StoreError> {
    // Also moves the write-ahead log into the database, so that the file that is moved aside is complete.
    let mut conn = sqlite::open_writer(dir).await?;
    let found = async { Ok((compare(&mut conn, backup).await?, Newest::read(&mut conn).await?)) }.await;
    sqlite::close(conn).await?;
    found
}

async fn compare(conn: &mut Connection, backup: &Manifest) -> Result<Lost, StoreError> {
    let known: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM changes WHERE seq = $1")
        .bind(backup.newest_change)
        .fetch_one(&mut *conn)
        .await?;
    if known == 0 {
        return Ok(Lost::OtherStore);
    }
    let since = sqlx::query("SELECT COUNT(*) AS n, MAX(at) AS newest FROM changes WHERE seq > $1")
        .bind(backup.newest_change)
        .fetch_one(&mut *conn)
        .await?;
    let revoked = sqlx::query_scalar("SELECT jti FROM tokens WHERE revoked_at > $1 ORDER BY jti")
        .bind(backup.taken_at.as_millis())
        .fetch_all(&mut *conn)
        .await?;
    Ok(Lost::Changes {
        count: since.try_get::<i64, _>("n")?.unsigned_abs(),
        newest: since.try_get::<Option<i64>, _>("newest")?.map(Timestamp::from_millis),
        revoked,
    })
}

/// Gives the old database another name, and its write-ahead log, if it could not be emptied. The old name stays until the new database
/// takes it. A log whose database is gone is moved too: SQLite would play it into the new database. Returns whether there was a
/// database.
fn move_aside(database: &Path, aside: &Path) -> Result<bool, StoreError> {
    let exists = database.exists();
    if exists {
        fs::hard_link(database, aside).map_err(|cause| io(aside, cause))?;
    }
    for suffix in ["-wal", "-shm"] {
        let old = sqlite::beside(database, suffix);
        if suffix == "-wal" && sqlite::has_bytes(&old) {
            let kept = sqlite::beside(aside, suffix);
            fs::hard_link(&old, &kept).map_err(|cause| io(&kept, cause))?;
        }
        sqlite::remove_if_there(&old).map_err(|cause| io(&old, cause))?;
    }
    Ok(exists)
}

async fn newest_change(conn: &mut Connection) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar("SELECT MAX(seq) FROM changes")
        .fetch_one(conn)
        .await?)
}

async fn digests(conn: &mut Connection) -> Result<BTreeMap<String, TableDigest>, StoreError> {
    let mut all = BTreeMap::new();
    for table in TABLES {
        all.insert(table.name.to_owned(), digest(table, conn).await?);
    }
    Ok(all)
}

async fn digest(table: &'static Table, conn: &mut Connection) -> Result<TableDigest, StoreError> {
    let (mut rows, mut sha256) = (0, Sha256::new());
    let each = table.rows().each(conn, |row| {
        row.iter().for_each(|value| value.feed(|bytes| sha256.update(bytes)));
        rows += 1;
        Ok(())
    });
    each.await?;
    let sha256 = HEXLOWER.encode(&sha256.finalize());
    Ok(TableDigest { rows, sha256 })
}

/// Waits until a file, or the names in a directory, are on disk.
pub(crate) fn sync_file(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|cause| io(path, cause))
}

pub(crate) fn io(path: &Path, cause: std::io::Error) -> StoreError {
    StoreError::Io {
        path: path.to_owned(),
        cause,
    }
}
