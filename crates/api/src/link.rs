//! The api's side of the bus: commands to sync, and what sync tells.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use bytes::Bytes;
use sidevault_bus::Connection;
use sidevault_bus::peer::{self, CallError, Incoming, Peer};
use sidevault_model::{Dependency, DependencyStatus};
use sidevault_store::{Command, CommandAnswer, Notice, decoding_fault};
use tokio::sync::{mpsc, watch};

use crate::ApiError;

/// How long a write may take.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// The links to sync. There is one writer, so normally one link; while it is replaced, the
/// newest counts.
pub struct SyncLink {
    peers: Mutex<Vec<Peer>>,
    health: RwLock<Option<Vec<Dependency>>>,
    /// Grows whenever sync says that something changed.
    changed: watch::Sender<i64>,
    /// Whether sync has looked at each of its sources once.
    settled: watch::Sender<bool>,
    /// The process is stopping: a link that ends now is no trouble.
    ending: AtomicBool,
}

impl Default for SyncLink {
    fn default() -> Self {
        Self {
            peers: Mutex::default(),
            health: RwLock::default(),
            changed: watch::Sender::new(0),
            settled: watch::Sender::new(false),
            ending: AtomicBool::new(false),
        }
    }
}

impl SyncLink {
    /// Takes links as they come, until their sender is gone.
    pub async fn run(self: std::sync::Arc<Self>, mut links: mpsc::Receiver<Connection>) {
        while let Some(connection) = links.recv().await {
            let (peer, incoming) = peer::start(connection);
            self.peers().push(peer.clone());
            tracing::info!("linked to sync");
            tokio::spawn(self.clone().listen(peer, incoming));
        }
    }

    async fn listen(self: std::sync::Arc<Self>, peer: Peer, mut incoming: mpsc::Receiver<Incoming>) {
        while let Some(message) = incoming.recv().await {
            let Incoming::Notice(body) = message else { continue };
            match serde_json::from_slice(&body) {
                Ok(Notice::Changed(sequence)) => {
                    self.changed.send_replace(sequence);
                }
                Ok(Notice::Health(dependencies)) => {
                    let settled = dependencies
                        .iter()
                        .all(|part| part.status != DependencyStatus::Initialized);
                    *self.health.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(dependencies);
                    self.settled
                        .send_if_modified(|was| !*was && std::mem::replace(was, settled) != settled);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(
                        error = decoding_fault(&error),
                        "sync is of another version: a notice was not understood"
                    );
                }
            }
        }
        drop(peer);
        let mut peers = self.peers();
        peers.retain(|peer| !peer.is_closed());
        if peers.is_empty() && !self.ending.load(Ordering::Relaxed) {
            tracing::warn!("the link to sync is down: reads go on, writes are answered with 503");
        }
    }

    /// Has sync carry out a write.
    ///
    /// # Errors
    /// 503 if sync can't be reached; and what sync refuses.
    pub(crate) async fn command(&self, command: &Command) -> Result<CommandAnswer, ApiError> {
        let Some(peer) = self.peer() else {
            return Err(ApiError::unavailable(
                "sync is not running or can't be reached, so nothing can be written; reads work. Try again later",
            ));
        };
        let body = Bytes::from(serde_json::to_vec(command).map_err(|_| ApiError::internal())?);
        let answer = match tokio::time::timeout(WRITE_TIME, peer.call(body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(CallError::Disconnected { maybe_executed: false })) => {
                return Err(ApiError::unavailable(
                    "the link to sync broke before the write was sent. Try again",
                ));
            }
            Ok(Err(CallError::TooLarge)) => {
                return Err(ApiError::new(
                    http::StatusCode::PAYLOAD_TOO_LARGE,
                    "the item is too large to be stored",
                ));
            }
            Ok(Err(_)) | Err(_) => {
                return Err(ApiError::unavailable(
                    "sync did not confirm the write in time; it may have been carried out. Read before you try again",
                ));
            }
        };
        match serde_json::from_slice(&answer) {
            Ok(CommandAnswer::Refused(refusal)) => Err(refusal.into()),
            Ok(answer) => Ok(answer),
            Err(error) => {
                tracing::error!(
                    error = decoding_fault(&error),
                    "sync is of another version: its answer was not understood"
                );
                Err(ApiError::internal())
            }
        }
    }

    /// Tells sync something. Lost if there is no link; says whether it was sent.
    pub(crate) async fn notify(&self, notice: &Notice) -> bool {
        let (Some(peer), Ok(body)) = (self.peer(), serde_json::to_vec(notice)) else {
            return false;
        };
        peer.notify(Bytes::from(body)).await.is_ok()
    }

    /// Tells when sync has committed something.
    pub(crate) fn changes(&self) -> watch::Receiver<i64> {
        self.changed.subscribe()
    }

    /// Tells that the process is stopping.
    pub(crate) fn expect_end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether there is a link.
    pub fn is_up(&self) -> bool {
        self.peer().is_some()
    }

    /// What sync last said of its parts.
    pub fn dependencies(&self) -> Option<Vec<Dependency>> {
        self.health
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    /// Whether sync has looked at each of its sources once.
    pub fn is_settled(&self) -> bool {
        *self.settled.borrow()
    }

    /// Returns once it has.
    pub async fn settled(&self) {
        // The sender is ours: it can't be gone.
        let mut settled = self.settled.subscribe();
        let _always = settled.wait_for(|settled| *settled).await;
    }

    fn peer(&self) -> Option<Peer> {
        self.peers().iter().rev().find(|peer| !peer.is_closed()).cloned()
    }

    fn peers(&self) -> std::sync::MutexGuard<'_, Vec<Peer>> {
        self.peers.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
