//! Writing items and their history.

use sidevault_model::{Commit, Item, ItemId, Timestamp, VaultId, filter};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Batch, Change, ChangeKind, ROWS};
use crate::cache::path_hash;
use crate::row::number;
use crate::row_aad::{ItemTimes, ListColumns, RowAad};
use crate::seal;
use crate::statement::Statement;
use crate::{LOCAL_SOURCE, StoreError};

impl Batch<'_> {
    /// Sets the Git commit that the following changes of items come from. It is stored with the versions that they make.
    pub fn set_commit(&mut self, commit: Option<Commit>) {
        self.commit = commit;
    }

    /// The ids of a vault's items, each with its origin.
    pub async fn origins(&mut self, vault: VaultId) -> Result<Vec<(ItemId, Option<String>)>, StoreError> {
        self.write_inserts().await?;
        let rows = sqlx::query("SELECT id, origin FROM items WHERE vault_id = $1")
            .bind(vault.as_str())
            .fetch_all(&mut *self.conn)
            .await?;
        rows.iter()
            .map(|row| Ok((item_id(row)?, row.try_get("origin")?)))
            .collect()
    }

    /// The ids of a vault's items with one of these origins, each with its origin. There may be 1000 origins.
    pub async fn items_of(&mut self, vault: VaultId, origins: &[String]) -> Result<Vec<(ItemId, String)>, StoreError> {
        self.write_inserts().await?;
        let mut statement = Statement::new("SELECT id, origin FROM items WHERE vault_id = ");
        statement.bind(vault.as_str())?.push(" AND origin IN (");
        for (n, origin) in origins.iter().enumerate() {
            statement.push(if n > 0 { ", " } else { "" }).bind(origin.as_str())?;
        }
        statement.push(")");
        let rows = statement.fetch_all(&mut *self.conn).await?;
        rows.iter()
            .map(|row| Ok((item_id(row)?, row.try_get("origin")?)))
            .collect()
    }

    /// Gives the items of a vault that have the origin `from` the origin `to`. Readers don't see origins, so this is no change of the
    /// items.
    pub async fn move_origin(&mut self, vault: VaultId, from: &str, to: &str) -> Result<(), StoreError> {
        self.write_inserts().await?;
        sqlx::query("UPDATE items SET origin = $3 WHERE vault_id = $1 AND origin = $2")
            .bind(vault.as_str())
            .bind(from)
            .bind(to)
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }

    /// The present version of an item, with the changes of this batch.
    pub async fn item(&mut self, vault: VaultId, item: ItemId) -> Result<Option<Item>, StoreError> {
        if self.inserts.iter().any(|new| new.id == item) {
            self.write_inserts().await?;
        }
        let row =
            sqlx::query("SELECT version, created_at, updated_at, detail FROM items WHERE vault_id = $1 AND id = $2")
                .bind(vault.as_str())
                .bind(item.as_str())
                .fetch_optional(&mut *self.conn)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let times = ItemTimes::read(&row)?;
        let mut found = self.open_item(&RowAad::detail(vault, item, number(&row, "version")?, times), &row)?;
        // The JSON has whole seconds, and the row, which the seal covers, has milliseconds.
        found.created_at = times.created_at;
        found.updated_at = times.updated_at;
        Ok(Some(found))
    }

    /// The version `version` of an item, present or old.
    pub async fn item_version(
        &mut self,
        vault: VaultId,
        item: ItemId,
        version: u32,
    ) -> Result<Option<Item>, StoreError> {
        let now = self.item(vault, item).await?;
        if now.as_ref().is_some_and(|now| now.version == version) {
            return Ok(now);
        }
        let row = sqlx::query(
            "SELECT version, updated_at, detail FROM item_versions
             WHERE vault_id = $1 AND item_id = $2 AND version = $3",
        )
        .bind(vault.as_str())
        .bind(item.as_str())
        .bind(i64::from(version))
        .fetch_optional(&mut *self.conn)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let updated_at = Timestamp::from_millis(row.try_get("updated_at")?);
        let aad = RowAad::history(vault, item, number(&row, "version")?, updated_at);
        self.open_item(&aad, &row).map(Some)
    }

    fn open_item(&self, aad: &RowAad, row: &AnyRow) -> Result<Item, StoreError> {
        let plaintext = self.state.keyring.open(aad, row.try_get("detail")?)?;
        seal::parse_detail(aad, &plaintext)
    }

    /// Inserts a new item. Its vault must exist, its id must be free, and its files must name their contents. `origin` is None for
    /// an item of a local vault.
    pub async fn insert_item(&mut self, item: &Item, origin: Option<Origin<'_>>) -> Result<(), StoreError> {
        self.set_files(item, &[]).await?;
        let path_hash = match &origin {
            Some(origin) => Some(path_hash(&self.vault_state(item.vault)?.index, origin.path)),
            None => None,
        };
        let sealed = self.seal_item(item, item.created_at, path_hash)?;
        self.deltas.entry(item.vault).or_default().items += active(item);
        self.note_item(
            ChangeKind::ItemCreated,
            item,
            [Some(sealed.title_hash), None],
            path_hash,
        );
        self.inserts.push(NewItem {
            vault: item.vault,
            id: item.id,
            version: item.version,
            state: state_text(item),
            created_at: item.created_at,
            updated_at: item.updated_at,
            path_hash,
            origin: origin.map(|origin| origin.file.to_owned()),
            commit: self.commit.clone(),
            sealed,
        });
        if self.inserts.len() == ROWS {
            self.write_inserts().await?;
        }
        Ok(())
    }

    /// Writes the new items that are not written yet. Every method that reads or changes items calls this first.
    pub(super) async fn write_inserts(&mut self) -> Result<(), StoreError> {
        if self.inserts.is_empty() {
            return Ok(());
        }
        let mut insert = Statement::new(
            "INSERT INTO items
             (vault_id, id, version, state, title_hash, created_at, updated_at, summary, detail, path_hash, origin,
              commit_id, commit_at)
             VALUES ",
        );
        for new in self.inserts.drain(..) {
            insert.row(|row| {
                row.bind(new.vault.as_str())?
                    .bind(new.id.as_str())?
                    .bind(i64::from(new.version))?
                    .bind(new.state)?
                    .bind(&new.sealed.title_hash[..])?
                    .bind(new.created_at.as_millis())?
                    .bind(new.updated_at.as_millis())?
                    .bind(new.sealed.summary)?
                    .bind(new.sealed.detail)?
                    .bind(new.path_hash.map(Vec::from))?
                    .bind(new.origin)?
                    .bind(new.commit.as_ref().map(|commit| commit.id.as_str()))?
                    .bind(new.commit.as_ref().map(|commit| commit.time.as_millis()))?;
                Ok(())
            })?;
        }
        insert.execute(self.conn).await
    }

    /// The version that an item gets when it changes: one more than it has, and after a restore more than any item had before.
    pub fn next_version(&self, item: &Item) -> u32 {
        item.version.saturating_add(1).max(self.state.min_version)
    }

    /// Replaces `old`, which [`Batch::item`] has returned, by `new`. The old version goes into the history. Contents of files that
    /// only `old` has are deleted.
    pub async fn update_item(&mut self, old: &Item, new: &Item) -> Result<(), StoreError> {
        self.write_inserts().await?;
        self.set_files(new, &old.files).await?;
        let path_hash = self.path_hash(old).await?;
        let sealed = self.seal_item(new, old.created_at, path_hash)?;
        let old_title = self.title_hash(old.vault, &old.title)?;
        if self.state.options.history > 1 && self.state.keeps_history {
            let aad = RowAad::history(old.vault, old.id, old.version, old.updated_at);
            let detail = self.vault_state(old.vault)?.key.seal(&aad, &seal::detail(old));
            sqlx::query(
                "INSERT INTO item_versions (vault_id, item_id, version, updated_at, detail, commit_id, commit_at)
                 SELECT $1, $2, $3, $4, $5, commit_id, commit_at FROM items WHERE vault_id = $1 AND id = $2",
            )
            .bind(old.vault.as_str())
            .bind(old.id.as_str())
            .bind(i64::from(old.version))
            .bind(old.updated_at.as_millis())
            .bind(detail)
            .execute(&mut *self.conn)
            .await?;
        }
        // The present version is one of those that are kept. The numbers have a gap after a restore.
        let oldest_kept = i64::from(self.state.options.history) - 1;
        sqlx::query(
            "DELETE FROM item_versions WHERE vault_id = $1 AND item_id = $2 AND version <=
             (SELECT version FROM item_versions WHERE vault_id = $1 AND item_id = $2 ORDER BY version DESC LIMIT 1 OFFSET $3)",
        )
        .bind(old.vault.as_str())
        .bind(old.id.as_str())
        .bind(oldest_kept)
        .execute(&mut *self.conn)
        .await?;
        sqlx::query(
            "UPDATE items SET version = $3, state = $4, title_hash = $5, updated_at = $6, summary = $7, detail = $8,
             commit_id = $9, commit_at = $10 WHERE vault_id = $1 AND id = $2",
        )
        .bind(new.vault.as_str())
        .bind(new.id.as_str())
        .bind(i64::from(new.version))
        .bind(state_text(new))
        .bind(&sealed.title_hash[..])
        .bind(new.updated_at.as_millis())
        .bind(sealed.summary)
        .bind(sealed.detail)
        .bind(self.commit.as_ref().map(|commit| commit.id.as_str()))
        .bind(self.commit.as_ref().map(|commit| commit.time.as_millis()))
        .execute(&mut *self.conn)
        .await?;
        self.deltas.entry(new.vault).or_default().items += active(new) - active(old);
        let titles = [Some(old_title), Some(sealed.title_hash)];
        self.note_item(ChangeKind::ItemUpdated, new, titles, path_hash);
        Ok(())
    }

    /// Deletes an item with its history and files, for good (as Connect since 1.1.0).
    pub async fn delete_item(&mut self, old: &Item) -> Result<(), StoreError> {
        self.write_inserts().await?;
        let title = self.title_hash(old.vault, &old.title)?;
        let path_hash = self.path_hash(old).await?;
        for sql in [
            "DELETE FROM file_chunks WHERE content_id IN
             (SELECT content_id FROM files WHERE vault_id = $1 AND item_id = $2)",
            "DELETE FROM files WHERE vault_id = $1 AND item_id = $2",
            "DELETE FROM item_versions WHERE vault_id = $1 AND item_id = $2",
            "DELETE FROM items WHERE vault_id = $1 AND id = $2",
        ] {
            sqlx::query(sql)
                .bind(old.vault.as_str())
                .bind(old.id.as_str())
                .execute(&mut *self.conn)
                .await?;
        }
        self.deltas.entry(old.vault).or_default().items -= active(old);
        self.note_item(ChangeKind::ItemDeleted, old, [Some(title), None], path_hash);
        Ok(())
    }

    fn title_hash(&mut self, vault: VaultId, title: &str) -> Result<[u8; 32], StoreError> {
        Ok(self.vault_state(vault)?.index.hash(filter::fold(title).as_bytes()))
    }

    /// The hash of the path that the item was inserted with.
    async fn path_hash(&mut self, item: &Item) -> Result<Option<[u8; 32]>, StoreError> {
        if self.vault_state(item.vault)?.info.source == LOCAL_SOURCE {
            return Ok(None);
        }
        let row = sqlx::query("SELECT path_hash FROM items WHERE vault_id = $1 AND id = $2")
            .bind(item.vault.as_str())
            .bind(item.id.as_str())
            .fetch_optional(&mut *self.conn)
            .await?;
        let hash = match &row {
            Some(row) => row.try_get::<Option<Vec<u8>>, _>("path_hash")?,
            None => None,
        };
        hash.map(|hash| hash.try_into().map_err(|_| StoreError::corrupt("path of an item")))
            .transpose()
    }

    fn seal_item(
        &mut self,
        item: &Item,
        created_at: Timestamp,
        path_hash: Option<[u8; 32]>,
    ) -> Result<SealedColumns, StoreError> {
        let title_hash = self.title_hash(item.vault, &item.title)?;
        let key = &mut self.vault_state(item.vault)?.key;
        let columns = ListColumns {
            title_hash,
            path_hash,
            created_at: created_at.as_millis(),
            state: item.state,
        };
        let summary = RowAad::summary(item.vault, item.id, item.version, &columns);
        let times = ItemTimes {
            created_at,
            updated_at: item.updated_at,
        };
        let detail = RowAad::detail(item.vault, item.id, item.version, times);
        Ok(SealedColumns {
            title_hash,
            summary: key.seal(&summary, &item.summary_json()),
            detail: key.seal(&detail, &seal::detail(item)),
        })
    }

    fn note_item(&mut self, kind: ChangeKind, item: &Item, titles: [Option<[u8; 32]>; 2], path: Option<[u8; 32]>) {
        self.changes.push(Change {
            kind,
            vault: item.vault.as_str().to_owned(),
            item: item.id.as_str().to_owned(),
            version: item.version,
            titles,
            path,
            commit: self.commit.clone(),
        });
    }
}

/// The source file that an item comes from. It never changes while the item exists.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// A keyed hash of the file's source and path.
    pub file: &'a str,
    /// The path by which the item can be looked up, in the form of [`comparable`](sidevault_model::tree_path::comparable).
    pub path: &'a str,
}

/// A row of `items` that is not written yet.
pub(super) struct NewItem {
    vault: VaultId,
    id: ItemId,
    version: u32,
    state: Option<&'static str>,
    created_at: Timestamp,
    updated_at: Timestamp,
    path_hash: Option<[u8; 32]>,
    origin: Option<String>,
    commit: Option<Commit>,
    sealed: SealedColumns,
}

struct SealedColumns {
    title_hash: [u8; 32],
    summary: Vec<u8>,
    detail: Vec<u8>,
}

fn item_id(row: &AnyRow) -> Result<ItemId, StoreError> {
    ItemId::parse(row.try_get("id")?).map_err(|_| StoreError::corrupt("item id"))
}

fn active(item: &Item) -> i64 {
    i64::from(item.state.is_none())
}

fn state_text(item: &Item) -> Option<&'static str> {
    item.state.map(|state| state.as_str())
}
