//! The JSON of `export.data`, as far as it is read.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::import::lenient::{nullable, number, text};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct VaultAttributes {
    #[serde(deserialize_with = "text")]
    pub(super) uuid: String,
    #[serde(deserialize_with = "text")]
    pub(super) name: String,
    #[serde(deserialize_with = "text")]
    pub(super) desc: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Item {
    /// Some exports wrap each item in an object with this member.
    #[serde(deserialize_with = "nullable")]
    pub(super) item: Option<Box<Item>>,
    #[serde(deserialize_with = "text")]
    pub(super) uuid: String,
    #[serde(deserialize_with = "number")]
    pub(super) fav_index: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(super) created_at: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(super) updated_at: Option<i64>,
    #[serde(deserialize_with = "text")]
    pub(super) state: String,
    /// In exports of version 2, instead of `state`.
    #[serde(deserialize_with = "nullable")]
    pub(super) trashed: bool,
    #[serde(deserialize_with = "text")]
    pub(super) category_uuid: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) details: Details,
    #[serde(deserialize_with = "nullable")]
    pub(super) overview: Overview,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Details {
    #[serde(deserialize_with = "nullable")]
    pub(super) login_fields: Vec<LoginField>,
    #[serde(deserialize_with = "text")]
    pub(super) notes_plain: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) sections: Vec<Section>,
    #[serde(deserialize_with = "nullable")]
    pub(super) password_history: Vec<EarlierPassword>,
    #[serde(deserialize_with = "text")]
    pub(super) password: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) document_attributes: Option<Document>,
    #[serde(deserialize_with = "nullable")]
    pub(super) passkey: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LoginField {
    pub(super) value: Value,
    #[serde(deserialize_with = "text")]
    pub(super) id: String,
    #[serde(deserialize_with = "text")]
    pub(super) name: String,
    #[serde(deserialize_with = "text")]
    pub(super) field_type: String,
    #[serde(deserialize_with = "text")]
    pub(super) designation: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Section {
    #[serde(deserialize_with = "text")]
    pub(super) title: String,
    #[serde(deserialize_with = "text")]
    pub(super) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) fields: Vec<SectionField>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SectionField {
    #[serde(deserialize_with = "text")]
    pub(super) title: String,
    #[serde(deserialize_with = "text")]
    pub(super) id: String,
    pub(super) value: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct EarlierPassword {
    #[serde(deserialize_with = "text")]
    pub(super) value: String,
    #[serde(deserialize_with = "number")]
    pub(super) time: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(deserialize_with = "text")]
    pub(super) file_name: String,
    #[serde(deserialize_with = "text")]
    pub(super) document_id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Overview {
    #[serde(deserialize_with = "text")]
    pub(super) title: String,
    #[serde(deserialize_with = "text")]
    pub(super) url: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) urls: Vec<Url>,
    #[serde(deserialize_with = "nullable")]
    pub(super) tags: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Url {
    #[serde(deserialize_with = "text")]
    pub(super) label: String,
    #[serde(deserialize_with = "text")]
    pub(super) url: String,
}
