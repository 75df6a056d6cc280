//! The api's connections to sync: commands to sync, and notices from sync.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sidevault_bus::Connection;
use sidevault_bus::peer::{self, CallError, Incoming, Peer};
use sidevault_model::{Dependency, DependencyStatus, SourceProgress};
use sidevault_store::{Command, CommandAnswer, CommandMessage, FailureKind, Notice, decoding_fault};
use tokio::sync::{mpsc, watch};

use crate::error::ApiError;
use crate::request_context::RequestId;

/// How long the api waits for sync to carry out a write. Above: 503.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The connections to sync processes. Of these, one leads. While a new sync replaces an old one, both may seem to lead, and the
/// newest connection is used.
pub struct SyncLink {
    peers: Mutex<Vec<SyncPeer>>,
    /// What a sync last sent for `/health`. It counts while no sync leads.
    last_health: Mutex<Option<Vec<Dependency>>>,
    /// How often the sources were read, as a sync last sent it.
    sources: Mutex<Vec<SourceProgress>>,
    /// The number of the newest change that sync announced.
    changed: watch::Sender<i64>,
    /// Whether sync has read each of its sources once.
    initial_sync_done: watch::Sender<bool>,
    /// Whether the process is stopping. A connection that ends then is not logged.
    is_stopping: AtomicBool,
}

/// A connection to a sync process.
struct SyncPeer {
    peer: Peer,
    /// Whether this process leads: true until it says that it is a standby.
    leads: bool,
    /// The state of its parts, as it last sent it. One that led before may send it after the new leader did.
    health: Option<Vec<Dependency>>,
}

impl SyncPeer {
    fn is_leader(&self) -> bool {
        self.leads && !self.peer.is_closed()
    }
}

impl Default for SyncLink {
    fn default() -> Self {
        Self {
            peers: Mutex::default(),
            last_health: Mutex::default(),
            sources: Mutex::default(),
            changed: watch::Sender::new(0),
            initial_sync_done: watch::Sender::new(false),
            is_stopping: AtomicBool::new(false),
        }
    }
}

impl SyncLink {
    /// Takes connections from `links` until its sender is dropped.
    pub async fn run(self: std::sync::Arc<Self>, mut links: mpsc::Receiver<Connection>) {
        while let Some(connection) = links.recv().await {
            let (peer, incoming) = peer::start(connection);
            self.peers.lock().push(SyncPeer {
                peer: peer.clone(),
                leads: true,
                health: None,
            });
            tracing::info!("sync is connected");
            tokio::spawn(self.clone().listen(peer, incoming));
        }
    }

    async fn listen(self: std::sync::Arc<Self>, peer: Peer, mut incoming: mpsc::Receiver<Incoming>) {
        while let Some(message) = incoming.recv().await {
            let Incoming::Notice(body) = message else { continue };
            match serde_json::from_slice(&body) {
                Ok(Notice::Leading(leads)) => {
                    for known in self.peers.lock().iter_mut().filter(|known| known.peer.is_same(&peer)) {
                        known.leads = leads;
                    }
                }
                Ok(Notice::Changed(sequence)) => {
                    self.changed.send_replace(sequence);
                }
                Ok(Notice::Health(dependencies)) => {
                    let is_done = dependencies
                        .iter()
                        .all(|part| part.status != DependencyStatus::Initialized);
                    for known in self.peers.lock().iter_mut().filter(|known| known.peer.is_same(&peer)) {
                        known.health = Some(dependencies.clone());
                    }
                    *self.last_health.lock() = Some(dependencies);
                    let is_first = self
                        .initial_sync_done
                        .send_if_modified(|was| !*was && std::mem::replace(was, is_done) != is_done);
                    if is_first {
                        // The api should look at the store now.
                        self.changed.send_modify(|_| {});
                    }
                }
                Ok(Notice::Sources(sources)) => *self.sources.lock() = sources,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(
                        error = decoding_fault(&error),
                        "a notice from sync was not understood: run the same version of api and sync"
                    );
                }
            }
        }
        drop(peer);
        let mut peers = self.peers.lock();
        peers.retain(|known| !known.peer.is_closed());
        if peers.is_empty() && !self.is_stopping.load(Ordering::Relaxed) {
            tracing::warn!("sync is no longer connected: reads go on, writes are answered with 503");
        }
    }

    /// Sends a write to the sync that leads, and waits until it has carried the write out. Sync logs it with the id of the
    /// `request`.
    ///
    /// # Errors
    /// 503 if no sync that leads is connected, or it does not confirm the write within 30 s; 413 if the command is too large for
    /// the bus; and the errors of sync.
    pub(crate) async fn command(&self, command: &Command, request: &RequestId) -> Result<CommandAnswer, ApiError> {
        let message = CommandMessage {
            request_id: Some(request.to_string()),
            command,
        };
        let body = serde_json::to_vec(&message).map_err(|_| ApiError::internal("the command can't be encoded"))?;
        let body = Bytes::from(body);
        for peer in self.leaders() {
            match ask(&peer, body.clone()).await? {
                // It is a standby, and its notice is still on the way.
                CommandAnswer::Refused(refusal) if refusal.kind == FailureKind::Standby => continue,
                CommandAnswer::Refused(refusal) => return Err(refusal.into()),
                answer => return Ok(answer),
            }
        }
        Err(ApiError::unavailable(
            "sync is not running or can't be reached, so nothing can be written. Reads work. Try again later",
        ))
    }

    /// Sends a notice to sync. Returns whether it was sent; without a connection it is lost.
    pub(crate) async fn notify(&self, notice: &Notice) -> bool {
        let (Some(peer), Ok(body)) = (self.leaders().into_iter().next(), serde_json::to_vec(notice)) else {
            return false;
        };
        peer.notify(Bytes::from(body)).await.is_ok()
    }

    /// Receives the numbers of changes that sync announces.
    pub(crate) fn changes(&self) -> watch::Receiver<i64> {
        self.changed.subscribe()
    }

    /// Notes that the process is stopping, so that the end of a connection is not logged.
    pub(crate) fn expect_end(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Whether a sync that leads is connected.
    pub fn is_up(&self) -> bool {
        !self.leaders().is_empty()
    }

    /// The state of sync's parts for `/health`, as the leader last sent it. None before the first time.
    pub fn dependencies(&self) -> Option<Vec<Dependency>> {
        let leaders = {
            let peers = self.peers.lock();
            let mut leading = peers.iter().rev().filter(|known| known.is_leader());
            leading.find_map(|known| known.health.clone())
        };
        leaders.or_else(|| self.last_health.lock().clone())
    }

    /// How often the sources were read, as the leader last sent it.
    pub(crate) fn sources(&self) -> Vec<SourceProgress> {
        self.sources.lock().clone()
    }

    /// Whether sync has read each of its sources once.
    pub fn initial_sync_is_done(&self) -> bool {
        *self.initial_sync_done.borrow()
    }

    /// Waits until sync has read each of its sources once.
    pub async fn initial_sync_done(&self) {
        let mut is_done = self.initial_sync_done.subscribe();
        // Fails only if the sender is dropped, which `self` holds.
        is_done.wait_for(|is_done| *is_done).await.ok();
    }

    /// The sync processes that lead, as far as this process knows, the newest connection first.
    fn leaders(&self) -> Vec<Peer> {
        let peers = self.peers.lock();
        let leading = peers.iter().rev().filter(|known| known.is_leader());
        leading.map(|known| known.peer.clone()).collect()
    }
}

/// Sends a command to one sync, and waits for its answer.
async fn ask(peer: &Peer, command: Bytes) -> Result<CommandAnswer, ApiError> {
    let answer = match tokio::time::timeout(WRITE_TIMEOUT, peer.call(command)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(CallError::Disconnected { maybe_executed: false })) => {
            return Err(ApiError::unavailable(
                "the connection to sync was lost before the write was sent. Try again",
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
                "sync did not confirm the write in time, and may have carried it out. Read the item before you try again",
            ));
        }
    };
    serde_json::from_slice(&answer).map_err(|error| {
        ApiError::internal(format!(
            "sync's answer was not understood; run the same version of api and sync: {}",
            decoding_fault(&error)
        ))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A sync that is connected to the link.
    struct Sync {
        peer: Peer,
        _incoming: mpsc::Receiver<Incoming>,
    }

    impl Sync {
        async fn connect(links: &mpsc::Sender<Connection>) -> Self {
            let (here, there) = sidevault_bus::in_memory();
            links.send(there).await.unwrap();
            let (peer, incoming) = peer::start(here);
            Self {
                peer,
                _incoming: incoming,
            }
        }

        async fn notify(&self, notice: Notice) {
            let notice = serde_json::to_vec(&notice).unwrap();
            self.peer.notify(Bytes::from(notice)).await.unwrap();
        }

        async fn has_store(&self, status: DependencyStatus) {
            self.notify(Notice::Health(vec![Dependency::new("postgres", status)]))
                .await;
        }
    }

    async fn wait_for(link: &SyncLink, status: DependencyStatus) {
        let shown = async {
            while link.dependencies().is_none_or(|parts| parts[0].status != status) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), shown).await.unwrap();
    }

    #[tokio::test]
    async fn health_is_that_of_the_leader_even_if_an_earlier_leader_reports_later() {
        let (links, waiting) = mpsc::channel(1);
        let link = Arc::new(SyncLink::default());
        tokio::spawn(link.clone().run(waiting));
        let new = Sync::connect(&links).await;
        new.has_store(DependencyStatus::Active).await;
        wait_for(&link, DependencyStatus::Active).await;
        // It was paused, and connects again.
        let old = Sync::connect(&links).await;
        old.has_store(DependencyStatus::Failed).await;
        wait_for(&link, DependencyStatus::Failed).await;
        old.notify(Notice::Leading(false)).await;
        wait_for(&link, DependencyStatus::Active).await;
    }

    #[tokio::test]
    async fn the_api_looks_at_the_store_when_sync_has_read_its_sources() {
        let (links, waiting) = mpsc::channel(1);
        let link = Arc::new(SyncLink::default());
        let mut changes = link.changes();
        tokio::spawn(link.clone().run(waiting));
        let sync = Sync::connect(&links).await;
        sync.has_store(DependencyStatus::Initialized).await;
        wait_for(&link, DependencyStatus::Initialized).await;
        assert!(!changes.has_changed().unwrap());
        sync.has_store(DependencyStatus::Active).await;
        tokio::time::timeout(Duration::from_secs(60), changes.changed())
            .await
            .unwrap()
            .unwrap();
        assert!(link.initial_sync_is_done());
    }
}
