//! Reads, from caches that are brought up to date by the change log.
//!
//! SQLite: every call first checks, with one `pread`, whether anything was committed since, so a read is right without any
//! message from the writer. PostgreSQL: [`Reader::catch_up`] asks the server, so a read may be as old as the last call of it.

mod batch_loader;
mod files;
mod items;
mod key_rows;
mod records;
mod refresh;

pub use items::{ItemVersion, StoredItem, Summary};
pub use key_rows::KeyRow;
pub use records::ChangeRecord;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use sidevault_keys::{IndexKey, KeyEncryptionKey, Token};
use sidevault_model::{Access, Vault, VaultId};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use self::batch_loader::BatchLoader;
use self::items::ByPath;
use crate::StoreError;
use crate::cache::{SealedCache, SealedDetail, SealedSummary};
use crate::connection_pool::ConnectionPool;
use crate::database::{Database, database_file};
use crate::keyring::{Keyring, STORE};
use crate::replica::Replica;
use crate::sqlite::{WalIndexWatcher, WalStamp};

/// How many large rows may be read at once. While it is read and decrypted, the largest row, of about 4 MB, is in memory up to six
/// times: in the connection's buffer, as the driver's value, as the sealed row, and decrypted.
const MAX_LARGE_READS: usize = 2;

/// Limits of a [`Reader`].
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// The most memory that cached rows may take, in bytes.
    pub cache_bytes: u64,
    /// The most connections to the database.
    pub connections: u32,
    /// The directory of a copy of a store in PostgreSQL. Reads are answered from the copy, with and without the database.
    pub replica: Option<PathBuf>,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            connections: 4,
            replica: None,
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
    /// The newest change. None until a writer has opened the store for the first time.
    newest: Option<ChangeId>,
}

/// A change in the change log. After a backup was restored, the same number may come again with another change, but later.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ChangeId {
    seq: i64,
    /// In Unix milliseconds.
    at: i64,
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
        self.newest.map_or(0, |newest| newest.seq)
    }
}

/// How the reader learns of commits.
enum Commits {
    /// From the WAL index, at each read.
    Sqlite {
        wal_index: WalIndexWatcher,
        /// The WAL index's header when the snapshot was read.
        stamp: RwLock<WalStamp>,
    },
    /// From the server, at each call of [`Reader::catch_up`], if there is no [`Replica`].
    Postgres {
        /// When the snapshot was last known to be up to date.
        fresh_at: RwLock<Instant>,
    },
}

/// Reads a store, which a [`crate::Writer`] in this or another process may be writing.
pub struct Reader {
    snapshot: RwLock<Arc<Snapshot>>,
    commits: Commits,
    /// The copy of a store in PostgreSQL that this reader reads, and brings up to date.
    replica: Option<Replica>,
    /// Held by the one task that brings the snapshot up to date.
    refreshing: Mutex<()>,
    keyring: Keyring,
    cache: SealedCache,
    connections: ConnectionPool,
    large_reads: Semaphore,
    items: BatchLoader<SealedDetail>,
    titles: BatchLoader<SealedSummary>,
    paths: BatchLoader<ByPath>,
}

impl Reader {
    /// Opens the store.
    ///
    /// # Errors
    /// [`StoreError::Missing`] until a writer has created the store; [`StoreError::Locked`] if another process has the directory of
    /// the copy; [`StoreError::Empty`] for a copy without its write-ahead
    /// log; [`StoreError::LogNotRead`] on a read-only volume whose writer was killed; [`StoreError::WrongKeys`] if the store was
    /// created with another credentials file; [`StoreError::Newer`] if a newer version has written it.
    pub async fn open(database: &Database, kek: KeyEncryptionKey, options: ReaderOptions) -> Result<Self, StoreError> {
        let replica = match (database, options.replica) {
            (Database::Postgres(server), Some(dir)) => Some(Replica::open(server, dir).await?),
            _ => None,
        };
        let database = &replica.as_ref().map_or_else(|| database.clone(), Replica::database);
        let connections = ConnectionPool::open(database.clone(), options.connections).await?;
        database.check_readable(&mut *connections.acquire().await?).await?;
        let commits = match database {
            Database::Sqlite(dir) => Commits::Sqlite {
                wal_index: WalIndexWatcher::open(&database_file(dir))?,
                stamp: RwLock::new(WalStamp::NEVER),
            },
            Database::Postgres(_) => Commits::Postgres {
                fresh_at: RwLock::new(Instant::now()),
            },
        };
        let reader = Self {
            snapshot: RwLock::new(Arc::new(Snapshot {
                vaults: BTreeMap::new(),
                retired: Arc::default(),
                revoked: HashSet::new(),
                newest: None,
            })),
            commits,
            replica,
            refreshing: Mutex::new(()),
            keyring: Keyring::new(kek),
            cache: SealedCache::new(options.cache_bytes),
            connections,
            large_reads: Semaphore::new(MAX_LARGE_READS),
            items: BatchLoader::default(),
            titles: BatchLoader::default(),
            paths: BatchLoader::default(),
        };
        let mut conn = reader.connections.acquire().await?;
        reader.keyring.load(&mut conn, STORE).await?;
        drop(conn);
        reader.read_commits().await?;
        Ok(reader)
    }

    /// The snapshot: with SQLite, after everything that was committed before this call; with PostgreSQL, after everything that
    /// was committed before the last call of [`Reader::catch_up`] began.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, StoreError> {
        if let Commits::Sqlite { wal_index, stamp } = &self.commits
            && *stamp.read() != wal_index.read()?
        {
            // Boxed, like every call that goes to the database: most reads are served from memory, and their futures should
            // not hold room for the state of a query.
            return Box::pin(self.refresh(wal_index, stamp)).await;
        }
        Ok(self.snapshot.read().clone())
    }

    /// The number of the newest change in the snapshot that reads see at the moment.
    pub fn sequence(&self) -> i64 {
        self.snapshot.read().sequence()
    }

    /// How many connections to the database are in use, and how many there may be.
    pub fn connections(&self) -> (u32, u32) {
        self.connections.usage()
    }

    /// For how long the snapshot may be out of date: since the last successful call of [`Reader::catch_up`]. Zero with SQLite.
    pub fn age(&self) -> Duration {
        match (&self.replica, &self.commits) {
            (Some(replica), _) => replica.age(),
            (None, Commits::Sqlite { .. }) => Duration::ZERO,
            (None, Commits::Postgres { fresh_at }) => fresh_at.read().elapsed(),
        }
    }

    /// The result of SQLite's `PRAGMA quick_check`: `ok`, or the first fault that SQLite finds. It reads within one transaction,
    /// so a writer at the same time is not delayed, and its changes are not taken for damage. None with PostgreSQL, which has no
    /// such check.
    ///
    /// # Errors
    /// If the database is too damaged to be checked.
    pub async fn quick_check(&self) -> Result<Option<String>, StoreError> {
        if let Commits::Postgres { .. } = self.commits {
            return Ok(None);
        }
        let verdict = sqlx::query_scalar("PRAGMA quick_check")
            .fetch_one(&mut *self.connections.acquire().await?)
            .await?;
        Ok(Some(verdict))
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

    /// Waits until a large row may be read. Others wait until the result is dropped.
    async fn turn_for_large_read(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let turn = self.large_reads.acquire().await;
        turn.map_err(|_| sqlx::Error::PoolClosed.into())
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
