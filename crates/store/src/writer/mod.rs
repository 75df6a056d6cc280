//! The store's only writer. A [`Batch`] is a transaction, which may carry out many commands with one wait for the disk.

mod commit;
mod files;
mod items;
mod records;
mod reseal;
mod reserve;
mod right;
mod state;
#[cfg(test)]
mod tests;
mod vaults;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sidevault_keys::{DataKey, IndexKey, KeyEncryptionKey, KeyId};
use sidevault_model::{Commit, Timestamp, VaultId};
use tokio::sync::watch;

use self::items::NewItem;
pub use self::items::Origin;
use self::reseal::Pass;
pub use self::reseal::Resealing;
use self::reserve::Reserve;
pub(crate) use self::right::WriteRight;
use crate::activity::{KEPT_BYTES, Usage};
use crate::command::VaultInfo;
use crate::connection::Connection;
use crate::database::Database;
use crate::keyring::Keyring;
use crate::{Space, StoreError, sqlite};

/// How many bytes of a file one chunk has before it is sealed. The last chunk may have fewer.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// How often a data key seals before a new one replaces it. With random 96-bit nonces one key must seal less than 2^32 times
/// (NIST SP 800-38D, 8.3).
pub(crate) const SEALS_PER_KEY: i64 = 1 << 28;

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
    /// A token was registered or revoked.
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
    /// The hash of the path of the item's file.
    path: Option<[u8; 32]>,
    commit: Option<Commit>,
}

/// The store's only writer, for as long as this exists.
pub struct Writer {
    conn: Connection,
    database: Database,
    right: WriteRight,
    state: State,
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
    /// The data keys that are not the newest of their vault, each with its vault.
    old_keys: HashMap<KeyId, String>,
    /// Where [`Writer::reseal_some`] is. None before it begins.
    pass: Option<Pass>,
    /// How many rows can't be sealed anew, because they can't be decrypted, if these are all that is left.
    undecryptable: Option<u64>,
    next_change: i64,
    next_activity: i64,
    activity: Usage,
    /// A batch was begun and not committed: the state in memory may be ahead of the database, and SQLite may have ended the
    /// transaction although sqlx takes it for open.
    stale: bool,
    /// Whether the old version of an item that changes goes into the history.
    keeps_history: bool,
    /// A key was deleted, or wrapped anew, and may still be in the write-ahead log. `unwiped` in the table `store` says the same to
    /// the next writer.
    has_remains: bool,
    /// The lowest version that a changed item gets: [`StoreRow::min_version`](crate::store_row::StoreRow).
    min_version: u32,
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
    /// Opens or creates the store, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process is the writer; [`StoreError::Directory`] if the data directory can't be used;
    /// [`StoreError::WrongKeys`] if the store was created with another credentials file.
    pub async fn open(database: &Database, kek: KeyEncryptionKey, options: WriterOptions) -> Result<Self, StoreError> {
        let (mut conn, mut right) = WriteRight::take(database).await?;
        let loaded = async {
            conn.run(database.begin()).await?;
            let state = State::load(&mut conn, Keyring::new(kek), options).await?;
            right.commit(&mut conn).await?;
            Ok(state)
        };
        let state = match loaded.await {
            Ok(state) => state,
            Err(error) => {
                right.give_up(database).await;
                return Err(error);
            }
        };
        if let WriteRight::Sqlite { reserve, .. } = &mut right {
            reserve.hold();
        }
        Ok(Self {
            conn,
            database: database.clone(),
            right,
            state,
        })
    }

    /// The number of this leader, which grows with each new one. None for a store in a data directory.
    pub fn term(&self) -> Option<i64> {
        match &self.right {
            WriteRight::Sqlite { .. } => None,
            WriteRight::Postgres(lease) => Some(lease.term()),
        }
    }

    /// Becomes true when another process has become the writer. Never, for a store in a data directory.
    pub fn lost(&self) -> watch::Receiver<bool> {
        match &self.right {
            WriteRight::Sqlite { .. } => watch::Sender::new(false).subscribe(),
            WriteRight::Postgres(lease) => lease.lost(),
        }
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
        self.conn.run(self.database.begin()).await?;
        Ok(Batch {
            conn: &mut self.conn,
            right: &mut self.right,
            state: &mut self.state,
            deltas: BTreeMap::new(),
            changes: Vec::new(),
            inserts: Vec::new(),
            commit: None,
        })
    }

    /// Replaces the connection after a batch that could not begin or was not committed, whatever the reason. Closing the old one
    /// ends its transaction.
    ///
    /// After some errors (FULL, IOERR, NOMEM, INTERRUPT, BUSY) SQLite ends a transaction by itself
    /// (<https://www.sqlite.org/lang_transaction.html>), so a ROLLBACK could fail.
    async fn reopen(&mut self) -> Result<(), StoreError> {
        // The new connection is opened before the old one is closed: closing the last connection deletes the WAL index, and a
        // full disk has no room for a new one.
        let fresh = self.database.connect_writer().await?;
        let broken = std::mem::replace(&mut self.conn, fresh);
        // An error while closing loses nothing: what the broken connection has not committed is given up anyway.
        broken.close().await.ok();
        self.conn.run(self.database.begin()).await?;
        self.state.reload(&mut self.conn).await?;
        self.conn.run("COMMIT").await
    }

    /// Checks that the database can be written, by writing the time into it.
    ///
    /// # Errors
    /// If the write fails.
    pub async fn probe(&mut self) -> Result<(), StoreError> {
        let batch = self.begin().await?;
        sqlx::query("UPDATE store SET written_at = $1")
            .bind(Timestamp::now().as_millis())
            .execute(&mut *batch.conn)
            .await?;
        batch.commit().await?;
        Ok(())
    }

    /// The space of the data directory's volume. None if the store is not in a directory, or the operating system does not tell.
    pub fn space(&self) -> Option<Space> {
        match &self.right {
            WriteRight::Sqlite { dir, .. } => Space::of(dir),
            WriteRight::Postgres(_) => None,
        }
    }

    /// Takes the reserve (room on the disk for urgent writes), unless it is held already. Returns false if there is no room for
    /// it.
    pub fn hold_reserve(&mut self) -> bool {
        self.reserve().is_none_or(Reserve::hold)
    }

    /// Takes the whole reserve, if there was room only for a part of it before.
    pub fn refill_reserve(&mut self) {
        if let Some(reserve) = self.reserve() {
            reserve.refill();
        }
    }

    /// Gives the reserve's room back to the disk, for an urgent write. Returns whether there was a reserve.
    pub fn release_reserve(&mut self) -> bool {
        self.reserve().is_some_and(Reserve::release)
    }

    /// The reserve. None if the store is not in a directory.
    fn reserve(&mut self) -> Option<&mut Reserve> {
        match &mut self.right {
            WriteRight::Sqlite { reserve, .. } => Some(reserve),
            WriteRight::Postgres(_) => None,
        }
    }

    /// Moves the write-ahead log of SQLite into the database and truncates the log, so that the next write finds room on the
    /// volume. False if a reader's transaction still needs the log after `wait`. Does nothing in PostgreSQL, which looks after
    /// its own log.
    ///
    /// # Errors
    /// If the database can't be used, or the volume has no room for the log's content in the database.
    pub async fn empty_log(&mut self, wait: Duration) -> Result<bool, StoreError> {
        if self.state.stale {
            self.reopen().await?;
        }
        match &self.right {
            WriteRight::Sqlite { .. } => sqlite::empty_log(&mut self.conn, wait).await,
            WriteRight::Postgres(_) => Ok(true),
        }
    }

    /// Sets whether the old version of an item that changes goes into the history. Versions that are in the history stay.
    pub fn keep_history(&mut self, keeps: bool) {
        self.state.keeps_history = keeps;
    }

    /// Empties the write-ahead log if a vault or a key was deleted since it was last emptied, by this writer or by one that was
    /// killed: rows of the vault, and above all keys, may still be in it. False if a reader's transaction needs the log for longer
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
        let batch = self.begin().await?;
        sqlx::query("UPDATE store SET unwiped = 0")
            .execute(&mut *batch.conn)
            .await?;
        batch.commit().await?;
        Ok(true)
    }

    /// Closes the database: empties SQLite's write-ahead log, or gives the lease back, so that a standby takes it at once.
    pub async fn close(mut self) -> Result<(), StoreError> {
        if self.state.stale {
            // An error means that the database has ended the transaction already, or that the connection is broken.
            self.conn.run("ROLLBACK").await.ok();
        }
        match self.right {
            WriteRight::Sqlite { .. } => sqlite::close(self.conn).await,
            right @ WriteRight::Postgres(_) => {
                self.conn.close().await?;
                right.give_up(&self.database).await;
                Ok(())
            }
        }
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
    conn: &'w mut Connection,
    right: &'w mut WriteRight,
    state: &'w mut State,
    deltas: BTreeMap<VaultId, VaultDelta>,
    changes: Vec<Change>,
    /// New items, sealed and not written yet: see [`Batch::write_inserts`].
    inserts: Vec<NewItem>,
    /// See [`Batch::set_commit`].
    commit: Option<Commit>,
}
