//! Finds what a reference means in an item.

use serde::{Deserialize, Serialize};

use crate::field::{Field, FieldType};
use crate::file::File;
use crate::filter::{fold, prefer_exact};
use crate::ids::ItemId;
use crate::item::Item;
use crate::section::{Section, SectionRef};
use crate::text::printable;
use crate::time::Timestamp;
use crate::totp;
use crate::wire::wire_enum;

use super::{Attribute, Reference, ssh};

/// The largest file, in bytes, whose content is resolved together with other references.
pub const RESOLVED_FILE_BYTES: u64 = 1 << 20;

/// How many names of what is there an error lists.
const LISTED: usize = 10;

wire_enum! {
    /// Why a reference has no value. The words are those of 1Password's SDKs, where they have one.
    pub enum UnresolvedKind, unknown = Some(Self::Other);
    /// The text is not a reference.
    Parsing = "parsing",
    /// No vault that the token may read has this name or id.
    VaultNotFound = "vaultNotFound",
    /// Several vaults have this name.
    TooManyVaults = "tooManyVaults",
    /// The vault has no item with this title or id.
    ItemNotFound = "itemNotFound",
    /// Several items have this title.
    TooManyItems = "tooManyItems",
    /// The item has neither a field nor a file of this name or id.
    FieldNotFound = "fieldNotFound",
    /// Several fields or files have this name.
    TooManyMatchingFields = "tooManyMatchingFields",
    /// The item has no section with this label or id.
    NoMatchingSections = "noMatchingSections",
    /// The field or file does not have this attribute.
    AttributeNotFound = "attributeNotFound",
    /// The field is no one-time password, or its value is no valid seed.
    UnableToGenerateTotpCode = "unableToGenerateTotpCode",
    /// The value is no private key that can be converted.
    UnsupportedKeyFormat = "unsupportedKeyFormat",
    /// The file's content is not text.
    UnsupportedFileFormat = "unsupportedFileFormat",
    /// The file is too large to be sent with other values.
    FileTooLarge = "fileTooLarge",
    /// Another kind.
    Other = "other",
}

/// Why a reference has no value. The message says what was looked for and what is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Unresolved {
    /// The kind, for programs.
    pub kind: UnresolvedKind,
    /// The message, for people. It has names of vaults, items, sections and fields, and no value.
    pub message: String,
}

impl Unresolved {
    /// An error of this kind.
    pub fn new(kind: UnresolvedKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// No vault that the token may read has the name or id in this reference.
    pub fn no_vault(reference: &Reference) -> Self {
        Self::new(
            UnresolvedKind::VaultNotFound,
            format!(
                "no vault that this token may read has the name or id \"{}\"",
                printable(&reference.vault)
            ),
        )
    }

    /// The vault has no item with the title or id in this reference.
    pub fn no_item(reference: &Reference) -> Self {
        Self::new(
            UnresolvedKind::ItemNotFound,
            format!(
                "vault \"{}\" has no item with the title or id \"{}\"",
                printable(&reference.vault),
                printable(&reference.item)
            ),
        )
    }

    /// Several items have the title in this reference; their ids.
    pub fn too_many_items(reference: &Reference, ids: &[ItemId]) -> Self {
        let ids: Vec<&str> = ids.iter().map(ItemId::as_str).collect();
        Self::new(
            UnresolvedKind::TooManyItems,
            format!(
                "{} items of vault \"{}\" have the title \"{}\"; use the id of one of them: {}",
                ids.len(),
                printable(&reference.vault),
                printable(&reference.item),
                ids.join(", ")
            ),
        )
    }
}

/// What a reference means.
#[derive(Debug, PartialEq)]
pub enum Found<'a> {
    /// A text.
    Text(String),
    /// The content of this file.
    Content(&'a File),
}

/// A field or a file with the name that a reference has.
#[derive(Clone, Copy)]
enum Target<'a> {
    Field(&'a Field),
    File(&'a File),
}

impl<'a> Target<'a> {
    fn section(self) -> Option<&'a SectionRef> {
        match self {
            Self::Field(field) => field.section.as_ref(),
            Self::File(file) => file.section.as_ref(),
        }
    }

    fn id(self) -> &'a str {
        match self {
            Self::Field(field) => &field.id,
            Self::File(file) => file.id.as_str(),
        }
    }

    fn name(self) -> &'a str {
        match self {
            Self::Field(field) => &field.label,
            Self::File(file) => &file.name,
        }
    }
}

/// What the reference means in its item, at a time.
///
/// A field or file is meant by its id, its label or its name. If the reference names no section and there are several hits, those
/// outside any section are preferred, and then those whose name has the same case.
///
/// # Errors
/// [`Unresolved`] if nothing or more than one thing in the item is meant, or it has no such attribute.
pub fn resolve<'a>(reference: &Reference, item: &'a Item, at: Timestamp) -> Result<Found<'a>, Unresolved> {
    match target(reference, item)? {
        Target::Field(field) => of_field(reference, field, at).map(Found::Text),
        Target::File(file) => of_file(reference, file),
    }
}

/// The section that a field or a file belongs to, as its item declares it.
pub fn field_section<'a>(item: &'a Item, section: Option<&SectionRef>) -> Option<&'a Section> {
    let id = &section?.id;
    item.sections.iter().find(|known| known.id == *id)
}

fn target<'a>(reference: &Reference, item: &'a Item) -> Result<Target<'a>, Unresolved> {
    let wanted = fold(&reference.field);
    let fields = item.fields.iter().map(Target::Field);
    let all: Vec<Target<'a>> = fields.chain(item.files.iter().map(Target::File)).collect();
    let within: Vec<Target<'a>> = match &reference.section {
        None => all,
        Some(section) => {
            let wanted = fold(section);
            let is_wanted = |id: &str, label: &str| fold(id) == wanted || fold(label) == wanted;
            let known = |section: &SectionRef| {
                let label = field_section(item, Some(section)).map(|known| known.label.as_str());
                is_wanted(&section.id, label.or(section.label.as_deref()).unwrap_or_default())
            };
            let within: Vec<_> = all
                .into_iter()
                .filter(|target| target.section().is_some_and(known))
                .collect();
            if within.is_empty() && !item.sections.iter().any(|known| is_wanted(&known.id, &known.label)) {
                return Err(no_section(reference, item));
            }
            within
        }
    };
    let mut hits: Vec<Target<'a>> = within
        .iter()
        .copied()
        .filter(|target| fold(target.id()) == wanted || fold(target.name()) == wanted)
        .collect();
    if reference.section.is_none() && hits.iter().any(|hit| hit.section().is_none()) {
        hits.retain(|hit| hit.section().is_none());
    }
    if hits.len() > 1 {
        hits = prefer_exact(hits, &reference.field, |hit| hit.name());
    }
    match hits[..] {
        [hit] => Ok(hit),
        [] => Err(Unresolved::new(
            UnresolvedKind::FieldNotFound,
            format!(
                "item '{}' does not have a field '{}'; it has {}",
                of(reference),
                printable(&match &reference.section {
                    Some(section) => format!("{section}.{}", reference.field),
                    None => reference.field.clone(),
                }),
                listed(within.iter().map(|target| target.name()))
            ),
        )),
        _ => Err(Unresolved::new(
            UnresolvedKind::TooManyMatchingFields,
            format!(
                "item '{}' has {} fields or files '{}'; name the section, or the id of one of them: {}",
                of(reference),
                hits.len(),
                printable(&reference.field),
                listed(hits.iter().map(|hit| hit.id()))
            ),
        )),
    }
}

fn no_section(reference: &Reference, item: &Item) -> Unresolved {
    let section = reference.section.as_deref().unwrap_or_default();
    let labels = item.sections.iter().map(|section| match section.label.as_str() {
        "" => section.id.as_str(),
        label => label,
    });
    Unresolved::new(
        UnresolvedKind::NoMatchingSections,
        format!(
            "item '{}' does not have a section '{}'; it has {}",
            of(reference),
            printable(section),
            listed(labels)
        ),
    )
}

/// The item as the reference names it.
fn of(reference: &Reference) -> String {
    printable(&format!("{}/{}", reference.vault, reference.item))
}

fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    let shown: Vec<String> = names.take(LISTED).map(printable).collect();
    match count {
        0 => "none".to_owned(),
        count if count > LISTED => format!("{} and {} more", shown.join(", "), count - LISTED),
        _ => shown.join(", "),
    }
}

fn of_field(reference: &Reference, field: &Field, at: Timestamp) -> Result<String, Unresolved> {
    let value = match reference.attribute {
        None | Some(Attribute::Value) => field.value.clone(),
        Some(Attribute::Type) => field.field_type.to_string(),
        Some(Attribute::Title) => field.label.clone(),
        Some(Attribute::Id) => field.id.clone(),
        Some(Attribute::Purpose) => field.purpose.map(|purpose| purpose.to_string()).unwrap_or_default(),
        Some(Attribute::Otp) => {
            let code = (field.field_type == FieldType::Otp)
                .then(|| totp::code(&field.value, at))
                .flatten();
            return code.ok_or_else(|| {
                Unresolved::new(
                    UnresolvedKind::UnableToGenerateTotpCode,
                    format!(
                        "field '{}' of item '{}' has the type {} and gives no one-time password",
                        printable(&reference.field),
                        of(reference),
                        field.field_type
                    ),
                )
            });
        }
        Some(attribute) => return Err(no_attribute(reference, "a field", attribute)),
    };
    if !reference.openssh {
        return Ok(value);
    }
    ssh::to_openssh(&value).map_err(|why| {
        Unresolved::new(
            UnresolvedKind::UnsupportedKeyFormat,
            format!(
                "field '{}' of item '{}' can't be written in OpenSSH's format: {why}",
                printable(&reference.field),
                of(reference)
            ),
        )
    })
}

fn of_file<'a>(reference: &Reference, file: &'a File) -> Result<Found<'a>, Unresolved> {
    match reference.attribute {
        None | Some(Attribute::Content) => Ok(Found::Content(file)),
        Some(Attribute::Size) => Ok(Found::Text(file.size.to_string())),
        Some(Attribute::Id) => Ok(Found::Text(file.id.to_string())),
        Some(Attribute::Name) => Ok(Found::Text(file.name.clone())),
        Some(Attribute::Type) => Ok(Found::Text(FieldType::File.to_string())),
        Some(attribute) => Err(no_attribute(reference, "a file", attribute)),
    }
}

fn no_attribute(reference: &Reference, what: &str, attribute: Attribute) -> Unresolved {
    Unresolved::new(
        UnresolvedKind::AttributeNotFound,
        format!(
            "'{}' of item '{}' is {what}, which does not have an attribute '{}'",
            printable(&reference.field),
            of(reference),
            attribute.as_str()
        ),
    )
}
