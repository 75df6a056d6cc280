//! The plain form of vaults and items, which every reader makes.

use std::borrow::Cow;
use std::fmt;

use sidevault_model::{Category, Field, Section, SectionRef, Timestamp, Url};

/// A vault, or what a format has in its place, such as a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedVault {
    /// The id that the source gives it. The vault keeps it if it has the form of a Connect id.
    pub source_id: String,
    /// The name.
    pub name: String,
    /// The description, if it has one.
    pub description: Option<String>,
}

/// What a reader found in the place of an item.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// An item.
    Item(ImportedItem),
    /// Something that does not become an item.
    Skipped(Skipped),
}

/// Something of the source that does not become an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The id that the source gives it.
    pub source_id: String,
    /// Which vault: an index into [`Source::vaults`](super::Source::vaults).
    pub vault: usize,
    /// Why it is left out, for people.
    pub reason: Cow<'static, str>,
}

/// An item, as it was in the source. `Debug` shows ids and counts only.
#[derive(Clone, PartialEq)]
pub struct ImportedItem {
    /// The id that the source gives it, unique within its vault. It is the same at every reading: with it an import finds the item
    /// that an earlier import made.
    pub source_id: String,
    /// Which vault: an index into [`Source::vaults`](super::Source::vaults).
    pub vault: usize,
    /// The title.
    pub title: String,
    /// The category.
    pub category: Category,
    /// Web addresses. At most one is primary.
    pub urls: Vec<Url>,
    /// Whether it is a favourite.
    pub favorite: bool,
    /// Tags.
    pub tags: Vec<String>,
    /// Whether it is archived.
    pub archived: bool,
    /// When it was created, if the source knows.
    pub created_at: Option<Timestamp>,
    /// When it last changed, if the source knows.
    pub updated_at: Option<Timestamp>,
    /// Sections.
    pub sections: Vec<Section>,
    /// Fields. The earlier passwords are in the field whose purpose is PASSWORD. Field ids are unique within the item.
    pub fields: Vec<Field>,
    /// Files.
    pub files: Vec<ImportedFile>,
    /// What of the item can't be carried over, and why, for the plan. No text has a value of the item.
    pub losses: Vec<String>,
}

impl ImportedItem {
    /// An active item without content.
    pub fn new(source_id: impl Into<String>, vault: usize, title: impl Into<String>, category: Category) -> Self {
        Self {
            source_id: source_id.into(),
            vault,
            title: title.into(),
            category,
            urls: Vec::new(),
            favorite: false,
            tags: Vec::new(),
            archived: false,
            created_at: None,
            updated_at: None,
            sections: Vec::new(),
            fields: Vec::new(),
            files: Vec::new(),
            losses: Vec::new(),
        }
    }
}

impl fmt::Debug for ImportedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportedItem")
            .field("source_id", &self.source_id)
            .field("vault", &self.vault)
            .field("category", &self.category)
            .field("archived", &self.archived)
            .field("sections", &self.sections.len())
            .field("fields", &self.fields.len())
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

/// A file of an item. Its content stays in the source until [`Source::content`](super::Source::content).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedFile {
    /// The id that the source gives it, unique within the item.
    pub source_id: String,
    /// The name.
    pub name: String,
    /// The length of the content in bytes.
    pub size: u64,
    /// The section that the file belongs to.
    pub section: Option<SectionRef>,
    /// Where the reader finds the content, such as the name of an archive's member.
    pub place: String,
}
