//! Writing the contents of files.

use sidevault_model::{File, FileId, Item, VaultId};

use super::Batch;
use crate::row_aad::RowAad;
use crate::{StoreError, tables};

impl Batch<'_> {
    /// Writes chunk `n` of a file's content, counted from 0. Every chunk but the last has [`crate::CHUNK_BYTES`] bytes.
    ///
    /// If no item ever names the content, [`Batch::drop_orphaned_contents`] deletes it.
    pub async fn put_chunk(&mut self, vault: VaultId, content: FileId, n: i64, bytes: &[u8]) -> Result<(), StoreError> {
        let sealed = self
            .vault_state(vault)?
            .key
            .seal(&RowAad::chunk(vault, content, n), bytes);
        sqlx::query("INSERT INTO file_chunks (content_id, n, sealed) VALUES ($1, $2, $3)")
            .bind(content.as_str())
            .bind(n)
            .bind(sealed)
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }

    /// How many chunks of a content are written.
    pub async fn chunks(&mut self, content: FileId) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM file_chunks WHERE content_id = $1")
            .bind(content.as_str())
            .fetch_one(&mut *self.conn)
            .await?;
        Ok(count)
    }

    /// Whether an item has the content.
    pub async fn is_content_used(&mut self, content: FileId) -> Result<bool, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM files WHERE content_id = $1")
            .bind(content.as_str())
            .fetch_one(&mut *self.conn)
            .await?;
        Ok(count > 0)
    }

    /// Deletes a content that no item names.
    pub async fn drop_content(&mut self, content: FileId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM file_chunks WHERE content_id = $1")
            .bind(content.as_str())
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }

    /// Writes which contents the files of `item` have, and deletes contents that only `old`, the item's files before, has.
    pub(super) async fn set_files(&mut self, item: &Item, old: &[File]) -> Result<(), StoreError> {
        for file in old.iter().filter(|file| !item.files.contains(file)) {
            let Some(content) = file.content else { continue };
            if item.files.iter().all(|kept| kept.content != Some(content)) {
                self.drop_content(content).await?;
            }
            sqlx::query("DELETE FROM files WHERE vault_id = $1 AND item_id = $2 AND id = $3")
                .bind(item.vault.as_str())
                .bind(item.id.as_str())
                .bind(file.id.as_str())
                .execute(&mut *self.conn)
                .await?;
        }
        for file in item.files.iter().filter(|file| !old.contains(file)) {
            let Some(content) = file.content else { continue };
            sqlx::query("INSERT INTO files (vault_id, item_id, id, content_id) VALUES ($1, $2, $3, $4)")
                .bind(item.vault.as_str())
                .bind(item.id.as_str())
                .bind(file.id.as_str())
                .bind(content.as_str())
                .execute(&mut *self.conn)
                .await?;
        }
        Ok(())
    }

    /// Deletes contents that no item names: sync was interrupted between writing a content and its item. Returns how many
    /// chunks were deleted.
    pub async fn drop_orphaned_contents(&mut self) -> Result<u64, StoreError> {
        tables::delete_orphaned_contents(self.conn).await
    }
}
