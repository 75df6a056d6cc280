//! The contents of files, chunk by chunk.

use sidevault_model::{FileId, VaultId};

use super::Reader;
use crate::StoreError;
use crate::row_aad::RowAad;

impl Reader {
    /// Chunk `n` of a content, counted from 0. Every chunk but the last has [`crate::CHUNK_BYTES`] bytes. The content's id is
    /// in the item ([`super::StoredItem::item`]); a file that is replaced gets another content with another id. `None` past
    /// the end, and if the file was replaced or deleted.
    pub async fn chunk(&self, vault: VaultId, content: FileId, n: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT sealed FROM file_chunks WHERE content_id = $1 AND n = $2")
                .bind(content.as_str())
                .bind(n)
                .fetch_optional(&mut *self.connections.acquire().await?)
                .await?;
        let Some(sealed) = sealed else { return Ok(None) };
        let aad = RowAad::chunk(vault, content, n);
        self.open_with_keys(vault, || self.keyring.open(&aad, &sealed))
            .await
            .map(Some)
    }
}
