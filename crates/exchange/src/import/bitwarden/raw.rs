//! The JSON of an export, as far as it is read. Its names are those of Bitwarden's clients
//! (`libs/common/src/models/export` in bitwarden/clients).

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::import::lenient::{nullable, number, text};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Export {
    #[serde(deserialize_with = "nullable")]
    pub(super) encrypted: bool,
    #[serde(deserialize_with = "nullable")]
    pub(super) folders: Vec<Group>,
    #[serde(deserialize_with = "nullable")]
    pub(super) collections: Vec<Group>,
    #[serde(deserialize_with = "nullable")]
    pub(super) items: Vec<Item>,
}

/// A folder or a collection.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Group {
    #[serde(deserialize_with = "text")]
    pub(super) id: String,
    #[serde(deserialize_with = "text")]
    pub(super) name: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Item {
    #[serde(deserialize_with = "text")]
    pub(super) id: String,
    #[serde(deserialize_with = "text")]
    pub(super) folder_id: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) collection_ids: Vec<String>,
    #[serde(rename = "type", deserialize_with = "number")]
    pub(super) kind: Option<i64>,
    #[serde(deserialize_with = "text")]
    pub(super) name: String,
    #[serde(deserialize_with = "text")]
    pub(super) notes: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) favorite: bool,
    #[serde(deserialize_with = "nullable")]
    pub(super) fields: Vec<Field>,
    #[serde(deserialize_with = "nullable")]
    pub(super) password_history: Vec<EarlierPassword>,
    #[serde(deserialize_with = "text")]
    pub(super) creation_date: String,
    #[serde(deserialize_with = "text")]
    pub(super) revision_date: String,
    #[serde(deserialize_with = "text")]
    pub(super) deleted_date: String,
    #[serde(deserialize_with = "text")]
    pub(super) archived_date: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) login: Option<Login>,
    #[serde(deserialize_with = "nullable")]
    pub(super) card: Parts,
    #[serde(deserialize_with = "nullable")]
    pub(super) identity: Parts,
    #[serde(deserialize_with = "nullable")]
    pub(super) ssh_key: Parts,
    #[serde(deserialize_with = "nullable")]
    pub(super) bank_account: Parts,
    #[serde(deserialize_with = "nullable")]
    pub(super) drivers_license: Parts,
    #[serde(deserialize_with = "nullable")]
    pub(super) passport: Parts,
}

/// The parts of a card, an identity and so on.
pub(super) type Parts = Map<String, Value>;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Field {
    #[serde(deserialize_with = "text")]
    pub(super) name: String,
    #[serde(deserialize_with = "text")]
    pub(super) value: String,
    #[serde(rename = "type", deserialize_with = "number")]
    pub(super) kind: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Login {
    #[serde(deserialize_with = "nullable")]
    pub(super) uris: Vec<Uri>,
    #[serde(deserialize_with = "text")]
    pub(super) username: String,
    #[serde(deserialize_with = "text")]
    pub(super) password: String,
    #[serde(deserialize_with = "text")]
    pub(super) totp: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) fido2_credentials: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Uri {
    #[serde(deserialize_with = "text")]
    pub(super) uri: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct EarlierPassword {
    #[serde(deserialize_with = "text")]
    pub(super) password: String,
    #[serde(deserialize_with = "text")]
    pub(super) last_used_date: String,
}
