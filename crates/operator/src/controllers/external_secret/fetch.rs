//! The values an ExternalSecret asks for, and the templates they go into.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use sidevault_model::Timestamp;

use crate::names;
use crate::object_key::ObjectKey;
use crate::operator::Operator;
use crate::provider::{
    Connection, Dependencies, Dependency, Freshness, ItemVersion, ProviderError, ProviderSession, RemoteQuery,
};
use crate::secret::TemplateTexts;
use crate::templates::TemplateKind;
use crate::types::{
    Data, DataFrom, DeletionPolicy, ExternalSecret, GROUP, SourceRef, Store, StoreRef, Template, condition,
};
use crate::values::rewrite::{self, Rewritten};
use crate::values::{Values, decode, keys};
use crate::wake;
use crate::work::{Trigger, Work};

/// The items an ExternalSecret is made of.
pub(crate) struct SourceVersions {
    /// A hash of which items in which versions these are, and which there are not.
    pub(crate) hash: String,
    /// When the latest of them was changed, by the server's clock.
    pub(crate) changed_at: Option<Timestamp>,
}

/// The values that an ExternalSecret asks for.
#[derive(Default)]
pub(super) struct ProviderData {
    /// The values.
    pub(super) values: Values,
    /// The entries whose item was deleted, each in a sentence. Only `deletionPolicy` `Delete` and `Merge` let an entry
    /// be left out: under `Retain` it is an error.
    pub(super) deleted: Vec<String>,
    /// A sentence for each time a rewrite of keys left values out.
    pub(super) lost: Vec<String>,
}

impl ProviderData {
    /// Whether values are missing that the deletion policy takes out of the Secret.
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
    fn map(self, words: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::NoItem(error) => Self::NoItem(words(error)),
            Self::Other(error) => Self::Other(words(error)),
        }
    }
}

impl From<String> for EntryError {
    fn from(error: String) -> Self {
        Self::Other(error)
    }
}

/// Reads all values, and notes what they hang on.
///
/// An item that can't be found may be late rather than deleted: a server that starts anew with an empty disk reads its
/// sources first. So before a deletion policy takes anything out of the Secret, each server must say in its health report
/// that all its parts are active, and the items must be missing in a read that began after that.
pub(super) async fn fetch(
    operator: &Operator,
    work: &Work,
    external_secret: &ExternalSecret,
) -> Result<ProviderData, String> {
    let (data, fetcher) = fetch_once(operator, work, external_secret, None).await;
    let data = data?;
    if !data.shrinks_the_secret(external_secret.spec.target.deletion_policy) {
        return Ok(data);
    }
    let since = fetcher.settled().await.map_err(|error| {
        format!(
            "items are missing, and whether they were deleted is not certain, so the Secret stays as it is: {error}"
        )
    })?;
    fetch_once(operator, work, external_secret, Some(since)).await.0
}

/// As [`fetch`], but tells what the values are made of. `None` if the server does not say.
pub(super) async fn source_versions(
    operator: &Operator,
    work: &Work,
    external_secret: &ExternalSecret,
) -> Option<SourceVersions> {
    let (data, fetcher) = fetch_once(operator, work, external_secret, None).await;
    if fetcher.is_unsettled {
        let why = data.err().unwrap_or_default();
        tracing::debug!(external_secret = %work.key, error = %why, "what it uses could not be read");
        return None;
    }
    let absent = fetcher.dependencies.values().flatten();
    let absent: BTreeSet<&Dependency> = absent.filter(|one| matches!(one, Dependency::Absent(..))).collect();
    Some(SourceVersions {
        hash: names::sha3(format!("{:?} {absent:?}", fetcher.items)),
        changed_at: fetcher.items.iter().map(|(.., changed_at)| *changed_at).max(),
    })
}

/// `settled_since` is when the servers were seen to have read all their sources: only what is read after that shows that
/// an item is not there.
async fn fetch_once<'a>(
    operator: &'a Operator,
    work: &'a Work,
    external_secret: &'a ExternalSecret,
    settled_since: Option<Instant>,
) -> (Result<ProviderData, String>, Fetcher<'a>) {
    let status = external_secret.status.as_ref();
    let is_new = status.is_none_or(|status| status.synced_resource_version.is_none());
    let freshness = match settled_since {
        Some(not_before) => Freshness {
            not_before,
            or_unchanged: false,
        },
        None => Freshness {
            not_before: work.requested_at,
            // Only for what is new: whoever annotates force-sync wants the server to be asked.
            or_unchanged: is_new || work.trigger == Trigger::WatchEvent && operator.options.poke_only,
        },
    };
    let mut fetcher = Fetcher {
        operator,
        namespace: &work.key.namespace,
        default: external_secret.spec.secret_store_ref.as_ref(),
        freshness,
        is_settled: settled_since.is_some(),
        dependencies: HashMap::new(),
        connections: HashMap::new(),
        items: BTreeSet::new(),
        is_unsettled: false,
    };
    let data = fetcher.all(external_secret).await;
    let began = fetcher.connections.values().map(|(began, _)| *began).min();
    // Also after a failure: what is missing may come.
    let dependencies = &fetcher.dependencies;
    operator
        .uses()
        .set(&work.key, began.unwrap_or_else(Instant::now), dependencies);
    // What changed while it was read was told before it was known who uses it.
    let changed = dependencies.iter().any(|(store, dependencies)| {
        let connection = fetcher.connections.get(store);
        connection.is_some_and(|(began, connection)| connection.changed_since(dependencies, *began))
    });
    if changed {
        wake::ask(operator, work.key.clone(), Trigger::SourceChanged, Instant::now());
    }
    (data, fetcher)
}

struct Fetcher<'a> {
    operator: &'a Operator,
    namespace: &'a str,
    default: Option<&'a StoreRef>,
    freshness: Freshness,
    /// Whether the servers said that they have read all their sources.
    is_settled: bool,
    dependencies: HashMap<ObjectKey, Dependencies>,
    /// With when it was first asked.
    connections: HashMap<ObjectKey, (Instant, Arc<Connection>)>,
    items: BTreeSet<ItemVersion>,
    /// Whether a store could not be asked, or did not answer.
    is_unsettled: bool,
}

impl Fetcher<'_> {
    async fn all(&mut self, external_secret: &ExternalSecret) -> Result<ProviderData, String> {
        let policy = external_secret.spec.target.deletion_policy;
        let mut data = ProviderData::default();
        // External Secrets' words for an item that was deleted.
        let deleted = |at: &str, error| match error {
            EntryError::NoItem(_) if policy != DeletionPolicy::Retain => {
                Ok(format!("secret does not exist at provider using {at}"))
            }
            EntryError::NoItem(error) | EntryError::Other(error) => Err(error),
        };
        for (index, many) in external_secret.spec.data_from.iter().enumerate() {
            let (what, more) = match many {
                DataFrom { find: Some(_), .. } => ("find", self.many(many).await),
                DataFrom { extract: Some(_), .. } => ("extract", self.many(many).await),
                _ => ("sourceRef", Ok(Rewritten::default())),
            };
            let at = format!("spec.dataFrom[{index}]");
            match more.map_err(|error| error.map(|error| format!("error processing {at}.{what}, err: {error}"))) {
                Ok(more) => {
                    data.values.extend(more.values);
                    let lost = more.lost.into_iter();
                    data.lost.extend(lost.map(|lost| format!("{at}.{lost}")));
                }
                Err(error) => data.deleted.push(deleted(&at, error)?),
            }
        }
        for (index, one) in external_secret.spec.data.iter().enumerate() {
            let key = &one.remote_ref.key;
            let at = format!("spec.data[{index}] (key: {key})");
            let value = self.one(one).await;
            match value.map_err(|error| error.map(|error| format!("error processing {at}, err: {error}"))) {
                Ok(value) => drop(data.values.insert(one.secret_key.clone(), value)),
                Err(error) => data.deleted.push(deleted(&at, error)?),
            }
        }
        Ok(data)
    }

    async fn one(&mut self, one: &Data) -> Result<Vec<u8>, EntryError> {
        let reference = &one.remote_ref;
        let store = self.store(one.source_ref.as_ref())?;
        let value = self.ask(&store, RemoteQuery::Value(reference)).await?.remove("");
        let strategy = reference.decoding_strategy;
        let value = decode::decode(strategy, value.unwrap_or_default())
            .map_err(|error| format!("error applying decoding strategy {strategy:?} to data: {error}"))?;
        decode::check_nul(reference.null_byte_policy, &one.secret_key, &value).map_err(|error| error.to_string())?;
        Ok(value)
    }

    async fn many(&mut self, many: &DataFrom) -> Result<Rewritten, EntryError> {
        let store = self.store(many.source_ref.as_ref())?;
        let (values, conversion, decoding, nul) = match (&many.extract, &many.find) {
            (_, Some(find)) => {
                let values = self.ask(&store, RemoteQuery::Find(find)).await;
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
                let values = self.ask(&store, RemoteQuery::Extract(extract)).await?;
                (
                    values,
                    extract.conversion_strategy,
                    extract.decoding_strategy,
                    extract.null_byte_policy,
                )
            }
            (None, None) => return Ok(Rewritten::default()),
        };
        let Rewritten { values, lost } = match many.rewrite.is_empty() {
            false => rewrite::rewrite(&many.rewrite, values)
                .map_err(|error| format!("error applying rewrite to keys: {error}"))?,
            true => Rewritten {
                values: keys::convert(conversion, values)
                    .map_err(|error| format!("error applying conversion strategy {conversion:?} to keys: {error}"))?,
                lost: Vec::new(),
            },
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

    /// Checks that every server that was asked reports in its health that it has read all its sources. Returns the time at
    /// which the first was asked.
    ///
    /// # Errors
    /// If a server does not report so: the part of it and the part's state.
    async fn settled(&self) -> Result<Instant, String> {
        let mut since = Instant::now();
        for (_, connection) in self.connections.values() {
            let asked = connection.settled(self.freshness.not_before).await;
            since = since.min(asked.map_err(|error| error.to_string())?);
        }
        Ok(since)
    }

    /// Asks a store. A token that is refused may have been replaced: its Secret is looked at, and the store is asked
    /// once more.
    async fn ask(&mut self, store: &Store, query: RemoteQuery<'_>) -> Result<Values, EntryError> {
        let first = self.ask_once(store, query).await;
        let answer = match first {
            Err((error, connection)) if error.is_denied() => {
                self.operator.connections.forget_token(store);
                let renewed = self.operator.connections.of(store).await;
                match renewed.is_ok_and(|renewed| renewed.id != connection) {
                    true => self.ask_once(store, query).await,
                    false => Err((error, connection)),
                }
            }
            answer => answer,
        };
        answer.map_err(|(error, _)| {
            self.is_unsettled |= !error.is_answer();
            match error {
                ProviderError::NoItem { .. } => EntryError::NoItem(error.to_string()),
                error => EntryError::Other(error.to_string()),
            }
        })
    }

    async fn ask_once(&mut self, store: &Store, query: RemoteQuery<'_>) -> Result<Values, (ProviderError, u64)> {
        let connection = self.operator.connections.of(store).await.map_err(|error| (error, 0))?;
        let Some(config) = &store.spec.provider.onepassword else {
            return Err((ProviderError::Store("nil spec.provider.onepassword".to_owned()), 0));
        };
        let key = ObjectKey::of(&store.metadata);
        let asked = (Instant::now(), connection.clone());
        self.connections.entry(key.clone()).or_insert(asked);
        let mut session = ProviderSession::new(&connection, config, self.freshness);
        session.lists_show_absence = self.is_settled;
        let answer = session.query(query).await;
        self.operator.metrics.called("GetItem", answer.is_ok());
        self.dependencies.entry(key).or_default().extend(session.dependencies);
        self.items.extend(session.items);
        answer.map_err(|error| (error, connection.id))
    }

    /// The store of an entry, if it may be used here.
    fn store(&mut self, source: Option<&SourceRef>) -> Result<Arc<Store>, String> {
        let store = self.find_store(source);
        self.is_unsettled |= store.is_err();
        store
    }

    fn find_store(&self, source: Option<&SourceRef>) -> Result<Arc<Store>, String> {
        let own = source.and_then(|source| source.store_ref.as_ref());
        let Some(reference) = own.or(self.default).filter(|reference| !reference.name.is_empty()) else {
            return Err("no store: set spec.secretStoreRef, or run the operator with --default-store".to_owned());
        };
        let (kind, name) = (reference.kind(), &reference.name);
        let store = self
            .operator
            .store(reference, self.namespace)
            .ok_or_else(|| format!("could not get {kind} {name:?}, {kind}.{GROUP} {name:?} not found"))?;
        if reference.is_cluster() && !super::super::namespaces::may_use(self.operator, &store, self.namespace)? {
            let namespace = self.namespace;
            return Err(format!(
                "using cluster store {name:?} is not allowed from namespace {namespace:?}: denied by spec.condition"
            ));
        }
        let status = store.status.as_ref();
        let ready = status.and_then(|status| condition::ready(&status.conditions));
        // A store that nobody looked at yet is asked: the answer is the same.
        if self.operator.options.flood_gate && ready.is_some_and(|ready| ready.status != "True") {
            return Err(format!("{kind} {name:?} is not ready"));
        }
        Ok(store)
    }
}

/// The ConfigMaps and Secrets that templates live in.
pub(crate) async fn sources(
    operator: &Operator,
    namespace: &str,
    template: Option<&Template>,
) -> Result<TemplateTexts, kube::Error> {
    let mut sources = TemplateTexts {
        delimiters: operator.options.template_delimiters.clone(),
        ..TemplateTexts::default()
    };
    for from in template.iter().flat_map(|template| &template.template_from) {
        if let Some(reference) = &from.config_map {
            operator.templates.follow(TemplateKind::ConfigMap);
            let api: Api<ConfigMap> = Api::namespaced(operator.client.clone(), namespace);
            let config_map = api.get(&reference.name).await?;
            sources
                .config_maps
                .insert(reference.name.clone(), config_map.data.unwrap_or_default());
        }
        if let Some(reference) = &from.secret {
            operator.templates.follow(TemplateKind::Secret);
            let api: Api<Secret> = Api::namespaced(operator.client.clone(), namespace);
            let data = api.get(&reference.name).await?.data.unwrap_or_default();
            let data = data.into_iter().map(|(key, value)| (key, value.0)).collect();
            sources.secrets.insert(reference.name.clone(), data);
        }
    }
    Ok(sources)
}
