//! How much room a volume has.

use std::path::Path;

/// The room on a volume, in bytes, as far as this process may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What can still be written.
    pub free: u64,
    /// The whole volume.
    pub total: u64,
}

impl Space {
    /// The room on the volume that `dir` is on. None if the system does not say.
    pub fn of(dir: &Path) -> Option<Self> {
        let volume = rustix::fs::statvfs(dir).ok()?;
        Some(Self {
            free: volume.f_bavail.saturating_mul(volume.f_frsize),
            total: volume.f_blocks.saturating_mul(volume.f_frsize),
        })
    }
}
