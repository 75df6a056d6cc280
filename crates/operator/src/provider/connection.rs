//! One Connect server with one token, and what was read of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sidevault_client::{Client, ClientError, Filter};
use sidevault_model::{DependencyStatus, FileId, Item, ItemId, VaultId};
use tokio::sync::{OwnedMutexGuard, Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ProviderError;
use super::dependencies::{Dependencies, Dependency};
use super::follow::{Change, Changed};
use super::single_flight::SingleFlight;

/// How many requests are under way to one server at a time.
const REQUESTS: usize = 32;
/// The longest that the first use of a server waits for its event stream to stand.
const FOLLOWED: Duration = Duration::from_secs(10);
/// How long values stay in memory after they were last used.
const KEPT: Duration = Duration::from_secs(60);
/// The same while many wait for their turn, each maybe for one of them.
const KEPT_FOR_MANY: Duration = Duration::from_secs(600);
/// How long it is remembered when something changed: longer than any read takes.
const CHANGES_KEPT: Duration = Duration::from_secs(600);
/// The largest file that is put into a Secret. Kubernetes allows 1 MiB for a whole Secret; templates may cut it down.
const LARGEST_FILE: usize = 8 << 20;
/// External Secrets' answer to Connect's passing 403s (external-secrets#4205): tries, and the pause before the second.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// What an answer must be as new as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    /// A read that began at this moment or later is good enough.
    pub(crate) not_before: Instant,
    /// So is an older one, while the server's event stream says that nothing changed since.
    pub(crate) or_unchanged: bool,
}

/// One Connect server with one token.
pub(crate) struct Connection {
    /// Tells connections apart.
    pub(crate) id: u64,
    pub(super) client: Client,
    /// Held by whoever makes an item of a title.
    creating: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    requests: Semaphore,
    vaults: SingleFlight<String, VaultId>,
    titles: SingleFlight<(VaultId, String), Vec<ItemId>>,
    lists: SingleFlight<VaultId, Arc<Vec<Item>>>,
    items: SingleFlight<(VaultId, ItemId, Option<u32>), Arc<Item>>,
    files: SingleFlight<(VaultId, ItemId, FileId), Arc<Vec<u8>>>,
    settled: SingleFlight<(), Instant>,
    changes: Mutex<Changes>,
    /// Whether anyone may read yet.
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
            settled: SingleFlight::new(),
            changes: Mutex::default(),
            readable: watch::Sender::new(false),
            _stopped_on_drop: stop.clone().drop_guard(),
            stop,
        }
    }

    /// A vault by its name or id.
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

    /// The ids of the items with a title: usually one, or none.
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

    /// The items of a vault, without fields.
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

    /// An item, or one of its earlier versions.
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

    /// A file's content.
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
                    let content = self.client.file_content(vault, item, file, 0).await?;
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

    /// Checks that the server has read all its sources: every part in its health report must be `ACTIVE`, as Connect's and
    /// Sidevault's are then. Returns the time, `not_before` or later, at which such a report was requested.
    ///
    /// # Errors
    /// [`ProviderError::Unsettled`], and when the server gives no report.
    pub(crate) async fn settled(&self, not_before: Instant) -> Result<Instant, ProviderError> {
        let read = || async {
            let asked = Instant::now();
            let health = self.call(|| self.client.health()).await;
            let health = health.map_err(ProviderError::client("error reading the server's health"))?;
            let mut parts = health.dependencies.into_iter();
            match parts.find(|part| part.status != DependencyStatus::Active) {
                None => Ok(asked),
                Some(part) => Err(ProviderError::unsettled(&part.service, part.status.as_str())),
            }
        };
        self.settled.get((), |began, _| began >= not_before, read).await
    }

    /// Waits until nobody else makes an item of this title.
    pub(super) async fn creating(&self, title: &str) -> OwnedMutexGuard<()> {
        let turn = self.turns().entry(title.to_owned()).or_default().clone();
        turn.lock_owned().await
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.creating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its turn, and repeats what a server that is just starting refuses.
    pub(super) async fn call<T, F>(&self, request: impl Fn() -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        // Never closed, so there is always a permit in the end.
        let _permit = self.requests.acquire().await;
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match request().await {
                Err(ClientError::Status { status: 403, message }) if message.starts_with("Authorization") => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                outcome => return outcome,
            }
        }
        request().await
    }

    /// Whether an answer about a vault (or an item of it), or about which vaults there are, still is one.
    fn fresh(&self, freshness: Freshness, about: Option<(VaultId, Option<ItemId>)>) -> impl Fn(Instant, bool) -> bool {
        let changes = self.changes();
        let since = match changes.known_since.filter(|_| freshness.or_unchanged) {
            Some(known) => known.min(freshness.not_before),
            None => freshness.not_before,
        };
        let changed = changes.last(about);
        move |began, succeeded| {
            // A failure says nothing of how things are.
            let since = if succeeded { since } else { freshness.not_before };
            began >= since && changed.is_none_or(|changed| began >= changed)
        }
    }

    /// Whether what answers hang on was changed since, or may have been.
    pub(crate) fn changed_since(&self, dependencies: &Dependencies, since: Instant) -> bool {
        let changes = self.changes();
        dependencies.iter().any(|dependency| {
            let about = match dependency {
                Dependency::Item(vault, item) => (*vault, Some(*item)),
                Dependency::Absent(vault, _) | Dependency::Vault(vault) => (*vault, None),
            };
            changes.last(Some(about)).is_some_and(|changed| changed >= since)
        })
    }

    /// Notes what the server tells.
    pub(super) fn note(&self, changed: &Changed) {
        let mut changes = self.changes();
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

    /// Waits until its changes are followed, so that whoever reads then misses nothing; but not for long.
    pub(super) async fn wait_readable(&self) {
        let mut readable = self.readable.subscribe();
        if tokio::time::timeout(FOLLOWED, readable.wait_for(|readable| *readable))
            .await
            .is_err()
        {
            self.let_read();
        }
    }

    /// Lets everyone read.
    pub(super) fn let_read(&self) {
        self.readable.send_replace(true);
    }

    /// From now on changes are not told.
    pub(super) fn changes_unknown(&self) {
        self.changes().known_since = None;
    }

    /// Whether the server tells of changes.
    pub(crate) fn tells_changes(&self) -> bool {
        self.changes().known_since.is_some()
    }

    fn changes(&self) -> std::sync::MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets values that nobody used for a while; a longer one while `many_wait`.
    pub(super) fn tidy(&self, many_wait: bool) {
        let kept = match many_wait {
            true => KEPT_FOR_MANY,
            false => KEPT,
        };
        self.vaults.forget_unused(kept);
        self.titles.forget_unused(kept);
        self.lists.forget_unused(kept);
        self.items.forget_unused(kept);
        self.files.forget_unused(kept);
        self.settled.forget_unused(kept);
        // Nobody else has it: whoever wants it takes it out of the map, which is locked.
        self.turns().retain(|_, turn| Arc::strong_count(turn) > 1);
        let mut changes = self.changes();
        changes.of_item.retain(|_, at| at.elapsed() < CHANGES_KEPT);
        changes.of_vault.retain(|_, at| at.elapsed() < CHANGES_KEPT);
    }
}

/// What the server told of its changes, and when.
#[derive(Default)]
struct Changes {
    /// Since when every change is told; none while there is no event stream.
    known_since: Option<Instant>,
    of_anything: Option<Instant>,
    of_vault: HashMap<VaultId, Instant>,
    of_item: HashMap<(VaultId, ItemId), Instant>,
}

impl Changes {
    /// When something last changed, as far as it is still remembered.
    fn last(&self, about: Option<(VaultId, Option<ItemId>)>) -> Option<Instant> {
        let of_this = match about {
            None => None,
            Some((vault, None)) => self.of_vault.get(&vault).copied(),
            Some((vault, Some(item))) => self.of_item.get(&(vault, item)).copied(),
        };
        of_this.max(self.of_anything)
    }
}
