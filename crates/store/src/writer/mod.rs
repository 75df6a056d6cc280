//! The store's only writer. A [`Batch`] is a transaction, which may carry out many commands with one wait for the disk.

mod commit;
mod files;
mod items;
mod records;
mod reserve;
mod state;
#[cfg(test)]
mod tests;
mod vaults;

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sidevault_keys::{DataKey, IndexKey, KeyEncryptionKey};
use sidevault_model::{Timestamp, VaultId};
use sqlx::{Sqlite, SqliteConnection, Transaction};

use self::items::NewItem;
use self::reserve::Reserve;
use crate::activity::{KEPT_BYTES, Usage};
use crate::command::VaultInfo;
use crate::keyring::Keyring;
use crate::{DATABASE_FILE, Space, StoreError, sqlite};

/// How many bytes of a file one chunk has before it is sealed. The last chunk may have fewer.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// How often a data key seals before a new one replaces it. With random 96-bit nonces one key must seal less than 2^32 times
/// (NIST SP 800-38D, 8.3).
const SEALS_PER_KEY: i64 = 1 << 28;

/// The most rows of one INSERT. A statement's way to the connection's thread and back takes longer than inserting a row.
const ROWS: usize = 16;

/// Limits of a [`Writer`].
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// How many versions of an item are kept, the present one included. At least 1.
    pub history: u32,
    /// How often a data key seals before it is replaced. Tests of the rotation set it lower.
    pub seals_per_key: i64,
    /// The most bytes that the activity log takes on disk.
    pub activity_bytes: u64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            history: 20,
            seals_per_key: SEALS_PER_KEY,
            activity_bytes: KEPT_BYTES,
        }
    }
}

/// The kind of a change in the change log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// An item was created.
    ItemCreated,
    /// An item has a new version.
    ItemUpdated,
    /// An item was deleted.
    ItemDeleted,
    /// A vault was created, renamed or deleted.
    VaultChanged,
    /// A token was revoked.
    TokenChanged,
}

impl ChangeKind {
    /// The kind's word in the table `changes` and in `/v1/events`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ItemCreated => "item.created",
            Self::ItemUpdated => "item.updated",
            Self::ItemDeleted => "item.deleted",
            Self::VaultChanged => "vault.changed",
            Self::TokenChanged => "token.changed",
        }
    }
}

/// A change that gets its number at commit.
struct Change {
    kind: ChangeKind,
    /// Empty for changes of tokens.
    vault: String,
    /// Empty for changes of vaults and tokens.
    item: String,
    /// 0 for changes of vaults and tokens.
    version: u32,
    /// The hashes of the item's title before and after the change.
    titles: [Option<[u8; 32]>; 2],
}

/// The store's only writer. While it exists, it holds a lock on `writer.lock` in the data directory.
pub struct Writer {
    conn: SqliteConnection,
    dir: PathBuf,
    state: State,
    reserve: Reserve,
    _lock: File,
}

/// The part of the database that the writer keeps in memory, and its keys.
struct State {
    keyring: Keyring,
    options: WriterOptions,
    vaults: BTreeMap<VaultId, VaultState>,
    /// Retired ids, and the source that each id's vault had.
    retired: BTreeMap<VaultId, String>,
    store_key: SealKey,
    store_index: IndexKey,
    next_change: i64,
    next_activity: i64,
    activity: Usage,
    /// A batch was begun and not committed: the state in memory may be ahead of the database, and SQLite may have ended the
    /// transaction although sqlx takes it for open.
    stale: bool,
    /// Whether the old version of an item that changes goes into the history.
    keeps_history: bool,
    /// A vault was deleted, and its keys may still be in the write-ahead log. `unwiped` in the table `store` says the same to
    /// the next writer.
    has_remains: bool,
}

struct VaultState {
    info: VaultInfo,
    key: SealKey,
    index: Arc<IndexKey>,
}

struct SealKey {
    key: Arc<DataKey>,
    /// How often the key has sealed.
    seals: i64,
    /// The value of `seals` in the database.
    saved: i64,
}

impl Writer {
    /// Opens or creates the store in `dir`, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process is the writer; [`StoreError::Directory`] if the directory can't be used;
    /// [`StoreError::WrongKeys`] if the store was created with another credentials file.
    pub async fn open(dir: &Path, kek: KeyEncryptionKey, options: WriterOptions) -> Result<Self, StoreError> {
        let lock = lock(dir)?;
        let mut reserve = Reserve::new(dir);
        if Space::of(dir).is_some_and(|space| space.free < ROOM_TO_OPEN) {
            reserve.release();
        }
        let mut conn = sqlite::open_writer(&dir.join(DATABASE_FILE)).await?;
        let keyring = Keyring::new(kek);
        let state = State::load(&mut conn, keyring, options).await?;
        reserve.hold();
        Ok(Self {
            conn,
            dir: dir.to_owned(),
            state,
            reserve,
            _lock: lock,
        })
    }

    /// Starts a transaction.
    ///
    /// # Errors
    /// If the database can't be used. The next call tries again with a new connection.
    pub async fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        if self.state.stale {
            self.reopen().await?;
        }
        self.state.stale = true;
        let tx = sqlx::Connection::begin_with(&mut self.conn, "BEGIN IMMEDIATE").await?;
        Ok(Batch {
            tx,
            state: &mut self.state,
            deltas: BTreeMap::new(),
            changes: Vec::new(),
            inserts: Vec::new(),
        })
    }

    /// Replaces the connection after a batch that could not begin or was not committed, whatever the reason.
    ///
    /// After some errors (FULL, IOERR, NOMEM, INTERRUPT, BUSY) SQLite ends a transaction by itself
    /// (<https://www.sqlite.org/lang_transaction.html>), but sqlx takes it for open until the connection is closed.
    async fn reopen(&mut self) -> Result<(), StoreError> {
        // The new connection is opened before the old one is closed: closing the last connection deletes the WAL index, and a
        // full disk has no room for a new one.
        let fresh = sqlite::connect_writer(&self.dir.join(DATABASE_FILE)).await?;
        let broken = std::mem::replace(&mut self.conn, fresh);
        // An error while closing loses nothing: what the broken connection has not committed is given up anyway.
        sqlx::Connection::close(broken).await.ok();
        self.state.reload(&mut self.conn).await
    }

    /// Checks that the database can be written, by writing the time into it.
    ///
    /// # Errors
    /// If the write fails.
    pub async fn probe(&mut self) -> Result<(), StoreError> {
        let mut batch = self.begin().await?;
        sqlx::query("UPDATE store SET written_at = $1")
            .bind(Timestamp::now().as_millis())
            .execute(&mut *batch.tx)
            .await?;
        batch.commit().await?;
        Ok(())
    }

    /// The space of the data directory's volume. None if the operating system does not tell.
    pub fn space(&self) -> Option<Space> {
        Space::of(&self.dir)
    }

    /// Takes the reserve (room on the disk for urgent writes), unless it is held already. Returns whether it is held now.
    pub fn hold_reserve(&mut self) -> bool {
        self.reserve.hold()
    }

    /// Takes the whole reserve, if there was room only for a part of it before.
    pub fn refill_reserve(&mut self) {
        self.reserve.refill();
    }

    /// Gives the reserve's room back to the disk, for an urgent write. Returns whether there was a reserve.
    pub fn release_reserve(&mut self) -> bool {
        self.reserve.release()
    }

    /// Moves the write-ahead log into the database and truncates the log, so that the next write finds room on the volume. False
    /// if a reader's transaction still needs the log after `wait`.
    ///
    /// # Errors
    /// If the database can't be used, or the volume has no room for the log's content in the database.
    pub async fn empty_log(&mut self, wait: Duration) -> Result<bool, StoreError> {
        if self.state.stale {
            self.reopen().await?;
        }
        sqlite::empty_log(&mut self.conn, wait).await
    }

    /// Sets whether the old version of an item that changes goes into the history. Versions that are in the history stay.
    pub fn keep_history(&mut self, keeps: bool) {
        self.state.keeps_history = keeps;
    }

    /// Empties the write-ahead log if a vault was deleted since it was last emptied, by this writer or by one that was killed:
    /// rows of the vault, and above all its keys, may still be in it. False if a reader's transaction needs the log for longer
    /// than `wait`: then the next call tries again.
    ///
    /// # Errors
    /// If the database can't be used.
    pub async fn wipe_deleted(&mut self, wait: Duration) -> Result<bool, StoreError> {
        if !self.state.has_remains {
            return Ok(true);
        }
        if !self.empty_log(wait).await? {
            return Ok(false);
        }
        self.state.has_remains = false;
        // If this fails, the next writer empties the log once more than it has to.
        sqlx::query("UPDATE store SET unwiped = 0")
            .execute(&mut self.conn)
            .await
            .ok();
        Ok(true)
    }

    /// Empties the write-ahead log and closes the database.
    pub async fn close(self) -> Result<(), StoreError> {
        sqlite::close(self.conn).await
    }
}

/// If less than this many bytes are free when a writer opens the store, it releases the reserve first: SQLite creates files
/// beside the database when it opens the database.
const ROOM_TO_OPEN: u64 = 256 * 1024;

fn lock(dir: &Path) -> Result<File, StoreError> {
    let unusable = |cause| StoreError::Directory {
        path: dir.to_owned(),
        uid: rustix::process::geteuid().as_raw(),
        cause,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(unusable)?;
    let path = dir.join("writer.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    // A process of another user that could open the file could lock it, and so keep the writer from starting. An error is
    // ignored: if another user owns the file, this process can't change its mode.
    file.set_permissions(Permissions::from_mode(0o600)).ok();
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(PathBuf::from(dir))),
        Err(TryLockError::Error(cause)) => Err(StoreError::Io { path, cause }),
    }
}

/// What a batch changes in the row of a vault. It is written once, at commit.
#[derive(Default)]
struct VaultDelta {
    /// By how many the number of active items grows.
    items: i64,
}

/// A transaction. If it is dropped without [`Batch::commit`], nothing is changed.
pub struct Batch<'w> {
    tx: Transaction<'w, Sqlite>,
    state: &'w mut State,
    deltas: BTreeMap<VaultId, VaultDelta>,
    changes: Vec<Change>,
    /// New items, sealed and not written yet: see [`Batch::write_inserts`].
    inserts: Vec<NewItem>,
}
