//! Carries out a client's write. `sidevault_model` decides what the item becomes; this module checks what only the store
//! knows: whether the vault and the item exist, whether clients may write to the vault, and whether a name is free.

mod import;

use rand::rngs::ThreadRng;
use serde_json::value::RawValue;

use sidevault_model::{Edit, IfMatch, Invalid, Item, ItemId, Timestamp, VaultId};
use sidevault_store::{
    Batch, Command, CommandAnswer, CommandRefusal, FailureKind, LOCAL_SOURCE, StoreError, VaultInfo,
};

use crate::queue::{self, WriterContext};
use crate::vault_ids;

/// Carries out one command in the batch.
///
/// # Errors
/// If the store fails, so that the whole batch must be given up. What a client can cause is an [`CommandAnswer::Refused`].
pub(crate) async fn command(
    batch: &mut Batch<'_>,
    context: &WriterContext,
    command: &Command,
) -> Result<CommandAnswer, StoreError> {
    match try_command(batch, context, command).await {
        Ok(answer) => Ok(answer),
        Err(CommandError::Refused(refusal)) => Ok(CommandAnswer::Refused(refusal)),
        // The damaged row is read before this command writes anything, so the batch's other commands can be committed.
        Err(CommandError::Store(error @ StoreError::Corrupt { .. })) => {
            tracing::error!(%error, "a client's write was refused: the row that it changes is damaged");
            // The client gets no text of the store's: that names tables and rows.
            Ok(CommandAnswer::Refused(queue::refusal(&error)))
        }
        Err(CommandError::Store(error)) => Err(error),
    }
}

/// Why a command is not carried out.
enum CommandError {
    Refused(CommandRefusal),
    Store(StoreError),
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<CommandRefusal> for CommandError {
    fn from(refusal: CommandRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Invalid> for CommandError {
    fn from(invalid: Invalid) -> Self {
        refuse(FailureKind::Invalid, invalid.to_string())
    }
}

fn refuse(kind: FailureKind, message: impl Into<String>) -> CommandError {
    CommandError::Refused(CommandRefusal::new(kind, message))
}

async fn try_command(
    batch: &mut Batch<'_>,
    context: &WriterContext,
    command: &Command,
) -> Result<CommandAnswer, CommandError> {
    let now = Timestamp::now();
    match command {
        Command::CreateItem { vault, input, by } => {
            vault_of_items(batch, context, *vault)?;
            let id = ItemId::random();
            let item = Item::create(input.clone(), *vault, id, &mut edit(now, by, &mut rand::rng()))?;
            batch.insert_item(&item, None).await?;
            answer_item(&item)
        }
        Command::ReplaceItem {
            vault,
            item,
            input,
            if_match,
            by,
        } => {
            let old = existing_item(batch, context, *vault, *item).await?;
            require_match(&old, if_match)?;
            let new = old.replace(input.clone(), &mut edit(now, by, &mut rand::rng()))?;
            update(batch, &old, new).await
        }
        Command::PatchItem {
            vault,
            item,
            operations,
            if_match,
            by,
        } => {
            let old = existing_item(batch, context, *vault, *item).await?;
            require_match(&old, if_match)?;
            let patched = old.patch(operations, &mut edit(now, by, &mut rand::rng()))?;
            match patched {
                Some(new) => update(batch, &old, new).await,
                None => answer_item(&old),
            }
        }
        Command::DeleteItem {
            vault, item, if_match, ..
        } => {
            let old = existing_item(batch, context, *vault, *item).await?;
            require_match(&old, if_match)?;
            batch.delete_item(&old).await?;
            Ok(CommandAnswer::Done)
        }
        Command::RestoreItem {
            vault,
            item,
            version,
            by,
        } => {
            let old = existing_item(batch, context, *vault, *item).await?;
            let Some(wanted) = batch.item_version(*vault, *item, *version).await? else {
                return Err(refuse(
                    FailureKind::NotFound,
                    format!("version {version} of item {item} not found"),
                ));
            };
            let new = old.restore(&wanted, &mut edit(now, by, &mut rand::rng()));
            update(batch, &old, new).await
        }
        Command::CreateVault {
            name,
            description,
            id,
            allow_ephemeral,
        } => {
            require_free_name(batch, name, None)?;
            require_kept_disk(context, *allow_ephemeral)?;
            let description = description.clone();
            let info = match id {
                Some(id) => vault_ids::create_imported(batch, &context.ids, name, description, *id, now).await?,
                None => vault_ids::create_local(batch, &context.ids, name, description, now).await?,
            };
            Ok(CommandAnswer::Vault(info))
        }
        Command::RenameVault { vault, name } => {
            let info = writable_vault(batch, *vault)?;
            require_free_name(batch, name, Some(*vault))?;
            vault_ids::rename_local(batch, &context.ids, &info, name, now).await?;
            Ok(CommandAnswer::Vault(VaultInfo {
                name: name.clone(),
                ..info
            }))
        }
        Command::DeleteVault { vault } => {
            let info = writable_vault(batch, *vault)?;
            vault_ids::delete(batch, &context.ids, &info).await?;
            Ok(CommandAnswer::Done)
        }
        Command::ImportItem {
            item,
            contents,
            replaces,
        } => {
            writable_vault(batch, item.vault)?;
            import::item(batch, item, contents, *replaces).await
        }
        Command::ImportChunks {
            vault,
            content,
            first,
            chunks,
        } => {
            writable_vault(batch, *vault)?;
            import::chunks(batch, *vault, *content, *first, chunks).await
        }
        Command::RegisterToken(record) => {
            batch.register_token(record).await?;
            Ok(CommandAnswer::Done)
        }
        Command::RevokeToken { jti, expires_at } => {
            batch.revoke_token(jti, *expires_at, now).await?;
            Ok(CommandAnswer::Done)
        }
        Command::DataKeys { rotate } => Ok(CommandAnswer::DataKeys {
            rotated: *rotate && batch.rotate_data_keys().await?,
            state: batch.resealing(),
        }),
        Command::Ping => Ok(CommandAnswer::Done),
    }
}

fn edit<'a>(now: Timestamp, by: &'a str, rng: &'a mut ThreadRng) -> Edit<'a> {
    Edit { now, by, rng }
}

/// The vault, if clients may write to it.
fn writable_vault(batch: &Batch<'_>, vault: VaultId) -> Result<VaultInfo, CommandError> {
    let Some(info) = batch.vault(vault) else {
        return Err(refuse(FailureKind::NotFound, format!("vault {vault} not found")));
    };
    if info.source != LOCAL_SOURCE {
        return Err(refuse(
            FailureKind::ReadOnly,
            format!(
                "Authorization: vault {vault} is read-only: it mirrors the source \"{}\". Change the files of that source",
                info.source
            ),
        ));
    }
    Ok(info.clone())
}

/// Checks that clients may write items to a vault here. Items in the files of a source with `writable: true` are written by that
/// source's scanner ([`crate::directory::TreeWriters`]), so here such a write has come before the source was read.
fn vault_of_items(batch: &Batch<'_>, context: &WriterContext, vault: VaultId) -> Result<(), CommandError> {
    if let Some(info) = batch
        .vault(vault)
        .filter(|info| context.writable_sources.contains(&info.source))
    {
        return Err(refuse(
            FailureKind::Unavailable,
            format!(
                "the source \"{}\" has not been read since sync started; /health says how far it is. Try again later",
                info.source
            ),
        ));
    }
    writable_vault(batch, vault).map(drop)
}

/// The item, in a vault that clients may write to.
async fn existing_item(
    batch: &mut Batch<'_>,
    context: &WriterContext,
    vault: VaultId,
    item: ItemId,
) -> Result<Item, CommandError> {
    vault_of_items(batch, context, vault)?;
    match batch.item(vault, item).await? {
        Some(item) => Ok(item),
        None => Err(refuse(FailureKind::NotFound, format!("item {item} not found"))),
    }
}

/// Checks that the item is a version that the client allows to change.
pub(crate) fn require_match(item: &Item, if_match: &IfMatch) -> Result<(), CommandRefusal> {
    if if_match.allows(item) {
        return Ok(());
    }
    let message = format!(
        "the item has version {} by now, which is not one that If-Match names (conflict): read the item again. Nothing was changed",
        item.version
    );
    Err(CommandRefusal::new(FailureKind::PreconditionFailed, message))
}

async fn update(batch: &mut Batch<'_>, old: &Item, mut new: Item) -> Result<CommandAnswer, CommandError> {
    new.version = batch.next_version(old);
    batch.update_item(old, &new).await?;
    // Connect answers with the version from before the change, and 1Password's Terraform provider relies on it.
    answer_item(&Item {
        version: old.version,
        ..new
    })
}

fn answer_item(item: &Item) -> Result<CommandAnswer, CommandError> {
    item_answer(item).map_err(CommandError::Refused)
}

/// The answer with an item that was stored.
pub(crate) fn item_answer(item: &Item) -> Result<CommandAnswer, CommandRefusal> {
    let json = String::from_utf8(item.full_json())
        .ok()
        .and_then(|json| RawValue::from_string(json).ok());
    match json {
        Some(json) => Ok(CommandAnswer::Item { json }),
        None => Err(CommandRefusal::new(
            FailureKind::Internal,
            "the item was stored, but could not be encoded for the answer",
        )),
    }
}

/// Checks that a local vault would not be lost with the Pod, unless the caller accepts that.
fn require_kept_disk(context: &WriterContext, allow_ephemeral: bool) -> Result<(), CommandError> {
    if context.disk.is_ephemeral() && !allow_ephemeral {
        return Err(refuse(
            FailureKind::Ephemeral,
            format!(
                "the data directory is on {}: a local vault there would be lost with it. Mount a persistent volume, or give --allow-ephemeral",
                context.disk
            ),
        ));
    }
    Ok(())
}

/// The most characters of a vault's name.
const MAX_NAME_CHARS: usize = 256;

/// Checks that a name is valid and that no vault but `except` has it.
fn require_free_name(batch: &Batch<'_>, name: &str, except: Option<VaultId>) -> Result<(), CommandError> {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(refuse(
            FailureKind::Invalid,
            format!(
                "a vault's name must have 1 to {MAX_NAME_CHARS} characters, not only blanks, and no control characters"
            ),
        ));
    }
    match vault_ids::named(batch, name).filter(|vault| Some(vault.id) != except) {
        Some(taken) => Err(refuse(
            FailureKind::Exists,
            format!(
                "a vault named \"{}\" exists already ({}, conflict)",
                taken.name, taken.id
            ),
        )),
        None => Ok(()),
    }
}
