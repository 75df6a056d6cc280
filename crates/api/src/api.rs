//! The state that all requests share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use sidevault_keys::Credentials;
use sidevault_model::Timestamp;
use sidevault_store::{Database, Reader, ReaderOptions, Snapshot, StoreError};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::activity::Recorder;
use crate::error::ApiError;
use crate::event_streams::EventStreams;
use crate::feed::Feed;
use crate::history::History;
use crate::limits;
use crate::link::SyncLink;
use crate::metrics::Metrics;
use crate::page::Invitation;
use crate::revoked::Revoked;
use crate::tokens::Tokens;

/// How often the api tries to open the store.
const OPEN_INTERVAL: Duration = Duration::from_millis(50);

/// The same while the database can't be reached: each attempt is a connection.
const UNREACHABLE_INTERVAL: Duration = Duration::from_secs(1);

/// How often the api checks for commits that sync did not announce.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How often the history takes in how the sources do.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// The api's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The store.
    pub database: Database,
    /// How long a request waits for the database to exist, and for sync to have read its sources once (OP_SYNC_TIMEOUT).
    pub sync_timeout: Duration,
    /// The largest file that `inline_files=true` shows, in bytes (OP_MAX_INLINE_FILE_SIZE_KB).
    pub inline_file_bytes: u64,
    /// Whether `/health` and `/metrics` show details to requests without a token (SIDEVAULT_HEALTH_DETAILS).
    pub health_details: bool,
    /// Whether the page for people is served at `/ui` (SIDEVAULT_UI).
    pub page: bool,
    /// How the store is opened and cached.
    pub reader: ReaderOptions,
}

/// The state that all requests share.
pub struct Api {
    pub(crate) config: Config,
    pub(crate) tokens: Tokens,
    pub(crate) revoked: Revoked,
    pub(crate) link: Arc<SyncLink>,
    pub(crate) activity: Recorder,
    pub(crate) metrics: Metrics,
    /// For the plots of the page. None without the page.
    pub(crate) history: Option<History>,
    /// The one-time code with which the page gets a token.
    pub(crate) invitation: Invitation,
    pub(crate) event_streams: Arc<EventStreams>,
    /// The newest changes, for event streams.
    pub(crate) feed: Feed,
    /// Permits for large bodies.
    pub(crate) large_bodies: Arc<Semaphore>,
    pub(crate) stopping: CancellationToken,
    /// Whether a listener was ever served.
    pub(crate) serving: AtomicBool,
    /// Cancelled when the listener has ended, and all its requests with it.
    pub(crate) drained: CancellationToken,
    store: OnceLock<Reader>,
    /// Since when the store can't be read, and why.
    store_error: Mutex<Option<(Timestamp, String)>>,
    /// Whether the store could not be opened at the last attempt because the database can't be reached.
    is_unreachable: AtomicBool,
    opened: watch::Sender<bool>,
    /// The number of the newest change that the api has seen.
    sequence: watch::Sender<i64>,
    /// Whether the snapshot has everything that sync found when it read its sources for the first time.
    initial_sync_seen: watch::Sender<bool>,
    started: Instant,
}

impl Api {
    /// Makes the state. Nothing runs before [`Api::run`] is called.
    pub fn new(config: Config, credentials: &Credentials, revoked: Revoked, link: Arc<SyncLink>) -> Arc<Self> {
        Arc::new(Self {
            tokens: Tokens::new(credentials.verifier()),
            revoked,
            link,
            activity: Recorder::default(),
            metrics: Metrics::default(),
            history: config.page.then(History::default),
            invitation: Invitation::default(),
            event_streams: EventStreams::new(limits::MAX_EVENT_STREAMS),
            feed: Feed::default(),
            large_bodies: Arc::new(Semaphore::new(limits::MAX_LARGE_BODIES)),
            stopping: CancellationToken::new(),
            serving: AtomicBool::new(false),
            drained: CancellationToken::new(),
            store: OnceLock::new(),
            store_error: Mutex::default(),
            is_unreachable: AtomicBool::new(false),
            opened: watch::Sender::new(false),
            sequence: watch::Sender::new(0),
            initial_sync_seen: watch::Sender::new(false),
            started: Instant::now(),
            config,
        })
    }

    /// Opens the store as soon as sync has made it. Then follows its changes, and sends the activity log to sync, until
    /// [`Api::stop`] is called and the requests in progress have ended.
    pub async fn run(self: Arc<Self>, credentials: Arc<Credentials>) {
        let stopping = self.stopping.clone();
        stopping
            .run_until_cancelled(async {
                let stored = async {
                    self.open(&credentials).await;
                    tokio::join!(self.watch_store(), self.activity.run(&self.link, &self.metrics));
                };
                // Sending the sequence makes event streams check their token again.
                let listed = self.revoked.follow(|| self.sequence.send_modify(|_| {}));
                tokio::join!(stored, listed, self.sample());
            })
            .await;
        // Requests in progress still read the store and add to the activity log.
        if self.serving.load(Ordering::Relaxed) {
            tokio::time::timeout(limits::SHUTDOWN_TIMEOUT, self.drained.cancelled())
                .await
                .ok();
        }
        self.activity.flush(&self.link, &self.metrics).await;
        if let Some(store) = self.store.get() {
            store.close().await;
        }
    }

    /// Takes in how the sources do, for the plots of the page.
    async fn sample(&self) {
        let Some(history) = &self.history else { return };
        let mut interval = tokio::time::interval(SAMPLE_INTERVAL);
        loop {
            interval.tick().await;
            history.sources(&self.link.sources(), Timestamp::now());
        }
    }

    async fn open(&self, credentials: &Credentials) {
        let mut is_waiting = false;
        loop {
            match Reader::open(&self.config.database, credentials.kek(), self.config.reader.clone()).await {
                Ok(reader) => {
                    tracing::info!(store = %self.config.database, "the store is open");
                    self.set_store_error(None);
                    if self.store.set(reader).is_ok() {
                        self.opened.send_replace(true);
                    }
                    return;
                }
                Err(error @ StoreError::Missing(_)) => {
                    self.is_unreachable.store(false, Ordering::Relaxed);
                    if !std::mem::replace(&mut is_waiting, true) {
                        tracing::info!("{error}; the api waits for it");
                    }
                }
                Err(error) => {
                    let is_unreachable = matches!(error, StoreError::Unusable(_));
                    self.is_unreachable.store(is_unreachable, Ordering::Relaxed);
                    self.set_store_error(Some(error.to_string()));
                    if is_unreachable {
                        tokio::time::sleep(UNREACHABLE_INTERVAL).await;
                    }
                }
            }
            tokio::time::sleep(OPEN_INTERVAL).await;
        }
    }

    async fn watch_store(&self) {
        let mut announced = self.link.changes();
        loop {
            // Checks the store after either: sync announced a commit, or the interval is over.
            tokio::time::timeout(CHECK_INTERVAL, announced.changed()).await.ok();
            match self.store.get() {
                Some(store) => {
                    let was_done = self.link.initial_sync_is_done();
                    match newest_change(store).await {
                        Ok(newest) => {
                            if was_done {
                                self.initial_sync_seen
                                    .send_if_modified(|is_seen| !std::mem::replace(is_seen, true));
                            }
                            if let Err(error) = self.feed.fill(store, newest).await {
                                tracing::warn!(%error, "the newest changes can't be read; event streams read them from the store");
                            }
                            self.sequence
                                .send_if_modified(|known| std::mem::replace(known, newest) != newest);
                            self.set_store_error(None);
                        }
                        Err(error) => self.set_store_error(Some(error.to_string())),
                    }
                }
                None => return,
            }
        }
    }

    /// Notes whether the store can be read, and logs when that changes.
    fn set_store_error(&self, error: Option<String>) {
        let mut known = self.store_error.lock();
        match (&*known, error) {
            (None, Some(error)) => {
                tracing::error!(error, "the store can't be read");
                *known = Some((Timestamp::now(), error));
            }
            (Some((since, _)), None) => {
                tracing::info!(%since, "the store can be read again");
                *known = None;
            }
            _ => {}
        }
    }

    /// Since when the store can't be read, and why. None if it can.
    pub(crate) fn store_error(&self) -> Option<(Timestamp, String)> {
        self.store_error.lock().clone()
    }

    /// The store. Waits until sync has made it, for [`Config::sync_timeout`] at most.
    ///
    /// # Errors
    /// 503 after that time if the database can't be reached, else 500 with the text of Connect.
    pub(crate) async fn store(&self) -> Result<&Reader, ApiError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        // Boxed, because nearly no request waits, and each would be as large as one that does.
        Box::pin(self.store_when_open()).await
    }

    async fn store_when_open(&self) -> Result<&Reader, ApiError> {
        let mut opened = self.opened.subscribe();
        let waited = tokio::time::timeout(self.config.sync_timeout, opened.wait_for(|opened| *opened)).await;
        match (waited, self.store.get()) {
            (Ok(Ok(_)), Some(store)) => Ok(store),
            _ if self.is_unreachable.load(Ordering::Relaxed) => Err(ApiError::store_unavailable()),
            _ => Err(ApiError::new(
                http::StatusCode::INTERNAL_SERVER_ERROR,
                "failed to initiate, review service logs for details",
            )),
        }
    }

    /// The snapshot after the change with this number, which an earlier response named in the header
    /// [`SEQUENCE`](crate::request_context::SEQUENCE).
    ///
    /// # Errors
    /// 503 if this api does not see the change within [`limits::SEQUENCE_TIMEOUT`].
    pub(crate) async fn snapshot_at(&self, sequence: i64) -> Result<Arc<Snapshot>, ApiError> {
        let store = self.store().await?;
        let mut snapshot = store.snapshot().await?;
        if snapshot.sequence() < sequence {
            let mut newest = self.sequence();
            let seen = newest.wait_for(|newest| *newest >= sequence);
            if tokio::time::timeout(limits::SEQUENCE_TIMEOUT, seen).await.is_err() {
                return Err(ApiError::unavailable(format!(
                    "this server has not seen change {sequence} yet. Try again"
                )));
            }
            snapshot = store.snapshot().await?;
        }
        Ok(snapshot)
    }

    /// The store if it is open.
    pub(crate) fn open_store(&self) -> Option<&Reader> {
        self.store.get()
    }

    /// Whether a token is revoked, in the store or by the revocation list.
    pub(crate) fn is_revoked(&self, snapshot: &Snapshot, jti: &str) -> bool {
        snapshot.is_revoked(jti) || self.revoked.contains(jti)
    }

    /// Receives the number of the newest change.
    pub(crate) fn sequence(&self) -> watch::Receiver<i64> {
        self.sequence.subscribe()
    }

    /// Waits until the snapshot has what sync found when it read its sources for the first time. Returns false if that was so
    /// before, or if [`Config::sync_timeout`] after the start of the api sync has still not.
    pub(crate) async fn wait_for_initial_sync(&self) -> bool {
        let mut seen = self.initial_sync_seen.subscribe();
        if *seen.borrow() {
            return false;
        }
        let deadline = self.started + self.config.sync_timeout;
        tokio::time::timeout_at(deadline, seen.wait_for(|is_seen| *is_seen))
            .await
            .is_ok_and(|seen| seen.is_ok())
    }

    /// Stops the event streams and [`Api::run`].
    pub fn stop(&self) {
        self.link.expect_end();
        self.stopping.cancel();
    }

    /// Makes a one-time code with which the page gets this token. Replaces an earlier one.
    pub fn invite(&self, token: Zeroizing<String>) -> String {
        self.invitation.make(token)
    }

    /// The link to sync.
    pub fn link(&self) -> &SyncLink {
        &self.link
    }
}

/// The number of the newest change in the store.
async fn newest_change(store: &Reader) -> Result<i64, StoreError> {
    store.catch_up().await?;
    Ok(store.snapshot().await?.sequence())
}
