//! What all requests share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use sidevault_keys::Credentials;
use sidevault_model::Timestamp;
use sidevault_store::{Reader, ReaderOptions, Snapshot, StoreError};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::activity::Recorder;
use crate::error::ApiError;
use crate::event_streams::EventStreams;
use crate::feed::Feed;
use crate::limits;
use crate::link::SyncLink;
use crate::metrics::Metrics;
use crate::revoked::Revoked;
use crate::tokens::Tokens;

/// How often the store is tried while it can't be opened.
const OPEN_AGAIN: Duration = Duration::from_millis(50);

/// How often commits are looked for when sync does not tell of them.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What the api is told from outside.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// How long a request waits for the first sync (OP_SYNC_TIMEOUT).
    pub sync_timeout: Duration,
    /// The largest file that `inline_files=true` shows, in bytes (OP_MAX_INLINE_FILE_SIZE_KB).
    pub inline_file_bytes: u64,
    /// Whether `/health` and `/metrics` show everything without a token (SIDEVAULT_HEALTH_DETAILS).
    pub health_details: bool,
    /// How the store is read.
    pub reader: ReaderOptions,
}

/// The api: everything a request needs that is not the request's own.
pub struct Api {
    pub(crate) config: Config,
    pub(crate) tokens: Tokens,
    pub(crate) revoked: Revoked,
    pub(crate) link: Arc<SyncLink>,
    pub(crate) activity: Recorder,
    pub(crate) metrics: Metrics,
    pub(crate) event_streams: Arc<EventStreams>,
    /// The changes that event streams send.
    pub(crate) feed: Feed,
    /// Places for large bodies.
    pub(crate) large_bodies: Arc<Semaphore>,
    pub(crate) stopping: CancellationToken,
    /// Requests are taken, or were.
    pub(crate) serving: AtomicBool,
    /// Every request that was in work is answered.
    pub(crate) drained: CancellationToken,
    store: OnceLock<Reader>,
    trouble: Mutex<Option<(Timestamp, String)>>,
    opened: watch::Sender<bool>,
    /// The number of the newest change that is known here.
    sequence: watch::Sender<i64>,
    started: Instant,
}

impl Api {
    /// An api with these keys, linked to sync by `link`. Nothing runs yet: see [`Api::run`].
    pub fn new(config: Config, credentials: &Credentials, revoked: Revoked, link: Arc<SyncLink>) -> Arc<Self> {
        Arc::new(Self {
            tokens: Tokens::new(credentials.verifier()),
            revoked,
            link,
            activity: Recorder::default(),
            metrics: Metrics::default(),
            event_streams: EventStreams::new(limits::EVENT_STREAMS),
            feed: Feed::default(),
            large_bodies: Arc::new(Semaphore::new(limits::LARGE_BODIES)),
            stopping: CancellationToken::new(),
            serving: AtomicBool::new(false),
            drained: CancellationToken::new(),
            store: OnceLock::new(),
            trouble: Mutex::default(),
            opened: watch::Sender::new(false),
            sequence: watch::Sender::new(0),
            started: Instant::now(),
            config,
        })
    }

    /// Opens the store as soon as sync has made it, then watches it and hands the activity to
    /// sync, until the api stops.
    pub async fn run(self: Arc<Self>, credentials: Arc<Credentials>) {
        let stopping = self.stopping.clone();
        stopping
            .run_until_cancelled(async {
                let stored = async {
                    self.open(&credentials).await;
                    tokio::join!(self.watch_store(), self.activity.hand_over(&self.link, &self.metrics));
                };
                // Sending the sequence makes event streams check their token again.
                let listed = self.revoked.follow(|| self.sequence.send_modify(|_| {}));
                tokio::join!(stored, listed);
            })
            .await;
        // Requests in work still read, and what they note must not get lost by an orderly stop.
        if self.serving.load(Ordering::Relaxed) {
            let _at_most = tokio::time::timeout(limits::DRAIN_TIME, self.drained.cancelled()).await;
        }
        self.activity.flush(&self.link, &self.metrics).await;
        if let Some(store) = self.store.get() {
            store.close().await;
        }
    }

    async fn open(&self, credentials: &Credentials) {
        let mut waits = false;
        loop {
            match Reader::open(&self.config.data, credentials.kek(), self.config.reader.clone()).await {
                Ok(reader) => {
                    tracing::info!(path = %self.config.data.display(), "the store is open");
                    self.note_trouble(None);
                    if self.store.set(reader).is_ok() {
                        self.opened.send_replace(true);
                    }
                    return;
                }
                Err(error @ StoreError::Missing(_)) => {
                    if !std::mem::replace(&mut waits, true) {
                        tracing::info!("{error}; waiting for it");
                    }
                }
                Err(error) => self.note_trouble(Some(error.to_string())),
            }
            tokio::time::sleep(OPEN_AGAIN).await;
        }
    }

    async fn watch_store(&self) {
        let mut told = self.link.changes();
        loop {
            let _either = tokio::time::timeout(LOOK_AGAIN, told.changed()).await;
            match self.store.get() {
                Some(store) => match look(store).await {
                    Ok(newest) => {
                        if let Err(error) = self.feed.fill(store, newest).await {
                            tracing::warn!(%error, "the newest changes could not be read");
                        }
                        self.sequence
                            .send_if_modified(|known| std::mem::replace(known, newest) != newest);
                        self.note_trouble(None);
                    }
                    Err(error) => self.note_trouble(Some(error.to_string())),
                },
                None => return,
            }
        }
    }

    /// Records whether the store can be read, and logs when that changes.
    fn note_trouble(&self, error: Option<String>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match (&*trouble, error) {
            (None, Some(error)) => {
                tracing::error!(error, "the store can't be read");
                *trouble = Some((Timestamp::now(), error));
            }
            (Some((since, _)), None) => {
                tracing::info!(%since, "the store can be read again");
                *trouble = None;
            }
            _ => {}
        }
    }

    /// Since when the store can't be read, and why, if so.
    pub(crate) fn trouble(&self) -> Option<(Timestamp, String)> {
        self.trouble
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    /// The store. Waits for it if sync has not made it yet.
    ///
    /// # Errors
    /// Connect's own 500 after OP_SYNC_TIMEOUT.
    pub(crate) async fn store(&self) -> Result<&Reader, ApiError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        Box::pin(self.store_when_open()).await
    }

    async fn store_when_open(&self) -> Result<&Reader, ApiError> {
        let mut opened = self.opened.subscribe();
        let waited = tokio::time::timeout(self.config.sync_timeout, opened.wait_for(|opened| *opened)).await;
        match (waited, self.store.get()) {
            (Ok(Ok(_)), Some(store)) => Ok(store),
            _ => Err(ApiError::new(
                http::StatusCode::INTERNAL_SERVER_ERROR,
                "failed to initiate, review service logs for details",
            )),
        }
    }

    /// The store if it is open.
    pub(crate) fn open_store(&self) -> Option<&Reader> {
        self.store.get()
    }

    /// Whether a token is refused although its signature is good, by the store or by the list.
    pub(crate) fn is_revoked(&self, snapshot: &Snapshot, jti: &str) -> bool {
        snapshot.is_revoked(jti) || self.revoked.contains(jti)
    }

    /// Tells of the newest change's number.
    pub(crate) fn sequence(&self) -> watch::Receiver<i64> {
        self.sequence.subscribe()
    }

    /// Waits until sync has read its sources for the first time. False if it had already, or takes too long.
    pub(crate) async fn warmed_up(&self) -> bool {
        let deadline = self.started + self.config.sync_timeout;
        !self.link.is_settled()
            && Box::pin(tokio::time::timeout_at(deadline, self.link.settled()))
                .await
                .is_ok()
    }

    /// Tells everything that runs to come to an end.
    pub fn stop(&self) {
        self.link.expect_end();
        self.stopping.cancel();
    }

    /// The link to sync.
    pub fn link(&self) -> &SyncLink {
        &self.link
    }
}

/// The number of the newest change.
async fn look(store: &Reader) -> Result<i64, StoreError> {
    store.look_for_other_files().await?;
    Ok(store.snapshot().await?.sequence())
}
