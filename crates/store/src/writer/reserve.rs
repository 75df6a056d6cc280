//! Room on the volume that is reserved for urgent writes: on a full disk it must still be possible to revoke a token.
//!
//! A file beside the database holds the room, not free pages within the database: a write needs room in the write-ahead
//! log first, which can't be had in advance, and removing a file gives room to both. It also keeps the room from other
//! programs on the same volume.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Its name in the data directory.
const FILE: &str = "reserve";

/// How many bytes are kept. A revocation writes about 40 kB into the write-ahead log, and the log starts anew after
/// four megabytes, or as soon as all of it could be moved into the database.
const BYTES: usize = 1 << 20;

/// The smallest reserve, in bytes, that counts as held.
const LEAST: u64 = (BYTES / 4) as u64;

/// The file that keeps the room.
pub(super) struct Reserve {
    path: PathBuf,
    /// How many bytes it keeps.
    taken: u64,
}

impl Reserve {
    /// The reserve that an earlier writer left in `dir`, if any; takes no more yet.
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

    /// Takes the reserve, or as much of it as there is room for, at least a quarter. Returns whether it is held now.
    pub(super) fn hold(&mut self) -> bool {
        if !self.is_held() {
            self.refill();
        }
        self.is_held()
    }

    /// Takes all of the room, if not all of it is held.
    pub(super) fn refill(&mut self) {
        if self.taken < BYTES as u64 {
            // No room, or no permission: the reserve is not held.
            self.taken = self.take().unwrap_or(0);
            if !self.is_held() {
                self.release();
            }
        }
    }

    /// Gives the room back to the volume. Returns whether there was any.
    pub(super) fn release(&mut self) -> bool {
        self.taken = 0;
        fs::remove_file(&self.path).is_ok()
    }

    /// Returns how many bytes were taken.
    fn take(&self) -> io::Result<u64> {
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&self.path)?;
        // Random, for a file system that compresses would keep next to nothing for zeros.
        let mut block = vec![0; BYTES / 16];
        rand::fill(&mut block[..]);
        for _ in 0..16 {
            if file.write_all(&block).is_err() {
                break;
            }
        }
        // Some file systems find out that there is no room only now.
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_room_is_really_taken_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::new(dir.path());
        assert!(!reserve.is_held() && reserve.hold());
        let metadata = dir.path().join(FILE).metadata().unwrap();
        assert_eq!(metadata.len(), BYTES as u64);
        assert!(metadata.blocks() * 512 >= BYTES as u64, "no blocks stand behind it");
        assert!(Reserve::new(dir.path()).is_held(), "the next writer finds it");
        // What a full disk left of it is made whole again.
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
