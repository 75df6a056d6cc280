//! Sources whose files come from a Git repository.
//!
//! [`settings`] reads the source's keys in the sources file, [`follow`] keeps a directory at the newest commit, and the
//! directory source that reads that directory does the rest. [`publish`] has clients' writes committed and pushed. [`hooks`]
//! lets a forge say that somebody has pushed.

mod hooks;
mod publish;
mod settings;

#[cfg(feature = "git")]
mod follow;

use std::path::Path;

use sidevault_model::Commit;

#[cfg(feature = "git")]
pub(crate) use follow::run;
pub use hooks::{HookAnswer, Hooks};
pub(crate) use publish::{FileChange, Published, Publisher};
pub use settings::GitSource;
pub(crate) use settings::{GitEntry, directory_of};

/// The tree that a Git source serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServedTree {
    /// The name of its directory: the first digits of the commit's id, and how often its tree was written.
    pub(crate) name: String,
    /// The commit that it is of.
    pub(crate) commit: Option<Commit>,
}

impl ServedTree {
    /// What the link `path` leads to.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let tree = std::fs::read_link(path).ok()?;
        Some(Self {
            name: tree.file_name()?.to_string_lossy().into_owned(),
            commit: commit_of(&path.parent()?.join(&tree)),
        })
    }
}

#[cfg(feature = "git")]
fn commit_of(tree: &Path) -> Option<Commit> {
    sidevault_git::Mirror::commit_of(tree).as_ref().map(of_model)
}

#[cfg(not(feature = "git"))]
fn commit_of(_: &Path) -> Option<Commit> {
    None
}

#[cfg(feature = "git")]
fn of_model(commit: &sidevault_git::Commit) -> Commit {
    Commit {
        id: commit.id.clone(),
        time: sidevault_model::Timestamp::from_millis(commit.time.saturating_mul(1000)),
    }
}
