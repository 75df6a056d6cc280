//! The messages between api, commands and sync: the writes that sync is asked to do, its answers, and notices without an answer.
//!
//! They are sent as JSON over the bus, which does not look inside.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sidevault_model::{ApiRequest, Dependency, FileId, IfMatch, Item, ItemId, ItemInput, SourceProgress, VaultId};

pub use sidevault_model::patch::Operation as PatchOperation;

use crate::{Resealing, TokenRecord};

/// What is wrong with a message of the bus, and where, for the log. serde's own text is not used: it quotes the input, which
/// may be the value of a field.
pub fn decoding_fault(error: &serde_json::Error) -> String {
    format!(
        "{:?} at byte {} of line {}",
        error.classify(),
        error.column(),
        error.line()
    )
}

/// A write that sync is asked to do.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(
    clippy::large_enum_variant,
    reason = "few commands exist at a time, each in a queue until it is carried out"
)]
pub enum Command {
    /// Creates an item (POST).
    CreateItem {
        /// The vault, which is local or of a source with `writable: true`; so for the other commands with items.
        vault: VaultId,
        /// The request's body.
        input: ItemInput,
        /// The item's `lastEditedBy`.
        by: String,
    },
    /// Replaces an item's content (PUT).
    ReplaceItem {
        /// The local vault.
        vault: VaultId,
        /// The item.
        item: ItemId,
        /// The request's body.
        input: ItemInput,
        /// The versions that may be changed.
        #[serde(default, skip_serializing_if = "IfMatch::is_none")]
        if_match: IfMatch,
        /// The item's `lastEditedBy`.
        by: String,
    },
    /// Applies all operations, or none (PATCH).
    PatchItem {
        /// The local vault.
        vault: VaultId,
        /// The item.
        item: ItemId,
        /// The operations, in the order in which the client sent them.
        operations: Vec<PatchOperation>,
        /// The versions that may be changed.
        #[serde(default, skip_serializing_if = "IfMatch::is_none")]
        if_match: IfMatch,
        /// The item's `lastEditedBy`.
        by: String,
    },
    /// Deletes an item with its history and files, for good (DELETE).
    DeleteItem {
        /// The local vault.
        vault: VaultId,
        /// The item.
        item: ItemId,
        /// The versions that may be deleted.
        #[serde(default, skip_serializing_if = "IfMatch::is_none")]
        if_match: IfMatch,
        /// Who deletes it, as `lastEditedBy` would name them.
        #[serde(default)]
        by: String,
    },
    /// Makes a new version of an item with the content of an old version.
    RestoreItem {
        /// The local vault.
        vault: VaultId,
        /// The item.
        item: ItemId,
        /// The number of the old version.
        version: u32,
        /// The item's `lastEditedBy`.
        by: String,
    },
    /// Creates a local vault.
    CreateVault {
        /// The name. No other vault may have it, in whatever case.
        name: String,
        /// Free text.
        description: Option<String>,
        /// The id that an imported vault had. It is computed from the name if this is None, or if the id is taken.
        #[serde(default)]
        id: Option<VaultId>,
        /// The caller accepts that the vault is lost with the Pod if the data directory is.
        allow_ephemeral: bool,
    },
    /// Renames a local vault. Its id stays.
    RenameVault {
        /// The local vault.
        vault: VaultId,
        /// The new name. No other vault may have it, in whatever case.
        name: String,
    },
    /// Deletes a local vault and everything in it, for good.
    DeleteVault {
        /// The local vault.
        vault: VaultId,
    },
    /// Stores a whole item of an import, with its id, times and state.
    ImportItem {
        /// The item. Its vault must be local. The writer sets its version.
        item: Box<Item>,
        /// The content of each of its files, which [`Command::ImportChunks`] has stored.
        contents: BTreeMap<FileId, FileId>,
        /// The version that it replaces. None: there is no item with this id.
        replaces: Option<u32>,
    },
    /// Stores chunks of a file's content for an import.
    ImportChunks {
        /// The local vault.
        vault: VaultId,
        /// The content. No item has it yet.
        content: FileId,
        /// The number of the first of these chunks. 0 begins the content anew.
        first: i64,
        /// The chunks, each in base64. Every chunk but the content's last has [`crate::CHUNK_BYTES`] bytes.
        chunks: Vec<String>,
    },
    /// Adds a token to the list of known tokens.
    RegisterToken(TokenRecord),
    /// Refuses a token from now on, whether or not it is in the list of known tokens.
    RevokeToken {
        /// The token's id.
        jti: String,
        /// When the token expires, in Unix milliseconds.
        expires_at: Option<i64>,
    },
    /// Asks how far sealing rows anew is, with new data keys.
    DataKeys {
        /// Gives each vault a new data key first, unless rows are still being sealed anew since the last time.
        rotate: bool,
    },
    /// Asks whether the writer can write, as far as it knows. If it can't, the answer is a refusal that says why and since
    /// when.
    Ping,
}

/// The answer to a [`Command`]. Any answer but `Refused` means that the write is committed and on disk.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CommandAnswer {
    /// The item after the write.
    Item {
        /// Connect's FullItem. After PUT and PATCH its `version` is the number from before the change, as Connect answers:
        /// Terraform polls until it reads this number plus one.
        json: Box<RawValue>,
    },
    /// The vault after the write.
    Vault(VaultInfo),
    /// How far sealing rows anew is, with new data keys.
    DataKeys {
        /// Whether the command has made new data keys.
        rotated: bool,
        /// What is left to do.
        state: Resealing,
    },
    /// The write is done, and there is nothing to show.
    Done,
    /// Nothing was changed.
    Refused(CommandRefusal),
}

/// A vault in an [`CommandAnswer`].
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct VaultInfo {
    /// The vault's id.
    pub id: VaultId,
    /// The vault's name.
    pub name: String,
    /// [`crate::LOCAL_SOURCE`], or the name of the directory source that the vault comes from.
    pub source: String,
}

/// Why a command was not carried out.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct CommandRefusal {
    /// The kind of reason.
    pub kind: FailureKind,
    /// The text for the client: what failed, why, and what to do. It holds no secret value.
    pub message: String,
}

impl CommandRefusal {
    /// A refusal with this message.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// The kinds of refusal. The api turns them into HTTP statuses.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    /// The request breaks a rule.
    Invalid,
    /// The vault, item, version or token of the request does not exist.
    NotFound,
    /// The vault comes from a directory source that clients can't write to.
    ReadOnly,
    /// The name is taken.
    Exists,
    /// What is to be changed is not what the client saw.
    Conflict,
    /// The item is none of the versions that the request allows.
    PreconditionFailed,
    /// The data directory is lost with the Pod, and the caller has not allowed that.
    Ephemeral,
    /// Another sync process leads. The command was not looked at.
    Standby,
    /// The store can't be written at the moment, because its disk is full or fails. The same request may work later.
    Unavailable,
    /// A fault of Sidevault. The log of sync says more.
    Internal,
}

/// A message that has no answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Notice {
    /// From the api to sync: requests for the activity log. While the link is down they are dropped; the api counts them.
    Activity(Vec<ApiRequest>),
    /// From the api to sync: a token was used that sync may not know yet.
    TokenSeen(TokenRecord),
    /// From sync to the api: whether this sync leads, and so carries out commands.
    Leading(bool),
    /// From sync to the api: the number of the newest change.
    Changed(i64),
    /// From sync to the api: the state of the store and of the sources, for `/health`.
    Health(Vec<Dependency>),
    /// From sync to the api: how often the sources were read, for plots.
    Sources(Vec<SourceProgress>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoding_fault_does_not_quote_the_message() {
        let error = serde_json::from_str::<Notice>(r#"{"changed": "s3cret"}"#)
            .err()
            .unwrap();
        assert!(error.to_string().contains("s3cret"));
        let fault = decoding_fault(&error);
        assert!(
            fault.starts_with("Data at byte ") && !fault.contains("s3cret"),
            "{fault}"
        );
    }
}
