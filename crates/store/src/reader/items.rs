//! Items: by id, by title, in order, and as they were.

use std::sync::Arc;

use bytes::Buf;
use sidevault_model::{ItemId, Timestamp, VaultId, filter};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::lookup::Lookup;
use super::{Reader, View};
use crate::StoreError;
use crate::cache::{SealedItem, SealedSummary};
use crate::keyring::Keyring;
use crate::place::{Part, Place};
use crate::seal::HAS_CODES;

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
        let mut json = bytes::Bytes::from(self.plaintext);
        json.advance(1);
        json
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

impl Reader {
    /// An item by id.
    pub async fn item(&self, view: &View, vault: VaultId, item: ItemId) -> Result<Option<StoredItem>, StoreError> {
        if let Some(row) = self.cache.items.get(&(vault, item)) {
            return StoredItem::open(&self.keyring, vault, item, &row).map(Some);
        }
        Box::pin(self.item_on_disk(view, vault, item)).await
    }

    async fn item_on_disk(&self, view: &View, vault: VaultId, item: ItemId) -> Result<Option<StoredItem>, StoreError> {
        let Some(row) = self.items.find(&self.connections, vault, item).await?.pop() else {
            return Ok(None);
        };
        let row = Arc::new(row);
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
        .fetch_optional(&mut *self.connections.lend().await?)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let row = SealedItem::read(&row)?;
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
        .fetch_all(&mut *self.connections.lend().await?)
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
            None => Box::pin(self.titled_on_disk(view, vault, hash)).await?,
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

    async fn titled_on_disk(
        &self,
        view: &View,
        vault: VaultId,
        hash: [u8; 32],
    ) -> Result<Arc<[SealedSummary]>, StoreError> {
        let mut hits = self.titles.find(&self.connections, vault, hash).await?;
        hits.sort_by_key(|hit| (hit.created_at, hit.item));
        let hits: Arc<[SealedSummary]> = hits.into();
        self.keep(view, |cache| cache.titles.insert((vault, hash), hits.clone()));
        Ok(hits)
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
        .fetch_all(&mut *self.connections.lend().await?)
        .await?;
        let mut page = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in &rows {
            let sealed = SealedSummary::read(row)?;
            last = Some((sealed.created_at, sealed.item));
            page.push(self.open_with_keys(vault, || self.open_summary(vault, &sealed)).await?);
        }
        let more = rows.len() == limit as usize;
        Ok((page, last.filter(|_| more)))
    }

    fn open_summary(&self, vault: VaultId, hit: &SealedSummary) -> Result<Summary, StoreError> {
        let place = Place::item(vault, hit.item, hit.version, Part::Summary);
        Ok(Summary {
            id: hit.item,
            json: self.keyring.open(&place, &hit.sealed)?,
        })
    }
}

impl Lookup for SealedItem {
    type Key = ItemId;
    const COLUMNS: &'static str = "version, updated_at";
    const SEALED: &'static str = "detail";
    const CONDITION: &'static str = " AND id = ";

    fn push(key: &ItemId, query: &mut QueryBuilder<Sqlite>) {
        query.push_bind(key.as_str().to_owned());
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            version: row.try_get("version")?,
            updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
            detail: row.try_get::<Vec<u8>, _>("detail")?.into_boxed_slice(),
        })
    }
}

impl Lookup for SealedSummary {
    type Key = [u8; 32];
    const COLUMNS: &'static str = "id, version, created_at";
    const SEALED: &'static str = "summary";
    const CONDITION: &'static str = " AND state IS NULL AND title_hash = ";

    fn push(key: &[u8; 32], query: &mut QueryBuilder<Sqlite>) {
        query.push_bind(key.to_vec());
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            item: ItemId::parse(row.try_get("id")?).map_err(|_| StoreError::corrupt("item id"))?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            sealed: row.try_get::<Vec<u8>, _>("summary")?.into_boxed_slice(),
        })
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
