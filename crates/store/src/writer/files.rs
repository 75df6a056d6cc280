//! Contents of files.

use sidevault_model::{File, FileId, Item, VaultId};

use super::Batch;
use crate::StoreError;
use crate::row_aad::RowAad;

impl Batch<'_> {
    /// Seals chunk `n` (from 0, each but the last [`crate::CHUNK_BYTES`] long) of a file's content.
    ///
    /// A content that no item's file points at by the end is cleaned up by
    /// [`Batch::drop_orphaned_contents`].
    pub async fn put_chunk(&mut self, vault: VaultId, content: FileId, n: i64, bytes: &[u8]) -> Result<(), StoreError> {
        let sealed = self
            .vault_state(vault)?
            .key
            .seal(&RowAad::chunk(vault, content, n), bytes);
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

    /// Notes which contents the files of `item` have, and drops those that only `old`, its files so far, had.
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
                .execute(&mut *self.tx)
                .await?;
        }
        for file in item.files.iter().filter(|file| !old.contains(file)) {
            let Some(content) = file.content else { continue };
            sqlx::query("INSERT INTO files (vault_id, item_id, id, content_id) VALUES ($1, $2, $3, $4)")
                .bind(item.vault.as_str())
                .bind(item.id.as_str())
                .bind(file.id.as_str())
                .bind(content.as_str())
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
