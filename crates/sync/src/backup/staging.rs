//! A directory beside the backups, in which a backup is made.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::BackupError;

/// How the names of these directories begin.
const PREFIX: &str = ".sidevault-backup-";

/// The file that is locked while the directory is used.
const LOCK: &str = "lock";

/// The directory, which is removed when this is dropped. Only this user may read it.
pub(super) struct Staging {
    parent: PathBuf,
    directory: tempfile::TempDir,
    _lock: File,
}

impl Staging {
    /// Makes the directory in `parent`, and `parent` itself if it is missing. Removes those that interrupted processes have left.
    pub(super) fn new(parent: &Path) -> Result<Self, BackupError> {
        let failed = |cause| BackupError::io(parent, cause);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(failed)?;
        remove_abandoned(parent).map_err(failed)?;
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(parent)
            .map_err(failed)?;
        let lock = File::create(directory.path().join(LOCK)).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::Error(cause) => failed(cause),
            TryLockError::WouldBlock => failed(std::io::ErrorKind::WouldBlock.into()),
        })?;
        Ok(Self {
            parent: parent.to_owned(),
            directory,
            _lock: lock,
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Gives a file, which is on disk already, its final name in the parent directory. Returns the file's size in bytes.
    pub(super) fn publish(&self, file: &Path, path: &Path) -> Result<u64, BackupError> {
        let failed = |cause| BackupError::io(path, cause);
        let bytes = file.metadata().map_err(failed)?.len();
        if path.exists() {
            return Err(BackupError::Exists(path.to_owned()));
        }
        fs::rename(file, path).map_err(failed)?;
        File::open(&self.parent)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)?;
        Ok(bytes)
    }
}

/// Removes the directories whose process has ended: the operating system has released their locks.
fn remove_abandoned(parent: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // A directory without the file was made a moment ago, or its process was killed in that moment; then it is empty.
        let Ok(lock) = File::open(entry.path().join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_another_uses_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let used = Staging::new(parent.path()).unwrap();
        let abandoned = parent.path().join(".sidevault-backup-abandoned");
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join(LOCK), "").unwrap();
        fs::write(abandoned.join("copy.sqlite"), "half").unwrap();
        let new = Staging::new(parent.path()).unwrap();
        assert!(!abandoned.exists());
        assert!(used.path(LOCK).exists() && new.path(LOCK).exists());
        drop((used, new));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
