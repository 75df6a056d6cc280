//! The contents of files. They go into the store in blocks, so that a file of 100 MB is never in memory as a whole.

use std::io::Read;

use sha2::{Digest, Sha256};
use sidevault_model::{FileId, VaultId};
use sidevault_store::CHUNK_BYTES;

use super::read::ReadError;
use super::{DirectoryAnswer, DirectoryJob, run_blocking};
use crate::queue::Queue;

/// How many chunks go to the writer in one job: 1 MiB.
const CHUNKS_PER_JOB: usize = 16;

/// The SHA-256 of bytes in memory.
pub(crate) fn digest_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A content that is to be stored.
pub(crate) struct Upload {
    pub(crate) content: FileId,
    /// The SHA-256 of the bytes. The content's id was computed from it.
    pub(crate) digest: [u8; 32],
    /// The length in bytes.
    pub(crate) size: u64,
    pub(crate) bytes: Box<dyn Read + Send>,
}

/// Stores a content, unless the store has it already.
///
/// # Errors
/// [`ReadError::Bad`] if the file can't be read or its bytes have another digest by now. The content then stays
/// incomplete, and the next attempt stores it from its first block on.
pub(crate) async fn store(queue: &Queue, vault: VaultId, upload: Upload) -> Result<(), ReadError> {
    let content = upload.content;
    let chunks = i64::try_from(upload.size.div_ceil(CHUNK_BYTES as u64)).unwrap_or(i64::MAX);
    match queue.directory(DirectoryJob::CountChunks { content }).await? {
        DirectoryAnswer::Chunks(stored) if stored == chunks => return Ok(()),
        _ => {}
    }
    let mut first = 0;
    let mut blocks = Blocks {
        left: upload.size,
        upload,
        hash: Sha256::new(),
    };
    while blocks.left > 0 {
        let read = run_blocking(move || {
            let next = blocks.read_next()?;
            Ok((blocks, next))
        });
        let next;
        (blocks, next) = read.await.flatten().map_err(ReadError::Bad)?;
        let after = first + i64::try_from(next.len()).unwrap_or_default();
        let job = DirectoryJob::PutChunks {
            vault,
            content,
            first,
            blocks: next,
        };
        queue.directory(job).await?;
        first = after;
    }
    Ok(())
}

/// The part of a content that is still to be read.
struct Blocks {
    upload: Upload,
    hash: Sha256,
    left: u64,
}

impl Blocks {
    /// The next blocks. The last ones are given only if the digest of the whole is right, because the store takes a
    /// content with all of its blocks for complete.
    fn read_next(&mut self) -> Result<Vec<Vec<u8>>, String> {
        let mut blocks = Vec::with_capacity(CHUNKS_PER_JOB);
        while self.left > 0 && blocks.len() < CHUNKS_PER_JOB {
            let mut block = vec![0; usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK_BYTES)];
            self.upload
                .bytes
                .read_exact(&mut block)
                .map_err(|error| format!("the file changed while it was read ({error})"))?;
            self.hash.update(&block);
            self.left -= block.len() as u64;
            blocks.push(block);
        }
        if self.left == 0 && self.hash.clone().finalize()[..] != self.upload.digest {
            return Err("the file changed while it was read".to_owned());
        }
        Ok(blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_blocks_are_given_only_if_the_digest_is_right() {
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
