//! The body of requests that create or replace an item.
//!
//! It is read as leniently as Connect's clients need: unknown members are ignored, since clients send back what they have read;
//! `null` is the same as absent (Ansible), and so is an empty id (Go SDK); words may be in any case.

use std::fmt;

use rand::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::error::Invalid;
use crate::field::{FieldType, Purpose};
use crate::item::Item;
use crate::json::{self, JsonPath, Object};
use crate::recipe::Recipe;
use crate::time::Timestamp;

/// The time, the author and the random numbers of a change.
pub struct Edit<'a> {
    /// The time of the change.
    pub now: Timestamp,
    /// The new `lastEditedBy`.
    pub by: &'a str,
    /// For ids and generated passwords: `&mut rand::rng()`, except in tests.
    pub rng: &'a mut dyn CryptoRng,
}

impl fmt::Debug for Edit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit")
            .field("now", &self.now)
            .field("by", &self.by)
            .finish_non_exhaustive()
    }
}

/// The body of a POST or PUT. Members that the client left out are `None`, and are left out again when this is serialised.
///
/// `state`, times, `lastEditedBy`, `files` and other members that only the server sets are ignored. `Debug` shows counts
/// only.
#[derive(Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemInput {
    /// The item's id. POST ignores it; for PUT it must be the id in the path. Never `Some("")`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The title. `None` is the same as an empty title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The vault's id, which must be the id in the path. Never `Some("")`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_vault")]
    pub vault: Option<String>,
    /// The category's word as the client sent it. Which words are allowed depends on the item that is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Whether the item is a favourite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub favorite: Option<bool>,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Web addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<UrlInput>,
    /// Declared sections.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<SectionInput>,
    /// Fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldInput>,
    /// The version that the client changes. Connect ignores it, and so do local vaults. In a vault whose items are files, which others
    /// change as well, a PUT of an old version is a conflict. Anything but a number counts as left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

/// A web address in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UrlInput {
    /// The address.
    pub href: String,
    /// `None` keeps the label that the item's URL with the same address has, since the Python SDK drops labels; `Some("")`
    /// clears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Whether this is the primary address.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub primary: bool,
}

/// A section in a request, declared or named by a field. Never both `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SectionInput {
    /// Never `Some("")`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Never `Some("")`. A declared section without a label has none from then on: the Go SDK leaves out empty labels. A
    /// field that names a section without a label leaves the section's label as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A field in a request.
#[derive(Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldInput {
    /// The id. `None` gets a new one. Never `Some("")`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The type. `None` keeps the type of the item's field with the same id.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub field_type: Option<FieldType>,
    /// The purpose. `None` keeps the purpose of the item's field with the same id; `Some(None)`, which is `""`, clears it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_purpose")]
    pub purpose: Option<Option<Purpose>>,
    /// The label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The section that the field belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<SectionInput>,
    /// Whether the server generates a value, if the field has none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub generate: bool,
    /// The recipe for a generated value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
}

impl ItemInput {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Invalid`] if the body is not UTF-8, not JSON, cut short, nested too deeply, has a key twice in an object, or is no object, or
    /// if a member has the wrong type. The message says where, by line and column or as `fields[2].value`, and quotes no value.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Invalid> {
        Self::from_value(json::parse(bytes)?, &JsonPath::Root(""))
    }

    pub(crate) fn from_value(value: Value, place: &JsonPath<'_>) -> Result<Self, Invalid> {
        let mut object = Object::new(value, place)?;
        Ok(Self {
            id: non_empty(object.text("id")?),
            title: object.text("title")?,
            vault: match object.take("vault") {
                Some(vault) => non_empty(Object::new(vault, &object.at("vault"))?.text("id")?),
                None => None,
            },
            category: non_empty(object.text("category")?),
            favorite: object.flag("favorite")?,
            tags: object.list("tags", json::text)?.unwrap_or_default(),
            urls: object.list("urls", UrlInput::from_value)?.unwrap_or_default(),
            // A section with neither id nor label is left out: External Secrets can't handle it.
            sections: object
                .list("sections", SectionInput::from_value)?
                .map(|sections| sections.into_iter().flatten().collect())
                .unwrap_or_default(),
            fields: object.list("fields", FieldInput::from_value)?.unwrap_or_default(),
            version: object
                .take("version")
                .and_then(|version| u32::try_from(version.as_u64()?).ok()),
        })
    }
}

impl UrlInput {
    pub(crate) fn from_value(value: Value, place: &JsonPath<'_>) -> Result<Self, Invalid> {
        let mut object = Object::new(value, place)?;
        Ok(Self {
            href: object.text("href")?.ok_or_else(|| place.invalid("must have an href"))?,
            label: object.text("label")?,
            primary: object.flag("primary")?.unwrap_or_default(),
        })
    }
}

impl SectionInput {
    /// `None` for a section with neither id nor label, with which clients express that a field belongs to no section.
    pub(crate) fn from_value(value: Value, place: &JsonPath<'_>) -> Result<Option<Self>, Invalid> {
        let mut object = Object::new(value, place)?;
        let section = Self {
            id: non_empty(object.text("id")?),
            label: non_empty(object.text("label")?),
        };
        Ok(Some(section).filter(|section| *section != Self::default()))
    }
}

impl FieldInput {
    pub(crate) fn from_value(value: Value, place: &JsonPath<'_>) -> Result<Self, Invalid> {
        let mut object = Object::new(value, place)?;
        Ok(Self {
            id: non_empty(object.text("id")?),
            field_type: match non_empty(object.text("type")?) {
                Some(word) => Some(field_type(&word).map_err(|reason| place.invalid(reason))?),
                None => None,
            },
            purpose: match object.text("purpose")? {
                Some(word) => Some(purpose(&word).map_err(|reason| place.invalid(reason))?),
                None => None,
            },
            label: object.text("label")?,
            value: object.text("value")?,
            section: match object.take("section") {
                Some(section) => SectionInput::from_value(section, &object.at("section"))?,
                None => None,
            },
            generate: object.flag("generate")?.unwrap_or_default(),
            recipe: object
                .take("recipe")
                .map(|recipe| Recipe::from_value(recipe, &object.at("recipe")))
                .transpose()?,
        })
    }
}

/// The field type of a word, in any case. `TOTP`, which is in Connect's specification, is refused, as Connect does.
pub(crate) fn field_type(word: &str) -> Result<FieldType, &'static str> {
    match FieldType::from_word(word) {
        Some(field_type) => Ok(field_type),
        None if word.eq_ignore_ascii_case("TOTP") => {
            Err("has unsupported field type: totp (one-time passwords are OTP)")
        }
        None => Err("has unsupported field type"),
    }
}

/// The purpose of a word, in any case. An empty word is no purpose.
pub(crate) fn purpose(word: &str) -> Result<Option<Purpose>, &'static str> {
    match word {
        "" => Ok(None),
        _ => Purpose::from_word(word)
            .map(Some)
            .ok_or("must have a purpose of USERNAME, PASSWORD, NOTES or none"),
    }
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The item as the body of a PUT with all members: replacing the item by it changes only version, time and editor.
impl From<&Item> for ItemInput {
    fn from(item: &Item) -> Self {
        let section = |section: &crate::section::SectionRef| SectionInput {
            id: non_empty(Some(section.id.clone())),
            // If the section is declared, its label is taken from there, where an operation of a PATCH may change it.
            label: if item.sections.iter().any(|declared| declared.id == section.id) {
                None
            } else {
                non_empty(section.label.clone())
            },
        };
        Self {
            id: Some(item.id.to_string()),
            title: Some(item.title.clone()),
            vault: Some(item.vault.to_string()),
            category: Some(item.category.to_string()),
            favorite: Some(item.favorite),
            tags: item.tags.clone(),
            urls: item
                .urls
                .iter()
                .map(|url| UrlInput {
                    href: url.href.clone(),
                    label: url.label.clone(),
                    primary: url.primary,
                })
                .collect(),
            sections: item
                .sections
                .iter()
                .map(|section| SectionInput {
                    id: non_empty(Some(section.id.clone())),
                    label: non_empty(Some(section.label.clone())),
                })
                .collect(),
            fields: item
                .fields
                .iter()
                .map(|field| FieldInput {
                    id: non_empty(Some(field.id.clone())),
                    field_type: Some(field.field_type),
                    purpose: Some(field.purpose),
                    label: Some(field.label.clone()),
                    value: Some(field.value.clone()),
                    section: field.section.as_ref().map(section),
                    generate: false,
                    recipe: None,
                })
                .collect(),
            version: Some(item.version),
        }
    }
}

impl<'de> Deserialize<'de> for ItemInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = json::strict(deserializer)?;
        Self::from_value(value, &JsonPath::Root("item")).map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for ItemInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemInput")
            .field("sections", &self.sections.len())
            .field("fields", &self.fields.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FieldInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldInput")
            .field("id", &self.id)
            .field("field_type", &self.field_type)
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

fn as_vault<S: serde::Serializer>(id: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Vault<'a> {
        id: &'a Option<String>,
    }
    Vault { id }.serialize(serializer)
}

fn as_purpose<S: serde::Serializer>(purpose: &Option<Option<Purpose>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(purpose.flatten().map_or("", Purpose::as_str))
}
