//! Writes a commit's tree into a new directory. The names in a tree come from whoever may push: none of them may lead out of
//! the directory, and a name that meets another one is refused.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use gix_hash::{Kind, ObjectId};
use gix_object::tree::EntryKind;
use gix_object::{Find as _, FindHeader as _, TreeRefIter};

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

/// What a tree takes on disk.
#[derive(Clone, Copy, Default)]
struct TreeSize {
    /// How many files and directories it has.
    files: u64,
    /// How many bytes its files have.
    bytes: u64,
}

/// A tree that was written to a directory, or a file of one.
pub(crate) struct WrittenTree {
    /// Its object.
    pub(crate) tree: ObjectId,
    /// Where it was written to.
    pub(crate) path: PathBuf,
}

/// Writes one tree.
pub(crate) struct Checkout<'a> {
    objects: &'a gix_odb::Handle,
    commit: &'a str,
    limits: Limits,
    /// What is not written, each with the reason.
    pub(crate) left_out: Vec<(String, &'static str)>,
}

impl<'a> Checkout<'a> {
    pub(crate) fn new(objects: &'a gix_odb::Handle, commit: &'a str, limits: Limits) -> Self {
        Self {
            objects,
            commit,
            limits,
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

    /// Writes a tree into `to`, which must not exist. Files that are the same in `before`, a tree that was written earlier and is
    /// not changed any more, become links to those.
    pub(crate) fn write(&mut self, tree: ObjectId, to: &Path, before: Option<WrittenTree>) -> Result<(), GitError> {
        self.measure(tree, 0, &mut HashMap::new())?;
        DirBuilder::new().mode(0o700).create(to)?;
        self.write_below(tree, to, before, "", 0)
    }

    fn write_below(
        &mut self,
        tree: ObjectId,
        to: &Path,
        before: Option<WrittenTree>,
        above: &str,
        depth: usize,
    ) -> Result<(), GitError> {
        if depth > MAX_DEPTH {
            return Err(self.refuse(above, &format!("directories are nested more than {MAX_DEPTH} deep")));
        }
        let data = self
            .read(tree, "directory")?
            .ok_or_else(|| GitError::Protocol(format!("the server did not send the directory \"{above}\"")))?;
        let earlier = match &before {
            Some(before) => self.entries(before.tree)?,
            None => HashMap::new(),
        };
        let earlier = |name: &[u8]| {
            let (is_tree, object) = *earlier.get(name)?;
            let path = before.as_ref()?.path.join(OsStr::from_bytes(name));
            Some((is_tree, WrittenTree { tree: object, path }))
        };
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
            let place = to.join(OsStr::from_bytes(entry.filename));
            let written = match entry.mode.kind() {
                EntryKind::Tree => match DirBuilder::new().mode(0o700).create(&place) {
                    Ok(()) => {
                        let before = earlier(entry.filename).filter(|(is_tree, _)| *is_tree);
                        let before = before.map(|(_, before)| before);
                        self.write_below(entry.oid.to_owned(), &place, before, &shown, depth + 1)?;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                EntryKind::Blob | EntryKind::BlobExecutable => {
                    let same = earlier(entry.filename).filter(|(is_tree, file)| !is_tree && file.tree == entry.oid);
                    match same.map(|(_, file)| fs::hard_link(file.path, &place)) {
                        Some(Ok(())) => Ok(()),
                        _ => self.write_file(entry.oid.to_owned(), &place, &shown)?,
                    }
                }
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
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(place);
        Ok(file.and_then(|mut file: File| file.write_all(&data)))
    }

    /// The directories and files of a tree, each with whether it is a directory. Empty if the tree is not there any more.
    fn entries(&self, tree: ObjectId) -> Result<HashMap<Vec<u8>, (bool, ObjectId)>, GitError> {
        let data = self.read(tree, "directory")?.unwrap_or_default();
        let entries = TreeRefIter::from_bytes(&data, Kind::Sha1).filter_map(Result::ok);
        let files = entries.filter_map(|entry| {
            let is_tree = match entry.mode.kind() {
                EntryKind::Tree => true,
                EntryKind::Blob | EntryKind::BlobExecutable => false,
                EntryKind::Link | EntryKind::Commit => return None,
            };
            Some((entry.filename.to_vec(), (is_tree, entry.oid.to_owned())))
        });
        Ok(files.collect())
    }

    /// Writes a symbolic link. Where it leads is checked by who reads the tree.
    fn write_link(&mut self, blob: ObjectId, place: &Path, shown: &str) -> Result<io::Result<()>, GitError> {
        let target = self.read(blob, "link")?.unwrap_or_default();
        if target.is_empty() || target.len() > MAX_LINK || target.contains(&0) {
            return Err(self.refuse(shown, "the symbolic link has no usable target"));
        }
        Ok(symlink(OsStr::from_bytes(&target), place))
    }

    /// How large a tree is on disk. A tree that is in another one many times is looked at once, because a few small objects can
    /// stand for any number of files.
    fn measure(
        &self,
        tree: ObjectId,
        depth: usize,
        known: &mut HashMap<ObjectId, TreeSize>,
    ) -> Result<TreeSize, GitError> {
        if let Some(size) = known.get(&tree) {
            return Ok(*size);
        }
        let mut size = TreeSize::default();
        // What is deeper, or damaged, is refused when it is written.
        if depth <= MAX_DEPTH {
            let data = self.read(tree, "directory")?.unwrap_or_default();
            for entry in TreeRefIter::from_bytes(&data, Kind::Sha1).filter_map(Result::ok) {
                let below = match entry.mode.kind() {
                    EntryKind::Tree => self.measure(entry.oid.to_owned(), depth + 1, known)?,
                    EntryKind::Blob | EntryKind::BlobExecutable => TreeSize {
                        files: 0,
                        bytes: self.file_size(entry.oid.to_owned())?,
                    },
                    EntryKind::Link | EntryKind::Commit => TreeSize::default(),
                };
                size.files = size.files.saturating_add(below.files).saturating_add(1);
                size.bytes = size.bytes.saturating_add(below.bytes);
                self.require_room(size)?;
            }
        }
        known.insert(tree, size);
        Ok(size)
    }

    /// How many bytes of a file are written.
    fn file_size(&self, blob: ObjectId) -> Result<u64, GitError> {
        let header = self.objects.try_header(&blob);
        let header = header.map_err(|error| GitError::Disk(format!("a file can't be read: {error:#}")))?;
        let size = header.map_or(0, |header| header.size);
        Ok(if size > MAX_FILE { 0 } else { size })
    }

    fn require_room(&self, size: TreeSize) -> Result<(), GitError> {
        let limits = &self.limits;
        let too_large = |what: String| Err(GitError::TooLarge(format!("commit {} {what}", self.commit)));
        if size.files > limits.files {
            return too_large(format!("has more than {} files and directories", limits.files));
        }
        if size.bytes > limits.bytes {
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
