//! Reads. Every call first makes sure that nothing was committed since the caches were right;
//! that costs one `pread`, and no trust in any message from the writer.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, RwLock};

use sidevault_keys::{IndexKey, KeyEncryptionKey};
use sidevault_model::{ApiRequest, FileId, ItemId, Timestamp, Vault, VaultId, VaultType, filter};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;

use crate::activity::Activity;
use crate::cache::{SealedCache, SealedItem, SealedSummary};
use crate::keyring::{Keyring, STORE, VaultKey};
use crate::place::{Part, Place};
use crate::seal::{self, HAS_CODES, VaultNames};
use crate::sqlite::{self, CommitClock, Stamp};
use crate::{DATABASE_FILE, StoreError, TokenRecord};

/// How a [`Reader`] works.
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// The most memory that sealed rows may take, in bytes.
    pub cache_bytes: u64,
    /// Connections to the database.
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

/// A vault as readers know it.
pub struct VaultEntry {
    /// As Connect shows it.
    pub vault: Vault,
    /// [`crate::LOCAL_SOURCE`], or the source that owns it.
    pub source: String,
    index: Arc<IndexKey>,
    sealed: Vec<u8>,
}

/// An item, ready to be sent.
pub struct StoredItem {
    /// Its version.
    pub version: u32,
    /// When this version was made.
    pub updated_at: Timestamp,
    /// One-time-password codes have to be put in before it is sent.
    pub has_codes: bool,
    plaintext: Vec<u8>,
}

impl StoredItem {
    /// Connect's FullItem as JSON.
    pub fn json(&self) -> &[u8] {
        &self.plaintext[1..]
    }

    /// The same, without a copy of it.
    pub fn into_json(self) -> bytes::Bytes {
        bytes::Bytes::from(self.plaintext).slice(1..)
    }

    fn open(keyring: &Keyring, vault: VaultId, item: ItemId, row: &SealedItem) -> Result<Self, StoreError> {
        let place = Place::item(vault, item, row.version, Part::Detail);
        let plaintext = keyring.open(&place, &row.detail)?;
        let Some(flags) = plaintext.first() else {
            return Err(StoreError::corrupt(place.to_string()));
        };
        Ok(Self {
            version: row.version,
            updated_at: row.updated_at,
            has_codes: flags & HAS_CODES != 0,
            plaintext,
        })
    }
}

/// An item as lists show it.
pub struct Summary {
    /// The item's id.
    pub id: ItemId,
    /// Connect's Item (without fields and sections) as JSON.
    pub json: Vec<u8>,
}

/// A version in an item's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemVersion {
    /// Its number.
    pub version: u32,
    /// When it was made.
    pub updated_at: Timestamp,
}

/// A change, as `/v1/events` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRecord {
    /// Its number; they grow, without gaps.
    pub seq: i64,
    /// When it was committed.
    pub at: Timestamp,
    /// As [`crate::ChangeKind::as_str`] spells it.
    pub kind: String,
    /// In which vault; empty for tokens.
    pub vault: String,
    /// To which item; empty for vaults and tokens.
    pub item: String,
    /// The item's version; 0 where there is none.
    pub version: u32,
}

/// Where a file's chunks are.
#[derive(Clone, Copy, Debug)]
pub struct FileContent {
    vault: VaultId,
    content: FileId,
}

/// What all vaults and tokens looked like after one change.
pub struct View {
    vaults: BTreeMap<VaultId, Arc<VaultEntry>>,
    revoked: HashSet<String>,
    seq: i64,
}

impl View {
    /// All vaults, by id.
    pub fn vaults(&self) -> impl Iterator<Item = &Arc<VaultEntry>> {
        self.vaults.values()
    }

    /// One vault.
    pub fn vault(&self, id: VaultId) -> Option<&Arc<VaultEntry>> {
        self.vaults.get(&id)
    }

    /// Whether a token is refused although its signature is good.
    pub fn is_revoked(&self, jti: &str) -> bool {
        self.revoked.contains(jti)
    }

    /// The number of the change.
    pub fn sequence(&self) -> i64 {
        self.seq
    }
}

/// Reads a store that a [`crate::Writer`], in this process or another, may be writing to.
pub struct Reader {
    view: RwLock<Arc<View>>,
    stamp: RwLock<Stamp>,
    refreshing: Mutex<()>,
    clock: CommitClock,
    keyring: Keyring,
    cache: SealedCache,
    pool: SqlitePool,
}

impl Reader {
    /// Opens the store in `dir`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] until a writer has made it; [`StoreError::WrongKeys`] for another
    /// credentials file's store.
    pub async fn open(dir: &Path, kek: KeyEncryptionKey, options: ReaderOptions) -> Result<Self, StoreError> {
        let database = dir.join(DATABASE_FILE);
        let pool = sqlite::open_readers(&database, options.connections).await?;
        if !sqlite::has_schema(&pool).await? {
            return Err(StoreError::Missing(database));
        }
        let reader = Self {
            view: RwLock::new(Arc::new(View {
                vaults: BTreeMap::new(),
                revoked: HashSet::new(),
                seq: -1,
            })),
            stamp: RwLock::new(Stamp::NEVER),
            refreshing: Mutex::new(()),
            clock: CommitClock::open(&database)?,
            keyring: Keyring::new(kek),
            cache: SealedCache::new(options.cache_bytes),
            pool,
        };
        let mut conn = reader.pool.acquire().await?;
        reader.keyring.load(&mut conn, STORE).await?;
        drop(conn);
        reader.refresh().await?;
        Ok(reader)
    }

    /// The view after everything that is committed by now.
    pub async fn view(&self) -> Result<Arc<View>, StoreError> {
        let now = self.clock.read()?;
        if *read(&self.stamp) == now {
            return Ok(read(&self.view).clone());
        }
        self.refresh().await
    }

    /// An item by id.
    pub async fn item(&self, view: &View, vault: VaultId, item: ItemId) -> Result<Option<StoredItem>, StoreError> {
        if let Some(row) = self.cache.items.get(&(vault, item)) {
            return StoredItem::open(&self.keyring, vault, item, &row).map(Some);
        }
        let row = sqlx::query("SELECT version, updated_at, detail FROM items WHERE vault_id = $1 AND id = $2")
            .bind(vault.as_str())
            .bind(item.as_str())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let row = Arc::new(sealed_item(&row)?);
        let found = self
            .open_with_keys(vault, || StoredItem::open(&self.keyring, vault, item, &row))
            .await?;
        self.keep(view, |cache| cache.items.insert((vault, item), row));
        Ok(Some(found))
    }

    /// An item as it was at `version`.
    pub async fn item_version(
        &self,
        vault: VaultId,
        item: ItemId,
        version: u32,
    ) -> Result<Option<StoredItem>, StoreError> {
        let row = sqlx::query(
            "SELECT version, updated_at, detail FROM item_versions
             WHERE vault_id = $1 AND item_id = $2 AND version = $3
             UNION ALL SELECT version, updated_at, detail FROM items
             WHERE vault_id = $1 AND id = $2 AND version = $3",
        )
        .bind(vault.as_str())
        .bind(item.as_str())
        .bind(i64::from(version))
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let row = sealed_item(&row)?;
        self.open_with_keys(vault, || StoredItem::open(&self.keyring, vault, item, &row))
            .await
            .map(Some)
    }

    /// An item's versions, newest first; empty if there is no such item.
    pub async fn versions(&self, vault: VaultId, item: ItemId) -> Result<Vec<ItemVersion>, StoreError> {
        let rows = sqlx::query(
            "SELECT version, updated_at FROM items WHERE vault_id = $1 AND id = $2
             UNION ALL SELECT version, updated_at FROM item_versions WHERE vault_id = $1 AND item_id = $2
             ORDER BY 1 DESC",
        )
        .bind(vault.as_str())
        .bind(item.as_str())
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ItemVersion {
                    version: row.try_get("version")?,
                    updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
                })
            })
            .collect()
    }

    /// The active items with this title, oldest first. Compared without regard to case, but if
    /// some match to the letter, only they count.
    pub async fn items_titled(&self, view: &View, vault: VaultId, title: &str) -> Result<Vec<Summary>, StoreError> {
        let Some(entry) = view.vaults.get(&vault) else {
            return Ok(Vec::new());
        };
        let hash = entry.index.hash(filter::fold(title).as_bytes());
        let hits = match self.cache.titles.get(&(vault, hash)) {
            Some(hits) => hits,
            None => {
                let rows = sqlx::query(
                    "SELECT id, version, summary FROM items WHERE vault_id = $1 AND title_hash = $2 AND state IS NULL
                     ORDER BY created_at, id",
                )
                .bind(vault.as_str())
                .bind(&hash[..])
                .fetch_all(&self.pool)
                .await?;
                let hits: Arc<[SealedSummary]> = rows.iter().map(sealed_summary).collect::<Result<_, _>>()?;
                self.keep(view, |cache| cache.titles.insert((vault, hash), hits.clone()));
                hits
            }
        };
        let mut found = Vec::with_capacity(hits.len());
        for hit in hits.iter() {
            found.push(self.open_with_keys(vault, || self.open_summary(vault, hit)).await?);
        }
        if found.len() > 1 {
            let titled = found
                .into_iter()
                .map(|summary| (title_of(&summary.json), summary))
                .collect();
            let exact = filter::prefer_exact(titled, title, |(its, _): &(String, Summary)| its);
            found = exact.into_iter().map(|(_, summary)| summary).collect();
        }
        Ok(found)
    }

    /// A page of a vault's active items in their stable order: created first, then id.
    /// `after` is the last one of the page before.
    pub async fn summaries(
        &self,
        vault: VaultId,
        after: Option<(i64, ItemId)>,
        limit: u32,
    ) -> Result<(Vec<Summary>, Option<(i64, ItemId)>), StoreError> {
        let (created, id) = after.map_or((i64::MIN, String::new()), |(at, id)| (at, id.as_str().to_owned()));
        let rows = sqlx::query(
            "SELECT id, version, created_at, summary FROM items
             WHERE vault_id = $1 AND (created_at > $2 OR (created_at = $2 AND id > $3)) AND state IS NULL
             ORDER BY created_at, id LIMIT $4",
        )
        .bind(vault.as_str())
        .bind(created)
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let mut page = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in &rows {
            let sealed = sealed_summary(row)?;
            last = Some((row.try_get("created_at")?, sealed.item));
            page.push(self.open_with_keys(vault, || self.open_summary(vault, &sealed)).await?);
        }
        let more = rows.len() == limit as usize;
        Ok((page, last.filter(|_| more)))
    }

    /// Where the content of an item's file is.
    pub async fn file(&self, vault: VaultId, item: ItemId, file: FileId) -> Result<Option<FileContent>, StoreError> {
        let content: Option<String> =
            sqlx::query_scalar("SELECT content_id FROM files WHERE vault_id = $1 AND item_id = $2 AND id = $3")
                .bind(vault.as_str())
                .bind(item.as_str())
                .bind(file.as_str())
                .fetch_optional(&self.pool)
                .await?;
        content
            .map(|id| FileId::parse(&id).map(|content| FileContent { vault, content }))
            .transpose()
            .map_err(|_| StoreError::corrupt("file content id"))
    }

    /// Chunk `n` of a file's content, from 0, each but the last [`crate::CHUNK_BYTES`] long.
    /// None when the file was deleted meanwhile, or past its end.
    pub async fn chunk(&self, file: FileContent, n: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT sealed FROM file_chunks WHERE content_id = $1 AND n = $2")
                .bind(file.content.as_str())
                .bind(n)
                .fetch_optional(&self.pool)
                .await?;
        let Some(sealed) = sealed else { return Ok(None) };
        let place = Place::chunk(file.vault, file.content, n);
        self.open_with_keys(file.vault, || self.keyring.open(&place, &sealed))
            .await
            .map(Some)
    }

    /// Changes after number `after`, oldest first, at most `limit`. None if changes after that
    /// number are no longer kept: whoever resumes there has to read everything anew.
    pub async fn changes(&self, after: i64, limit: u32) -> Result<Option<Vec<ChangeRecord>>, StoreError> {
        let mut conn = self.pool.acquire().await?;
        let oldest: Option<i64> = sqlx::query_scalar("SELECT MIN(seq) FROM changes")
            .fetch_one(&mut *conn)
            .await?;
        if oldest.is_some_and(|oldest| after + 1 < oldest) {
            return Ok(None);
        }
        let rows = sqlx::query(
            "SELECT seq, at, kind, vault_id, item_id, version FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&mut *conn)
        .await?;
        let changes = rows
            .iter()
            .map(|row| {
                Ok(ChangeRecord {
                    seq: row.try_get("seq")?,
                    at: Timestamp::from_millis(row.try_get("at")?),
                    kind: row.try_get("kind")?,
                    vault: row.try_get("vault_id")?,
                    item: row.try_get("item_id")?,
                    version: row.try_get("version")?,
                })
            })
            .collect::<Result<_, sqlx::Error>>()?;
        Ok(Some(changes))
    }

    /// The activity of these vaults, newest first.
    pub async fn activity(&self, vaults: &[VaultId], offset: u64, limit: u32) -> Result<Activity, StoreError> {
        let mut batches: Vec<(i64, VaultId, i64)> = Vec::new();
        for vault in vaults {
            let rows = sqlx::query("SELECT seq, records FROM activity WHERE vault_id = $1")
                .bind(vault.as_str())
                .fetch_all(&self.pool)
                .await?;
            for row in rows {
                batches.push((row.try_get("seq")?, *vault, row.try_get("records")?));
            }
        }
        batches.sort_unstable_by_key(|(seq, ..)| std::cmp::Reverse(*seq));
        let total = batches.iter().map(|(_, _, records)| records.unsigned_abs()).sum();
        let mut skip = offset;
        let mut records = Vec::new();
        for (seq, vault, count) in batches {
            if records.len() >= limit as usize {
                break;
            }
            if skip >= count.unsigned_abs() {
                skip -= count.unsigned_abs();
                continue;
            }
            let batch = self.activity_batch(seq, vault).await?;
            let rest = limit as usize - records.len();
            records.extend(
                batch
                    .into_iter()
                    .rev()
                    .skip(usize::try_from(skip).unwrap_or(usize::MAX))
                    .take(rest),
            );
            skip = 0;
        }
        Ok(Activity { records, total })
    }

    async fn activity_batch(&self, seq: i64, vault: VaultId) -> Result<Vec<ApiRequest>, StoreError> {
        let sealed: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM activity WHERE seq = $1")
            .bind(seq)
            .fetch_optional(&self.pool)
            .await?;
        let Some(sealed) = sealed else { return Ok(Vec::new()) };
        let place = Place::activity(vault.as_str(), seq);
        let plaintext = self
            .open_with_keys(vault, || self.keyring.open(&place, &sealed))
            .await?;
        seal::from_json(&place, &plaintext)
    }

    /// The tokens known by name, oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let rows = sqlx::query("SELECT jti, sealed, revoked_at FROM tokens")
            .fetch_all(&self.pool)
            .await?;
        let mut tokens = Vec::with_capacity(rows.len());
        for row in &rows {
            tokens.push(
                self.open_with_keys_of(STORE, || TokenRecord::from_row(row, &self.keyring))
                    .await?,
            );
        }
        tokens.sort_by(|a, b| (a.issued_at, &a.jti).cmp(&(b.issued_at, &b.jti)));
        Ok(tokens)
    }

    /// How many items there are, and the size of the database file in bytes.
    pub async fn size(&self) -> Result<(u64, u64), StoreError> {
        let items: i64 = self.view().await?.vaults.values().map(|v| v.vault.items as i64).sum();
        let pages: i64 = sqlx::query_scalar("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            .fetch_one(&self.pool)
            .await?;
        Ok((items.unsigned_abs(), pages.unsigned_abs()))
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn refresh(&self) -> Result<Arc<View>, StoreError> {
        let _alone = self.refreshing.lock().await;
        // Read before the changes are: what is committed in between makes the stamp differ again.
        let now = self.clock.read()?;
        if *read(&self.stamp) != now {
            self.catch_up().await?;
            *write(&self.stamp) = now;
        }
        Ok(read(&self.view).clone())
    }

    /// Applies the changes since the view's number: forgets what they touched, and moves the
    /// view on, in one step for [`Reader::keep`].
    async fn catch_up(&self) -> Result<(), StoreError> {
        let mut conn = self.pool.acquire().await?;
        let old = read(&self.view).clone();
        let rows = if old.seq < 0 {
            None
        } else {
            changed_rows(&mut conn, old.seq).await?
        };
        let Some(rows) = rows else {
            return self.start_over(&mut conn).await;
        };
        if rows.is_empty() {
            return Ok(());
        }
        let mut view = View {
            vaults: old.vaults.clone(),
            revoked: old.revoked.clone(),
            seq: old.seq,
        };
        let mut touched = HashSet::new();
        for row in &rows {
            view.seq = view.seq.max(row.seq);
            if let Some(vault) = row.vault {
                touched.insert(vault);
            } else {
                view.revoked = revoked(&mut conn).await?;
            }
        }
        for id in touched {
            match self.load_vault(&mut conn, id, old.vaults.get(&id)).await? {
                Some(entry) => view.vaults.insert(id, Arc::new(entry)),
                None => view.vaults.remove(&id),
            };
        }
        let mut guard = write(&self.view);
        for row in &rows {
            row.forget(&self.cache);
        }
        *guard = Arc::new(view);
        Ok(())
    }

    async fn start_over(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        let seq: Option<i64> = sqlx::query_scalar("SELECT MAX(seq) FROM changes")
            .fetch_one(&mut *conn)
            .await?;
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
        let revoked = revoked(conn).await?;
        let mut guard = write(&self.view);
        self.cache.clear();
        *guard = Arc::new(View {
            vaults,
            revoked,
            seq: seq.unwrap_or(0),
        });
        Ok(())
    }

    async fn load_vault(
        &self,
        conn: &mut SqliteConnection,
        id: VaultId,
        known: Option<&Arc<VaultEntry>>,
    ) -> Result<Option<VaultEntry>, StoreError> {
        let row = sqlx::query(
            "SELECT source, sealed, attribute_version, content_version, items, created_at, updated_at
             FROM vaults WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(&mut *conn)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let sealed: Vec<u8> = row.try_get("sealed")?;
        let (name, description, index) = match known {
            Some(known) if known.sealed == sealed => (
                known.vault.name.clone(),
                known.vault.description.clone(),
                known.index.clone(),
            ),
            _ => {
                let index = self.index_key(conn, id).await?;
                let place = Place::vault(id.as_str());
                let names: VaultNames = seal::from_json(&place, &self.keyring.open(&place, &sealed)?)?;
                (names.name, names.description, index)
            }
        };
        let vault = Vault {
            id,
            name,
            description,
            attribute_version: row.try_get("attribute_version")?,
            content_version: row.try_get("content_version")?,
            items: row.try_get::<i64, _>("items")?.unsigned_abs(),
            vault_type: VaultType::UserCreated,
            created_at: Timestamp::from_millis(row.try_get("created_at")?),
            updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
        };
        Ok(Some(VaultEntry {
            vault,
            source: row.try_get("source")?,
            index,
            sealed,
        }))
    }

    async fn index_key(&self, conn: &mut SqliteConnection, id: VaultId) -> Result<Arc<IndexKey>, StoreError> {
        let keys = self.keyring.load(conn, id.as_str()).await?;
        keys.into_iter()
            .find_map(|key| match key {
                VaultKey::Index(index) => Some(Arc::new(index)),
                VaultKey::Seal { .. } => None,
            })
            .ok_or_else(|| StoreError::corrupt(format!("index key of vault {id}")))
    }

    fn open_summary(&self, vault: VaultId, hit: &SealedSummary) -> Result<Summary, StoreError> {
        let place = Place::item(vault, hit.item, hit.version, Part::Summary);
        Ok(Summary {
            id: hit.item,
            json: self.keyring.open(&place, &hit.sealed)?,
        })
    }

    async fn open_with_keys<T>(
        &self,
        vault: VaultId,
        open: impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.open_with_keys_of(vault.as_str(), open).await
    }

    /// Opens, and if that fails reads the vault's keys anew: its key may have been replaced
    /// since they were last read.
    async fn open_with_keys_of<T>(
        &self,
        vault: &str,
        open: impl Fn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match open() {
            Err(StoreError::Corrupt { .. }) => {
                let mut conn = self.pool.acquire().await?;
                self.keyring.load(&mut conn, vault).await?;
                open()
            }
            done => done,
        }
    }

    /// Puts a row into the cache, unless a change came since `view`: the row may be older.
    fn keep(&self, view: &View, insert: impl FnOnce(&SealedCache)) {
        let now = read(&self.view);
        if now.seq == view.seq {
            insert(&self.cache);
        }
    }
}

/// What a row of `changes` makes a reader forget.
struct Changed {
    seq: i64,
    vault: Option<VaultId>,
    item: Option<ItemId>,
    titles: [Option<[u8; 32]>; 2],
}

impl Changed {
    fn forget(&self, cache: &SealedCache) {
        let Some(vault) = self.vault else { return };
        if let Some(item) = self.item {
            cache.items.remove(&(vault, item));
        } else {
            // A vault that is gone: its rows are the only ones whose keys are, too.
            cache.clear();
        }
        for title in self.titles.into_iter().flatten() {
            cache.titles.remove(&(vault, title));
        }
    }
}

/// The changes after `seq`; None if some of them are no longer kept.
async fn changed_rows(conn: &mut SqliteConnection, seq: i64) -> Result<Option<Vec<Changed>>, StoreError> {
    let rows = sqlx::query(
        "SELECT seq, vault_id, item_id, title_hash, other_title_hash FROM changes WHERE seq > $1 ORDER BY seq",
    )
    .bind(seq)
    .fetch_all(conn)
    .await?;
    let mut changed = Vec::with_capacity(rows.len());
    for row in &rows {
        let title = |column: &str| -> Result<Option<[u8; 32]>, StoreError> {
            Ok(row
                .try_get::<Option<Vec<u8>>, _>(column)?
                .and_then(|hash| hash.try_into().ok()))
        };
        changed.push(Changed {
            seq: row.try_get("seq")?,
            vault: VaultId::parse(row.try_get("vault_id")?).ok(),
            item: ItemId::parse(row.try_get("item_id")?).ok(),
            titles: [title("title_hash")?, title("other_title_hash")?],
        });
    }
    if changed.first().is_some_and(|first| first.seq != seq + 1) {
        return Ok(None);
    }
    Ok(Some(changed))
}

async fn revoked(conn: &mut SqliteConnection) -> Result<HashSet<String>, StoreError> {
    let jtis: Vec<String> = sqlx::query_scalar("SELECT jti FROM tokens WHERE revoked_at IS NOT NULL")
        .fetch_all(conn)
        .await?;
    Ok(jtis.into_iter().collect())
}

fn sealed_item(row: &SqliteRow) -> Result<SealedItem, StoreError> {
    Ok(SealedItem {
        version: row.try_get("version")?,
        updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
        detail: row.try_get::<Vec<u8>, _>("detail")?.into_boxed_slice(),
    })
}

fn sealed_summary(row: &SqliteRow) -> Result<SealedSummary, StoreError> {
    Ok(SealedSummary {
        item: ItemId::parse(row.try_get("id")?).map_err(|_| StoreError::corrupt("item id"))?,
        version: row.try_get("version")?,
        sealed: row.try_get::<Vec<u8>, _>("summary")?.into_boxed_slice(),
    })
}

fn title_of(summary: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Titled {
        title: String,
    }
    serde_json::from_slice::<Titled>(summary)
        .map(|item| item.title)
        .unwrap_or_default()
}

// A poisoned lock here guards plain data that is replaced whole: it is as good as before.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl VaultEntry {
    /// Whether REST may write to it.
    pub fn is_local(&self) -> bool {
        self.source == crate::LOCAL_SOURCE
    }
}
