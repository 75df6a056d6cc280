//! What the server has: as its store has it, or as its API returns it.

use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sidevault_model::{File, Item, ItemId, VaultId};
use sidevault_store::Reader;

use crate::exit::Failure;
use crate::server::Server;

/// Where items are read from.
pub(crate) enum Served {
    /// The store of this machine.
    Store(Box<Reader>),
    /// Any Connect server.
    Api(Server),
}

impl Served {
    /// The item with this id.
    pub(crate) async fn item(&self, vault: VaultId, item: ItemId) -> Result<Option<Item>, Failure> {
        match self {
            Self::Store(reader) => {
                let snapshot = reader.snapshot().await?;
                match reader.item(&snapshot, vault, item).await? {
                    Some(found) => Ok(Some(found.item()?)),
                    None => Ok(None),
                }
            }
            Self::Api(server) => match server.client.item(vault, item).await {
                Ok(found) => Ok(Some(found)),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(server.failure(error)),
            },
        }
    }

    /// The SHA-256 of the content of an item's file.
    pub(crate) async fn digest(&self, item: &Item, file: &File) -> Result<[u8; 32], Failure> {
        let mut hash = Sha256::new();
        match self {
            Self::Store(reader) => {
                let mut n = 0;
                while let Some(content) = file.content
                    && let Some(chunk) = reader.chunk(item.vault, content, n).await?
                {
                    hash.update(&chunk);
                    n += 1;
                }
            }
            Self::Api(server) => {
                let failure = |error| server.failure(error);
                let content = server.client.file_content(item.vault, item.id, file.id, None);
                let mut content = content.await.map_err(failure)?;
                while let Some(chunk) = content.try_next().await.map_err(failure)? {
                    hash.update(&chunk);
                }
            }
        }
        Ok(hash.finalize().into())
    }
}
