//! Free space of a volume.

use std::path::Path;

/// The size of a volume in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// How many bytes this process can still write; a file system may reserve some for root.
    pub free: u64,
    /// The size of the whole volume.
    pub total: u64,
}

impl Space {
    /// The space of the volume that `dir` is on. None if the operating system does not tell.
    pub fn of(dir: &Path) -> Option<Self> {
        let volume = rustix::fs::statvfs(dir).ok()?;
        Some(Self {
            free: volume.f_bavail.saturating_mul(volume.f_frsize),
            total: volume.f_blocks.saturating_mul(volume.f_frsize),
        })
    }
}
