//! Stores the items and files of an import.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use sidevault_model::{FileId, Item, VaultId};
use sidevault_store::{Batch, CHUNK_BYTES, CommandAnswer, FailureKind};

use super::{CommandError, refuse};

/// Stores an item as it is, except for its version.
pub(super) async fn item(
    batch: &mut Batch<'_>,
    item: &Item,
    contents: &BTreeMap<FileId, FileId>,
    replaces: Option<u32>,
) -> Result<CommandAnswer, CommandError> {
    let old = batch.item(item.vault, item.id).await?;
    if old.as_ref().map(|old| old.version) != replaces {
        return Err(refuse(
            FailureKind::Exists,
            format!(
                "item {} has changed since the import looked at it (conflict): run the import again",
                item.id
            ),
        ));
    }
    let mut new = item.clone();
    for file in &mut new.files {
        let wanted = i64::try_from(file.size.div_ceil(CHUNK_BYTES as u64)).unwrap_or(i64::MAX);
        let content = contents.get(&file.id).copied();
        let is_complete = match content {
            Some(content) => batch.chunks(content).await? == wanted,
            None => false,
        };
        if !is_complete {
            return Err(refuse(
                FailureKind::Invalid,
                format!(
                    "the content of file {} of item {} is not complete: run the import again",
                    file.id, item.id
                ),
            ));
        }
        file.content = content;
    }
    match old {
        None => {
            new.version = 1;
            batch.insert_item(&new, None).await?;
        }
        Some(old) => {
            new.version = batch.next_version(&old);
            // The row keeps the time.
            new.created_at = old.created_at;
            batch.update_item(&old, &new).await?;
        }
    }
    Ok(CommandAnswer::Done)
}

/// Stores chunks of a content.
pub(super) async fn chunks(
    batch: &mut Batch<'_>,
    vault: VaultId,
    content: FileId,
    first: i64,
    chunks: &[String],
) -> Result<CommandAnswer, CommandError> {
    let decoded = chunks.iter().map(|chunk| BASE64.decode(chunk.as_bytes()).ok());
    let decoded: Option<Vec<Vec<u8>>> = decoded.collect();
    let Some(decoded) = decoded.filter(|chunks| chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES)) else {
        return Err(refuse(FailureKind::Invalid, "a chunk is not in base64, or is too long"));
    };
    // The content of an item must never change while it is read.
    if batch.is_content_used(content).await? {
        return Err(refuse(
            FailureKind::Exists,
            "an item has this content already (conflict): another import stored it meanwhile",
        ));
    }
    if first == 0 {
        // An interrupted import may have left chunks behind.
        batch.drop_content(content).await?;
    }
    for (n, chunk) in (first..).zip(decoded) {
        batch.put_chunk(vault, content, n, &chunk).await?;
    }
    Ok(CommandAnswer::Done)
}
