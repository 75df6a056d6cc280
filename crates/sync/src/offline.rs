//! A writer without sync, for commands of an administrator.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use sidevault_keys::Credentials;
use sidevault_store::{Command, CommandAnswer, Database, StoreError, Writer, WriterOptions};
use tokio::sync::watch;

use crate::disk::disk_of;
use crate::error::SyncError;
use crate::low_disk::LowDisk;
use crate::metrics::Metrics;
use crate::queue::{self, Queue, WriterContext};
use crate::status::Status;

/// The store, opened without sync for an administrator's commands.
pub struct Offline {
    queue: Queue,
    writer: tokio::task::JoinHandle<()>,
}

impl Offline {
    /// Opens the store for writing.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if sync runs; other errors if the store can't be opened.
    pub async fn open(database: &Database, dir: &Path, credentials: &Credentials) -> Result<Self, StoreError> {
        let writer = Writer::open(database, credentials.kek(), WriterOptions::default()).await?;
        let metrics = Arc::new(Metrics::default());
        let disk = disk_of(database, dir);
        let context = WriterContext {
            ids: credentials.id_key(),
            writable_sources: HashSet::new(),
            low_disk: LowDisk::default(),
            status: Arc::new(Status::new(database, metrics.clone())),
            disk,
            metrics,
            committed: watch::Sender::new(0),
        };
        let (queue, writer) = queue::start(writer, context);
        Ok(Self { queue, writer })
    }

    /// Carries out the command. Returns when its changes are on disk.
    ///
    /// # Errors
    /// [`SyncError::Stopped`] if the writer ended before it answered.
    pub async fn command(&self, command: Command) -> Result<CommandAnswer, SyncError> {
        self.queue.command(command).await.map_err(|_| SyncError::Stopped)
    }

    /// Closes the store.
    pub async fn close(self) {
        drop(self.queue);
        // A panic of the writer shows as a missing answer.
        self.writer.await.ok();
    }
}
