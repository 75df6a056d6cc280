//! What a directory source asks of the writer, carried out inside a batch.

use std::collections::{BTreeMap, HashSet};

use sidevault_model::{File, FileId, Item, ItemId, Timestamp, VaultId};
use sidevault_store::{Batch, StoreError};

use super::draft::Draft;
use crate::vault_ids::{self, Obstacle};

/// One step of a directory source.
pub(crate) enum DirectoryJob {
    /// Makes sure that these vaults are there and belong to the source.
    Claim {
        source: String,
        vaults: BTreeMap<VaultId, String>,
    },
    /// How much of a content is there.
    CountChunks { content: FileId },
    /// Chunks of a content, from number `first` on.
    PutChunks {
        vault: VaultId,
        content: FileId,
        first: i64,
        blocks: Vec<Vec<u8>>,
    },
    /// All that these files of a vault make, by origin. What they made before and don't now goes.
    Apply {
        source: String,
        vault: VaultId,
        files: Vec<(String, Vec<Draft>)>,
    },
    /// Removes what comes from none of these origins: their files are gone.
    Sweep { vault: VaultId, origins: HashSet<String> },
}

/// What came of it.
pub(crate) enum DirectoryAnswer {
    Done,
    /// All vaults of the source, those that no file belongs to any more included.
    Claimed(Vec<VaultId>),
    Chunks(i64),
    /// A vault that is wanted belongs to someone else.
    Taken {
        vault: String,
        owner: String,
    },
    /// A local vault had the name of a vault that is wanted, and tokens made for it would open the directory.
    Retired {
        vault: String,
    },
}

pub(crate) async fn apply(batch: &mut Batch<'_>, job: &DirectoryJob) -> Result<DirectoryAnswer, StoreError> {
    let now = Timestamp::now();
    match job {
        DirectoryJob::Claim { source, vaults } => return claim(batch, source, vaults, now).await,
        DirectoryJob::CountChunks { content } => return Ok(DirectoryAnswer::Chunks(batch.chunks(*content).await?)),
        DirectoryJob::PutChunks {
            vault,
            content,
            first,
            blocks,
        } => {
            if *first == 0 {
                // What an interrupted attempt left behind.
                batch.drop_content(*content).await?;
            }
            for (n, block) in (*first..).zip(blocks) {
                batch.put_chunk(*vault, *content, n, block).await?;
            }
        }
        DirectoryJob::Apply { source, vault, files } => {
            for (origin, drafts) in files {
                for draft in drafts {
                    put(batch, source, *vault, origin, draft, now).await?;
                }
                let made: HashSet<ItemId> = drafts.iter().map(|draft| draft.id).collect();
                for item in batch.items_of(*vault, origin).await? {
                    if !made.contains(&item) {
                        remove(batch, *vault, item).await?;
                    }
                }
            }
        }
        DirectoryJob::Sweep { vault, origins } => {
            for (item, origin) in batch.origins(*vault).await? {
                if origin.is_none_or(|origin| !origins.contains(&origin)) {
                    remove(batch, *vault, item).await?;
                }
            }
        }
    }
    Ok(DirectoryAnswer::Done)
}

async fn claim(
    batch: &mut Batch<'_>,
    source: &str,
    vaults: &BTreeMap<VaultId, String>,
    now: Timestamp,
) -> Result<DirectoryAnswer, StoreError> {
    for (id, name) in vaults {
        let vault = || name.clone();
        match vault_ids::claim(batch, source, *id, name, now).await? {
            None => {}
            Some(Obstacle::Taken { owner }) => return Ok(DirectoryAnswer::Taken { vault: vault(), owner }),
            Some(Obstacle::Retired) => return Ok(DirectoryAnswer::Retired { vault: vault() }),
        }
    }
    Ok(DirectoryAnswer::Claimed(
        batch
            .vaults()
            .filter(|info| info.source == source)
            .map(|info| info.id)
            .collect(),
    ))
}

async fn put(
    batch: &mut Batch<'_>,
    source: &str,
    vault: VaultId,
    origin: &str,
    draft: &Draft,
    now: Timestamp,
) -> Result<(), StoreError> {
    let old = batch.item(vault, draft.id).await?;
    let mut new = Item {
        id: draft.id,
        title: draft.title.clone(),
        version: 1,
        vault,
        category: draft.category,
        urls: Vec::new(),
        favorite: false,
        tags: Vec::new(),
        state: None,
        created_at: now,
        updated_at: now,
        last_edited_by: source.to_owned(),
        sections: draft.sections.clone(),
        fields: draft.fields.clone(),
        files: draft
            .files
            .iter()
            .map(|file| File::new(vault, draft.id, file.id, &file.name, file.size))
            .collect(),
    };
    let contents = batch.contents(vault, draft.id).await?;
    let wanted: BTreeMap<FileId, FileId> = draft.files.iter().map(|file| (file.id, file.content)).collect();
    match old {
        None => batch.insert_item(&new, Some(origin)).await?,
        Some(old) => {
            new.version = old.version;
            new.created_at = old.created_at;
            new.updated_at = old.updated_at;
            if new == old && contents == wanted {
                return Ok(());
            }
            new.version = old.version.saturating_add(1);
            new.updated_at = now;
            batch.update_item(&old, &new).await?;
        }
    }
    for file in contents.keys().filter(|file| !wanted.contains_key(file)) {
        batch.remove_file(vault, draft.id, *file).await?;
    }
    for (file, content) in wanted {
        if contents.get(&file) != Some(&content) {
            batch.set_file(vault, draft.id, file, content).await?;
        }
    }
    Ok(())
}

async fn remove(batch: &mut Batch<'_>, vault: VaultId, item: ItemId) -> Result<(), StoreError> {
    match batch.item(vault, item).await? {
        Some(item) => batch.delete_item(&item).await,
        None => Ok(()),
    }
}
