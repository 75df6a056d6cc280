//! Contents of files.

use std::collections::BTreeMap;

use sidevault_model::{FileId, ItemId, VaultId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::Batch;
use crate::StoreError;
use crate::place::Place;

impl Batch<'_> {
    /// Seals chunk `n` (from 0, each but the last [`crate::CHUNK_BYTES`] long) of a file's content.
    ///
    /// A content that no item's file points at by the end is cleaned up by
    /// [`Batch::drop_orphaned_contents`].
    pub async fn put_chunk(&mut self, vault: VaultId, content: FileId, n: i64, bytes: &[u8]) -> Result<(), StoreError> {
        let sealed = self
            .vault_state(vault)?
            .key
            .seal(&Place::chunk(vault, content, n), bytes);
        sqlx::query("INSERT INTO file_chunks (content_id, n, sealed) VALUES ($1, $2, $3)")
            .bind(content.as_str())
            .bind(n)
            .bind(sealed)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// How many chunks of a content are there.
    pub async fn chunks(&mut self, content: FileId) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM file_chunks WHERE content_id = $1")
            .bind(content.as_str())
            .fetch_one(&mut *self.tx)
            .await?;
        Ok(count)
    }

    /// Removes a content that no file points at.
    pub async fn drop_content(&mut self, content: FileId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM file_chunks WHERE content_id = $1")
            .bind(content.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// The contents of an item's files.
    pub async fn contents(&mut self, vault: VaultId, item: ItemId) -> Result<BTreeMap<FileId, FileId>, StoreError> {
        let rows = sqlx::query("SELECT id, content_id FROM files WHERE vault_id = $1 AND item_id = $2")
            .bind(vault.as_str())
            .bind(item.as_str())
            .fetch_all(&mut *self.tx)
            .await?;
        let id = |row: &SqliteRow, column: &str| -> Result<FileId, StoreError> {
            FileId::parse(row.try_get(column)?).map_err(|_| StoreError::corrupt("file id"))
        };
        rows.iter()
            .map(|row| Ok((id(row, "id")?, id(row, "content_id")?)))
            .collect()
    }

    /// Gives an item's file this content; what it had before is dropped.
    pub async fn set_file(
        &mut self,
        vault: VaultId,
        item: ItemId,
        file: FileId,
        content: FileId,
    ) -> Result<(), StoreError> {
        self.remove_file(vault, item, file).await?;
        sqlx::query("INSERT INTO files (vault_id, item_id, id, content_id) VALUES ($1, $2, $3, $4)")
            .bind(vault.as_str())
            .bind(item.as_str())
            .bind(file.as_str())
            .bind(content.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Removes a file's content.
    pub async fn remove_file(&mut self, vault: VaultId, item: ItemId, file: FileId) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM file_chunks WHERE content_id IN
             (SELECT content_id FROM files WHERE vault_id = $1 AND item_id = $2 AND id = $3)",
            "DELETE FROM files WHERE vault_id = $1 AND item_id = $2 AND id = $3",
        ] {
            sqlx::query(sql)
                .bind(vault.as_str())
                .bind(item.as_str())
                .bind(file.as_str())
                .execute(&mut *self.tx)
                .await?;
        }
        Ok(())
    }

    /// Removes contents that an interrupted ingestion left behind.
    pub async fn drop_orphaned_contents(&mut self) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM file_chunks WHERE content_id NOT IN (SELECT content_id FROM files)")
            .execute(&mut *self.tx)
            .await?;
        Ok(done.rows_affected())
    }
}
