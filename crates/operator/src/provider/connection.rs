//! One Connect server with one token: its client, and a cache of what was read from it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable as _};
use parking_lot::Mutex;
use sidevault_client::{Client, ClientError, Filter};
use sidevault_model::{DependencyStatus, FileId, Item, ItemId, VaultId};
use tokio::sync::{OwnedMutexGuard, Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ProviderError;
use super::dependencies::{Dependencies, Dependency};
use super::follow::{Change, Changed};
use super::single_flight::SingleFlight;

/// How many requests to one server may be in flight at the same time.
const REQUESTS: usize = 32;
/// How long the first read of a server waits for its event stream to be connected.
const STREAM_WAIT: Duration = Duration::from_secs(10);
/// How long a value stays in the cache after its last use.
const KEPT: Duration = Duration::from_secs(60);
/// The same while the work queue is long: a queued object may need the value.
const KEPT_WHILE_BUSY: Duration = Duration::from_secs(600);
/// How long the time of a change is remembered. Longer than any read takes, so that a read that began before the change
/// is recognised as stale.
const CHANGES_KEPT: Duration = Duration::from_secs(600);
/// The largest file that is read, in bytes. Kubernetes allows 1 MiB for a whole Secret, but a template may use a part
/// of a larger file.
const LARGEST_FILE: usize = 8 << 20;
/// Connect answers 403 for a moment after its start. As External Secrets does (external-secrets#4205), such a request
/// is sent again: how often, and the pause before the first retry, which doubles.
const RETRIES: usize = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How new a cached result must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    /// A result may be used if its read began at this moment or later.
    pub(crate) not_before: Instant,
    /// An older result may be used too if the server's event stream has reported no change since its read began.
    pub(crate) or_unchanged: bool,
}

/// One Connect server with one token.
pub(crate) struct Connection {
    /// A number that no other connection of this process has.
    pub(crate) id: u64,
    pub(super) client: Client,
    /// By title: a lock that is held while an item with the title is created.
    creating: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    requests: Semaphore,
    vaults: SingleFlight<String, VaultId>,
    titles: SingleFlight<(VaultId, String), Vec<ItemId>>,
    lists: SingleFlight<VaultId, Arc<Vec<Item>>>,
    items: SingleFlight<(VaultId, ItemId, Option<u32>), Arc<Item>>,
    files: SingleFlight<(VaultId, ItemId, FileId), Arc<Vec<u8>>>,
    synced: SingleFlight<(), Instant>,
    changes: Mutex<Changes>,
    /// Whether reads may begin: the event stream is connected, or nobody waits for it any longer.
    readable: watch::Sender<bool>,
    pub(super) stop: CancellationToken,
    _stopped_on_drop: DropGuard,
}

impl Connection {
    pub(super) fn new(id: u64, client: Client) -> Self {
        let stop = CancellationToken::new();
        Self {
            id,
            client,
            creating: Mutex::default(),
            requests: Semaphore::new(REQUESTS),
            vaults: SingleFlight::new(),
            titles: SingleFlight::new(),
            lists: SingleFlight::new(),
            items: SingleFlight::new(),
            files: SingleFlight::new(),
            synced: SingleFlight::new(),
            changes: Mutex::default(),
            readable: watch::Sender::new(false),
            _stopped_on_drop: stop.clone().drop_guard(),
            stop,
        }
    }

    /// The id of the vault with this name or id.
    pub(crate) async fn vault(&self, name: &str, freshness: Freshness) -> Result<VaultId, ProviderError> {
        let read = || async {
            let vault = self.call(|| self.client.resolve_vault(name)).await;
            vault
                .map(|vault| vault.id)
                .map_err(ProviderError::client("error finding 1Password Vault"))
        };
        self.vaults
            .get(name.to_owned(), self.fresh(freshness, None), read)
            .await
    }

    /// The ids of the items with this title: usually one, or none.
    pub(crate) async fn titled(
        &self,
        vault: VaultId,
        title: &str,
        freshness: Freshness,
    ) -> Result<Vec<ItemId>, ProviderError> {
        let read = || async {
            let filter = Filter::title(title);
            let items = self.call(|| self.client.items(vault, Some(&filter))).await;
            items
                .map(|items| items.iter().map(|item| item.id).collect())
                .map_err(ProviderError::client("error finding 1Password Item"))
        };
        self.titles
            .get(
                (vault, title.to_owned()),
                self.fresh(freshness, Some((vault, None))),
                read,
            )
            .await
    }

    /// The items of a vault, as summaries without fields.
    pub(crate) async fn list(&self, vault: VaultId, freshness: Freshness) -> Result<Arc<Vec<Item>>, ProviderError> {
        let read = || async {
            let items = self.call(|| self.client.items(vault, None)).await;
            items
                .map(Arc::new)
                .map_err(ProviderError::client("error finding 1Password Item"))
        };
        self.lists
            .get(vault, self.fresh(freshness, Some((vault, None))), read)
            .await
    }

    /// An item with its fields; with `version`, an earlier version of it.
    pub(crate) async fn item(
        &self,
        vault: VaultId,
        item: ItemId,
        version: Option<u32>,
        freshness: Freshness,
    ) -> Result<Arc<Item>, ProviderError> {
        let read = || async {
            let item = match version {
                None => self.call(|| self.client.item(vault, item)).await,
                Some(version) => self.call(|| self.client.item_version(vault, item, version)).await,
            };
            item.map(Arc::new)
                .map_err(ProviderError::client("error finding 1Password Item"))
        };
        self.items
            .get(
                (vault, item, version),
                self.fresh(freshness, Some((vault, Some(item)))),
                read,
            )
            .await
    }

    /// The content of a file, at most [`LARGEST_FILE`] bytes.
    pub(crate) async fn file(
        &self,
        vault: VaultId,
        item: ItemId,
        file: FileId,
        freshness: Freshness,
    ) -> Result<Arc<Vec<u8>>, ProviderError> {
        let read = || async {
            let content = self
                .call(|| async {
                    let content = self.client.file_content(vault, item, file, None).await?;
                    content.read_to_end(LARGEST_FILE).await
                })
                .await;
            content
                .map(Arc::new)
                .map_err(ProviderError::client("error finding 1Password Document"))
        };
        self.files
            .get(
                (vault, item, file),
                self.fresh(freshness, Some((vault, Some(item)))),
                read,
            )
            .await
    }

    /// Checks that the server has read all its sources: every service in its health report must be `ACTIVE`, as those
    /// of Connect and Sidevault are then. Returns the time, `not_before` or later, at which such a report was
    /// requested.
    ///
    /// # Errors
    /// [`ProviderError::NotSynced`], and when the server returns no health report.
    pub(crate) async fn settled(&self, not_before: Instant) -> Result<Instant, ProviderError> {
        let read = || async {
            let requested = Instant::now();
            let health = self.call(|| self.client.health()).await;
            let health = health.map_err(ProviderError::client("error reading the server's health"))?;
            let mut services = health.dependencies.into_iter();
            match services.find(|service| service.status != DependencyStatus::Active) {
                None => Ok(requested),
                Some(service) => Err(ProviderError::not_synced(&service.service, service.status.as_str())),
            }
        };
        self.synced.get((), |began, _| began >= not_before, read).await
    }

    /// Locks the creation of items with this title until the guard is dropped.
    pub(super) async fn lock_creation(&self, title: &str) -> OwnedMutexGuard<()> {
        let lock = self.creating.lock().entry(title.to_owned()).or_default().clone();
        lock.lock_owned().await
    }

    /// Sends a request once fewer than [`REQUESTS`] are in flight, and again if the server refuses it because it is
    /// starting.
    pub(super) async fn call<T, F>(&self, request: impl Fn() -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        // The semaphore is never closed, so this always returns a permit.
        let _permit = self.requests.acquire().await;
        let pauses = ExponentialBuilder::new()
            .with_min_delay(FIRST_PAUSE)
            .with_max_times(RETRIES);
        request.retry(pauses).when(is_starting).await
    }

    /// Returns a predicate for [`SingleFlight::get`]: whether a cached result is fresh enough. `about` is the vault or
    /// the item that the result is about, or `None` for the list of vaults.
    fn fresh(&self, freshness: Freshness, about: Option<(VaultId, Option<ItemId>)>) -> impl Fn(Instant, bool) -> bool {
        let changes = self.changes.lock();
        let not_before = match changes.known_since.filter(|_| freshness.or_unchanged) {
            Some(known_since) => known_since.min(freshness.not_before),
            None => freshness.not_before,
        };
        let changed = changes.last(about);
        move |began, succeeded| {
            // A failure may pass without any change that the event stream reports.
            let not_before = if succeeded { not_before } else { freshness.not_before };
            began >= not_before && changed.is_none_or(|changed| began >= changed)
        }
    }

    /// Whether any of the dependencies was changed, or may have been changed, at `since` or later.
    pub(crate) fn changed_since(&self, dependencies: &Dependencies, since: Instant) -> bool {
        let changes = self.changes.lock();
        dependencies.iter().any(|dependency| {
            let about = match dependency {
                Dependency::Item(vault, item) => (*vault, Some(*item)),
                Dependency::Absent(vault, _) | Dependency::Vault(vault) => (*vault, None),
            };
            changes.last(Some(about)).is_some_and(|changed| changed >= since)
        })
    }

    /// Records a change that the server reported.
    pub(super) fn record_change(&self, changed: &Changed) {
        let mut changes = self.changes.lock();
        match changed.change {
            Change::Item(vault, item) => {
                changes.of_item.insert((vault, item), changed.at);
                changes.of_vault.insert(vault, changed.at);
            }
            Change::Anything => changes.of_anything = Some(changed.at),
            Change::Nothing => {}
        }
        changes.known_since.get_or_insert(changed.at);
    }

    /// Waits up to [`STREAM_WAIT`] until the event stream is connected, so that no change after a read goes unnoticed.
    pub(super) async fn wait_for_stream(&self) {
        let mut readable = self.readable.subscribe();
        if tokio::time::timeout(STREAM_WAIT, readable.wait_for(|readable| *readable))
            .await
            .is_err()
        {
            self.allow_reads();
        }
    }

    /// Ends the wait of [`wait_for_stream`](Self::wait_for_stream), for all present and future callers.
    pub(super) fn allow_reads(&self) {
        self.readable.send_replace(true);
    }

    /// Records that the event stream is disconnected.
    pub(super) fn stream_lost(&self) {
        self.changes.lock().known_since = None;
    }

    /// Whether the event stream is connected.
    pub(super) fn is_following(&self) -> bool {
        self.changes.lock().known_since.is_some()
    }

    /// Removes values from the cache that were not used for [`KEPT`], or for [`KEPT_WHILE_BUSY`] if the work queue is
    /// long.
    pub(super) fn evict_unused(&self, is_busy: bool) {
        let kept = if is_busy { KEPT_WHILE_BUSY } else { KEPT };
        self.vaults.forget_unused(kept);
        self.titles.forget_unused(kept);
        self.lists.forget_unused(kept);
        self.items.forget_unused(kept);
        self.files.forget_unused(kept);
        self.synced.forget_unused(kept);
        // A lock that no task holds or waits for has one reference, the map's. Tasks clone it while the map is locked.
        self.creating.lock().retain(|_, lock| Arc::strong_count(lock) > 1);
        let mut changes = self.changes.lock();
        changes.of_item.retain(|_, at| at.elapsed() < CHANGES_KEPT);
        changes.of_vault.retain(|_, at| at.elapsed() < CHANGES_KEPT);
    }
}

/// Whether this may be the 403 of a server that has just started.
fn is_starting(error: &ClientError) -> bool {
    matches!(error, ClientError::Status { status: 403, message } if message.starts_with("Authorization"))
}

/// When the server reported changes, by the operator's clock.
#[derive(Default)]
struct Changes {
    /// Since when every change is reported; `None` while the event stream is disconnected.
    known_since: Option<Instant>,
    /// The last report after which anything may be different.
    of_anything: Option<Instant>,
    of_vault: HashMap<VaultId, Instant>,
    of_item: HashMap<(VaultId, ItemId), Instant>,
}

impl Changes {
    /// When a vault or an item last changed, if that was within [`CHANGES_KEPT`].
    fn last(&self, about: Option<(VaultId, Option<ItemId>)>) -> Option<Instant> {
        let of_this = match about {
            None => None,
            Some((vault, None)) => self.of_vault.get(&vault).copied(),
            Some((vault, Some(item))) => self.of_item.get(&(vault, item)).copied(),
        };
        of_this.max(self.of_anything)
    }
}
