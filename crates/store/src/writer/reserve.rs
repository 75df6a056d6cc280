//! Room on the volume that is kept for urgent writes: on a full disk it must still be possible to revoke a token.
//!
//! The room is a file beside the database, and not free pages in the database: a write needs room in the write-ahead log first,
//! which can't be allocated in advance. To remove a file gives room to both, and until then other programs on the volume can't
//! use the room.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The file's name in the data directory.
const FILE: &str = "reserve";

/// The size of the reserve. A revocation writes about 40 kB into the write-ahead log. SQLite writes the log from its start again
/// after four megabytes, if all of the log could be moved into the database.
const BYTES: usize = 1 << 20;

/// The smallest reserve, in bytes, that counts as held.
const LEAST: u64 = (BYTES / 4) as u64;

/// The file that takes the room.
pub(crate) struct Reserve {
    path: PathBuf,
    /// The size of the file in bytes.
    taken: u64,
}

impl Reserve {
    /// The reserve that an earlier writer left in `dir`, if any. This does not take more room.
    pub(super) fn new(dir: &Path) -> Self {
        let path = dir.join(FILE);
        Self {
            taken: path.metadata().map_or(0, |metadata| metadata.len()),
            path,
        }
    }

    fn is_held(&self) -> bool {
        self.taken >= LEAST
    }

    /// Takes the reserve, unless it is held: at least a quarter of it, if there is no more room. Returns whether it is held now.
    pub(super) fn hold(&mut self) -> bool {
        if !self.is_held() {
            self.refill();
        }
        self.is_held()
    }

    /// Takes the whole reserve, if only a part of it or nothing is held.
    pub(super) fn refill(&mut self) {
        if self.taken < BYTES as u64 {
            // An error means that there is no room or no permission: then the reserve is not held.
            self.taken = self.take().unwrap_or(0);
            if !self.is_held() {
                self.release();
            }
        }
    }

    /// Gives the room back to the volume. Returns whether there was a reserve.
    pub(super) fn release(&mut self) -> bool {
        self.taken = 0;
        fs::remove_file(&self.path).is_ok()
    }

    /// Writes the file, and returns its size.
    fn take(&self) -> io::Result<u64> {
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&self.path)?;
        // Random bytes: a file system that compresses would allocate next to nothing for zeros.
        let mut block = vec![0; BYTES / 16];
        rand::fill(&mut block[..]);
        for _ in 0..16 {
            if file.write_all(&block).is_err() {
                break;
            }
        }
        // Some file systems report only now that there is no room.
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_reserve_allocates_blocks_and_frees_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::new(dir.path());
        assert!(!reserve.is_held() && reserve.hold());
        let metadata = dir.path().join(FILE).metadata().unwrap();
        assert_eq!(metadata.len(), BYTES as u64);
        assert!(metadata.blocks() * 512 >= BYTES as u64, "the file is sparse");
        assert!(
            Reserve::new(dir.path()).is_held(),
            "the next writer does not find the reserve"
        );
        // A reserve that a full disk cut short is filled up.
        fs::write(dir.path().join(FILE), vec![0; BYTES / 2]).unwrap();
        let mut half = Reserve::new(dir.path());
        assert!(half.hold());
        half.refill();
        assert_eq!(dir.path().join(FILE).metadata().unwrap().len(), BYTES as u64);
        assert!(reserve.release() && !reserve.is_held() && !reserve.release());
        assert!(!dir.path().join(FILE).exists());
    }

    #[test]
    fn a_reserve_that_cannot_be_made_is_not_held() {
        let mut reserve = Reserve::new(Path::new("/nonexistent"));
        assert!(!reserve.hold() && !reserve.is_held());
    }
}
