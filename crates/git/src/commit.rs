//! Makes a commit that changes one file, as the objects that a server needs for it.

use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix_hash::{Kind, ObjectId};
use gix_object::tree::{Entry, EntryKind};
use gix_object::{Find as _, Kind as ObjectKind, Tree, TreeRef, WriteTo as _, compute_hash};
use gix_pack::data;
use gix_zlib::Compression;
use gix_zlib::stream::deflate;

use crate::error::GitError;
use crate::sign::SigningKey;

/// How commits are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committer {
    /// The name of author and committer.
    pub name: String,
    /// Their e-mail address.
    pub email: String,
    /// If set, commits are signed with this SSH key.
    pub signing_key_file: Option<PathBuf>,
}

/// What a commit does.
pub(crate) struct Edit<'a> {
    /// The commit before.
    pub(crate) parent: ObjectId,
    /// The whole tree of that commit.
    pub(crate) tree: ObjectId,
    /// The file, by its path in the repository.
    pub(crate) path: &'a Path,
    /// The file's new content; `None` to remove it.
    pub(crate) content: Option<&'a [u8]>,
    pub(crate) message: &'a str,
    /// Seconds since 1970.
    pub(crate) time: i64,
}

/// A commit, and the objects that its parent does not have.
pub(crate) struct NewCommit {
    pub(crate) id: ObjectId,
    /// These objects, as Git packs them.
    pub(crate) pack: Vec<u8>,
}

/// Makes the objects of a commit.
///
/// # Errors
/// If the tree has no place for the file, or an object of it or the signing key can't be read.
pub(crate) fn commit(objects: &gix_odb::Handle, edit: &Edit<'_>, by: &Committer) -> Result<NewCommit, GitError> {
    let mut new = NewObjects {
        objects,
        made: Vec::new(),
    };
    let names: Vec<&[u8]> = edit.path.iter().map(OsStrExt::as_bytes).collect();
    let tree = match new.tree(edit.tree, &names, edit)? {
        Some(tree) => tree,
        None => new.add(ObjectKind::Tree, Vec::new())?,
    };
    let who = format!("{} <{}> {} +0000", by.name, by.email, edit.time);
    let head = format!("tree {tree}\nparent {}\nauthor {who}\ncommitter {who}\n", edit.parent);
    let body = format!("\n{}\n", edit.message.trim_end());
    let text = match &by.signing_key_file {
        None => head + &body,
        Some(file) => {
            let signature = SigningKey::read(file)?.sign(format!("{head}{body}").as_bytes())?;
            // Each further line of a header begins with a blank.
            let signature = signature.trim_end().replace('\n', "\n ");
            format!("{head}gpgsig {signature}\n{body}")
        }
    };
    let id = new.add(ObjectKind::Commit, text.into_bytes())?;
    let pack = pack(&new.made).map_err(|error| GitError::Setup(format!("a commit can't be packed: {error}")))?;
    Ok(NewCommit { id, pack })
}

struct NewObjects<'a> {
    objects: &'a gix_odb::Handle,
    made: Vec<(ObjectKind, Vec<u8>)>,
}

impl NewObjects<'_> {
    /// A tree with the file changed; `None` if nothing is left in it, because Git has no empty directories.
    fn tree(&mut self, tree: ObjectId, names: &[&[u8]], edit: &Edit<'_>) -> Result<Option<ObjectId>, GitError> {
        let Some((name, below)) = names.split_first() else {
            return Err(GitError::NotPossible("the path has no file name".to_owned()));
        };
        let path = edit.path.display();
        let mut entries = self.entries(tree)?;
        let at = entries.iter().position(|entry| entry.filename == *name);
        let kind = at.map(|at| entries[at].mode.kind());
        let changed = match (kind, edit.content) {
            (Some(EntryKind::Tree), _) if !below.is_empty() => {
                let oid = at.map_or(tree, |at| entries[at].oid);
                self.tree(oid, below, edit)?
            }
            (Some(EntryKind::Blob | EntryKind::BlobExecutable), Some(content)) if below.is_empty() => {
                Some(self.add(ObjectKind::Blob, content.to_vec())?)
            }
            (Some(EntryKind::Blob | EntryKind::BlobExecutable), None) if below.is_empty() => None,
            (None, Some(content)) if below.is_empty() => Some(self.add(ObjectKind::Blob, content.to_vec())?),
            _ => {
                return Err(GitError::NotPossible(format!(
                    "in the repository, {path} is no file, or is reached through a symbolic link: change the file itself"
                )));
            }
        };
        match (at, changed) {
            (Some(at), Some(oid)) => entries[at].oid = oid,
            (Some(at), None) => drop(entries.remove(at)),
            (None, Some(oid)) => entries.push(Entry {
                mode: EntryKind::Blob.into(),
                filename: (*name).into(),
                oid,
            }),
            (None, None) => {}
        }
        if entries.is_empty() {
            return Ok(None);
        }
        entries.sort();
        let mut text = Vec::new();
        let written = Tree { entries }.write_to(&mut text);
        written.map_err(|error| GitError::Protocol(format!("a directory above {path} is damaged: {error}")))?;
        self.add(ObjectKind::Tree, text).map(Some)
    }

    fn entries(&self, tree: ObjectId) -> Result<Vec<Entry>, GitError> {
        let unreadable =
            |error: &dyn std::fmt::Display| GitError::Disk(format!("a directory can't be read: {error:#}"));
        let mut data = Vec::new();
        match self.objects.try_find(&tree, &mut data) {
            Ok(Some(_)) => {}
            Ok(None) => return Err(unreadable(&"it is missing")),
            Err(error) => return Err(unreadable(&error)),
        }
        let read = TreeRef::from_bytes(&data, Kind::Sha1).map_err(|error| unreadable(&error))?;
        Ok(Tree::from(read).entries)
    }

    fn add(&mut self, kind: ObjectKind, text: Vec<u8>) -> Result<ObjectId, GitError> {
        let id = compute_hash(Kind::Sha1, kind, &text);
        let id = id.map_err(|error| GitError::Setup(format!("an object can't be named: {error:#}")))?;
        self.made.push((kind, text));
        Ok(id)
    }
}

/// Packs whole objects.
fn pack(objects: &[(ObjectKind, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut out = gix_hash::io::Write::new(Vec::new(), Kind::Sha1);
    let count = u32::try_from(objects.len()).map_err(io::Error::other)?;
    out.write_all(&data::header::encode(data::Version::V2, count))?;
    for (kind, text) in objects {
        let header = match kind {
            ObjectKind::Blob => data::entry::Header::Blob,
            ObjectKind::Tree => data::entry::Header::Tree,
            ObjectKind::Commit => data::entry::Header::Commit,
            ObjectKind::Tag => data::entry::Header::Tag,
        };
        header.write_to(text.len() as u64, &mut out)?;
        let mut compressed = deflate::Write::new(&mut out, Compression::DEFAULT);
        compressed.write_all(text)?;
        compressed.flush()?;
    }
    let digest = out.hash.try_finalize().map_err(io::Error::other)?;
    out.inner.extend_from_slice(digest.as_slice());
    Ok(out.inner)
}
