//! Writes values to a server, for PushSecret.
//!
//! Fields are changed by PATCH, one operation each, so that a concurrent change of another part of the item is not
//! lost. Values that the item already has are not written again.

mod edit;
mod metadata;

use std::time::{Duration, Instant};

use sidevault_client::ClientError;
use sidevault_model::patch::Operation;
use sidevault_model::{Item, ItemId, VaultId};

use self::edit::{Withdrawal, new_item, update, withdraw};
use super::session::ProviderSession;
use super::{Freshness, ProviderError};

pub(crate) use self::metadata::PutMetadata;

const CREATE: &str = "error creating 1Password Item";
const UPDATE: &str = "error updating 1Password Item";
const DELETE: &str = "error deleting 1Password Item";
/// 1Password's Connect answers the creation of an item before a search finds the item. For how long, and how often, the
/// operator searches for it.
const VISIBLE_WITHIN: Duration = Duration::from_secs(5);
const SEARCH_INTERVAL: Duration = Duration::from_millis(500);

/// One write to one item.
#[derive(Clone, Copy)]
pub(crate) enum Write<'a> {
    /// Creates or updates an item.
    Put(&'a Put),
    /// Removes the fields of these properties from the item with this title, and deletes the item if nothing else is
    /// left.
    Withdraw(&'a str, &'a [&'a str]),
}

/// The values of one item.
#[derive(Default)]
pub(crate) struct Put {
    /// The item's title or id.
    pub(crate) title: String,
    /// Properties and their values. An empty property stands for the label `password`.
    pub(crate) values: Vec<(String, String)>,
    /// Tags and vault.
    pub(crate) metadata: PutMetadata,
    /// Whether fields that exist keep their values (`updatePolicy: IfNotExists`).
    pub(crate) only_missing: bool,
}

impl ProviderSession<'_> {
    /// Writes to an item. Returns whether a request was needed.
    ///
    /// # Errors
    /// See [`ProviderError`].
    pub(crate) async fn write(&mut self, write: Write<'_>) -> Result<bool, ProviderError> {
        match write {
            Write::Put(put) => self.put(put).await,
            Write::Withdraw(title, properties) => self.withdraw(title, properties).await,
        }
    }

    async fn put(&mut self, put: &Put) -> Result<bool, ProviderError> {
        if let Some(item) = self.existing(&put.title).await? {
            return self.update(&item, put).await;
        }
        if ItemId::parse(&put.title).is_ok() {
            let why = format!(
                "there is no item {:?}, and none is created: a title that has the form of an id can't be found again",
                put.title
            );
            return Err(ProviderError::Invalid(why));
        }
        let vault = self.vault_of_new(put).await?;
        let connection = self.connection;
        // Of two tasks that miss the same item, the second must find the item of the first.
        let _guard = connection.lock_creation(&put.title).await;
        self.freshness = from_now();
        if let Some(item) = self.existing(&put.title).await? {
            return self.update(&item, put).await;
        }
        let input = new_item(vault, put);
        match connection.call(|| connection.client.create_item(vault, &input)).await {
            Ok(_) | Err(ClientError::DoneUnread) => {}
            Err(error) => return Err(ProviderError::write(CREATE)(error)),
        }
        self.wait_for(vault, &put.title).await?;
        Ok(true)
    }

    async fn update(&self, item: &Item, put: &Put) -> Result<bool, ProviderError> {
        let operations = update(item, put)?;
        if operations.is_empty() {
            return Ok(false);
        }
        self.patch(item, &operations)
            .await
            .map_err(ProviderError::write(UPDATE))
    }

    async fn withdraw(&mut self, title: &str, properties: &[&str]) -> Result<bool, ProviderError> {
        let Some(item) = self.existing(title).await? else {
            return Ok(false);
        };
        let connection = self.connection;
        match withdraw(&item, properties)? {
            Withdrawal::Nothing => Ok(false),
            Withdrawal::Fields(operations) => self
                .patch(&item, &operations)
                .await
                .map_err(ProviderError::client(DELETE)),
            Withdrawal::Item => match connection
                .call(|| connection.client.delete_item(item.vault, item.id))
                .await
            {
                Ok(()) => Ok(true),
                Err(error) if error.is_not_found() => Ok(false),
                Err(error) => Err(ProviderError::client(DELETE)(error)),
            },
        }
    }

    async fn patch(&self, item: &Item, operations: &[Operation]) -> Result<bool, ClientError> {
        let connection = self.connection;
        match connection
            .call(|| connection.client.patch_item(item.vault, item.id, operations))
            .await
        {
            Ok(_) | Err(ClientError::DoneUnread) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The item with this title or id, if there is one.
    async fn existing(&mut self, title: &str) -> Result<Option<std::sync::Arc<Item>>, ProviderError> {
        match self.locate(title).await {
            Ok((vault, id)) => self.connection.item(vault, id, None, self.freshness).await.map(Some),
            Err(ProviderError::NoItem { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The vault in which a new item is created: the one that its metadata names, or else the first of the store.
    async fn vault_of_new(&self, put: &Put) -> Result<VaultId, ProviderError> {
        let named = put.metadata.vault.as_deref().filter(|vault| !vault.is_empty());
        let name = match named {
            Some(vault) if !self.vaults.contains(&vault) => {
                let why = format!("{CREATE}: metadata vault '{vault}' not in provider vaults");
                return Err(ProviderError::Invalid(why));
            }
            Some(vault) => vault,
            None => self.vaults.first().copied().unwrap_or_default(),
        };
        self.connection.vault(name, self.freshness).await
    }

    /// Waits until a search finds the new item.
    async fn wait_for(&self, vault: VaultId, title: &str) -> Result<(), ProviderError> {
        let until = Instant::now() + VISIBLE_WITHIN;
        loop {
            if !self.connection.titled(vault, title, from_now()).await?.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(ProviderError::NotVisible(format!(
                    "{CREATE}: the server created the item '{title}', but does not find it after {} seconds",
                    VISIBLE_WITHIN.as_secs()
                )));
            }
            tokio::time::sleep(SEARCH_INTERVAL).await;
        }
    }
}

/// Accepts only what is read from the server after this call.
fn from_now() -> Freshness {
    Freshness {
        not_before: Instant::now(),
        or_unchanged: false,
    }
}
