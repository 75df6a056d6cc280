//! Values of a Connect server, as External Secrets' `onepassword` provider reads and writes them.

mod connection;
mod connections;
mod fields;
mod find;
mod follow;
mod push;
mod slots;
mod uses;

pub(crate) use connection::{Connection, Need};
pub(crate) use connections::Connections;
pub(crate) use find::{ItemVersion, Question, Source};
pub(crate) use follow::{Change, Changed};
pub(crate) use push::{Put, PutMetadata, Write, label};
pub(crate) use uses::{Use, Uses, UsesIndex};

use sidevault_client::ClientError;

/// Why values can't be had. Holds titles and labels that the manifest itself names, never values.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    /// The store's own manifest is wrong.
    #[error("received invalid 1Password SecretStore resource: {0}")]
    Store(String),
    /// The token can't be read.
    #[error("{0}")]
    Token(String),
    /// The server refused, or there is none.
    #[error("{doing}: {cause}")]
    Client {
        /// What was being done.
        doing: &'static str,
        /// What the server or the network said.
        cause: ClientError,
    },
    /// No vault has such an item.
    #[error("key not found in 1Password Vaults: {key} in: {vaults}")]
    NoItem {
        /// Its title or id.
        key: String,
        /// The vaults, as Go prints them.
        vaults: String,
    },
    /// More or fewer than one where there must be one.
    #[error("{0}")]
    Count(String),
    /// Something that is not supported or makes no sense.
    #[error("{0}")]
    Refused(String),
}

impl ProviderError {
    pub(crate) fn client(doing: &'static str) -> impl FnOnce(ClientError) -> Self {
        move |cause| Self::Client { doing, cause }
    }

    /// Whether the server said how things are: asked again, it would say the same.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::NoItem { .. } | Self::Count(_) | Self::Refused(_))
    }

    /// Whether the token may be an old one.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Client { cause, .. } if cause.is_denied())
    }
}
