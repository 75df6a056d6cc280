//! Values of a Connect server, as External Secrets' `onepassword` provider reads and writes them.

mod connection;
mod connections;
mod dependencies;
mod fields;
mod follow;
mod push;
mod session;
mod single_flight;

pub(crate) use connection::{Connection, Freshness};
pub(crate) use connections::Connections;
pub(crate) use dependencies::{Dependencies, Dependency, DependencyIndex};
pub(crate) use follow::{Change, Changed};
pub(crate) use push::{Put, PutMetadata, Write, label};
pub(crate) use session::{ItemVersion, ProviderSession, RemoteQuery};

use sidevault_client::ClientError;

/// The longest name of a server's part, or of its state, that is shown, in bytes.
const LONGEST_WORD: usize = 40;

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
    /// The server has not read all its sources, or can't.
    #[error("the server says that its part {service:?} is {status:?}, not \"ACTIVE\"")]
    Unsettled {
        /// The part, as its health report names it.
        service: String,
        /// Its state.
        status: String,
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

    /// As [`client`](Self::client), of a request that carried values. A server may quote what it refuses, so its own
    /// words are kept only where they are about the token, the vault or the item.
    pub(crate) fn write(doing: &'static str) -> impl FnOnce(ClientError) -> Self {
        move |cause| {
            let cause = match cause {
                ClientError::Status { status, .. } if !matches!(status, 401 | 403 | 404) => ClientError::Status {
                    status,
                    message: "the server refused; its reason is not shown, since it may quote the values".to_owned(),
                },
                cause => cause,
            };
            Self::Client { doing, cause }
        }
    }

    /// A part of a server in a state. Both are the server's words, so they are cut.
    pub(crate) fn unsettled(service: &str, status: &str) -> Self {
        let cut = |text: &str| text[..text.floor_char_boundary(LONGEST_WORD)].to_owned();
        Self::Unsettled {
            service: cut(service),
            status: cut(status),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_written_values_is_not_shown() {
        let shown = |status| {
            let message = "Invalid value: hunter2".to_owned();
            ProviderError::write("error updating 1Password Item")(ClientError::Status { status, message }).to_string()
        };
        for status in [400, 409, 413, 422, 500, 503] {
            let shown = shown(status);
            assert!(
                shown.contains(&status.to_string()) && !shown.contains("hunter2"),
                "{shown}"
            );
        }
        for status in [401, 403, 404] {
            assert!(shown(status).contains("Invalid value"), "{status}");
        }
    }

    #[test]
    fn the_name_and_state_of_a_servers_part_are_cut() {
        let shown = ProviderError::unsettled(&"ü".repeat(1000), "x\ny").to_string();
        assert!(shown.len() < 150 && !shown.contains('\n'), "{shown}");
    }
}
