//! What clients send when they create or replace an item.
//!
//! Read as leniently as the real clients need: unknown members are ignored (they echo what they got), `null` is the
//! same as absent (Ansible), an empty id too (Go), and words may be in any case.

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

/// What a change needs from outside.
pub struct Edit<'a> {
    /// The time of the change.
    pub now: Timestamp,
    /// Who changes: becomes `lastEditedBy`.
    pub by: &'a str,
    /// For ids and generated passwords; `&mut rand::rng()` outside tests.
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

/// The body of a POST or PUT. `None` is what the client left out; it serialises back to the same.
///
/// `version`, `state`, times, `lastEditedBy`, `files` and everything else the server alone decides is ignored. `Debug`
/// shows counts only.
#[derive(Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemInput {
    /// Ignored by POST; must be the path's for PUT. Never `Some("")`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The title; left out is the same as empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The id in `vault`; must be the path's. Never `Some("")`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_vault")]
    pub vault: Option<String>,
    /// The category's word, not yet looked up: what is right depends on the item that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Whether it is a favourite.
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
    /// Whether it is the primary one.
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
    /// Never `Some("")`; `None` gets a fresh one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `None` keeps the type an existing field with that id has.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub field_type: Option<FieldType>,
    /// `None` keeps the purpose an existing field with that id has; `Some(None)`, which is `""`, takes it away.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_purpose")]
    pub purpose: Option<Option<Purpose>>,
    /// The label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The section it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<SectionInput>,
    /// Make a value, if there is none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub generate: bool,
    /// How to make it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
}

impl ItemInput {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Invalid`] when it is not UTF-8, not JSON, cut short, too deep, has a key twice, is no object, or a member is
    /// of the wrong kind. The message says where, with line and column or as `fields[2].value`, never what.
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
            // A section with neither id nor label is a ghost that External Secrets stumbles over.
            sections: object
                .list("sections", SectionInput::from_value)?
                .map(|sections| sections.into_iter().flatten().collect())
                .unwrap_or_default(),
            fields: object.list("fields", FieldInput::from_value)?.unwrap_or_default(),
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
    /// `None` for a section with neither id nor label, which is how clients say "no section".
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

/// A field type's word, in any case. `TOTP` is what the specification says and no Connect server takes.
pub(crate) fn field_type(word: &str) -> Result<FieldType, &'static str> {
    match FieldType::from_word(word) {
        Some(field_type) => Ok(field_type),
        None if word.eq_ignore_ascii_case("TOTP") => {
            Err("has unsupported field type: totp (one-time passwords are OTP)")
        }
        None => Err("has unsupported field type"),
    }
}

/// A purpose's word, in any case; empty for none.
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

/// The item as a client would echo it, with nothing left out: replacing by it changes only version, time and editor.
impl From<&Item> for ItemInput {
    fn from(item: &Item) -> Self {
        let section = |section: &crate::section::SectionRef| SectionInput {
            id: non_empty(Some(section.id.clone())),
            // A declared section's own label counts, and it may be about to change.
            label: match item.sections.iter().any(|declared| declared.id == section.id) {
                true => None,
                false => non_empty(section.label.clone()),
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
