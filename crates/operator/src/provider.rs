//! Reads and writes values of a Connect server as External Secrets' `onepassword` provider does.

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
pub(crate) use push::{Put, PutMetadata, Write};
pub(crate) use session::{ItemVersion, ProviderSession, RemoteQuery};

use sidevault_client::ClientError;

/// How many bytes of a service's name, and of its status, in a health report are shown.
const LONGEST_WORD: usize = 40;

/// Why values could not be read or written. May hold titles and labels that the manifest names, and never a value.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    /// The store's manifest is invalid.
    #[error("received invalid 1Password SecretStore resource: {0}")]
    Store(String),
    /// The Secret with the token can't be read, or does not hold a token.
    #[error("{0}")]
    Token(String),
    /// A request to the server failed.
    #[error("{doing}: {cause}")]
    Client {
        /// What the operator was doing, in External Secrets' words.
        doing: &'static str,
        /// The server's answer, or why there is none.
        cause: ClientError,
    },
    /// No vault of the store has such an item.
    #[error("key not found in 1Password Vaults: {key} in: {vaults}")]
    NoItem {
        /// The title or id that was looked for.
        key: String,
        /// The store's vaults and their order, as Go prints a map.
        vaults: String,
    },
    /// The server's health report shows that it has not read all its sources.
    #[error("the server's health report says that {service:?} is {status:?}, not \"ACTIVE\"")]
    NotSynced {
        /// The name of the service in the report.
        service: String,
        /// The status of the service in the report.
        status: String,
    },
    /// Exactly one item, field or file was expected, and there are none or several.
    #[error("{0}")]
    Count(String),
    /// The manifest asks for something that is invalid or not supported.
    #[error("{0}")]
    Invalid(String),
    /// The server created an item, and a search does not find it.
    #[error("{0}")]
    NotVisible(String),
}

impl ProviderError {
    /// Makes an error of a failed request. `doing` says what the operator was doing.
    pub(crate) fn client(doing: &'static str) -> impl FnOnce(ClientError) -> Self {
        move |cause| Self::Client { doing, cause }
    }

    /// As [`client`](Self::client), for a request that carried values. A server may quote the values that it refuses,
    /// so its message is kept only with the statuses 401, 403 and 404, whose messages are about the token, the vault or
    /// the item.
    pub(crate) fn write(doing: &'static str) -> impl FnOnce(ClientError) -> Self {
        move |cause| {
            let cause = match cause {
                ClientError::Status { status, .. } if !matches!(status, 401 | 403 | 404) => ClientError::Status {
                    status,
                    message: "the server refused the values; its message is not shown, because it may quote them"
                        .to_owned(),
                },
                cause => cause,
            };
            Self::Client { doing, cause }
        }
    }

    /// A service of a health report that is not `ACTIVE`. Both texts come from the server, so they are cut.
    pub(crate) fn not_synced(service: &str, status: &str) -> Self {
        let cut = |text: &str| text[..text.floor_char_boundary(LONGEST_WORD)].to_owned();
        Self::NotSynced {
            service: cut(service),
            status: cut(status),
        }
    }

    /// Whether the error follows from what the server holds, so that reading again would fail in the same way until an
    /// item or the manifest changes.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::NoItem { .. } | Self::Count(_) | Self::Invalid(_))
    }

    /// Whether the server refused the token (401, 403): the token's Secret may hold a newer one.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Client { cause, .. } if cause.is_denied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_message_about_written_values_is_not_shown() {
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
    fn service_and_status_of_a_health_report_are_cut() {
        let shown = ProviderError::not_synced(&"ü".repeat(1000), "x\ny").to_string();
        assert!(shown.len() < 150 && !shown.contains('\n'), "{shown}");
    }
}
