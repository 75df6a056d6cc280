//! The connection of each store: stores with the same server and token share one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use sidevault_client::Client;
use tokio::sync::mpsc;

use super::follow::{Changed, follow};
use super::{Connection, ProviderError};
use crate::api_error::api_message;
use crate::object_key::ObjectKey;
use crate::types::{OnePassword, SecretKeyRef, Store};

/// How long a token is used before its Secret is read again. After a server refuses a token its Secret is read at once.
const TOKEN_KEPT: Duration = Duration::from_secs(10);
/// The `User-Agent` of requests to Connect servers.
const USER_AGENT: &str = concat!("sidevault-operator/", env!("CARGO_PKG_VERSION"));

/// Where a token is: namespace, name and key of its Secret.
type TokenKey = (String, String, String);

/// The connections of all stores. Stores with the same server and token share one.
pub(crate) struct Connections {
    kube: kube::Client,
    changes: mpsc::UnboundedSender<Changed>,
    state: Mutex<State>,
    /// The id of the newest connection. Locked while a connection is opened, so that two stores with the same server do
    /// not open one each.
    last_id: tokio::sync::Mutex<u64>,
}

#[derive(Default)]
struct State {
    /// Tokens, each with the time at which its Secret was read.
    tokens: HashMap<TokenKey, (Instant, Arc<str>)>,
    /// Connections by store, each with the [`identity`] of its server and token.
    of_store: HashMap<ObjectKey, ([u8; 32], Arc<Connection>)>,
}

impl Connections {
    /// Starts without connections. Changes that servers report are sent to `changes`.
    pub(crate) fn new(kube: kube::Client, changes: mpsc::UnboundedSender<Changed>) -> Self {
        Self {
            kube,
            changes,
            state: Mutex::new(State::default()),
            last_id: tokio::sync::Mutex::new(0),
        }
    }

    /// Returns the connection of a store, and opens it if there is none. A new connection first waits for its event
    /// stream, see [`Connection::wait_for_stream`].
    ///
    /// # Errors
    /// [`ProviderError::Store`] if the store's manifest is invalid, [`ProviderError::Token`] if its token can't be
    /// read.
    pub(crate) async fn of(&self, store: &Store) -> Result<Arc<Connection>, ProviderError> {
        let connection = self.open(store).await?;
        connection.wait_for_stream().await;
        Ok(connection)
    }

    async fn open(&self, store: &Store) -> Result<Arc<Connection>, ProviderError> {
        let config = provider(store)?;
        let (reference, namespace) = token_ref(store, config)?;
        let token = self.token(reference, namespace).await?;
        let identity = identity(&config.connect_host, &token);
        let key = ObjectKey::of(&store.metadata);
        if let Some(connection) = self.find_open(&key, &identity) {
            return Ok(connection);
        }
        let mut last_id = self.last_id.lock().await;
        if let Some(connection) = self.find_open(&key, &identity) {
            return Ok(connection);
        }
        *last_id += 1;
        let client = Client::builder(&config.connect_host, &*token)
            .user_agent(USER_AGENT)
            .build()
            .map_err(|error| ProviderError::Store(error.to_string()))?;
        let connection = Arc::new(Connection::new(*last_id, client));
        self.state.lock().of_store.insert(key, (identity, connection.clone()));
        follow(&connection, self.changes.clone());
        Ok(connection)
    }

    /// Makes the next use of the store read the Secret with its token again.
    pub(crate) fn forget_token(&self, store: &Store) {
        if let Ok(config) = provider(store)
            && let Ok((reference, namespace)) = token_ref(store, config)
        {
            self.state.lock().tokens.remove(&token_key(reference, namespace));
        }
    }

    /// Removes a store that was deleted. Its connection ends unless another store shares it.
    pub(crate) fn close(&self, store: &ObjectKey) {
        self.state.lock().of_store.remove(store);
    }

    /// The connection with this id, and the stores that use it.
    pub(crate) fn by_id(&self, id: u64) -> Option<(Arc<Connection>, Vec<ObjectKey>)> {
        let state = self.state.lock();
        let entries = || state.of_store.iter().filter(|(_, (_, connection))| connection.id == id);
        let (_, (_, connection)) = entries().next()?;
        let stores = entries().map(|(key, _)| key.clone()).collect();
        Some((connection.clone(), stores))
    }

    /// Removes unused values from the caches (see [`Connection::evict_unused`]), and connections of stores that do not
    /// exist: a connection may have been opened while its store was being deleted.
    pub(crate) fn tidy(&self, exists: impl Fn(&ObjectKey) -> bool, is_busy: bool) {
        let mut state = self.state.lock();
        state.of_store.retain(|key, _| exists(key));
        state.tokens.retain(|_, (read, _)| read.elapsed() < TOKEN_KEPT);
        let connections: Vec<Arc<Connection>> = state
            .of_store
            .values()
            .map(|(_, connection)| connection.clone())
            .collect();
        drop(state);
        for connection in connections {
            connection.evict_unused(is_busy);
        }
    }

    /// The open connection of the store, or of another store with the same server and token.
    fn find_open(&self, key: &ObjectKey, identity: &[u8; 32]) -> Option<Arc<Connection>> {
        let mut state = self.state.lock();
        if let Some((known, connection)) = state.of_store.get(key)
            && known == identity
        {
            return Some(connection.clone());
        }
        let connection = state.of_store.values().find(|(known, _)| known == identity)?.1.clone();
        state.of_store.insert(key.clone(), (*identity, connection.clone()));
        Some(connection)
    }

    /// The token in a key of a Secret. Reads the Secret at most every [`TOKEN_KEPT`].
    async fn token(&self, reference: &SecretKeyRef, namespace: &str) -> Result<Arc<str>, ProviderError> {
        let key = token_key(reference, namespace);
        if let Some((read, token)) = self.state.lock().tokens.get(&key)
            && read.elapsed() < TOKEN_KEPT
        {
            return Ok(token.clone());
        }
        let read = Instant::now();
        let (name, at) = (&reference.name, &reference.key);
        let secrets: Api<Secret> = Api::namespaced(self.kube.clone(), namespace);
        let secret = secrets.get(name).await.map_err(|error| {
            ProviderError::Token(format!(
                "cannot get Kubernetes secret {name:?} from namespace {namespace:?}: {}",
                api_message(&error)
            ))
        })?;
        let value = secret.data.as_ref().and_then(|data| data.get(at)).ok_or_else(|| {
            ProviderError::Token(format!(
                "cannot find secret data for key: {at:?} in Kubernetes secret {name:?} of namespace {namespace:?}"
            ))
        })?;
        let token = std::str::from_utf8(&value.0).map_err(|_| {
            ProviderError::Token(format!(
                "the value for key {at:?} of Kubernetes secret {name:?} is not UTF-8, so it is no token"
            ))
        })?;
        let token: Arc<str> = token.trim().into();
        self.state.lock().tokens.insert(key, (read, token.clone()));
        Ok(token)
    }
}

/// Checks a store's manifest as External Secrets' webhook does, and returns its provider.
///
/// # Errors
/// [`ProviderError::Store`] with what is wrong with the manifest.
pub(crate) fn provider(store: &Store) -> Result<&OnePassword, ProviderError> {
    let refuse = |why: &str| ProviderError::Store(why.to_owned());
    let config = store.spec.provider.onepassword.as_ref();
    let config = config.ok_or_else(|| refuse("nil spec.provider.onepassword"))?;
    token_ref(store, config)?;
    if config.vaults.is_empty() {
        return Err(refuse("must be at least one vault: spec.provider.onepassword.vaults"));
    }
    let mut orders: Vec<i64> = config.vaults.values().copied().collect();
    orders.sort_unstable();
    if orders.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(refuse("vault order numbers must be unique"));
    }
    Ok(config)
}

/// The reference to the token's Secret, and the namespace of this Secret. A SecretStore may only use Secrets of its own
/// namespace.
fn token_ref<'a>(store: &'a Store, config: &'a OnePassword) -> Result<(&'a SecretKeyRef, &'a str), ProviderError> {
    let refuse = |why: &str| ProviderError::Store(why.to_owned());
    const PATH: &str = "spec.provider.onepassword.auth.secretRef.connectTokenSecretRef";
    let reference = config.auth.secret_ref.token();
    let reference = reference.ok_or_else(|| refuse(&format!("missing: {PATH}.name")))?;
    for (value, name) in [(&reference.name, "name"), (&reference.key, "key")] {
        if value.is_empty() {
            return Err(refuse(&format!("missing: {PATH}.{name}")));
        }
    }
    match (store.metadata.namespace.as_deref(), reference.namespace.as_deref()) {
        (None, None) => Err(refuse("cluster scope requires namespace")),
        (None, Some(namespace)) => Ok((reference, namespace)),
        (Some(own), None) => Ok((reference, own)),
        (Some(own), Some(namespace)) if own == namespace => Ok((reference, own)),
        (Some(_), Some(_)) => Err(refuse(
            "namespace should either be empty or match the namespace of the SecretStore for a namespaced SecretStore",
        )),
    }
}

fn token_key(reference: &SecretKeyRef, namespace: &str) -> TokenKey {
    (namespace.to_owned(), reference.name.clone(), reference.key.clone())
}

/// A hash of server and token, so that connections can be compared without a copy of the token.
fn identity(host: &str, token: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(host.len().to_le_bytes())
        .chain_update(host)
        .chain_update(token)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(namespace: Option<&str>, spec: &str) -> Store {
        let json = format!(
            r#"{{"apiVersion":"external-secrets.io/v1","kind":"x","metadata":{{"name":"s"{}}},"spec":{{"provider":{{"onepassword":{spec}}}}}}}"#,
            namespace
                .map(|namespace| format!(r#","namespace":"{namespace}""#))
                .unwrap_or_default()
        );
        serde_json::from_str(&json).unwrap()
    }

    fn error_of(store: &Store) -> String {
        provider(store).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn both_spellings_of_the_token_reference_are_accepted() {
        for spelling in ["connectTokenSecretRef", "connectToken"] {
            let spec = format!(
                r#"{{"connectHost":"http://c","vaults":{{"a":1}},"auth":{{"secretRef":{{"{spelling}":{{"name":"n","key":"k"}}}}}}}}"#
            );
            assert!(provider(&store(Some("ns"), &spec)).is_ok());
            assert!(error_of(&store(None, &spec)).ends_with("cluster scope requires namespace"));
        }
    }

    #[test]
    fn a_secret_store_uses_secrets_of_its_own_namespace_only() {
        let spec = r#"{"connectHost":"http://c","vaults":{"a":1},"auth":{"secretRef":{"connectTokenSecretRef":{"name":"n","key":"k","namespace":"other"}}}}"#;
        assert!(error_of(&store(Some("ns"), spec)).contains("match the namespace"));
        assert!(provider(&store(Some("other"), spec)).is_ok());
    }

    #[test]
    fn vault_order_numbers_are_unique() {
        let spec = r#"{"connectHost":"http://c","vaults":{"a":1,"b":1},"auth":{"secretRef":{"connectToken":{"name":"n","key":"k"}}}}"#;
        assert!(error_of(&store(Some("ns"), spec)).ends_with("must be unique"));
    }
}
