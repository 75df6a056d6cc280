//! A directory beside the backups, in which a backup is made.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::BackupError;

/// How the names of these directories begin.
const PREFIX: &str = ".sidevault-backup-";

/// The file that is locked while the directory is used.
const LOCK: &str = "lock";

/// The directory, which is removed when this is dropped. Only this user may read it.
pub(super) struct Staging {
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
        loop {
            let directory = tempfile::Builder::new()
                .prefix(PREFIX)
                .tempdir_in(parent)
                .map_err(failed)?;
            // None if another process took the directory for an abandoned one before it was claimed.
            if let Some(lock) = claim(directory.path()).map_err(failed)? {
                return Ok(Self { directory, _lock: lock });
            }
        }
    }

    /// Whether nobody has removed the directory.
    pub(super) fn exists(&self) -> bool {
        self.directory.path().is_dir()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Gives a file, which is on disk already, its final name in a directory of the same volume. Returns the path, and the file's size in
/// bytes.
pub(super) fn publish(file: &Path, path: &Path) -> Result<(String, u64), BackupError> {
    let failed = |cause| BackupError::io(path, cause);
    let bytes = file.metadata().map_err(failed)?.len();
    if path.exists() {
        return Err(BackupError::Exists(path.display().to_string()));
    }
    fs::rename(file, path).map_err(failed)?;
    sync_names(path).map_err(failed)?;
    Ok((path.display().to_string(), bytes))
}

/// Waits until the name of a file or directory is on disk.
pub(super) fn sync_names(path: &Path) -> std::io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

/// Removes the directories whose process has ended: the operating system has released their locks.
fn remove_abandoned(parent: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        if claim(&entry.path())?.is_some() {
            match fs::remove_dir_all(entry.path()) {
                // Its process was removing it at the same time.
                Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }
    Ok(())
}

/// Locks the directory's file, which is made if it is missing: a process may be killed right after it made the directory, or while
/// it removed it. None if another process has the lock, or has removed the directory.
fn claim(directory: &Path) -> std::io::Result<Option<File>> {
    let path = directory.join(LOCK);
    let lock = match File::options().create(true).truncate(false).write(true).open(&path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(cause)) => return Err(cause),
        Ok(()) => {}
    }
    // The file that was opened may have been removed before it was locked.
    let is_there = fs::metadata(&path).is_ok_and(|found| {
        lock.metadata()
            .is_ok_and(|locked| (found.dev(), found.ino()) == (locked.dev(), locked.ino()))
    });
    Ok(is_there.then_some(lock))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_another_uses_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let used = Staging::new(parent.path()).unwrap();
        // Killed while it made a backup, before it locked the directory, and while it removed it.
        for (name, files) in [("1", &[LOCK, "copy.sqlite"][..]), ("2", &[]), ("3", &["copy.sqlite"])] {
            let abandoned = parent.path().join(format!("{PREFIX}{name}"));
            fs::create_dir(&abandoned).unwrap();
            for file in files {
                fs::write(abandoned.join(file), "half").unwrap();
            }
        }
        let new = Staging::new(parent.path()).unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 2);
        assert!(used.path(LOCK).exists() && new.path(LOCK).exists());
        drop((used, new));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
