//! Which vault, id and tags each item of an export gets.

use std::sync::LazyLock;

use sidevault_exchange::import::{ImportedFile, ImportedItem};
use sidevault_exchange::plan;
use sidevault_keys::IdKey;
use sidevault_model::{FileId, Item, ItemId, Timestamp, VaultId};

use crate::exit::Failure;

/// A vault of the server.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    /// The id. None: it does not exist.
    pub(crate) id: Option<VaultId>,
    pub(crate) name: String,
}

/// The key for ids. None: the server's keys are not here. They are unlocked when the first id is computed.
pub(crate) type Ids = LazyLock<Option<IdKey>, Box<dyn FnOnce() -> Option<IdKey> + Send>>;

/// The place of each item.
pub(crate) struct Places {
    /// The server's vault for each vault of the export, in their order.
    pub(crate) vaults: Vec<Vault>,
    pub(crate) tags: Vec<String>,
    /// Computes the ids of items and files whose ids in the export are not in the form of Connect's.
    pub(crate) ids: Ids,
    /// The time of items that have none in the export.
    pub(crate) now: Timestamp,
}

impl Places {
    /// The item as the server will have it.
    ///
    /// # Errors
    /// If an id has to be computed and the server's keys are not here.
    pub(crate) fn item(&self, imported: &ImportedItem) -> Result<Item, Failure> {
        let vault = self.vaults.get(imported.vault).and_then(|vault| vault.id);
        // If the vault does not exist yet, only a plan is made, and a plan shows no vault's id.
        let vault = vault.unwrap_or_else(|| VaultId::from_digest(&[0; 32]));
        let id = match ItemId::parse(&imported.source_id) {
            Ok(id) => id,
            Err(_) => self.key()?.item(vault, &imported.source_id),
        };
        self.with_id(imported, vault, id)
    }

    /// The second item beside an item of the server with other content. Its id is the same at every import of the same content.
    pub(crate) fn copy(&self, imported: &ImportedItem, item: &Item) -> Result<Item, Failure> {
        let content = String::from_utf8_lossy(&item.full_json()).into_owned();
        let id = self.key()?.item(item.vault, &format!("copy {content}"));
        self.with_id(imported, item.vault, id)
    }

    /// The key for ids.
    pub(crate) fn key(&self) -> Result<&IdKey, Failure> {
        (*self.ids).as_ref().ok_or_else(|| {
            Failure::Config(
                "items of this export have ids that are not Connect's, so the server computed theirs with its keys: run this where the \
                 server's keys are, or name them with OP_SESSION"
                    .to_owned(),
            )
        })
    }

    fn with_id(&self, imported: &ImportedItem, vault: VaultId, id: ItemId) -> Result<Item, Failure> {
        let file_id = |file: &ImportedFile| match FileId::parse(&file.source_id) {
            Ok(id) => Ok(id),
            Err(_) => Ok(self.key()?.file(vault, id, &file.source_id)),
        };
        let files: Result<Vec<FileId>, Failure> = imported.files.iter().map(file_id).collect();
        Ok(plan::item(imported, vault, id, &files?, &self.tags, self.now))
    }
}
