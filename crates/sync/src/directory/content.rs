//! Contents of files, on their way into the store in blocks: 100 MB never stand in memory.

use std::io::Read;

use sha2::{Digest, Sha256};
use sidevault_model::{FileId, VaultId};
use sidevault_store::CHUNK_BYTES;

use super::{DirectoryAnswer, DirectoryJob};
use crate::queue::{Queue, QueueClosed};

/// How many chunks go to the writer at once: 1 MiB.
const CHUNKS_A_JOB: usize = 16;

/// The SHA-256 of bytes at hand.
pub(crate) fn digest_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Stores a content, unless it is there already. Reads exactly `size` bytes.
///
/// # Errors
/// What is wrong with the file, if it can't be read or is not as long as it was.
pub(crate) async fn store(
    queue: &Queue,
    vault: VaultId,
    content: FileId,
    size: u64,
    mut reader: impl Read + Send,
) -> Result<Result<(), String>, QueueClosed> {
    let chunks = i64::try_from(size.div_ceil(CHUNK_BYTES as u64)).unwrap_or(i64::MAX);
    match queue.directory(DirectoryJob::CountChunks { content }).await? {
        Ok(DirectoryAnswer::Chunks(there)) if there == chunks => return Ok(Ok(())),
        Ok(_) => {}
        Err(error) => return Ok(Err(error)),
    }
    let mut first = 0;
    let mut left = size;
    while left > 0 {
        let mut blocks = Vec::with_capacity(CHUNKS_A_JOB);
        while left > 0 && blocks.len() < CHUNKS_A_JOB {
            let mut block = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES)];
            if let Err(error) = reader.read_exact(&mut block) {
                return Ok(Err(format!("it changed while it was read ({error})")));
            }
            left -= block.len() as u64;
            blocks.push(block);
        }
        let next = first + i64::try_from(blocks.len()).unwrap_or_default();
        if let Err(error) = queue
            .directory(DirectoryJob::PutChunks {
                vault,
                content,
                first,
                blocks,
            })
            .await?
        {
            return Ok(Err(error));
        }
        first = next;
    }
    Ok(Ok(()))
}
