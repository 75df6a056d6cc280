//! Reads commits and annotated tags.

use gix_hash::{Kind, ObjectId};
use gix_object::{CommitRefIter, Find as _, Kind as ObjectKind, TagRefIter};

use crate::error::GitError;

/// A commit, and the annotated tags that lead to it.
pub(crate) struct Peeled {
    pub(crate) id: ObjectId,
    pub(crate) tree: ObjectId,
    /// When it was committed, in seconds since 1970.
    pub(crate) time: i64,
    pub(crate) data: Vec<u8>,
    /// The annotated tag, if the branch or tag is one.
    pub(crate) tag: Option<Vec<u8>>,
}

/// How many tags may lead to tags.
const MAX_TAGS: usize = 5;

/// Reads a commit, or the commit of an annotated tag.
pub(crate) fn peel(objects: &gix_odb::Handle, object: ObjectId) -> Result<Peeled, GitError> {
    let (mut id, mut tag) = (object, None);
    for _ in 0..=MAX_TAGS {
        let mut data = Vec::new();
        let found = objects.try_find(&id, &mut data);
        let found = found.map_err(|error| GitError::Disk(format!("commit {id} can't be read: {error:#}")))?;
        let kind = found.map(|found| found.kind);
        let damaged = |error: &dyn std::fmt::Display| GitError::Protocol(format!("object {id} is damaged: {error:#}"));
        match kind {
            Some(ObjectKind::Commit) => {
                let mut commit = CommitRefIter::from_bytes(&data, Kind::Sha1);
                let tree = commit.tree_id().map_err(|error| damaged(&error))?;
                return Ok(Peeled {
                    id,
                    tree,
                    time: committed_at(&data).ok_or_else(|| damaged(&"it has no time"))?,
                    data,
                    tag,
                });
            }
            Some(ObjectKind::Tag) => {
                let target = TagRefIter::from_bytes(&data, Kind::Sha1).target_id();
                id = target.map_err(|error| damaged(&error))?;
                tag.get_or_insert(data);
            }
            Some(kind) => return Err(GitError::Protocol(format!("object {id} is a {kind}, not a commit"))),
            None => return Err(GitError::Protocol(format!("the server did not send commit {id}"))),
        }
    }
    Err(GitError::Protocol(format!("{object} is a tag of a tag of a tag")))
}

/// The time in a commit's line `committer NAME <ADDRESS> SECONDS ZONE`.
fn committed_at(data: &[u8]) -> Option<i64> {
    let mut lines = data.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let line = lines.find_map(|line| line.strip_prefix(b"committer "))?;
    let line = String::from_utf8_lossy(line);
    line.rsplit(' ').nth(1)?.parse().ok()
}
