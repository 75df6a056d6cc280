//! What other processes ask of the one that holds the writer, and what it answers.
//!
//! These travel as JSON over the bus; the bus does not look inside.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sidevault_model::{ApiRequest, Dependency, ItemId, ItemInput, VaultId};

pub use sidevault_model::patch::Operation as PatchOperation;

use crate::TokenRecord;

/// Where and how a message of the bus is not what was expected, for the log. serde's own text quotes what it met, which may
/// be the value of a field.
pub fn decoding_fault(error: &serde_json::Error) -> String {
    format!(
        "{:?} at byte {} of line {}",
        error.classify(),
        error.column(),
        error.line()
    )
}

/// A write. `by` is the id that becomes the item's `lastEditedBy`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(
    clippy::large_enum_variant,
    reason = "a command is made once, boxed in a queue, and consumed"
)]
pub enum Command {
    /// POST: a new item in a local vault.
    CreateItem {
        /// Where.
        vault: VaultId,
        /// What the client sent.
        input: ItemInput,
        /// Who.
        by: String,
    },
    /// PUT: the item's whole content anew.
    ReplaceItem {
        /// Where.
        vault: VaultId,
        /// Which.
        item: ItemId,
        /// What the client sent.
        input: ItemInput,
        /// Who.
        by: String,
    },
    /// PATCH: all operations, or none.
    PatchItem {
        /// Where.
        vault: VaultId,
        /// Which.
        item: ItemId,
        /// In the order they were sent.
        operations: Vec<PatchOperation>,
        /// Who.
        by: String,
    },
    /// DELETE: for good, with its history and files.
    DeleteItem {
        /// Where.
        vault: VaultId,
        /// Which.
        item: ItemId,
    },
    /// An old version's content as the item's new version.
    RestoreItem {
        /// Where.
        vault: VaultId,
        /// Which.
        item: ItemId,
        /// The version whose content is wanted.
        version: u32,
        /// Who.
        by: String,
    },
    /// A new local vault.
    CreateVault {
        /// Unique, compared without regard to case.
        name: String,
        /// Free text.
        description: Option<String>,
        /// The caller accepts that the store's disk dies with the Pod.
        allow_ephemeral: bool,
    },
    /// Another name for a local vault; its id stays.
    RenameVault {
        /// Which.
        vault: VaultId,
        /// Unique, compared without regard to case.
        name: String,
    },
    /// Deletes a local vault and all in it, for good.
    DeleteVault {
        /// Which.
        vault: VaultId,
    },
    /// Makes a token known by name.
    RegisterToken(TokenRecord),
    /// Refuses a token from now on. It need not be known.
    RevokeToken {
        /// The token's id.
        jti: String,
        /// When it would expire anyway, Unix milliseconds.
        expires_at: Option<i64>,
    },
    /// Asks whether the writer is there and, as far as it knows, can write. If not, the answer is a refusal that says
    /// why and since when.
    Ping,
}

/// What came of a [`Command`]. An answer other than `Refused` means: committed and on disk.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CommandAnswer {
    /// The item as it now is, but for `version`: see [`Command::ReplaceItem`].
    Item {
        /// Connect's FullItem. After PUT and PATCH its `version` is the one from before the
        /// change: Connect does so, and Terraform polls for this number plus one.
        json: Box<RawValue>,
    },
    /// The vault as it now is.
    Vault(VaultInfo),
    /// Done, and there is nothing to show.
    Done,
    /// Not done; nothing was changed.
    Refused(CommandRefusal),
}

/// A vault in an [`CommandAnswer`].
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct VaultInfo {
    /// Its id.
    pub id: VaultId,
    /// Its name.
    pub name: String,
    /// [`crate::LOCAL_SOURCE`], or the source that owns it.
    pub source: String,
}

/// Why a command was not carried out.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct CommandRefusal {
    /// What sort of reason.
    pub kind: FailureKind,
    /// For the client: what, why, what next. Never a value.
    pub message: String,
}

impl CommandRefusal {
    /// A refusal with these words.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// The sorts of refusal; the api alone turns them into HTTP.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    /// The request itself is wrong.
    Invalid,
    /// What it names isn't there.
    NotFound,
    /// The vault belongs to a source that REST can't write to.
    ReadOnly,
    /// Something by that name is there already.
    Exists,
    /// The disk the store is on would lose it.
    Ephemeral,
    /// The store can't be written at the moment, because its disk is full or fails. The same may work later.
    Unavailable,
    /// Our fault; the log of sync says more.
    Internal,
}

/// What one side tells the other without waiting for an answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Notice {
    /// To sync: requests the api served. Lost if the link is down; counted there.
    Activity(Vec<ApiRequest>),
    /// To sync: a token was used that may not be known by name yet.
    TokenSeen(TokenRecord),
    /// To the api: the newest change has this number.
    Changed(i64),
    /// To the api: how sync and its sources are.
    Health(Vec<Dependency>),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_fault_of_a_message_does_not_quote_it() {
        let error = serde_json::from_str::<Notice>(r#"{"changed": "s3cret"}"#)
            .err()
            .unwrap();
        assert!(error.to_string().contains("s3cret"));
        let told = decoding_fault(&error);
        assert!(told.starts_with("Data at byte ") && !told.contains("s3cret"), "{told}");
    }
}
