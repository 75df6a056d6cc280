//! Writes of clients to the files of a source with `writable: true`.
//!
//! The writer's queue gives a command for a vault of such a source to the source's scanner (`writers`), which carries it out
//! between two scans (`carry_out`): it takes in what changed on disk, has `sidevault_model` make the new item, finds where the
//! document has the item and its fields (`places`), turns the difference into edits of the file (`changes`), replaces the file
//! (`file`, `replace`), and reads it like any other changed file. A new item
//! gets a file of its own (`new_file`). So the store gets what the files say, and the answer is what was read.

mod carry_out;
mod changes;
mod file;
mod new_file;
mod places;
mod refusal;
mod replace;
mod writers;

pub(super) use carry_out::Answered;
pub(crate) use writers::{TreeWriters, WriteRequest, WriteRequests};
