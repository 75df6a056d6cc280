//! The values an ExternalSecret asks for, and the templates they go into.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use sidevault_model::Timestamp;

use crate::informer::key;
use crate::names;
use crate::operator::Operator;
use crate::provider::{Connection, ItemVersion, Need, ProviderError, Question, Source, Use, Uses};
use crate::queue::{ObjectKey, Reason, Work};
use crate::secret::Sources;
use crate::types::{DataFrom, ExternalSecret, GROUP, SourceRef, Store, StoreRef, Template, condition};
use crate::values::{Values, decode, keys, rewrite};
use crate::wake;

/// The items an ExternalSecret is made of.
pub(crate) struct Ingredients {
    /// A hash of which items in which versions these are, and which there are not.
    pub(crate) hash: String,
    /// When the latest of them was changed, by the server's clock.
    pub(crate) changed_at: Option<Timestamp>,
}

/// Reads all values, and notes what they hang on.
pub(super) async fn read(operator: &Operator, work: &Work, external_secret: &ExternalSecret) -> Result<Values, String> {
    gather(operator, work, external_secret).await.0
}

/// As [`read`], but tells what the values are made of. `None` if the server does not say.
pub(super) async fn ingredients(
    operator: &Operator,
    work: &Work,
    external_secret: &ExternalSecret,
) -> Option<Ingredients> {
    let (values, gatherer) = gather(operator, work, external_secret).await;
    if gatherer.is_unsettled {
        let why = values.err().unwrap_or_default();
        tracing::debug!(external_secret = %work.key, error = %why, "what it uses could not be read");
        return None;
    }
    let absent = gatherer.uses.values().flatten();
    let absent: BTreeSet<&Use> = absent.filter(|one| matches!(one, Use::Absent(..))).collect();
    Some(Ingredients {
        hash: names::sha3(format!("{:?} {absent:?}", gatherer.items)),
        changed_at: gatherer.items.iter().map(|(.., changed_at)| *changed_at).max(),
    })
}

async fn gather<'a>(
    operator: &'a Operator,
    work: &'a Work,
    external_secret: &'a ExternalSecret,
) -> (Result<Values, String>, Gatherer<'a>) {
    let status = external_secret.status.as_ref();
    let is_new = status.is_none_or(|status| status.synced_resource_version.is_none());
    let mut gatherer = Gatherer {
        operator,
        namespace: &work.key.namespace,
        default: external_secret.spec.secret_store_ref.as_ref(),
        need: Need {
            not_before: work.asked,
            // Only for what is new: whoever annotates force-sync wants the server to be asked.
            or_unchanged: is_new || work.reason == Reason::Look && operator.options.poke_only,
        },
        uses: HashMap::new(),
        connections: HashMap::new(),
        items: BTreeSet::new(),
        is_unsettled: false,
    };
    let values = gatherer.values(external_secret).await;
    let began = gatherer.connections.values().map(|(began, _)| *began).min();
    // Also after a failure: what is missing may come.
    let uses = &gatherer.uses;
    operator.uses().set(&work.key, began.unwrap_or_else(Instant::now), uses);
    // What changed while it was read was told before it was known who uses it.
    let changed = uses.iter().any(|(store, uses)| {
        let connection = gatherer.connections.get(store);
        connection.is_some_and(|(began, connection)| connection.changed_since(uses, *began))
    });
    if changed {
        wake::ask(operator, work.key.clone(), Reason::Changed, Instant::now());
    }
    (values, gatherer)
}

struct Gatherer<'a> {
    operator: &'a Operator,
    namespace: &'a str,
    default: Option<&'a StoreRef>,
    need: Need,
    uses: HashMap<ObjectKey, Uses>,
    /// With when it was first asked.
    connections: HashMap<ObjectKey, (Instant, Arc<Connection>)>,
    items: BTreeSet<ItemVersion>,
    /// Whether a store could not be asked, or did not answer.
    is_unsettled: bool,
}

impl Gatherer<'_> {
    async fn values(&mut self, external_secret: &ExternalSecret) -> Result<Values, String> {
        let mut values = Values::new();
        for (index, many) in external_secret.spec.data_from.iter().enumerate() {
            let (what, more) = match many {
                DataFrom { find: Some(_), .. } => ("find", self.many(many).await),
                DataFrom { extract: Some(_), .. } => ("extract", self.many(many).await),
                _ => ("sourceRef", Ok(Values::new())),
            };
            values
                .extend(more.map_err(|error| format!("error processing spec.dataFrom[{index}].{what}, err: {error}"))?);
        }
        for (index, one) in external_secret.spec.data.iter().enumerate() {
            let reference = &one.remote_ref;
            let store = self.store(one.source_ref.as_ref());
            let value = match store {
                Ok(store) => self.ask(&store, Question::Value(reference)).await,
                Err(error) => Err(error),
            };
            let value = value.and_then(|mut answer| {
                let value = answer.remove("").unwrap_or_default();
                let strategy = reference.decoding_strategy;
                let value = decode::decode(strategy, value)
                    .map_err(|error| format!("error applying decoding strategy {strategy:?} to data: {error}"))?;
                decode::check_nul(reference.null_byte_policy, &one.secret_key, &value).map_err(|e| e.to_string())?;
                Ok(value)
            });
            let value = value.map_err(|error| {
                format!(
                    "error processing spec.data[{index}] (key: {}), err: {error}",
                    reference.key
                )
            })?;
            values.insert(one.secret_key.clone(), value);
        }
        Ok(values)
    }

    async fn many(&mut self, many: &DataFrom) -> Result<Values, String> {
        let store = self.store(many.source_ref.as_ref())?;
        let (values, conversion, decoding, nul) = match (&many.extract, &many.find) {
            (_, Some(find)) => {
                let values = self.ask(&store, Question::Find(find)).await;
                let values = values.map_err(|error| format!("error getting all secrets: {error}"))?;
                (
                    values,
                    find.conversion_strategy,
                    find.decoding_strategy,
                    find.null_byte_policy,
                )
            }
            (Some(extract), None) => {
                let values = self.ask(&store, Question::Extract(extract)).await?;
                (
                    values,
                    extract.conversion_strategy,
                    extract.decoding_strategy,
                    extract.null_byte_policy,
                )
            }
            (None, None) => return Ok(Values::new()),
        };
        let values = match many.rewrite.is_empty() {
            false => rewrite::rewrite(&many.rewrite, values)
                .map_err(|error| format!("error applying rewrite to keys: {error}"))?,
            true => keys::convert(conversion, values)
                .map_err(|error| format!("error applying conversion strategy {conversion:?} to keys: {error}"))?,
        };
        let values = keys::check(values).map_err(|error| {
            format!("invalid secret keys (TIP: use rewrite or conversionStrategy to change keys): {error}")
        })?;
        let values = decode::decode_all(decoding, values)
            .map_err(|error| format!("error applying decoding strategy {decoding:?} to data: {error}"))?;
        for (key, value) in &values {
            decode::check_nul(nul, key, value).map_err(|error| error.to_string())?;
        }
        Ok(values)
    }

    /// Asks a store. A token that is refused may have been replaced: its Secret is looked at, and the store is asked
    /// once more.
    async fn ask(&mut self, store: &Store, question: Question<'_>) -> Result<Values, String> {
        let first = self.ask_once(store, question).await;
        let answer = match first {
            Err((error, connection)) if error.is_denied() => {
                self.operator.connections.forget_token(store);
                let renewed = self.operator.connections.of(store).await;
                match renewed.is_ok_and(|renewed| renewed.id != connection) {
                    true => self.ask_once(store, question).await,
                    false => Err((error, connection)),
                }
            }
            answer => answer,
        };
        answer.map_err(|(error, _)| {
            self.is_unsettled |= !error.is_answer();
            error.to_string()
        })
    }

    async fn ask_once(&mut self, store: &Store, question: Question<'_>) -> Result<Values, (ProviderError, u64)> {
        let connection = self.operator.connections.of(store).await.map_err(|error| (error, 0))?;
        let Some(config) = &store.spec.provider.onepassword else {
            return Err((ProviderError::Store("nil spec.provider.onepassword".to_owned()), 0));
        };
        let key = key(&store.metadata);
        let asked = (Instant::now(), connection.clone());
        self.connections.entry(key.clone()).or_insert(asked);
        let mut source = Source::new(&connection, config, self.need);
        let answer = source.answer(question).await;
        self.operator.metrics.called("GetItem", answer.is_ok());
        self.uses.entry(key).or_default().extend(source.uses);
        self.items.extend(source.items);
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
) -> Result<Sources, kube::Error> {
    let mut sources = Sources {
        delimiters: operator.options.template_delimiters.clone(),
        ..Sources::default()
    };
    for from in template.iter().flat_map(|template| &template.template_from) {
        if let Some(reference) = &from.config_map {
            let api: Api<ConfigMap> = Api::namespaced(operator.client.clone(), namespace);
            let config_map = api.get(&reference.name).await?;
            sources
                .config_maps
                .insert(reference.name.clone(), config_map.data.unwrap_or_default());
        }
        if let Some(reference) = &from.secret {
            let api: Api<Secret> = Api::namespaced(operator.client.clone(), namespace);
            let data = api.get(&reference.name).await?.data.unwrap_or_default();
            let data = data.into_iter().map(|(key, value)| (key, value.0)).collect();
            sources.secrets.insert(reference.name.clone(), data);
        }
    }
    Ok(sources)
}
