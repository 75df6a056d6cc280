//! Fetches the values of an ExternalSecret from the Connect servers of its stores.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use sidevault_model::Timestamp;

use crate::controllers::namespaces::may_use;
use crate::informers::Informers;
use crate::metrics::Metrics;
use crate::names;
use crate::object_key::ObjectKey;
use crate::provider::{
    Connection, Connections, Dependencies, Dependency, DependencyIndex, Freshness, ItemVersion, ProviderError,
    ProviderSession, RemoteQuery,
};
use crate::queues::Queues;
use crate::types::{Data, DataFrom, DeletionPolicy, ExternalSecret, GROUP, SourceRef, Store, StoreRef, condition};
use crate::values::rewrite::{self, Rewritten};
use crate::values::{Values, decode, keys};
use crate::work::{Trigger, Work};

/// Fetches values, and records what each ExternalSecret depends on.
pub(crate) struct Fetcher {
    pub(crate) informers: Arc<Informers>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) dependencies: Arc<Mutex<DependencyIndex>>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether a fetch fails at once if a store is not ready.
    pub(crate) flood_gate: bool,
    /// Whether the operator only sets `force-sync` annotations.
    pub(crate) poke_only: bool,
}

/// Which versions of which items the values of an ExternalSecret come from.
pub(crate) struct SourceVersions {
    /// A hash of the items with their versions, and of the titles that no vault has.
    pub(crate) hash: String,
    /// When the last of the items was changed, by the server's clock.
    pub(crate) changed_at: Option<Timestamp>,
}

/// The values of an ExternalSecret.
#[derive(Default)]
pub(super) struct ProviderData {
    /// The values by the keys of the Secret.
    pub(super) values: Values,
    /// A sentence for each entry whose item was deleted. Only the deletion policies `Delete` and `Merge` let an entry be left
    /// out: under `Retain` it is an error.
    pub(super) deleted: Vec<String>,
    /// A sentence for each rewrite that left values out because their keys became empty or equal.
    pub(super) lost: Vec<String>,
}

impl ProviderData {
    /// Whether values are missing that the deletion policy removes from the Secret.
    fn shrinks_the_secret(&self, policy: DeletionPolicy) -> bool {
        policy != DeletionPolicy::Retain && (self.values.is_empty() || !self.deleted.is_empty())
    }
}

/// Why an entry has no values.
enum EntryError {
    /// No vault of the store has the item.
    NoItem(String),
    /// Anything else.
    Other(String),
}

impl EntryError {
    /// Changes the message.
    fn map(self, message: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::NoItem(error) => Self::NoItem(message(error)),
            Self::Other(error) => Self::Other(message(error)),
        }
    }
}

impl From<String> for EntryError {
    fn from(error: String) -> Self {
        Self::Other(error)
    }
}

impl Fetcher {
    /// Fetches all values of an ExternalSecret.
    ///
    /// An item that can't be found may be late rather than deleted: a server that starts with an empty disk has yet to read
    /// its sources. So before a deletion policy removes anything from the Secret, the health report of each server must show
    /// all its services as active, and the items must be missing in a fetch that began after that.
    ///
    /// # Errors
    /// The first entry that has no values, in External Secrets' words.
    pub(super) async fn fetch(&self, work: &Work, external_secret: &ExternalSecret) -> Result<ProviderData, String> {
        let (data, fetch) = self.fetch_once(work, external_secret, None).await;
        let data = data?;
        if !data.shrinks_the_secret(external_secret.spec.target.deletion_policy) {
            return Ok(data);
        }
        let since = fetch.settled().await.map_err(|error| {
            format!(
                "items are missing, and whether they were deleted is not certain, so the Secret stays as it is: {error}"
            )
        })?;
        self.fetch_once(work, external_secret, Some(since)).await.0
    }

    /// Fetches all values of an ExternalSecret and returns only which versions they come from. `None` if a store can't be used
    /// or a server does not answer.
    pub(crate) async fn source_versions(
        &self,
        work: &Work,
        external_secret: &ExternalSecret,
    ) -> Option<SourceVersions> {
        let (data, fetch) = self.fetch_once(work, external_secret, None).await;
        if fetch.is_incomplete {
            let why = data.err().unwrap_or_default();
            tracing::debug!(error = %why, "the versions of the items could not be read");
            return None;
        }
        let absent = fetch.dependencies.values().flatten();
        let absent: BTreeSet<&Dependency> = absent.filter(|one| matches!(one, Dependency::Absent(..))).collect();
        Some(SourceVersions {
            hash: names::sha3(format!("{:?} {absent:?}", fetch.items)),
            changed_at: fetch.items.iter().map(|(.., changed_at)| *changed_at).max(),
        })
    }

    /// Forgets what an ExternalSecret depends on.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.dependencies.lock().remove(key);
    }

    /// Fetches all values. `settled_since` is when the servers reported that they have read all their sources: only a fetch
    /// after that shows that an item does not exist.
    async fn fetch_once<'a>(
        &'a self,
        work: &'a Work,
        external_secret: &'a ExternalSecret,
        settled_since: Option<Instant>,
    ) -> (Result<ProviderData, String>, Fetch<'a>) {
        let status = external_secret.status.as_ref();
        let is_new = status.is_none_or(|status| status.synced_resource_version.is_none());
        let freshness = match settled_since {
            Some(not_before) => Freshness {
                not_before,
                or_unchanged: false,
            },
            None => Freshness {
                not_before: work.requested_at,
                // For new objects only: whoever sets the annotation force-sync wants the server to be asked again.
                or_unchanged: is_new || work.trigger == Trigger::WatchEvent && self.poke_only,
            },
        };
        let mut fetch = Fetch {
            fetcher: self,
            namespace: &work.key.namespace,
            default_store: external_secret.spec.secret_store_ref.as_ref(),
            freshness,
            is_settled: settled_since.is_some(),
            dependencies: HashMap::new(),
            connections: HashMap::new(),
            items: BTreeSet::new(),
            is_incomplete: false,
        };
        let data = fetch.all(external_secret).await;
        let began = fetch.connections.values().map(|(began, _)| *began).min();
        let dependencies = &fetch.dependencies;
        // After a failure, too: an item that is missing may be created later.
        self.dependencies
            .lock()
            .set(&work.key, began.unwrap_or_else(Instant::now), dependencies);
        // A change during our read was announced before we registered as a dependent: check for one and requeue.
        let has_changed = dependencies.iter().any(|(store, dependencies)| {
            let connection = fetch.connections.get(store);
            connection.is_some_and(|(began, connection)| connection.changed_since(dependencies, *began))
        });
        if has_changed {
            self.queues
                .add_external_secret(&work.key, external_secret, Trigger::SourceChanged, Instant::now());
        }
        (data, fetch)
    }
}

/// One fetch of all values of an ExternalSecret.
struct Fetch<'a> {
    fetcher: &'a Fetcher,
    namespace: &'a str,
    /// The store of entries that name none.
    default_store: Option<&'a StoreRef>,
    freshness: Freshness,
    /// Whether the servers have reported that they have read all their sources.
    is_settled: bool,
    dependencies: HashMap<ObjectKey, Dependencies>,
    /// The connection of each store, with the time of its first request.
    connections: HashMap<ObjectKey, (Instant, Arc<Connection>)>,
    items: BTreeSet<ItemVersion>,
    /// Whether a store can't be used, or its server did not answer.
    is_incomplete: bool,
}

impl Fetch<'_> {
    async fn all(&mut self, external_secret: &ExternalSecret) -> Result<ProviderData, String> {
        let policy = external_secret.spec.target.deletion_policy;
        let mut data = ProviderData::default();
        // External Secrets' words about an item that was deleted.
        let deleted = |at: &str, error| match error {
            EntryError::NoItem(_) if policy != DeletionPolicy::Retain => {
                Ok(format!("secret does not exist at provider using {at}"))
            }
            EntryError::NoItem(error) | EntryError::Other(error) => Err(error),
        };
        for (index, entry) in external_secret.spec.data_from.iter().enumerate() {
            let (what, values) = match entry {
                DataFrom { find: Some(_), .. } => ("find", self.many(entry).await),
                DataFrom { extract: Some(_), .. } => ("extract", self.many(entry).await),
                _ => ("sourceRef", Ok(Rewritten::default())),
            };
            let at = format!("spec.dataFrom[{index}]");
            match values.map_err(|error| error.map(|error| format!("error processing {at}.{what}, err: {error}"))) {
                Ok(Rewritten { values, lost }) => {
                    data.values.extend(values);
                    data.lost.extend(lost.into_iter().map(|lost| format!("{at}.{lost}")));
                }
                Err(error) => data.deleted.push(deleted(&at, error)?),
            }
        }
        for (index, entry) in external_secret.spec.data.iter().enumerate() {
            let key = &entry.remote_ref.key;
            let at = format!("spec.data[{index}] (key: {key})");
            let value = self.entry(entry).await;
            match value.map_err(|error| error.map(|error| format!("error processing {at}, err: {error}"))) {
                Ok(value) => drop(data.values.insert(entry.secret_key.clone(), value)),
                Err(error) => data.deleted.push(deleted(&at, error)?),
            }
        }
        Ok(data)
    }

    /// The value of an entry of `data`.
    async fn entry(&mut self, entry: &Data) -> Result<Vec<u8>, EntryError> {
        let reference = &entry.remote_ref;
        let store = self.store(entry.source_ref.as_ref())?;
        let value = self.query(&store, RemoteQuery::Value(reference)).await?.remove("");
        let strategy = reference.decoding_strategy;
        let value = decode::decode(strategy, value.unwrap_or_default())
            .map_err(|error| format!("error applying decoding strategy {strategy:?} to data: {error}"))?;
        decode::check_nul(reference.null_byte_policy, &entry.secret_key, &value).map_err(|error| error.to_string())?;
        Ok(value)
    }

    /// The values of an entry of `dataFrom`.
    async fn many(&mut self, entry: &DataFrom) -> Result<Rewritten, EntryError> {
        let store = self.store(entry.source_ref.as_ref())?;
        let (values, conversion, decoding, nul) = match (&entry.extract, &entry.find) {
            (_, Some(find)) => {
                let values = self.query(&store, RemoteQuery::Find(find)).await;
                let values =
                    values.map_err(|error| error.map(|error| format!("error getting all secrets: {error}")))?;
                (
                    values,
                    find.conversion_strategy,
                    find.decoding_strategy,
                    find.null_byte_policy,
                )
            }
            (Some(extract), None) => {
                let values = self.query(&store, RemoteQuery::Extract(extract)).await?;
                (
                    values,
                    extract.conversion_strategy,
                    extract.decoding_strategy,
                    extract.null_byte_policy,
                )
            }
            (None, None) => return Ok(Rewritten::default()),
        };
        let Rewritten { values, lost } = if entry.rewrite.is_empty() {
            Rewritten {
                values: keys::convert(conversion, values)
                    .map_err(|error| format!("error applying conversion strategy {conversion:?} to keys: {error}"))?,
                lost: Vec::new(),
            }
        } else {
            rewrite::rewrite(&entry.rewrite, values)
                .map_err(|error| format!("error applying rewrite to keys: {error}"))?
        };
        let values = keys::check(values).map_err(|error| {
            format!("invalid secret keys (TIP: use rewrite or conversionStrategy to change keys): {error}")
        })?;
        let values = decode::decode_all(decoding, values)
            .map_err(|error| format!("error applying decoding strategy {decoding:?} to data: {error}"))?;
        for (key, value) in &values {
            decode::check_nul(nul, key, value).map_err(|error| error.to_string())?;
        }
        Ok(Rewritten { values, lost })
    }

    /// Checks that the health report of every server that was asked shows all services as active. Returns when the first
    /// report was requested.
    ///
    /// # Errors
    /// A service that is not active, with its status, or why there is no report.
    async fn settled(&self) -> Result<Instant, String> {
        let mut since = Instant::now();
        for (_, connection) in self.connections.values() {
            let requested_at = connection.settled(self.freshness.not_before).await;
            since = since.min(requested_at.map_err(|error| error.to_string())?);
        }
        Ok(since)
    }

    /// Queries a store. If the server refuses the token, the token's Secret is read again, and with a new token the query is
    /// repeated once.
    async fn query(&mut self, store: &Store, query: RemoteQuery<'_>) -> Result<Values, EntryError> {
        let connections = &self.fetcher.connections;
        let result = match self.query_once(store, query).await {
            Err((error, connection)) if error.is_denied() => {
                connections.forget_token(store);
                let renewed = connections.of(store).await;
                if renewed.is_ok_and(|renewed| renewed.id != connection) {
                    self.query_once(store, query).await
                } else {
                    Err((error, connection))
                }
            }
            result => result,
        };
        result.map_err(|(error, _)| {
            self.is_incomplete |= !error.is_answer();
            match error {
                ProviderError::NoItem { .. } => EntryError::NoItem(error.to_string()),
                error => EntryError::Other(error.to_string()),
            }
        })
    }

    /// As [`query`](Self::query), without the repetition. An error comes with the id of the connection, 0 if there is none.
    async fn query_once(&mut self, store: &Store, query: RemoteQuery<'_>) -> Result<Values, (ProviderError, u64)> {
        let connection = self.fetcher.connections.of(store).await;
        let connection = connection.map_err(|error| (error, 0))?;
        let Some(config) = &store.spec.provider.onepassword else {
            return Err((ProviderError::Store("nil spec.provider.onepassword".to_owned()), 0));
        };
        let key = ObjectKey::of(&store.metadata);
        let first_request = (Instant::now(), connection.clone());
        self.connections.entry(key.clone()).or_insert(first_request);
        let mut session = ProviderSession::new(&connection, config, self.freshness);
        session.lists_show_absence = self.is_settled;
        let result = session.query(query).await;
        self.fetcher.metrics.called("GetItem", result.is_ok());
        self.dependencies.entry(key).or_default().extend(session.dependencies);
        self.items.extend(session.items);
        result.map_err(|error| (error, connection.id))
    }

    /// The store of an entry, if the ExternalSecret may use it.
    fn store(&mut self, source: Option<&SourceRef>) -> Result<Arc<Store>, String> {
        let store = self.find_store(source);
        self.is_incomplete |= store.is_err();
        store
    }

    fn find_store(&self, source: Option<&SourceRef>) -> Result<Arc<Store>, String> {
        let of_entry = source.and_then(|source| source.store_ref.as_ref());
        let reference = of_entry.or(self.default_store);
        let Some(reference) = reference.filter(|reference| !reference.name.is_empty()) else {
            return Err("no store: set spec.secretStoreRef, or run the operator with --default-store".to_owned());
        };
        let (kind, name, namespace) = (reference.kind(), &reference.name, self.namespace);
        let informers = &self.fetcher.informers;
        let store = informers
            .stores
            .get(reference, namespace)
            .ok_or_else(|| format!("could not get {kind} {name:?}, {kind}.{GROUP} {name:?} not found"))?;
        if reference.is_cluster() && !may_use(&informers.namespaces, &store, namespace)? {
            return Err(format!(
                "using cluster store {name:?} is not allowed from namespace {namespace:?}: denied by spec.condition"
            ));
        }
        let status = store.status.as_ref();
        let ready = status.and_then(|status| condition::ready(&status.conditions));
        // A store without a condition was not checked yet. The fetch itself shows whether it works.
        if self.fetcher.flood_gate && ready.is_some_and(|ready| ready.status != "True") {
            return Err(format!("{kind} {name:?} is not ready"));
        }
        Ok(store)
    }
}
