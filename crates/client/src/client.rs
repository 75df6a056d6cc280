//! The client itself; what it can do stands with the things it does it to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use crate::builder::{ClientBuilder, EventTimes};
use crate::error::ClientError;
use crate::token::Token;

/// A server that speaks Connect's API, and a token for it. Cheap to clone; clones share their connections.
///
/// Used inside a Tokio runtime, the same one for its whole life.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) http: reqwest::Client,
    pub(crate) base: Url,
    pub(crate) token: Token,
    pub(crate) timeout: Duration,
    pub(crate) events: EventTimes,
}

impl Client {
    /// Settings for the server at `host`: `http://connect:8080`, `https://example.com/connect/`. A path in front of
    /// the API and a slash at the end are fine.
    pub fn builder(host: impl Into<String>, token: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(host, token)
    }

    /// The client that `OP_CONNECT_HOST` and `OP_CONNECT_TOKEN` (or the file that `SIDEVAULT_TOKEN_FILE` names)
    /// describe. With other settings: [`ClientBuilder::from_env`].
    ///
    /// # Errors
    /// [`ClientError::Config`] when one is missing or wrong.
    pub fn from_env() -> Result<Self, ClientError> {
        ClientBuilder::from_env()?.build()
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No user name, password or query can be in it: the builder refuses them.
        f.debug_struct("Client")
            .field("host", &self.inner.base.as_str())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{file_id, item_id, vault_id};

    #[test]
    fn calls_can_be_spawned_on_any_thread() {
        fn spawnable<T: Send>(_: T) {}
        let client = Client::builder("http://h", "t").build().unwrap();
        spawnable(client.resolve("a", "b"));
        spawnable(client.activity(1, 0));
        spawnable(client.health());
        spawnable(client.file_content(vault_id(), item_id(), file_id(), 0));
        spawnable(client.patch_item(vault_id(), item_id(), &[]));
        spawnable(client.events(None));
    }
}
