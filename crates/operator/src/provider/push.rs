//! Values that are written to a server: PushSecret.
//!
//! Fields are changed by PATCH, one by one, so that nothing else of an item is touched, whoever changes it meanwhile.
//! What is there already is not written again.

mod edit;
mod metadata;

use std::time::{Duration, Instant};

use sidevault_client::ClientError;
use sidevault_model::patch::Operation;
use sidevault_model::{Item, ItemId, VaultId};

use self::edit::{Withdrawal, new_item, update, withdraw};
use super::session::ProviderSession;
use super::{Freshness, ProviderError};

pub(crate) use self::edit::label;
pub(crate) use self::metadata::PutMetadata;

const CREATE: &str = "error creating 1Password Item";
const UPDATE: &str = "error updating 1Password Item";
const DELETE: &str = "error deleting 1Password Item";
/// 1Password's Connect answers before a new item can be found. How long, and how often, it is looked for.
const APPEARS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(500);

/// What is to be written.
#[derive(Clone, Copy)]
pub(crate) enum Write<'a> {
    /// Values of one item are to be there.
    Put(&'a Put),
    /// Values of one item, by title and property, are to be gone.
    Withdraw(&'a str, &'a [&'a str]),
}

/// Values of one item.
#[derive(Default)]
pub(crate) struct Put {
    /// The item's title or id.
    pub(crate) title: String,
    /// Property (empty for the usual one) and value.
    pub(crate) values: Vec<(String, String)>,
    /// Tags and vault.
    pub(crate) metadata: PutMetadata,
    /// What is there stays as it is.
    pub(crate) only_missing: bool,
}

impl ProviderSession<'_> {
    /// Writes. The answer is whether anything had to be written.
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
                "there is no item {:?}, and a title that looks like an id can't be found again",
                put.title
            );
            return Err(ProviderError::Refused(why));
        }
        let vault = self.vault_of_new(put).await?;
        let connection = self.connection;
        // Two who miss the same item shall not both make it.
        let _one_at_a_time = connection.creating(&put.title).await;
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

    async fn existing(&mut self, title: &str) -> Result<Option<std::sync::Arc<Item>>, ProviderError> {
        match self.locate(title).await {
            Ok((vault, id)) => self.connection.item(vault, id, None, self.freshness).await.map(Some),
            Err(ProviderError::NoItem { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The vault of a new item: the one that is named, or else the first.
    async fn vault_of_new(&self, put: &Put) -> Result<VaultId, ProviderError> {
        let named = put.metadata.vault.as_deref().filter(|vault| !vault.is_empty());
        let name = match named {
            Some(vault) if !self.vaults.contains(&vault) => {
                let why = format!("{CREATE}: metadata vault '{vault}' not in provider vaults");
                return Err(ProviderError::Refused(why));
            }
            Some(vault) => vault,
            None => self.vaults.first().copied().unwrap_or_default(),
        };
        self.connection.vault(name, self.freshness).await
    }

    async fn wait_for(&self, vault: VaultId, title: &str) -> Result<(), ProviderError> {
        let until = Instant::now() + APPEARS;
        loop {
            if !self.connection.titled(vault, title, from_now()).await?.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(ProviderError::Refused(format!(
                    "{CREATE}: the new item '{title}' does not appear"
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn from_now() -> Freshness {
    Freshness {
        not_before: Instant::now(),
        or_unchanged: false,
    }
}
