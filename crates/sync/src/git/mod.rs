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

#[cfg(feature = "git")]
pub(crate) use follow::run;
pub use hooks::{HookAnswer, Hooks};
pub(crate) use publish::{FileChange, Published, Publisher};
pub use settings::GitSource;
pub(crate) use settings::{GitEntry, directory_of};
