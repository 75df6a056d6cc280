//! A tree of files as vaults.
//!
//! One task a source ([`run`]): list the tree (`tree`), open, read and decrypt what changed (`beneath`,
//! `read`), turn it into items (`draft`, `secret`, `items`), hand those to the writer (`apply`), then
//! wait for an event or the next full check (`watch`). Nothing is ever deleted because of an error: a
//! file that can't be read keeps the items it made before, and of a vault with a directory that can't be
//! listed nothing is removed.

mod apply;
mod beneath;
mod content;
mod draft;
mod identities;
mod items;
#[cfg(test)]
mod model_tests;
mod read;
mod secret;
mod scanner;
mod tree;
mod watch;

pub(crate) use apply::{DirectoryAnswer, DirectoryJob, apply};
pub(crate) use scanner::{SourceContext, run};
