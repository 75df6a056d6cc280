//! A tree of files as vaults.
//!
//! One task a source ([`run`]): list the tree (`tree`), read and decrypt what changed (`read`),
//! turn it into items (`draft`, `secret`), hand those to the writer (`apply`), then wait for an
//! event or the next full check (`watch`). Nothing is ever deleted because of an error: a file
//! that can't be read keeps the items it made before, and a tree that can't be listed whole
//! changes nothing.

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
mod source;
mod tree;
mod watch;

pub(crate) use apply::{DirectoryAnswer, DirectoryJob, apply};
pub(crate) use source::{Tools, run};
