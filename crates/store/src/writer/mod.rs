//! The one writer. A [`Batch`] is a transaction: many commands, one wait for the disk.

mod commit;
mod files;
mod items;
mod records;
mod state;
mod vaults;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sidevault_keys::{DataKey, IndexKey, KeyEncryptionKey};
use sidevault_model::VaultId;
use sqlx::{Sqlite, SqliteConnection, Transaction};

use self::items::NewItem;
use crate::command::VaultInfo;
use crate::keyring::Keyring;
use crate::{DATABASE_FILE, StoreError, sqlite};

/// Size of a file's chunks before sealing, in bytes.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// A data key seals this often before a new one takes over: far below the 2^32 at which random
/// 96-bit nonces stop being safe (NIST SP 800-38D, 8.3).
const SEALS_PER_KEY: i64 = 1 << 28;

/// How many rows one statement inserts at the most. Each statement is a way to SQLite's thread and
/// back, which takes longer than a row does.
const ROWS: usize = 16;

/// How a [`Writer`] keeps things.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// How many versions of an item are kept, the present one included. At least 1.
    pub history: u32,
    /// How often a data key seals before it is replaced. Lower only to test rotation.
    pub seals_per_key: i64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            history: 20,
            seals_per_key: SEALS_PER_KEY,
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
    state: State,
    _lock: File,
}

struct State {
    keyring: Keyring,
    options: WriterOptions,
    vaults: BTreeMap<VaultId, VaultState>,
    /// Retired ids, and the source that each belonged to.
    retired: BTreeMap<VaultId, String>,
    store_key: SealKey,
    next_change: i64,
    next_activity: i64,
    activity_records: i64,
    /// A batch was dropped half-way: what is in memory may be ahead of the database.
    stale: bool,
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
        let mut conn = sqlite::open_writer(&dir.join(DATABASE_FILE)).await?;
        let keyring = Keyring::new(kek);
        let state = State::load(&mut conn, keyring, options).await?;
        Ok(Self {
            conn,
            state,
            _lock: lock,
        })
    }

    /// Starts a transaction.
    pub async fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        if self.state.stale {
            self.state.reload(&mut self.conn).await?;
        }
        let tx = sqlx::Connection::begin_with(&mut self.conn, "BEGIN IMMEDIATE").await?;
        self.state.stale = true;
        Ok(Batch {
            tx,
            state: &mut self.state,
            touched: BTreeMap::new(),
            changes: Vec::new(),
            inserts: Vec::new(),
        })
    }

    /// Closes the database, and moves the write-ahead log into it if this was the last user.
    pub async fn close(self) -> Result<(), StoreError> {
        sqlite::close(self.conn).await
    }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let unusable = |cause| StoreError::Directory {
        path: dir.to_owned(),
        uid: rustix::process::geteuid().as_raw(),
        cause,
    };
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let path = dir.join("writer.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(unusable)?;
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
