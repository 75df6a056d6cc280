//! Writes a commit's tree into a new directory. The names in a tree come from whoever may push: none of them may lead out of
//! the directory, and a name that meets another one is refused.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::Path;

use gix_hash::{Kind, ObjectId};
use gix_object::Find as _;
use gix_object::TreeRefIter;
use gix_object::tree::EntryKind;

use crate::error::GitError;
use crate::fetch::MAX_FILE;

/// How deep directories may be nested.
const MAX_DEPTH: usize = 64;
/// The longest target of a symbolic link, in bytes. Linux has the same limit.
const MAX_LINK: usize = 4095;

/// The most that is written.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most files and directories of a tree.
    pub files: u64,
    /// The most bytes of a tree.
    pub bytes: u64,
    /// The most bytes that are fetched at once.
    pub fetched: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 250_000,
            bytes: 2 << 30,
            fetched: 2 << 30,
        }
    }
}

/// Writes one tree.
pub(crate) struct Checkout<'a> {
    objects: &'a gix_odb::Handle,
    commit: &'a str,
    limits: Limits,
    files: u64,
    bytes: u64,
    /// What is not written, each with the reason.
    pub(crate) left_out: Vec<(String, &'static str)>,
}

impl<'a> Checkout<'a> {
    pub(crate) fn new(objects: &'a gix_odb::Handle, commit: &'a str, limits: Limits) -> Self {
        Self {
            objects,
            commit,
            limits,
            files: 0,
            bytes: 0,
            left_out: Vec::new(),
        }
    }

    /// The tree of a sub-directory; the whole tree if `path` is empty.
    pub(crate) fn subtree(&self, mut tree: ObjectId, path: &str) -> Result<ObjectId, GitError> {
        for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
            let data = self.read(tree, "directory")?.unwrap_or_default();
            let below = TreeRefIter::from_bytes(&data, Kind::Sha1)
                .filter_map(Result::ok)
                .find(|entry| entry.filename == name.as_bytes() && entry.mode.kind() == EntryKind::Tree);
            tree = below
                .map(|entry| entry.oid.to_owned())
                .ok_or_else(|| GitError::NoPath {
                    commit: self.commit.to_owned(),
                    path: path.to_owned(),
                })?;
        }
        Ok(tree)
    }

    /// Writes a tree into `to`, which must not exist.
    pub(crate) fn write(&mut self, tree: ObjectId, to: &Path) -> Result<(), GitError> {
        DirBuilder::new().mode(0o700).create(to)?;
        self.write_below(tree, to, "", 0)
    }

    fn write_below(&mut self, tree: ObjectId, to: &Path, above: &str, depth: usize) -> Result<(), GitError> {
        if depth > MAX_DEPTH {
            return Err(self.refuse(above, &format!("directories are nested more than {MAX_DEPTH} deep")));
        }
        let data = self
            .read(tree, "directory")?
            .ok_or_else(|| GitError::Protocol(format!("the server did not send the directory \"{above}\"")))?;
        for entry in TreeRefIter::from_bytes(&data, Kind::Sha1) {
            let entry =
                entry.map_err(|error| GitError::Protocol(format!("the directory \"{above}\" is damaged: {error}")))?;
            let shown = if above.is_empty() {
                entry.filename.to_string()
            } else {
                format!("{above}/{}", entry.filename)
            };
            if !is_safe(entry.filename) {
                return Err(self.refuse(&shown, "this name is not allowed in a tree"));
            }
            self.count(0)?;
            let place = to.join(OsStr::from_bytes(entry.filename));
            let written = match entry.mode.kind() {
                EntryKind::Tree => match DirBuilder::new().mode(0o700).create(&place) {
                    Ok(()) => {
                        self.write_below(entry.oid.to_owned(), &place, &shown, depth + 1)?;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                EntryKind::Blob | EntryKind::BlobExecutable => self.write_file(entry.oid.to_owned(), &place, &shown)?,
                EntryKind::Link => self.write_link(entry.oid.to_owned(), &place, &shown)?,
                EntryKind::Commit => {
                    self.left_out.push((shown.clone(), "it is a submodule"));
                    Ok(())
                }
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(self.refuse(&shown, "two entries have this name"));
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                    return Err(self.refuse(&shown, "the name is too long"));
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn write_file(&mut self, blob: ObjectId, place: &Path, shown: &str) -> Result<io::Result<()>, GitError> {
        let data = self.read(blob, "file")?.filter(|data| data.len() as u64 <= MAX_FILE);
        let Some(data) = data else {
            self.left_out.push((shown.to_owned(), "it is larger than 64 MiB"));
            return Ok(Ok(()));
        };
        self.count(data.len() as u64)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(place);
        Ok(file.and_then(|mut file: File| file.write_all(&data)))
    }

    /// Writes a symbolic link. Where it leads is checked by who reads the tree.
    fn write_link(&mut self, blob: ObjectId, place: &Path, shown: &str) -> Result<io::Result<()>, GitError> {
        let target = self.read(blob, "link")?.unwrap_or_default();
        if target.is_empty() || target.len() > MAX_LINK || target.contains(&0) {
            return Err(self.refuse(shown, "the symbolic link has no usable target"));
        }
        Ok(symlink(OsStr::from_bytes(&target), place))
    }

    fn count(&mut self, bytes: u64) -> Result<(), GitError> {
        if bytes == 0 {
            self.files += 1;
        }
        self.bytes += bytes;
        let limits = &self.limits;
        let too_large = |what: String| Err(GitError::TooLarge(format!("commit {} {what}", self.commit)));
        if self.files > limits.files {
            return too_large(format!("has more than {} files and directories", limits.files));
        }
        if self.bytes > limits.bytes {
            return too_large(format!("has more than {} MiB of files", limits.bytes >> 20));
        }
        Ok(())
    }

    fn read(&self, id: ObjectId, what: &str) -> Result<Option<Vec<u8>>, GitError> {
        let mut data = Vec::new();
        let found = self.objects.try_find(&id, &mut data);
        let found = found.map_err(|error| GitError::Disk(format!("a {what} can't be read: {error:#}")))?;
        if found.is_none() {
            return Ok(None);
        }
        Ok(Some(data))
    }

    fn refuse(&self, name: &str, why: &str) -> GitError {
        GitError::Unsafe {
            commit: self.commit.to_owned(),
            reason: format!("{name:?}: {why}"),
        }
    }
}

/// Whether a name of a tree's entry may be written. Git refuses the same names.
fn is_safe(name: &[u8]) -> bool {
    let is_git = name.eq_ignore_ascii_case(b".git") || name.eq_ignore_ascii_case(b"git~1");
    !name.is_empty() && name != b"." && name != b".." && !is_git && !name.contains(&b'/') && !name.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_not_safe() {
        for name in ["", ".", "..", ".git", ".GIT", "git~1", "a/b", "/", "a\0b"] {
            assert!(!is_safe(name.as_bytes()), "{name:?}");
        }
        for name in ["a", "...", ".gitignore", ".github", "a\\b", "\u{e9}"] {
            assert!(is_safe(name.as_bytes()), "{name:?}");
        }
    }
}
