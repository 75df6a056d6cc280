//! Sealed vaults, items, files and their history in SQLite.
//!
//! [`Writer`] is the one process-wide writer (sync holds it); [`Reader`] serves reads from the
//! same database and is right at every call, however the change got there. [`Command`] and
//! [`CommandAnswer`] are what one process asks of the process that holds the writer.
//!
//! Nothing a user would call content is written in the clear: titles, fields, file names and
//! contents, vault names, token names and activity are sealed with AES-256-GCM, each bound to
//! the place it belongs to, so that no row can be moved or swapped unnoticed.

mod activity;
mod cache;
mod command;
mod error;
mod keyring;
mod reader;
mod row_aad;
mod seal;
mod space;
mod sqlite;
mod tokens;
mod writer;

pub use activity::Activity;
pub use command::{Command, CommandAnswer, CommandRefusal, FailureKind, Notice, PatchOperation, VaultInfo, decoding_fault};
pub use error::StoreError;
pub use reader::{ChangeRecord, ItemVersion, Reader, ReaderOptions, Snapshot, StoredItem, Summary, VaultEntry};
pub use space::Space;
pub use tokens::TokenRecord;
pub use writer::{Batch, CHUNK_BYTES, ChangeKind, Writer, WriterOptions};

/// The database's file name inside the data directory, as Connect names it.
pub const DATABASE_FILE: &str = "1password.sqlite";

/// The `source` of a vault whose truth is this store.
pub const LOCAL_SOURCE: &str = "local";
