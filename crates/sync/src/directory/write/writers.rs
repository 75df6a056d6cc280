//! Which scanner carries out the writes to a vault.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sidevault_model::VaultId;
use sidevault_store::{Command, CommandAnswer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::queue::QueueClosed;

/// How many writes wait for a scanner. While there are as many, senders wait.
const WAITING_WRITES: usize = 64;

/// A write to an item of a tree.
pub(crate) struct WriteRequest {
    pub(crate) command: Command,
    /// When it was asked for.
    pub(crate) received: Instant,
    pub(crate) reply: oneshot::Sender<CommandAnswer>,
}

/// The scanners that carry out writes, by vault. A source enters its vaults when it has read its tree for the first time.
#[derive(Clone, Default)]
pub(crate) struct TreeWriters(Arc<Mutex<HashMap<VaultId, mpsc::Sender<WriteRequest>>>>);

impl TreeWriters {
    /// The scanner for a command; `None` if the writer of the store carries it out.
    pub(crate) fn for_command(&self, command: &Command) -> Option<TreeWriter> {
        let vault = match command {
            Command::CreateItem { vault, .. }
            | Command::ReplaceItem { vault, .. }
            | Command::PatchItem { vault, .. }
            | Command::DeleteItem { vault, .. }
            | Command::RestoreItem { vault, .. } => vault,
            _ => return None,
        };
        self.0.lock().get(vault).cloned().map(TreeWriter)
    }
}

/// The sending end of a scanner's writes.
pub(crate) struct TreeWriter(mpsc::Sender<WriteRequest>);

impl TreeWriter {
    /// Carries out a command. Returns when its changes are in the file and in the store.
    ///
    /// # Errors
    /// [`QueueClosed`] if the scanner ended first. Whether the command was carried out is then unknown.
    pub(crate) async fn carry_out(&self, command: Command) -> Result<CommandAnswer, QueueClosed> {
        let (reply, answer) = oneshot::channel();
        let request = WriteRequest {
            command,
            received: Instant::now(),
            reply,
        };
        self.0.send(request).await.map_err(|_| QueueClosed)?;
        answer.await.map_err(|_| QueueClosed)
    }
}

/// The receiving end.
pub(crate) struct WriteRequests {
    sender: mpsc::Sender<WriteRequest>,
    waiting: mpsc::Receiver<WriteRequest>,
}

impl WriteRequests {
    pub(crate) fn new() -> Self {
        let (sender, waiting) = mpsc::channel(WAITING_WRITES);
        Self { sender, waiting }
    }

    /// Takes writes to these vaults, and no others, from now on.
    pub(crate) fn accept(&self, writers: &TreeWriters, vaults: impl Iterator<Item = VaultId>) {
        let mut writers = writers.0.lock();
        writers.retain(|_, writer| !writer.same_channel(&self.sender));
        writers.extend(vaults.map(|vault| (vault, self.sender.clone())));
    }

    pub(crate) async fn next(&mut self) -> Option<WriteRequest> {
        self.waiting.recv().await
    }
}
