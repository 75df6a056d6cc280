//! Items, and the JSON the API sends for them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::category::Category;
use crate::error::Invalid;
use crate::field::{Field, FieldType};
use crate::file::File;
use crate::ids::{ItemId, VaultId};
use crate::json;
use crate::section::Section;
use crate::time::Timestamp;
use crate::url::Url;
use crate::wire::{null_as_default, wire_enum};

wire_enum! {
    /// Where an item is, if not among the active ones.
    pub enum State, unknown = None;
    /// Put aside; not in lists.
    Archived = "ARCHIVED",
    /// In the trash; not in lists.
    Deleted = "DELETED",
}

/// An item. Its JSON by `serde_json` is Connect's FullItem.
///
/// `favorite`, `sections` and `fields` are always sent; `urls`, `tags` and `files` only when there are any, `state`
/// only when there is one. Reading accepts what any Connect server sends, `null` lists included.
///
/// An item that is held is valid: changes go through [`Item::create`], [`Item::replace`], [`Item::patch`] and
/// [`Item::restore`]. The members are public for those who bring whole items from elsewhere (a mirror, a directory).
/// `Debug` shows ids and counts only, since title, labels and values are all secret at rest.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The item's id.
    pub id: ItemId,
    /// The title, any text; two items may share one.
    #[serde(default, deserialize_with = "null_as_default")]
    pub title: String,
    /// 1 when made, one more with each change.
    #[serde(default, deserialize_with = "null_as_default")]
    pub version: u32,
    /// The vault it is in. `{"id": …}` in JSON.
    #[serde(with = "vault_ref")]
    pub vault: VaultId,
    /// What it is.
    pub category: Category,
    /// Web addresses, in the client's order.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<Url>,
    /// Marked as a favourite.
    #[serde(default, deserialize_with = "null_as_default")]
    pub favorite: bool,
    /// Tags, each once, in the client's order.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Absent for an active item.
    #[serde(
        default,
        deserialize_with = "state_or_active",
        skip_serializing_if = "Option::is_none"
    )]
    pub state: Option<State>,
    /// When it was made.
    #[serde(default, deserialize_with = "null_as_default")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(default, deserialize_with = "null_as_default")]
    pub updated_at: Timestamp,
    /// Who changed it last: the id of a token's integration, or a source's.
    #[serde(default, deserialize_with = "null_as_default")]
    pub last_edited_by: String,
    /// Sections, in the client's order.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sections: Vec<Section>,
    /// Fields, in the client's order: clients take the first of several with one label.
    #[serde(default, deserialize_with = "null_as_default")]
    pub fields: Vec<Field>,
    /// Files. No client can send them, so no change through the API touches them.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
}

/// An item in a list: without sections and fields. Files stay, since External Secrets looks for documents there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    id: ItemId,
    title: &'a str,
    version: u32,
    #[serde(with = "vault_ref")]
    vault: VaultId,
    category: Category,
    #[serde(skip_serializing_if = "<[Url]>::is_empty")]
    urls: &'a [Url],
    favorite: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_edited_by: &'a str,
    #[serde(skip_serializing_if = "<[File]>::is_empty")]
    files: &'a [File],
}

impl Item {
    /// Connect's FullItem: the answer to `GET …/items/{item}`, but for one-time codes ([`crate::totp::insert_codes`]).
    pub fn full_json(&self) -> Vec<u8> {
        // Plain structs with text keys always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The item as an entry of `GET …/items`.
    pub fn summary_json(&self) -> Vec<u8> {
        let summary = Summary {
            id: self.id,
            title: &self.title,
            version: self.version,
            vault: self.vault,
            category: self.category,
            urls: &self.urls,
            favorite: self.favorite,
            tags: &self.tags,
            state: self.state,
            created_at: self.created_at,
            updated_at: self.updated_at,
            last_edited_by: &self.last_edited_by,
            files: &self.files,
        };
        serde_json::to_vec(&summary).unwrap_or_default()
    }

    /// Reads a full or a summary item, ours or another Connect server's.
    ///
    /// # Errors
    /// [`Invalid`] with line and column; unlike the error of `serde_json` it quotes nothing.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Invalid> {
        serde_json::from_slice(bytes)
            .map_err(|error| Invalid::new(format!("not the JSON of an item: {}", json::position(&error))))
    }

    /// Whether an answer needs a one-time code, so that its JSON cannot be sent as it is stored.
    pub fn has_otp(&self) -> bool {
        self.fields
            .iter()
            .any(|field| field.field_type == FieldType::Otp && !field.value.is_empty())
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("vault", &self.vault)
            .field("category", &self.category)
            .field("state", &self.state)
            .field("sections", &self.sections.len())
            .field("fields", &self.fields.len())
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

/// `{"id": …}`, as every item names its vault.
mod vault_ref {
    use super::{Deserialize, Deserializer, Serialize, Serializer, VaultId};
    use crate::activity::VaultRef;

    pub(super) fn serialize<S: Serializer>(vault: &VaultId, serializer: S) -> Result<S::Ok, S::Error> {
        VaultRef { id: *vault }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VaultId, D::Error> {
        Ok(VaultRef::deserialize(deserializer)?.id)
    }
}

/// Absent, `null`, `""`, `ACTIVE` and words we do not know are all "active".
fn state_or_active<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<State>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.as_deref().and_then(State::from_word))
}
