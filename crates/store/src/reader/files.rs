//! Contents of files, chunk by chunk.

use sidevault_model::{FileId, ItemId, VaultId};

use super::Reader;
use crate::StoreError;
use crate::place::Place;

/// Where a file's chunks are.
#[derive(Clone, Copy, Debug)]
pub struct FileContent {
    vault: VaultId,
    content: FileId,
}

impl Reader {
    /// Where the content of an item's file is.
    pub async fn file(&self, vault: VaultId, item: ItemId, file: FileId) -> Result<Option<FileContent>, StoreError> {
        let content: Option<String> =
            sqlx::query_scalar("SELECT content_id FROM files WHERE vault_id = $1 AND item_id = $2 AND id = $3")
                .bind(vault.as_str())
                .bind(item.as_str())
                .bind(file.as_str())
                .fetch_optional(&mut *self.connections.lend().await?)
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
                .fetch_optional(&mut *self.connections.lend().await?)
                .await?;
        let Some(sealed) = sealed else { return Ok(None) };
        let place = Place::chunk(file.vault, file.content, n);
        self.open_with_keys(file.vault, || self.keyring.open(&place, &sealed))
            .await
            .map(Some)
    }
}
