//! Chooses the ids of vaults, so that a token made for one vault never opens another one.
//!
//! A vault's id is computed from its name (HMAC-SHA-256), so that a token can be made by name, offline, before the vault
//! exists. Such an id is given to one vault only: it is retired as soon as a vault of that name is renamed or deleted,
//! even if that vault has another id. No local vault gets a retired id, and a token made by name does not open a vault with
//! one. A token made by id still opens its vault after a rename. docs/tokens.md explains this to users.
//!
//! The vault of a directory has the id that is computed from the directory's name. If its source is removed from the
//! configuration and added again later, the vault has the same id again. No local vault gets that id.

use sidevault_keys::IdKey;
use sidevault_model::{Timestamp, VaultId, filter};
use sidevault_store::{Batch, LOCAL_SOURCE, StoreError, VaultInfo};

fn id_of(ids: &IdKey, name: &str) -> VaultId {
    ids.vault(&filter::fold(name))
}

/// The vault that has this name. Names are compared without regard to case.
pub(crate) fn named<'b>(batch: &'b Batch<'_>, name: &str) -> Option<&'b VaultInfo> {
    let folded = filter::fold(name);
    batch.vaults().find(|vault| filter::fold(&vault.name) == folded)
}

/// Makes a local vault with the id that it had where it was imported from. The name must be free. If another vault has or had the id,
/// the vault gets an id as [`create_local`] chooses it.
///
/// Tokens that were made by the name before do not open this vault: they have the id that is computed from the name.
pub(crate) async fn create_imported(
    batch: &mut Batch<'_>,
    ids: &IdKey,
    name: &str,
    description: Option<String>,
    id: VaultId,
    now: Timestamp,
) -> Result<VaultInfo, StoreError> {
    if batch.vault(id).is_some() || batch.retired_vault_id(id).is_some() {
        return create_local(batch, ids, name, description, now).await;
    }
    let info = VaultInfo {
        id,
        name: name.to_owned(),
        source: LOCAL_SOURCE.to_owned(),
    };
    batch.create_vault(info.clone(), description, now).await?;
    Ok(info)
}

/// Makes a local vault. The name must be free. The id is computed from the name, or random if that id is retired.
pub(crate) async fn create_local(
    batch: &mut Batch<'_>,
    ids: &IdKey,
    name: &str,
    description: Option<String>,
    now: Timestamp,
) -> Result<VaultInfo, StoreError> {
    let id = id_of(ids, name);
    let is_used = batch.retired_vault_id(id).is_some();
    let info = VaultInfo {
        id: if is_used { VaultId::random() } else { id },
        name: name.to_owned(),
        source: LOCAL_SOURCE.to_owned(),
    };
    if is_used {
        tracing::warn!(
            vault = %info.id,
            "another vault had this name before: tokens that were made by name do not open the new vault"
        );
    }
    batch.create_vault(info.clone(), description, now).await?;
    Ok(info)
}

/// Renames a local vault. The new name must be free.
pub(crate) async fn rename_local(
    batch: &mut Batch<'_>,
    ids: &IdKey,
    vault: &VaultInfo,
    name: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    // The rename comes first because the store may refuse it. An id that is retired without a rename would lock the
    // vault's tokens out.
    batch.rename_vault(vault.id, name, now).await?;
    let old = id_of(ids, &vault.name);
    if old != id_of(ids, name) {
        batch.retire_vault_id(old, LOCAL_SOURCE).await?;
    }
    Ok(())
}

/// Deletes a local vault, or a vault of a source that is no longer configured.
pub(crate) async fn delete(batch: &mut Batch<'_>, ids: &IdKey, vault: &VaultInfo) -> Result<(), StoreError> {
    batch.retire_vault_id(id_of(ids, &vault.name), &vault.source).await?;
    batch.delete_vault(vault.id).await
}

/// Why a directory source can't have the vault of its directory's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Another source's vault has this name.
    Taken { owner: String },
    /// A local vault had this name before. The directory's vault would get its id, so its tokens would open the directory.
    Retired,
}

/// Makes the vault of a directory, if it does not exist. `id` is the id that is computed from `name`.
pub(crate) async fn claim(
    batch: &mut Batch<'_>,
    source: &str,
    id: VaultId,
    name: &str,
    now: Timestamp,
) -> Result<Option<Obstacle>, StoreError> {
    if let Some(vault) = named(batch, name) {
        let owner = vault.source.clone();
        return Ok((owner != source).then_some(Obstacle::Taken { owner }));
    }
    if batch.retired_vault_id(id) == Some(LOCAL_SOURCE) {
        return Ok(Some(Obstacle::Retired));
    }
    let info = VaultInfo {
        id,
        name: name.to_owned(),
        source: source.to_owned(),
    };
    batch.create_vault(info, None, now).await?;
    Ok(None)
}

#[cfg(test)]
mod tests;
