//! The client. Its methods are in the modules of the resources that they work on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use crate::builder::{ClientBuilder, EventTimes};
use crate::error::ClientError;
use crate::token::Token;

/// A client of one server with one token. Cheap to clone; clones share their connections.
///
/// All calls must be made in the same Tokio runtime.
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
    /// Settings for the server at the URL `host`, such as `http://connect:8080` or `https://example.com/connect/`.
    pub fn builder(host: impl Into<String>, token: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(host, token)
    }

    /// Makes a client with the server and the token of the environment, see [`ClientBuilder::from_env`], which also
    /// allows other settings.
    ///
    /// # Errors
    /// [`ClientError::Config`] if a variable is missing or invalid.
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
        // The builder refuses URLs with a user name, a password or a query.
        f.debug_struct("Client")
            .field("host", &self.inner.base.as_str())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{file_id, item_id, vault_id};

    #[test]
    fn calls_are_send() {
        fn spawnable<T: Send>(_: T) {}
        let client = Client::builder("http://h", "t").build().unwrap();
        spawnable(client.resolve("a", "b"));
        spawnable(client.activity(1, 0));
        spawnable(client.health());
        spawnable(client.file_content(vault_id(), item_id(), file_id(), None));
        spawnable(client.patch_item(vault_id(), item_id(), &[]));
        spawnable(client.events(None));
    }
}
