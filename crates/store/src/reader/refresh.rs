//! Bringing a reader's snapshot and caches up to date with the database.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;
use sidevault_keys::IndexKey;
use sidevault_model::{ItemId, Timestamp, Vault, VaultId, VaultType};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{ChangeId, Commits, Reader, Snapshot, VaultEntry};
use crate::cache::SealedCache;
use crate::connection::Connection;
use crate::keyring::{STORE, VaultKey};
use crate::row::number;
use crate::row_aad::RowAad;
use crate::seal::{self, VaultNames};
use crate::sqlite::{self, WalIndexWatcher, WalStamp};
use crate::store_row::{StoreRow, StoreState};
use crate::{StoreError, migrations};

impl Reader {
    /// Brings the snapshot up to date. Call it a few times a second, and when the writer announces a commit.
    ///
    /// With SQLite, [`Reader::snapshot`] does that at each call, but it makes no further system call to notice that the
    /// database's files were replaced: this does, and opens the new ones once a writer has opened them.
    ///
    /// # Errors
    /// If the database can't be read. Reads go on with the snapshot and the rows in the cache.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let followed = match &self.replica {
            Some(replica) => replica.follow().await,
            None => Ok(()),
        };
        self.read_commits().await?;
        followed
    }

    pub(super) async fn read_commits(&self) -> Result<(), StoreError> {
        match &self.commits {
            Commits::Sqlite { wal_index, stamp } => {
                if wal_index.has_other_files() {
                    let _guard = self.refreshing.lock().await;
                    // Another task may have opened the new files while this one waited.
                    if wal_index.has_other_files() {
                        self.reopen(wal_index, stamp).await?;
                    }
                }
                self.snapshot().await.map(drop)
            }
            Commits::Postgres { fresh_at } => {
                let asked = Instant::now();
                let _guard = self.refreshing.lock().await;
                // Another task may have begun to read the changes, and finished, while this one waited.
                if *fresh_at.read() >= asked {
                    return Ok(());
                }
                let begun = Instant::now();
                self.read_changes().await?;
                *fresh_at.write() = begun;
                Ok(())
            }
        }
    }

    pub(super) async fn refresh(
        &self,
        wal_index: &WalIndexWatcher,
        stamp: &RwLock<WalStamp>,
    ) -> Result<Arc<Snapshot>, StoreError> {
        let _guard = self.refreshing.lock().await;
        // If the new store can't be read, reads go on with the old one; `catch_up` reports the error.
        if wal_index.has_other_files() && self.reopen(wal_index, stamp).await.is_err() {
            return Ok(self.snapshot.read().clone());
        }
        // The stamp is read before the changes, so that a commit between the two makes the next call read them.
        let now = wal_index.read()?;
        if *stamp.read() != now {
            self.read_changes().await?;
            *stamp.write() = now;
        }
        Ok(self.snapshot.read().clone())
    }

    /// Reads the changes since the snapshot's number, drops the changed rows from the cache and replaces the snapshot. Both
    /// happen under the snapshot's lock, so that [`Reader::keep`] can't put an old row into the cache in between.
    ///
    /// If the snapshot's newest change is not in the table any more, changes after it may have been deleted, or a backup was
    /// restored that is older than the snapshot: then everything is read again.
    async fn read_changes(&self) -> Result<(), StoreError> {
        let mut conn = self.connections.acquire().await?;
        let old = self.snapshot.read().clone();
        let Some(rows) = changes_since(&mut conn, old.newest).await? else {
            return self.start_over(&mut conn).await;
        };
        if rows.is_empty() {
            return Ok(());
        }
        let mut snapshot = Snapshot {
            vaults: old.vaults.clone(),
            retired: old.retired.clone(),
            revoked: old.revoked.clone(),
            newest: old.newest,
        };
        let mut touched = HashSet::new();
        for row in &rows {
            snapshot.newest = Some(row.id);
            touched.extend(row.vault);
        }
        if rows.iter().any(|row| row.vault.is_none()) {
            snapshot.revoked.extend(self.revoked(&mut conn).await?);
        }
        if rows.iter().any(|row| row.vault.is_some() && row.item.is_none()) {
            snapshot.retired = Arc::new(retired(&mut conn).await?);
        }
        for id in touched {
            match self.load_vault(&mut conn, id, old.vaults.get(&id)).await? {
                Some(entry) => snapshot.vaults.insert(id, Arc::new(entry)),
                None => snapshot.vaults.remove(&id),
            };
        }
        let mut guard = self.snapshot.write();
        for row in &rows {
            row.forget(&self.cache);
        }
        *guard = Arc::new(snapshot);
        Ok(())
    }

    /// Opens the files that are in the data directory now, and reads everything from them.
    async fn reopen(&self, wal_index: &WalIndexWatcher, stamp: &RwLock<WalStamp>) -> Result<(), StoreError> {
        self.connections
            .reopen(async |conn| {
                sqlite::check_readable(conn, wal_index.database()).await?;
                self.keyring.load(conn, STORE).await.map(drop)
            })
            .await?;
        wal_index.reopen()?;
        *stamp.write() = WalStamp::NEVER;
        tracing::warn!("the database was replaced: everything is read again");
        self.start_over(&mut *self.connections.acquire().await?).await
    }

    /// Reads everything again. Tokens that were revoked in the old snapshot stay revoked, even if the store has no such
    /// revocation: a restored backup must not make a token good again.
    async fn start_over(&self, conn: &mut Connection) -> Result<(), StoreError> {
        if StoreRow::read(conn)
            .await?
            .is_some_and(|row| row.state == StoreState::Incomplete)
        {
            return Err(StoreError::Incomplete);
        }
        migrations::check_readable(conn).await?;
        let newest = newest_change(conn).await?;
        let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM vaults")
            .fetch_all(&mut *conn)
            .await?;
        let mut vaults = BTreeMap::new();
        for id in ids {
            let id = VaultId::parse(&id).map_err(|_| StoreError::corrupt("vault id"))?;
            if let Some(entry) = self.load_vault(conn, id, None).await? {
                vaults.insert(id, Arc::new(entry));
            }
        }
        let retired = Arc::new(retired(conn).await?);
        let mut revoked = self.revoked(conn).await?;
        let mut guard = self.snapshot.write();
        revoked.extend(guard.revoked.iter().cloned());
        self.cache.clear();
        *guard = Arc::new(Snapshot {
            vaults,
            retired,
            revoked,
            newest,
        });
        Ok(())
    }

    async fn load_vault(
        &self,
        conn: &mut Connection,
        id: VaultId,
        known: Option<&Arc<VaultEntry>>,
    ) -> Result<Option<VaultEntry>, StoreError> {
        let mut attempts = 1;
        loop {
            match self.load_vault_once(conn, id, known).await {
                Err(StoreError::Corrupt { .. }) if attempts < ATTEMPTS => attempts += 1,
                loaded => return loaded,
            }
        }
    }

    async fn load_vault_once(
        &self,
        conn: &mut Connection,
        id: VaultId,
        known: Option<&Arc<VaultEntry>>,
    ) -> Result<Option<VaultEntry>, StoreError> {
        let row = sqlx::query(
            "SELECT sealed, attribute_version, content_version, items, created_at, updated_at
             FROM vaults WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(&mut *conn)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let sealed: Vec<u8> = row.try_get("sealed")?;
        let (names, index) = match known {
            Some(known) if known.sealed == sealed => {
                let names = VaultNames {
                    name: known.vault.name.clone(),
                    source: known.source.clone(),
                    description: known.vault.description.clone(),
                };
                (names, known.index.clone())
            }
            _ => {
                let index = self.index_key(conn, id).await?;
                let aad = RowAad::vault(id.as_str());
                let names: VaultNames = seal::from_json(&aad, &self.keyring.open(&aad, &sealed)?)?;
                (names, index)
            }
        };
        let vault = Vault {
            id,
            name: names.name,
            description: names.description,
            attribute_version: number(&row, "attribute_version")?,
            content_version: number(&row, "content_version")?,
            items: row.try_get::<i64, _>("items")?.unsigned_abs(),
            vault_type: VaultType::UserCreated,
            created_at: Timestamp::from_millis(row.try_get("created_at")?),
            updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
        };
        Ok(Some(VaultEntry {
            vault,
            source: names.source,
            index,
            sealed,
        }))
    }

    async fn index_key(&self, conn: &mut Connection, id: VaultId) -> Result<Arc<IndexKey>, StoreError> {
        let keys = self.keyring.load(conn, id.as_str()).await?;
        keys.into_iter()
            .find_map(|key| match key {
                VaultKey::Index(index) => Some(Arc::new(index)),
                VaultKey::Seal { .. } => None,
            })
            .ok_or_else(|| StoreError::corrupt(format!("index key of vault {id}")))
    }
}

impl ChangeId {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            seq: row.try_get("seq")?,
            at: row.try_get("at")?,
        })
    }
}

/// The newest change. None until a writer has opened the store for the first time.
async fn newest_change(conn: &mut Connection) -> Result<Option<ChangeId>, StoreError> {
    let row = sqlx::query("SELECT seq, at FROM changes ORDER BY seq DESC LIMIT 1")
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(ChangeId::read).transpose()
}

/// How often rows are read again that no known key opens. The writer may have replaced keys between reading the keys and the rows.
const ATTEMPTS: usize = 3;

/// A row of `changes`: what a reader has to drop from its cache.
struct Changed {
    id: ChangeId,
    vault: Option<VaultId>,
    item: Option<ItemId>,
    /// The hashes of the item's titles and path.
    names: [Option<[u8; 32]>; 3],
}

impl Changed {
    fn forget(&self, cache: &SealedCache) {
        let Some(vault) = self.vault else { return };
        if let Some(item) = self.item {
            cache.items.remove(&(vault, item));
        } else {
            // The vault may have been deleted. The cache can't tell which rows are of one vault, so all are dropped.
            cache.clear();
        }
        for name in self.names.into_iter().flatten() {
            cache.titles.remove(&(vault, name));
        }
    }
}

/// The changes after `known`. None if `known` is not in the table.
async fn changes_since(conn: &mut Connection, known: Option<ChangeId>) -> Result<Option<Vec<Changed>>, StoreError> {
    let Some(known) = known else { return Ok(None) };
    let rows = sqlx::query(
        "SELECT seq, at, vault_id, item_id, title_hash, other_title_hash, path_hash FROM changes
         WHERE seq >= $1 ORDER BY seq",
    )
    .bind(known.seq)
    .fetch_all(conn)
    .await?;
    let Some((first, rows)) = rows.split_first() else {
        return Ok(None);
    };
    if ChangeId::read(first)? != known {
        return Ok(None);
    }
    let mut changed = Vec::with_capacity(rows.len());
    for row in rows {
        let hash = |column: &str| -> Result<Option<[u8; 32]>, StoreError> {
            Ok(row
                .try_get::<Option<Vec<u8>>, _>(column)?
                .and_then(|hash| hash.try_into().ok()))
        };
        changed.push(Changed {
            id: ChangeId::read(row)?,
            vault: VaultId::parse(row.try_get("vault_id")?).ok(),
            item: ItemId::parse(row.try_get("item_id")?).ok(),
            names: [hash("title_hash")?, hash("other_title_hash")?, hash("path_hash")?],
        });
    }
    Ok(Some(changed))
}

async fn retired(conn: &mut Connection) -> Result<HashSet<VaultId>, StoreError> {
    let ids: Vec<String> = sqlx::query_scalar("SELECT id FROM retired_vault_ids")
        .fetch_all(conn)
        .await?;
    ids.iter()
        .map(|id| VaultId::parse(id).map_err(|_| StoreError::corrupt("retired vault id")))
        .collect()
}

impl Reader {
    /// The ids of all revoked tokens, and of tokens whose rows can't be decrypted: someone may have edited their revocation.
    async fn revoked(&self, conn: &mut Connection) -> Result<HashSet<String>, StoreError> {
        let mut attempts = 1;
        loop {
            // The writer may have replaced the key since it was last read.
            self.keyring.load(conn, STORE).await?;
            let rows = sqlx::query("SELECT jti, sealed, revoked_at FROM tokens")
                .fetch_all(&mut *conn)
                .await?;
            let (mut revoked, mut damaged) = (HashSet::new(), Vec::new());
            for row in &rows {
                let jti: String = row.try_get("jti")?;
                let sealed = row.try_get("sealed")?;
                if row.try_get::<Option<i64>, _>("revoked_at")?.is_some() {
                    revoked.insert(jti);
                } else if self.keyring.open(&RowAad::token(&jti, None), sealed).is_err() {
                    damaged.push(jti);
                }
            }
            if !damaged.is_empty() && attempts < ATTEMPTS {
                attempts += 1;
                continue;
            }
            for jti in &damaged {
                tracing::error!(
                    jti,
                    "the row of a token in the database was damaged or altered: the token is refused"
                );
            }
            revoked.extend(damaged);
            return Ok(revoked);
        }
    }
}
