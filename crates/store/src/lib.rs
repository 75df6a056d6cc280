//! The encrypted store in SQLite: vaults, items, files, their history, the change log, the activity log and tokens.
//!
//! A data directory has one [`Writer`], which sync holds. Any number of [`Reader`]s, in any process, read the same database;
//! each sees every commit at its next call. A process that does not hold the writer sends a [`Command`] to sync and gets a
//! [`CommandAnswer`].
//!
//! Titles, fields, file names and contents, vault names, token names and activity are encrypted with AES-256-GCM ("sealed").
//! The associated data of each seal says which row it belongs to, so a row that was moved or swapped can't be decrypted.

mod activity;
mod backup;
mod cache;
mod command;
mod command_message;
mod connection;
mod connection_pool;
mod database;
mod error;
mod keyring;
mod migrations;
mod postgres;
mod reader;
mod replica;
mod row;
mod row_aad;
mod row_check;
mod seal;
mod sealed_columns;
mod segment;
mod space;
mod sqlite;
mod statement;
mod store_row;
mod tables;
mod tokens;
mod transfer;
mod writer;

pub use activity::Activity;
pub use backup::{Lost, Manifest, Restored, TableDigest, back_up, check_backup, check_backup_with_keys, restore};
pub use command::{
    Command, CommandAnswer, CommandRefusal, FailureKind, Notice, PatchOperation, VaultInfo, decoding_fault,
};
pub use command_message::CommandMessage;
pub use database::{Database, has_store};
pub use error::StoreError;
pub use postgres::PostgresServer;
pub use reader::{ChangeRecord, ItemVersion, KeyRow, Reader, ReaderOptions, Snapshot, StoredItem, Summary, VaultEntry};
pub use row_check::RowCounts;
pub use segment::{Assembly, Link, Segment, SegmentFault, SegmentWriter};
pub use space::Space;
pub use tokens::TokenRecord;
pub use transfer::copy_store;
pub use writer::{Batch, CHUNK_BYTES, ChangeKind, Origin, Resealing, Writer, WriterOptions};

/// The database's file name inside the data directory, as Connect names it.
pub const DATABASE_FILE: &str = "1password.sqlite";

/// The `source` of a local vault, which is written over REST and exists only in this store.
pub const LOCAL_SOURCE: &str = "local";
