//! The Connect server that a call works with, and the errors of look-ups in `op`'s words.

use sidevault_client::{Client, ClientError, Filter, Kind};
use sidevault_model::reference::{as_id, lower_id};
use sidevault_model::{Item, ItemId, Vault, VaultId, printable};

use crate::server::{Connection, NO_TOKEN, Server};

use super::{Call, Error};

/// Without a server or a token. Some callers look for this text.
pub(super) const NOT_SIGNED_IN: &str = "account is not signed in";

/// A server and a token.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) host: String,
}

/// An item, and the vault that it is in.
pub(super) struct Located {
    pub(super) item: Item,
    pub(super) vault: Vault,
}

impl Session {
    /// # Errors
    /// [`NOT_SIGNED_IN`] if no token is found.
    pub(super) fn open(call: &Call<'_>) -> Result<Self, Error> {
        let server = Server::connect(&Connection::default(), call.environment);
        let server = server.map_err(|failure| {
            let message = failure.to_string();
            Error::new(if message == NO_TOKEN {
                NOT_SIGNED_IN.to_owned()
            } else {
                message
            })
        })?;
        Ok(Self {
            host: server.host().to_owned(),
            client: server.client,
        })
    }

    /// The vaults that the token may use.
    pub(super) async fn vaults(&self) -> Result<Vec<Vault>, Error> {
        Ok(self.client.vaults(None).await?)
    }

    /// The vault with this name or id.
    pub(super) async fn vault(&self, vault: &str) -> Result<Vault, Error> {
        let found = self.client.resolve_vault(&lower_id(vault)).await;
        found.map_err(|error| match error {
            ClientError::Ambiguous { what: Kind::Vault, .. } => Error::new(format!(
                "More than one vault matches \"{}\". Try again and specify the vault by its ID",
                printable(vault)
            )),
            error if error.is_not_found() || error.refuses_id() => no_vault(vault),
            error => error.into(),
        })
    }

    /// The item with this title or id, in the named vault or in any.
    pub(super) async fn item(&self, item: &str, vault: Option<&str>) -> Result<Located, Error> {
        let vaults = match vault {
            Some(vault) => vec![self.vault(vault).await?],
            None => self.vaults().await?,
        };
        if let Some(id) = as_id(item) {
            for vault in &vaults {
                match self.client.item(vault.id, id).await {
                    Ok(item) => {
                        let vault = vault.clone();
                        return Ok(Located { item, vault });
                    }
                    Err(error) if error.refuses_id() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let mut hits = Vec::new();
        for candidate in vaults {
            for id in self.ids(&candidate, item).await? {
                hits.push((candidate.clone(), id));
            }
        }
        match &hits[..] {
            [] => Err(no_item(item, vault)),
            [(vault, id)] => match self.client.item(vault.id, *id).await {
                Ok(item) => Ok(Located {
                    item,
                    vault: vault.clone(),
                }),
                Err(error) => Err(error.into()),
            },
            several => Err(more_than_one(
                item,
                several.iter().map(|(vault, id)| (vault.name.as_str(), *id)),
            )),
        }
    }

    /// The ids of the items of a vault with this title.
    async fn ids(&self, vault: &Vault, title: &str) -> Result<Vec<ItemId>, Error> {
        let same = self.client.items_named(vault.id, title).await?;
        Ok(same.iter().map(|found| found.id).collect())
    }

    /// The items of a vault, or those that a filter selects.
    pub(super) async fn summaries(&self, vault: VaultId, filter: Option<&Filter>) -> Result<Vec<Item>, Error> {
        Ok(self.client.items(vault, filter).await?)
    }
}

/// An error of the server as a whole.
impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Status { status: 401, message } => {
                Self::new(format!("{NOT_SIGNED_IN}: (401) Unauthorized: {}", printable(&message)))
            }
            ClientError::Status { status, message } => Self::new(format!("({status}) {}", printable(&message))),
            error => Self::new(printable(&error.to_string())),
        }
    }
}

pub(super) fn no_vault(vault: &str) -> Error {
    Error::new(format!(
        "\"{}\" isn't a vault in this account. Specify the vault with its ID or name.",
        printable(vault)
    ))
}

pub(super) fn no_item(item: &str, vault: Option<&str>) -> Error {
    let item = printable(item);
    Error::new(match vault {
        Some(vault) => format!(
            "\"{item}\" isn't an item in the \"{}\" vault. Specify the item with its UUID, name, or domain.",
            printable(vault)
        ),
        None => format!("\"{item}\" isn't an item. Specify the item with its UUID, name, or domain."),
    })
}

pub(super) fn more_than_one<'a>(item: &str, hits: impl Iterator<Item = (&'a str, ItemId)>) -> Error {
    let item = printable(item);
    let lines: Vec<String> = hits
        .map(|(vault, id)| format!("\n\t* for the item \"{item}\" in vault {}: {id}", printable(vault)))
        .collect();
    Error::new(format!(
        "More than one item matches \"{item}\". Try again and specify the item by its ID:{}",
        lines.concat()
    ))
}
