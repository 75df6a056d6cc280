//! The lock that makes a process the only writer of a data directory.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::StoreError;

/// A lock on `writer.lock` in the data directory. The operating system releases it when the process ends.
pub(crate) struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// Makes the directory if it is missing, and takes the lock.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it; [`StoreError::Directory`] if the directory can't be used.
    pub(crate) fn take(dir: &Path) -> Result<Self, StoreError> {
        let unusable = |cause| StoreError::Directory {
            path: dir.to_owned(),
            uid: rustix::process::geteuid().as_raw(),
            cause,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(unusable)?;
        let path = dir.join("writer.lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        // A process of another user that could open the file could lock it, and so keep the writer from starting. An error is
        // ignored: if another user owns the file, this process can't change its mode.
        file.set_permissions(Permissions::from_mode(0o600)).ok();
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(dir.display().to_string())),
            Err(TryLockError::Error(cause)) => Err(StoreError::Io { path, cause }),
        }
    }
}
