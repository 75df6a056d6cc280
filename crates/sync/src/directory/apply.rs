//! Carries out the jobs of directory sources, each inside a batch of the writer.

use std::collections::{BTreeMap, HashMap, HashSet};

use sidevault_model::{Commit, File, FileId, Item, ItemId, Timestamp, VaultId};
use sidevault_store::{Batch, Origin, StoreError};

use super::draft::ItemDraft;
use super::origin::{self, FileOrigin};
use crate::vault_ids::{self, Obstacle};

/// A job of a directory source for the writer.
pub(crate) enum DirectoryJob {
    /// Make these vaults for the source, unless other sources have them.
    Claim {
        source: String,
        vaults: BTreeMap<VaultId, String>,
        /// Vaults that are left to other sources if they do not exist yet, each with the name of that source.
        reserved: BTreeMap<VaultId, String>,
    },
    /// Count the chunks of a content that are stored.
    CountChunks { content: FileId },
    /// Store chunks of a content. The first has the number `first`.
    PutChunks {
        vault: VaultId,
        content: FileId,
        first: i64,
        blocks: Vec<Vec<u8>>,
    },
    /// Store all items of some files. Other items of these files are deleted.
    Apply {
        source: String,
        vault: VaultId,
        files: Vec<(FileOrigin, Vec<ItemDraft>)>,
        /// The Git commit that the files are of.
        commit: Option<Commit>,
    },
    /// Find the files of a source whose items were read from an encrypted file.
    SealedFiles { source: String },
    /// Read an item: the present version, or a kept one.
    Item {
        vault: VaultId,
        item: ItemId,
        version: Option<u32>,
    },
    /// Delete the vault's items that are of none of these files, because their files are gone.
    Prune {
        vault: VaultId,
        files: HashSet<String>,
        /// The Git commit that does not have them.
        commit: Option<Commit>,
    },
}

impl DirectoryJob {
    /// The Git commit that the job's changes come from.
    fn commit(&self) -> Option<&Commit> {
        match self {
            Self::Apply { commit, .. } | Self::Prune { commit, .. } => commit.as_ref(),
            _ => None,
        }
    }
}

/// The writer's answer to a [`DirectoryJob`].
pub(crate) enum DirectoryAnswer {
    Done,
    Claimed {
        /// All vaults of the source, with those that have no files any more.
        owned: Vec<VaultId>,
        /// The requested vaults that the source can't have, each with the reason.
        refused: BTreeMap<VaultId, String>,
    },
    /// How many chunks are stored.
    Chunks(i64),
    /// The files, as [`FileOrigin::file`] names them.
    Files(HashSet<String>),
    /// An item, if there is such a one.
    Item(Option<Box<Item>>),
    /// How many items were deleted.
    Pruned(usize),
}

pub(crate) async fn apply(batch: &mut Batch<'_>, job: &DirectoryJob) -> Result<DirectoryAnswer, StoreError> {
    batch.set_commit(job.commit().cloned());
    let answer = carry_out(batch, job).await;
    // The batch goes on with other jobs.
    batch.set_commit(None);
    answer
}

async fn carry_out(batch: &mut Batch<'_>, job: &DirectoryJob) -> Result<DirectoryAnswer, StoreError> {
    let now = Timestamp::now();
    match job {
        DirectoryJob::Claim {
            source,
            vaults,
            reserved,
        } => return claim(batch, source, vaults, reserved, now).await,
        DirectoryJob::CountChunks { content } => return Ok(DirectoryAnswer::Chunks(batch.chunks(*content).await?)),
        DirectoryJob::Item { vault, item, version } => {
            let found = match version {
                Some(version) => batch.item_version(*vault, *item, *version).await?,
                None => batch.item(*vault, *item).await?,
            };
            return Ok(DirectoryAnswer::Item(found.map(Box::new)));
        }
        DirectoryJob::PutChunks {
            vault,
            content,
            first,
            blocks,
        } => {
            if *first == 0 {
                // An interrupted attempt may have left chunks behind.
                batch.drop_content(*content).await?;
            }
            for (n, block) in (*first..).zip(blocks) {
                batch.put_chunk(*vault, *content, n, block).await?;
            }
        }
        DirectoryJob::Apply {
            source, vault, files, ..
        } => {
            let origins: Vec<String> = files.iter().flat_map(|(file, _)| file.all_stored()).collect();
            let mut stored: HashMap<String, HashSet<ItemId>> = HashMap::new();
            for (item, origin) in batch.items_of(*vault, &origins).await? {
                stored.entry(origin).or_default().insert(item);
            }
            for (file, drafts) in files {
                // Ids and origins are both computed from the file's path, so no other file has items with these ids.
                let [origin, other] = &file.all_stored();
                let mut before = stored.remove(origin).unwrap_or_default();
                if let Some(items) = stored.remove(other) {
                    batch.move_origin(*vault, other, origin).await?;
                    before.extend(items);
                }
                for draft in drafts {
                    let old = if before.contains(&draft.id) {
                        batch.item(*vault, draft.id).await?
                    } else {
                        None
                    };
                    put(batch, source, *vault, origin, draft, old, now).await?;
                }
                let made: HashSet<ItemId> = drafts.iter().map(|draft| draft.id).collect();
                for item in before.difference(&made) {
                    remove(batch, *vault, *item).await?;
                }
            }
        }
        DirectoryJob::SealedFiles { source } => {
            let vaults: Vec<VaultId> = batch
                .vaults()
                .filter(|info| info.source == *source)
                .map(|info| info.id)
                .collect();
            let mut files = HashSet::new();
            for vault in vaults {
                for (_, stored) in batch.origins(vault).await? {
                    if let Some((file, true)) = stored.as_deref().map(origin::of_stored) {
                        files.insert(file.to_owned());
                    }
                }
            }
            return Ok(DirectoryAnswer::Files(files));
        }
        DirectoryJob::Prune { vault, files, .. } => {
            let mut removed = 0;
            for (item, stored) in batch.origins(*vault).await? {
                if stored.is_none_or(|stored| !files.contains(origin::of_stored(&stored).0)) {
                    remove(batch, *vault, item).await?;
                    removed += 1;
                }
            }
            return Ok(DirectoryAnswer::Pruned(removed));
        }
    }
    Ok(DirectoryAnswer::Done)
}

async fn claim(
    batch: &mut Batch<'_>,
    source: &str,
    vaults: &BTreeMap<VaultId, String>,
    reserved: &BTreeMap<VaultId, String>,
    now: Timestamp,
) -> Result<DirectoryAnswer, StoreError> {
    let mut refused = BTreeMap::new();
    for (id, name) in vaults {
        match batch.vault(*id) {
            Some(info) if info.source == source => {
                // The case of the directory's name may have changed.
                if info.name != *name {
                    batch.rename_vault(*id, name, now).await?;
                }
                continue;
            }
            None if vault_ids::named(batch, name).is_none()
                && let Some(earlier) = reserved.get(id) =>
            {
                let error = format!(
                    "vault \"{name}\" is for the source \"{earlier}\", which stands before this one in the sources file and has \
                     files for it; give this directory another vault name"
                );
                refused.insert(*id, error);
                continue;
            }
            _ => {}
        }
        let error = match vault_ids::claim(batch, source, *id, name, now).await? {
            None => continue,
            Some(Obstacle::Taken { owner }) => {
                format!("vault \"{name}\" belongs to \"{owner}\"; give this directory another vault name")
            }
            Some(Obstacle::Retired) => format!(
                "a local vault was named \"{name}\" before it was renamed or deleted, and tokens made for it would open \
                 this directory; give this directory another vault name"
            ),
        };
        refused.insert(*id, error);
    }
    let owned = batch.vaults().filter(|info| info.source == source).map(|info| info.id);
    let owned = owned.collect();
    Ok(DirectoryAnswer::Claimed { owned, refused })
}

/// Stores an item if it differs from `old`, the stored one.
async fn put(
    batch: &mut Batch<'_>,
    source: &str,
    vault: VaultId,
    origin: &str,
    draft: &ItemDraft,
    old: Option<Item>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut new = Item {
        id: draft.id,
        title: draft.title.clone(),
        version: 1,
        vault,
        category: draft.category,
        urls: Vec::new(),
        favorite: false,
        tags: draft.tags.clone(),
        state: None,
        created_at: now,
        updated_at: now,
        last_edited_by: source.to_owned(),
        sections: draft.sections.clone(),
        fields: draft.fields.clone(),
        files: draft
            .files
            .iter()
            .map(|file| File::new(vault, draft.id, file.id, &file.name, file.size).with_content(file.content))
            .collect(),
    };
    match old {
        None => {
            let path = &draft.path;
            batch.insert_item(&new, Some(Origin { file: origin, path })).await?;
        }
        Some(old) => {
            new.version = old.version;
            new.created_at = old.created_at;
            new.updated_at = old.updated_at;
            if new == old {
                return Ok(());
            }
            new.version = batch.next_version(&old);
            new.updated_at = now;
            batch.update_item(&old, &new).await?;
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
