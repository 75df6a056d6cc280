//! Replaces and removes a file of a tree. A reader sees the old file or the new one, also after a crash.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, fsync, linkat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::super::beneath::{FileStamp, Root};
use super::refusal::FileError;

/// The name of the file that is written before it replaces another one. It is hidden, so that it is never served. There is one
/// in each directory at most: the next write removes what a crash left behind.
const TEMPORARY: &str = ".sidevault-write.tmp";

/// Replaces the content of a file that was opened with this stamp. Its mode and owner stay. Returns when the new content is on
/// disk.
///
/// # Errors
/// If the file has changed since, or can't be written. Then it is as it was.
pub(super) fn replace(root: &Root, place: &Path, seen: &FileStamp, bytes: &[u8]) -> Result<(), FileError> {
    let (dir, name) = root.holder(place)?;
    let new = Temporary::create(&dir)?;
    let old = statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)?;
    let made = fstat(&new.file).map_err(io::Error::from)?;
    if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid) {
        let owner = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
        fchown(&new.file, Some(owner.0), Some(owner.1)).map_err(io::Error::from)?;
    }
    fchmod(&new.file, Mode::from_raw_mode(old.st_mode)).map_err(io::Error::from)?;
    new.write(bytes)?;
    require_unchanged(&dir, &name, seen)?;
    new.rename_to(&name)
}

/// Makes a new file in a directory of the tree. Returns when it is on disk. Sync's user owns it.
///
/// # Errors
/// [`FileError::Exists`] if there is a file of this name; or if the file can't be written. Then there is none.
pub(super) fn create(dir: &OwnedFd, name: &OsStr, mode: Mode, bytes: &[u8]) -> Result<(), FileError> {
    let new = Temporary::create(dir)?;
    fchmod(&new.file, mode).map_err(io::Error::from)?;
    new.write(bytes)?;
    // Unlike a rename, a new name for the file never replaces another file.
    match linkat(dir, TEMPORARY, dir, name, AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(FileError::Exists),
        Err(errno) => return Err(io::Error::from(errno).into()),
    }
    drop(new);
    fsync(dir).map_err(io::Error::from)?;
    Ok(())
}

/// Removes a file that was opened with this stamp.
///
/// # Errors
/// If the file has changed since, or can't be removed.
pub(super) fn remove(root: &Root, place: &Path, seen: &FileStamp) -> Result<(), FileError> {
    let (dir, name) = root.holder(place)?;
    require_unchanged(&dir, &name, seen)?;
    unlinkat(&dir, &name, AtFlags::empty()).map_err(io::Error::from)?;
    fsync(&dir).map_err(io::Error::from)?;
    Ok(())
}

/// Removes a file that was just made.
pub(super) fn discard(dir: &OwnedFd, name: &OsStr) -> Result<(), FileError> {
    unlinkat(dir, name, AtFlags::empty()).map_err(io::Error::from)?;
    Ok(())
}

fn require_unchanged(dir: &OwnedFd, name: &OsString, seen: &FileStamp) -> Result<(), FileError> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileStamp::of(&stat) == *seen => Ok(()),
        Ok(_) | Err(Errno::NOENT) => Err(FileError::Changed),
        Err(errno) => Err(io::Error::from(errno).into()),
    }
}

/// A new file that has no other name yet. It is removed when this is dropped.
struct Temporary<'a> {
    dir: &'a OwnedFd,
    file: File,
}

impl<'a> Temporary<'a> {
    fn create(dir: &'a OwnedFd) -> io::Result<Self> {
        match unlinkat(dir, TEMPORARY, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(dir.as_fd(), TEMPORARY, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Self {
            dir,
            file: File::from(file),
        })
    }

    /// Writes the content to disk.
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes)?;
        self.file.sync_all()
    }

    fn rename_to(self, name: &OsString) -> Result<(), FileError> {
        renameat(self.dir, TEMPORARY, self.dir, name).map_err(io::Error::from)?;
        fsync(self.dir).map_err(io::Error::from)?;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // Gone if it was renamed.
        unlinkat(self.dir, TEMPORARY, AtFlags::empty()).ok();
    }
}
