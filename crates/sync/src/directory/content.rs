//! Contents of files, on their way into the store in blocks: 100 MB never stand in memory.

use std::io::Read;

use sha2::{Digest, Sha256};
use sidevault_model::{FileId, VaultId};
use sidevault_store::CHUNK_BYTES;
use tokio::task::spawn_blocking;

use super::{DirectoryAnswer, DirectoryJob};
use crate::queue::{Queue, QueueClosed};

/// How many chunks go to the writer at once: 1 MiB.
const CHUNKS_PER_JOB: usize = 16;

/// The SHA-256 of bytes at hand.
pub(crate) fn digest_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The content of a file that is to be stored.
pub(crate) struct Upload {
    pub(crate) content: FileId,
    /// The SHA-256 of what is to be stored, from which the content's id was made.
    pub(crate) digest: [u8; 32],
    /// The content's length in bytes.
    pub(crate) size: u64,
    pub(crate) bytes: Box<dyn Read + Send>,
}

/// Stores a content, unless it is there already. The file is read on a thread for blocking calls.
///
/// # Errors
/// What is wrong with the file, if it can't be read or is not what it was when its digest was made. Then the content
/// stays incomplete, and the next attempt begins anew.
pub(crate) async fn store(queue: &Queue, vault: VaultId, upload: Upload) -> Result<Result<(), String>, QueueClosed> {
    let content = upload.content;
    let chunks = i64::try_from(upload.size.div_ceil(CHUNK_BYTES as u64)).unwrap_or(i64::MAX);
    match queue.directory(DirectoryJob::CountChunks { content }).await? {
        Ok(DirectoryAnswer::Chunks(there)) if there == chunks => return Ok(Ok(())),
        Ok(_) => {}
        Err(error) => return Ok(Err(error)),
    }
    let mut first = 0;
    let mut blocks = Blocks {
        left: upload.size,
        upload,
        hash: Sha256::new(),
    };
    while blocks.left > 0 {
        let read = spawn_blocking(move || {
            let next = blocks.read_next()?;
            Ok((blocks, next))
        });
        let next = match read.await.unwrap_or_else(|panic| Err(panic.to_string())) {
            Ok((rest, next)) => {
                blocks = rest;
                next
            }
            Err(error) => return Ok(Err(error)),
        };
        let after = first + i64::try_from(next.len()).unwrap_or_default();
        let job = DirectoryJob::PutChunks {
            vault,
            content,
            first,
            blocks: next,
        };
        if let Err(error) = queue.directory(job).await? {
            return Ok(Err(error));
        }
        first = after;
    }
    Ok(Ok(()))
}

/// A content that is being stored.
struct Blocks {
    upload: Upload,
    hash: Sha256,
    left: u64,
}

impl Blocks {
    /// The next blocks. The last ones only if the whole is what the digest says: a content that is there as a whole is
    /// taken for right from then on.
    fn read_next(&mut self) -> Result<Vec<Vec<u8>>, String> {
        let mut blocks = Vec::with_capacity(CHUNKS_PER_JOB);
        while self.left > 0 && blocks.len() < CHUNKS_PER_JOB {
            let mut block = vec![0; usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK_BYTES)];
            self.upload
                .bytes
                .read_exact(&mut block)
                .map_err(|error| format!("it changed while it was read ({error})"))?;
            self.hash.update(&block);
            self.left -= block.len() as u64;
            blocks.push(block);
        }
        if self.left == 0 && self.hash.clone().finalize()[..] != self.upload.digest {
            return Err("it changed while it was read".to_owned());
        }
        Ok(blocks)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_blocks_are_given_only_if_the_content_is_what_its_digest_says() {
        let bytes = vec![7; CHUNK_BYTES * (CHUNKS_PER_JOB + 1)];
        let blocks = |digest: [u8; 32], bytes: &[u8]| {
            let size = CHUNK_BYTES as u64 * (CHUNKS_PER_JOB as u64 + 1);
            let upload = Upload {
                content: FileId::from_digest(&[0; 32]),
                digest,
                size,
                bytes: Box::new(std::io::Cursor::new(bytes.to_vec())),
            };
            Blocks {
                upload,
                hash: Sha256::new(),
                left: size,
            }
        };
        let mut good = blocks(digest_of(&bytes), &bytes);
        assert_eq!(
            (good.read_next().unwrap().len(), good.read_next().unwrap().len()),
            (CHUNKS_PER_JOB, 1)
        );
        let mut other = blocks(digest_of(b"other"), &bytes);
        assert_eq!(other.read_next().unwrap().len(), CHUNKS_PER_JOB);
        assert!(other.read_next().unwrap_err().contains("changed"));
        let mut shorter = blocks(digest_of(&bytes), &bytes[1..]);
        shorter.read_next().unwrap();
        assert!(shorter.read_next().unwrap_err().contains("changed"));
    }
}
