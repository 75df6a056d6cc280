//! Items, and their JSON in the API.

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
    /// The state of an item that is not active.
    pub enum State, unknown = None;
    /// The item is archived. Lists leave it out.
    Archived = "ARCHIVED",
    /// The item is in the trash. Lists leave it out.
    Deleted = "DELETED",
}

/// An item. Its JSON by `serde_json` is Connect's FullItem.
///
/// `favorite`, `sections` and `fields` are always sent; `urls`, `tags`, `files` and `state` only if the item has any. The JSON of
/// any Connect server is accepted, `null` for a list included.
///
/// [`Item::create`], [`Item::replace`], [`Item::patch`] and [`Item::restore`] keep the rules for items. The members are public for
/// directory sources, which make whole items. `Debug` shows ids and counts only, because title, labels and values are secret.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The item's id.
    pub id: ItemId,
    /// The title: any text. Several items may have the same title.
    #[serde(default, deserialize_with = "null_as_default")]
    pub title: String,
    /// The version: 1 at creation, one more with each change.
    #[serde(default, deserialize_with = "null_as_default")]
    pub version: u32,
    /// The vault. In JSON it is `{"id": …}`.
    #[serde(with = "vault_ref")]
    pub vault: VaultId,
    /// The category.
    pub category: Category,
    /// Web addresses, in the client's order.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<Url>,
    /// Whether the item is a favourite.
    #[serde(default, deserialize_with = "null_as_default")]
    pub favorite: bool,
    /// Tags in the client's order, without duplicates.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The state. `None`: active.
    #[serde(
        default,
        deserialize_with = "state_or_active",
        skip_serializing_if = "Option::is_none"
    )]
    pub state: Option<State>,
    /// When the item was created.
    #[serde(default, deserialize_with = "null_as_default")]
    pub created_at: Timestamp,
    /// When the item last changed.
    #[serde(default, deserialize_with = "null_as_default")]
    pub updated_at: Timestamp,
    /// The id of the token or source that changed the item last.
    #[serde(default, deserialize_with = "null_as_default")]
    pub last_edited_by: String,
    /// Sections, in the client's order.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sections: Vec<Section>,
    /// Fields, in the client's order: if several fields have the same label, clients take the first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub fields: Vec<Field>,
    /// Files. The API has no upload, so no change through the API changes them.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
}

/// An item as an entry of a list: without sections and fields, but with files, because External Secrets looks for documents there.
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
    /// Connect's FullItem: the answer to `GET …/items/{item}`, without one-time codes ([`crate::totp::insert_codes`]).
    pub fn full_json(&self) -> Vec<u8> {
        // Structs always serialise.
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

    /// Reads a full item or a summary of any Connect server.
    ///
    /// # Errors
    /// [`Invalid`] with line and column. Unlike the error of `serde_json` it does not quote the input.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Invalid> {
        serde_json::from_slice(bytes)
            .map_err(|error| Invalid::new(format!("not the JSON of an item: {}", json::position(&error))))
    }

    /// Whether the item has one-time passwords, so that the current codes have to be put into the JSON of an answer.
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

/// The vault of an item in JSON: `{"id": …}`.
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

/// Absent, `null`, `""`, `ACTIVE` and unknown words all mean that the item is active.
fn state_or_active<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<State>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.as_deref().and_then(State::from_word))
}
