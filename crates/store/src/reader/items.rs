//! Reading items: by id, by title, as a list, and old versions.

use std::sync::Arc;

use bytes::Buf;
use sidevault_model::{Commit, Item, ItemId, State, Timestamp, VaultId, filter, tree_path};
use sqlx::any::AnyRow;
use sqlx::{Any, Encode, Row as _, Type};

use super::batch_loader::{ItemRow, load_alone};
use super::{Reader, Snapshot, VaultEntry};
use crate::StoreError;
use crate::cache::{SealedDetail, SealedSummary, TitleKey, path_hash};
use crate::keyring::Keyring;
use crate::row::{commit, number};
use crate::row_aad::{ItemTimes, ListColumns, RowAad};
use crate::seal::Detail;

/// A decrypted version of an item, as JSON.
pub struct StoredItem {
    /// The version's number.
    pub version: u32,
    /// When the version was written.
    pub updated_at: Timestamp,
    /// The item has one-time passwords, whose current codes have to be put into the JSON before it is sent.
    pub has_codes: bool,
    plaintext: Vec<u8>,
    json_at: usize,
}

impl StoredItem {
    /// Connect's FullItem as JSON.
    pub fn json(&self) -> &[u8] {
        &self.plaintext[self.json_at..]
    }

    /// Connect's FullItem as JSON, without copying it.
    pub fn into_json(self) -> bytes::Bytes {
        let mut json = bytes::Bytes::from(self.plaintext);
        json.advance(self.json_at);
        json
    }

    /// The parsed item, with the ids of its files' contents. They are of the same version as the rest of the item, because they
    /// are under the same seal.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the JSON is not an item that this version can read.
    pub fn item(&self) -> Result<Item, StoreError> {
        Detail::split(&self.plaintext)
            .and_then(|detail| detail.item())
            .ok_or_else(|| StoreError::corrupt("item"))
    }

    fn open(keyring: &Keyring, aad: &RowAad, row: &SealedDetail) -> Result<Self, StoreError> {
        let plaintext = keyring.open(aad, &row.detail)?;
        let Some(detail) = Detail::split(&plaintext) else {
            return Err(StoreError::corrupt(aad.to_string()));
        };
        Ok(Self {
            version: row.version,
            updated_at: row.times.updated_at,
            has_codes: detail.has_codes,
            json_at: plaintext.len() - detail.json.len(),
            plaintext,
        })
    }

    fn open_present(keyring: &Keyring, vault: VaultId, item: ItemId, row: &SealedDetail) -> Result<Self, StoreError> {
        Self::open(keyring, &RowAad::detail(vault, item, row.version, row.times), row)
    }
}

/// An item as an entry of a list.
pub struct Summary {
    /// The item's id.
    pub id: ItemId,
    /// Connect's Item (without fields and sections) as JSON.
    pub json: Vec<u8>,
}

/// A version of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemVersion {
    /// The version's number.
    pub version: u32,
    /// When the version was written.
    pub updated_at: Timestamp,
    /// The Git commit that it comes from.
    pub commit: Option<Commit>,
}

impl Reader {
    /// The item with this id.
    pub async fn item(
        &self,
        snapshot: &Snapshot,
        vault: VaultId,
        item: ItemId,
    ) -> Result<Option<StoredItem>, StoreError> {
        if let Some(row) = self.cache.items.get(&(vault, item)) {
            return StoredItem::open_present(&self.keyring, vault, item, &row).map(Some);
        }
        Box::pin(self.item_on_disk(snapshot, vault, item)).await
    }

    async fn item_on_disk(
        &self,
        snapshot: &Snapshot,
        vault: VaultId,
        item: ItemId,
    ) -> Result<Option<StoredItem>, StoreError> {
        match self.items.load(&self.connections, vault, item).await? {
            Some(rows) => self.open_loaded(snapshot, vault, item, rows).await,
            None => self.large_item_on_disk(snapshot, vault, item).await,
        }
    }

    async fn large_item_on_disk(
        &self,
        snapshot: &Snapshot,
        vault: VaultId,
        item: ItemId,
    ) -> Result<Option<StoredItem>, StoreError> {
        let _turn = self.turn_for_large_read().await?;
        // Another task may have loaded the item while this one waited for its turn.
        if let Some(row) = self.cache.items.get(&(vault, item)) {
            return StoredItem::open_present(&self.keyring, vault, item, &row).map(Some);
        }
        let rows = load_alone(&mut *self.connections.acquire().await?, vault, item).await?;
        self.open_loaded(snapshot, vault, item, rows).await
    }

    async fn open_loaded(
        &self,
        snapshot: &Snapshot,
        vault: VaultId,
        item: ItemId,
        rows: Vec<SealedDetail>,
    ) -> Result<Option<StoredItem>, StoreError> {
        let Some(row) = rows.into_iter().next() else {
            return Ok(None);
        };
        let row = Arc::new(row);
        let found = self
            .open_with_keys(vault, || StoredItem::open_present(&self.keyring, vault, item, &row))
            .await?;
        self.keep(snapshot, |cache| cache.items.insert((vault, item), row));
        Ok(Some(found))
    }

    /// The version `version` of an item, present or old.
    pub async fn item_version(
        &self,
        vault: VaultId,
        item: ItemId,
        version: u32,
    ) -> Result<Option<StoredItem>, StoreError> {
        // How large the row is, is known only when it has been read.
        let _turn = self.turn_for_large_read().await?;
        let row = sqlx::query(
            "SELECT version, 0 AS created_at, updated_at, detail, 0 AS present FROM item_versions
             WHERE vault_id = $1 AND item_id = $2 AND version = $3
             UNION ALL SELECT version, created_at, updated_at, detail, 1 AS present FROM items
             WHERE vault_id = $1 AND id = $2 AND version = $3",
        )
        .bind(vault.as_str())
        .bind(item.as_str())
        .bind(i64::from(version))
        .fetch_optional(&mut *self.connections.acquire().await?)
        .await?;
        let Some(found) = row else { return Ok(None) };
        let row = SealedDetail::read(&found)?;
        let aad = if found.try_get::<i64, _>("present")? == 1 {
            RowAad::detail(vault, item, row.version, row.times)
        } else {
            RowAad::history(vault, item, row.version, row.times.updated_at)
        };
        self.open_with_keys(vault, || StoredItem::open(&self.keyring, &aad, &row))
            .await
            .map(Some)
    }

    /// The versions of an item, newest first. Empty if there is no such item.
    pub async fn versions(&self, vault: VaultId, item: ItemId) -> Result<Vec<ItemVersion>, StoreError> {
        let rows = sqlx::query(
            "SELECT version, updated_at, commit_id, commit_at FROM items WHERE vault_id = $1 AND id = $2
             UNION ALL SELECT version, updated_at, commit_id, commit_at FROM item_versions WHERE vault_id = $1 AND item_id = $2
             ORDER BY 1 DESC",
        )
        .bind(vault.as_str())
        .bind(item.as_str())
        .fetch_all(&mut *self.connections.acquire().await?)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ItemVersion {
                    version: number(row, "version")?,
                    updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
                    commit: commit(row)?,
                })
            })
            .collect()
    }

    /// The active items with this title, oldest first. Titles compare without regard to case, but if some match exactly, only
    /// those are returned.
    pub async fn items_titled(
        &self,
        snapshot: &Snapshot,
        vault: VaultId,
        title: &str,
    ) -> Result<Vec<Summary>, StoreError> {
        let Some(entry) = snapshot.vaults.get(&vault) else {
            return Ok(Vec::new());
        };
        let hash = entry.index.hash(filter::fold(title).as_bytes());
        let hits = match self.cache.titles.get(&(vault, hash)) {
            Some(hits) => hits,
            None => Box::pin(self.titled_on_disk(snapshot, vault, hash)).await?,
        };
        let mut found = self.active(vault, &hits).await?;
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

    /// The active items with this title, as [`items_titled`](Self::items_titled) has them, and those whose file has this path: see
    /// [`tree_path::meant`]. If a name is the title of one item and the path of another, both are returned, so that no look-up
    /// begins to mean another item when a file is added.
    pub async fn items_named(
        &self,
        snapshot: &Snapshot,
        vault: VaultId,
        name: &str,
    ) -> Result<Vec<Summary>, StoreError> {
        let mut found = self.items_titled(snapshot, vault, name).await?;
        if let Some(entry) = snapshot.vaults.get(&vault)
            && !entry.is_local()
        {
            Box::pin(self.add_by_path(snapshot, entry, name, &mut found)).await?;
        }
        Ok(found)
    }

    async fn add_by_path(
        &self,
        snapshot: &Snapshot,
        entry: &VaultEntry,
        name: &str,
        found: &mut Vec<Summary>,
    ) -> Result<(), StoreError> {
        let vault = entry.vault.id;
        for path in tree_path::meant(&entry.vault.name, name) {
            let hash = path_hash(&entry.index, &path);
            let hits = match self.cache.titles.get(&(vault, hash)) {
                Some(hits) => hits,
                None => {
                    let hits = match self.paths.load(&self.connections, vault, hash).await? {
                        Some(hits) => hits,
                        None => load_alone::<ByPath>(&mut *self.connections.acquire().await?, vault, hash).await?,
                    };
                    self.keep_named(snapshot, (vault, hash), hits.into_iter().map(|hit| hit.0).collect())
                }
            };
            let mut hits = self.active(vault, &hits).await?;
            hits.retain(|hit| found.iter().all(|known| known.id != hit.id));
            found.append(&mut hits);
        }
        Ok(())
    }

    async fn titled_on_disk(
        &self,
        snapshot: &Snapshot,
        vault: VaultId,
        hash: [u8; 32],
    ) -> Result<Arc<[SealedSummary]>, StoreError> {
        let hits = match self.titles.load(&self.connections, vault, hash).await? {
            Some(hits) => hits,
            None => load_alone(&mut *self.connections.acquire().await?, vault, hash).await?,
        };
        Ok(self.keep_named(snapshot, (vault, hash), hits))
    }

    /// Keeps the rows that have a name in the cache, oldest first.
    fn keep_named(&self, snapshot: &Snapshot, key: TitleKey, mut hits: Vec<SealedSummary>) -> Arc<[SealedSummary]> {
        hits.sort_by_key(|hit| (hit.columns.created_at, hit.item));
        let hits: Arc<[SealedSummary]> = hits.into();
        self.keep(snapshot, |cache| cache.titles.insert(key, hits.clone()));
        hits
    }

    /// The summaries of the active items among these.
    async fn active(&self, vault: VaultId, hits: &[SealedSummary]) -> Result<Vec<Summary>, StoreError> {
        let mut active = Vec::with_capacity(hits.len());
        for hit in hits {
            // The state is checked after decryption, because the seal proves that it was not changed.
            let summary = self.open_with_keys(vault, || self.open_summary(vault, hit)).await?;
            if hit.columns.state.is_none() {
                active.push(summary);
            }
        }
        Ok(active)
    }

    /// A page of a vault's active items, ordered by creation time and id, and where the page ended if there may be more.
    /// `limit` bounds the rows that are read, archived items included. `after` is where the page before ended.
    pub async fn summaries(
        &self,
        vault: VaultId,
        after: Option<(i64, ItemId)>,
        limit: u32,
    ) -> Result<(Vec<Summary>, Option<(i64, ItemId)>), StoreError> {
        let (created, id) = after.map_or((i64::MIN, String::new()), |(at, id)| (at, id.as_str().to_owned()));
        let rows = sqlx::query(
            "SELECT id, version, created_at, state, title_hash, path_hash, summary FROM items
             WHERE vault_id = $1 AND (created_at > $2 OR (created_at = $2 AND id > $3))
             ORDER BY created_at, id LIMIT $4",
        )
        .bind(vault.as_str())
        .bind(created)
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connections.acquire().await?)
        .await?;
        let mut page = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in &rows {
            let sealed = SealedSummary::read(row)?;
            last = Some((sealed.columns.created_at, sealed.item));
            let summary = self.open_with_keys(vault, || self.open_summary(vault, &sealed)).await?;
            if sealed.columns.state.is_none() {
                page.push(summary);
            }
        }
        let more = rows.len() == limit as usize;
        Ok((page, last.filter(|_| more)))
    }

    fn open_summary(&self, vault: VaultId, hit: &SealedSummary) -> Result<Summary, StoreError> {
        let aad = RowAad::summary(vault, hit.item, hit.version, &hit.columns);
        Ok(Summary {
            id: hit.item,
            json: self.keyring.open(&aad, &hit.sealed)?,
        })
    }
}

impl ItemRow for SealedDetail {
    type Key = ItemId;
    const COLUMNS: &'static str = "version, created_at, updated_at";
    const SEALED: &'static str = "detail";
    const CONDITION: &'static str = " AND id = ";

    fn value(key: &ItemId) -> impl Encode<'_, Any> + Type<Any> {
        key.as_str()
    }

    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            version: number(row, "version")?,
            times: ItemTimes::read(row)?,
            detail: row.try_get::<Vec<u8>, _>("detail")?.into_boxed_slice(),
        })
    }
}

/// A summary that is found by the path of its item's file.
pub(super) struct ByPath(SealedSummary);

impl ItemRow for ByPath {
    type Key = [u8; 32];
    const COLUMNS: &'static str = SealedSummary::COLUMNS;
    const SEALED: &'static str = SealedSummary::SEALED;
    const CONDITION: &'static str = " AND path_hash = ";

    fn value(key: &[u8; 32]) -> impl Encode<'_, Any> + Type<Any> {
        &key[..]
    }

    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        SealedSummary::read(row).map(Self)
    }
}

impl ItemRow for SealedSummary {
    type Key = [u8; 32];
    const COLUMNS: &'static str = "id, version, created_at, state, title_hash, path_hash";
    const SEALED: &'static str = "summary";
    const CONDITION: &'static str = " AND title_hash = ";

    fn value(key: &[u8; 32]) -> impl Encode<'_, Any> + Type<Any> {
        &key[..]
    }

    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            item: ItemId::parse(row.try_get("id")?).map_err(|_| StoreError::corrupt("item id"))?,
            version: number(row, "version")?,
            columns: list_columns(row)?,
            sealed: row.try_get::<Vec<u8>, _>("summary")?.into_boxed_slice(),
        })
    }
}

fn list_columns(row: &AnyRow) -> Result<ListColumns, StoreError> {
    let state = row.try_get::<Option<&str>, _>("state")?.map(State::from_word);
    let title_hash = row.try_get::<&[u8], _>("title_hash")?.try_into();
    let path_hash = row.try_get::<Option<&[u8]>, _>("path_hash")?.map(TryInto::try_into);
    match (state, title_hash, path_hash.transpose()) {
        (Some(None), ..) | (_, Err(_), _) | (.., Err(_)) => Err(StoreError::corrupt("state, title or path of an item")),
        (state, Ok(title_hash), Ok(path_hash)) => Ok(ListColumns {
            title_hash,
            path_hash,
            created_at: row.try_get("created_at")?,
            state: state.flatten(),
        }),
    }
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
