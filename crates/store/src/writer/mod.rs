//! The one writer. A [`Batch`] is a transaction: many commands, one wait for the disk.

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

/// Size of a file's chunks before sealing, in bytes.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// A data key seals this often before a new one takes over: far below the 2^32 at which random
/// 96-bit nonces stop being safe (NIST SP 800-38D, 8.3).
const SEALS_PER_KEY: i64 = 1 << 28;

/// How many rows one statement inserts at the most. Each statement is a way to SQLite's thread and
/// back, which takes longer than a row does.
const ROWS: usize = 16;

/// Limits of what a [`Writer`] keeps.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// How many versions of an item are kept, the present one included. At least 1.
    pub history: u32,
    /// How often a data key seals before it is replaced. Lower only to test rotation.
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

/// What changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// An item is new.
    ItemCreated,
    /// An item has a new version.
    ItemUpdated,
    /// An item is gone.
    ItemDeleted,
    /// A vault is new, has another name, or is gone.
    VaultChanged,
    /// A token was registered or revoked.
    TokenChanged,
}

impl ChangeKind {
    /// As the `changes` table and `/v1/events` spell it.
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

/// A change of one batch, numbered at commit. The vault is empty for tokens, the item for
/// vaults and tokens, the version 0 where there is none.
struct Change {
    kind: ChangeKind,
    vault: String,
    item: String,
    version: u32,
    titles: [Option<[u8; 32]>; 2],
}

/// The store's only writer. Holds a lock in the data directory for as long as it lives.
pub struct Writer {
    conn: SqliteConnection,
    dir: PathBuf,
    state: State,
    reserve: Reserve,
    _lock: File,
}

struct State {
    keyring: Keyring,
    options: WriterOptions,
    vaults: BTreeMap<VaultId, VaultState>,
    /// Retired ids, and the source that each belonged to.
    retired: BTreeMap<VaultId, String>,
    store_key: SealKey,
    store_index: IndexKey,
    next_change: i64,
    next_activity: i64,
    activity: Usage,
    /// A batch was neither committed nor rolled back: the state in memory may be ahead of the database, and SQLite may have
    /// ended the transaction although sqlx believes it open.
    stale: bool,
    /// Whether an item that changes leaves its old version in the history.
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
    seals: i64,
    saved: i64,
}

impl Writer {
    /// Opens or creates the store in `dir` and runs its migrations.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process writes, [`StoreError::Directory`] if the
    /// directory can't be used, [`StoreError::WrongKeys`] for another credentials file's store.
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
    /// If the database can't be used. The next call tries again on a new connection.
    pub async fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        if self.state.stale {
            self.reopen().await?;
        }
        self.state.stale = true;
        let tx = sqlx::Connection::begin_with(&mut self.conn, "BEGIN IMMEDIATE").await?;
        Ok(Batch {
            tx,
            state: &mut self.state,
            touched: BTreeMap::new(),
            changes: Vec::new(),
            inserts: Vec::new(),
        })
    }

    /// After some errors (FULL, IOERR, NOMEM, INTERRUPT, BUSY) SQLite ends a transaction by itself
    /// (<https://www.sqlite.org/lang_transaction.html>), but sqlx believes it open for ever. So after a batch
    /// that could not begin, or was neither committed nor rolled back, the connection is replaced, whatever the error was.
    async fn reopen(&mut self) -> Result<(), StoreError> {
        // Open the new connection before the old one is closed: closing the last connection deletes the WAL index, and a
        // full disk has no room for a new one.
        let fresh = sqlite::connect_writer(&self.dir.join(DATABASE_FILE)).await?;
        let broken = std::mem::replace(&mut self.conn, fresh);
        // An error while closing is ignored: the connection holds nothing that is still needed.
        let _closed = sqlx::Connection::close(broken).await;
        self.state.reload(&mut self.conn).await
    }

    /// Whether the database can be written: writes the time into it.
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

    /// The room on the volume. None if the system does not say.
    pub fn space(&self) -> Option<Space> {
        Space::of(&self.dir)
    }

    /// Whether the reserve (room on the disk for urgent writes) is held. If it is not, tries to take it.
    pub fn hold_reserve(&mut self) -> bool {
        self.reserve.hold()
    }

    /// Takes the rest of the reserve, if there was room only for a part of it last time.
    pub fn refill_reserve(&mut self) {
        self.reserve.refill();
    }

    /// Gives the reserve back to the disk, for an urgent write. Returns whether there was any.
    pub fn release_reserve(&mut self) -> bool {
        self.reserve.release()
    }

    /// Empties the write-ahead log, so that the next write finds room in it or on the volume. False if a reader's
    /// transaction needs the log for longer than `wait`.
    ///
    /// # Errors
    /// If the database can't be used, or has no room itself.
    pub async fn empty_log(&mut self, wait: Duration) -> Result<bool, StoreError> {
        if self.state.stale {
            self.reopen().await?;
        }
        sqlite::empty_log(&mut self.conn, wait).await
    }

    /// Sets whether items that change leave their old version in the history. Versions that are in it stay either way.
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

/// A writer that opens the store with less free room than this, in bytes, gives up the reserve for it: SQLite needs
/// files beside the database.
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
    // A process that can open the lock file can lock it, and so keep the writer from starting. If another user owns the
    // file, its mode can't be changed, and stays.
    let _ = file.set_permissions(Permissions::from_mode(0o600));
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(PathBuf::from(dir))),
        Err(TryLockError::Error(cause)) => Err(StoreError::Io { path, cause }),
    }
}

/// What a batch did to a vault, written once at commit.
#[derive(Default)]
struct Touched {
    items: i64,
}

/// A transaction. Dropping it without [`Batch::commit`] changes nothing.
pub struct Batch<'w> {
    tx: Transaction<'w, Sqlite>,
    state: &'w mut State,
    touched: BTreeMap<VaultId, Touched>,
    changes: Vec<Change>,
    /// Sealed already, written a few at once: see [`Batch::write_inserts`].
    inserts: Vec<NewItem>,
}
