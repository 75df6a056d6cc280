//! Reads. Every call first checks, with one `pread`, whether anything was committed since the caches were brought up to date.
//! So a read is right without any message from the writer.

mod batch_loader;
mod files;
mod items;
mod records;
mod refresh;

pub use items::{ItemVersion, StoredItem, Summary};
pub use records::ChangeRecord;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use sidevault_keys::{IndexKey, KeyEncryptionKey, Token};
use sidevault_model::{Access, Vault, VaultId};
use tokio::sync::Mutex;

use self::batch_loader::BatchLoader;
use crate::cache::{SealedCache, SealedDetail, SealedSummary};
use crate::keyring::{Keyring, STORE};
use crate::sqlite::{self, ConnectionPool, WalIndexWatcher, WalStamp};
use crate::{DATABASE_FILE, StoreError};

/// Limits of a [`Reader`].
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// The most memory that cached rows may take, in bytes.
    pub cache_bytes: u64,
    /// The most connections to the database.
    pub connections: u32,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            connections: 4,
        }
    }
}

/// A vault, and where it comes from.
pub struct VaultEntry {
    /// The vault as Connect shows it.
    pub vault: Vault,
    /// [`crate::LOCAL_SOURCE`], or the name of the directory source that the vault comes from.
    pub source: String,
    index: Arc<IndexKey>,
    sealed: Vec<u8>,
}

impl VaultEntry {
    /// Whether REST may write to the vault.
    pub fn is_local(&self) -> bool {
        self.source == crate::LOCAL_SOURCE
    }
}

/// All vaults and revoked tokens, as they were after one change.
pub struct Snapshot {
    vaults: BTreeMap<VaultId, Arc<VaultEntry>>,
    retired: Arc<HashSet<VaultId>>,
    revoked: HashSet<String>,
    seq: i64,
    /// The random id that the writer wrote when it opened the store.
    opening: String,
}

impl Snapshot {
    /// All vaults, by id.
    pub fn vaults(&self) -> impl Iterator<Item = &Arc<VaultEntry>> {
        self.vaults.values()
    }

    /// The vault with this id.
    pub fn vault(&self, id: VaultId) -> Option<&Arc<VaultEntry>> {
        self.vaults.get(&id)
    }

    /// The token's rights in a vault, whether the vault exists or not. `None`: the vault is not in the token's scope.
    pub fn access(&self, token: &Token, vault: VaultId) -> Option<Access> {
        let access = token.vaults.get(&vault)?;
        // Most tokens have no vault by name, so the sets are rarely searched.
        let refused = token.by_name.contains(&vault) && self.is_retired(vault);
        (!refused).then_some(*access)
    }

    /// Whether the id is retired, so that tokens made by a vault's name do not open it: see
    /// [`Batch::retire_vault_id`](crate::Batch::retire_vault_id).
    pub fn is_retired(&self, vault: VaultId) -> bool {
        self.retired.contains(&vault)
    }

    /// Whether the token is revoked, or its row was tampered with.
    pub fn is_revoked(&self, jti: &str) -> bool {
        self.revoked.contains(jti)
    }

    /// The ids of all tokens for which [`is_revoked`](Self::is_revoked) is true.
    pub fn revoked(&self) -> impl Iterator<Item = &str> {
        self.revoked.iter().map(String::as_str)
    }

    /// The number of the newest change in the snapshot.
    pub fn sequence(&self) -> i64 {
        self.seq
    }
}

/// Reads a store, which a [`crate::Writer`] in this or another process may be writing.
pub struct Reader {
    snapshot: RwLock<Arc<Snapshot>>,
    /// The WAL index's header when the snapshot was read.
    stamp: RwLock<WalStamp>,
    /// Held by the one task that brings the snapshot up to date.
    refreshing: Mutex<()>,
    wal_index: WalIndexWatcher,
    keyring: Keyring,
    cache: SealedCache,
    connections: ConnectionPool,
    items: BatchLoader<SealedDetail>,
    titles: BatchLoader<SealedSummary>,
}

impl Reader {
    /// Opens the store in `dir`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] until a writer has created the store; [`StoreError::Empty`] for a copy without its write-ahead
    /// log; [`StoreError::LogNotRead`] on a read-only volume whose writer was killed; [`StoreError::WrongKeys`] if the store was
    /// created with another credentials file.
    pub async fn open(dir: &Path, kek: KeyEncryptionKey, options: ReaderOptions) -> Result<Self, StoreError> {
        let database = dir.join(DATABASE_FILE);
        let connections = ConnectionPool::open(&database, options.connections).await?;
        sqlite::check_readable(&mut *connections.acquire().await?, &database).await?;
        let reader = Self {
            snapshot: RwLock::new(Arc::new(Snapshot {
                vaults: BTreeMap::new(),
                retired: Arc::default(),
                revoked: HashSet::new(),
                seq: -1,
                opening: String::new(),
            })),
            stamp: RwLock::new(WalStamp::NEVER),
            refreshing: Mutex::new(()),
            wal_index: WalIndexWatcher::open(&database)?,
            keyring: Keyring::new(kek),
            cache: SealedCache::new(options.cache_bytes),
            connections,
            items: BatchLoader::default(),
            titles: BatchLoader::default(),
        };
        let mut conn = reader.connections.acquire().await?;
        reader.keyring.load(&mut conn, STORE).await?;
        drop(conn);
        reader.refresh().await?;
        Ok(reader)
    }

    /// The snapshot after everything that was committed before this call.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, StoreError> {
        let now = self.wal_index.read()?;
        if *self.stamp.read() == now {
            return Ok(self.snapshot.read().clone());
        }
        // Boxed, like every call that goes to the database: most reads are served from memory, and their futures should not
        // hold room for the state of a query.
        Box::pin(self.refresh()).await
    }

    /// Checks whether the database's files were replaced, and opens the new ones once a writer has opened them. Call it a few
    /// times a second: [`Reader::snapshot`] notices only that the `-shm` file was replaced, because it makes no further system
    /// call.
    ///
    /// # Errors
    /// If the new store can't be read. Reads go on with the old one.
    pub async fn look_for_other_files(&self) -> Result<(), StoreError> {
        if self.wal_index.has_other_files() {
            Box::pin(self.change_files()).await
        } else {
            Ok(())
        }
    }

    /// The result of `PRAGMA quick_check`: `ok`, or the first fault that SQLite finds. It reads within one transaction, so a
    /// writer at the same time is not delayed, and its changes are not taken for damage.
    ///
    /// # Errors
    /// If the database is too damaged to be checked.
    pub async fn quick_check(&self) -> Result<String, StoreError> {
        Ok(sqlx::query_scalar("PRAGMA quick_check")
            .fetch_one(&mut *self.connections.acquire().await?)
            .await?)
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.connections.close().await;
    }

    async fn open_with_keys<T>(
        &self,
        vault: VaultId,
        open: impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.open_with_keys_of(vault.as_str(), open).await
    }

    /// Calls `open`. If that fails, reads the vault's keys again and calls `open` once more: the writer may have replaced the
    /// vault's key since the keys were last read.
    async fn open_with_keys_of<T>(
        &self,
        vault: &str,
        open: impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match open() {
            Err(StoreError::Corrupt { .. }) => {
                Box::pin(self.load_keys(vault)).await?;
                open()
            }
            done => done,
        }
    }

    async fn load_keys(&self, vault: &str) -> Result<(), StoreError> {
        let mut conn = self.connections.acquire().await?;
        self.keyring.load(&mut conn, vault).await?;
        Ok(())
    }

    /// Puts a row into the cache, unless the reader has moved on from `snapshot`: then the row may be out of date.
    fn keep(&self, snapshot: &Snapshot, insert: impl FnOnce(&SealedCache)) {
        let now = self.snapshot.read();
        if std::ptr::eq(&**now, snapshot) {
            insert(&self.cache);
        }
    }
}
