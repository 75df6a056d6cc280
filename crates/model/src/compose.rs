//! The rules that turn the body of a request into the content of an item.
//!
//! POST, PUT and PATCH use the same rules. PUT and PATCH also pass the old item, from which some values are kept.

mod fields;
mod sections;

use std::collections::HashSet;

use crate::category::Category;
use crate::error::Invalid;
use crate::field::Field;
use crate::input::{Edit, ItemInput, UrlInput};
use crate::item::Item;
use crate::limits;
use crate::section::Section;
use crate::url::Url;

use sections::Sections;

pub(crate) use fields::history;

/// The part of an item that clients decide.
pub(crate) struct Content {
    pub(crate) title: String,
    pub(crate) category: Category,
    pub(crate) urls: Vec<Url>,
    pub(crate) favorite: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) sections: Vec<Section>,
    pub(crate) fields: Vec<Field>,
}

/// The part of a request that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Title,
    Category,
    Tags,
    Urls,
    Sections,
    Section(usize),
    Fields,
    Field(usize),
}

impl Part {
    /// The member of the item that the part is, or is in.
    pub(crate) fn member(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Category => "category",
            Self::Tags => "tags",
            Self::Urls => "urls",
            Self::Sections | Self::Section(_) => "sections",
            Self::Fields | Self::Field(_) => "fields",
        }
    }
}

/// A broken rule.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) part: Part,
    /// For [`Part::Category`] a whole sentence, which is Connect's. For other parts a text that follows the name of the part.
    pub(crate) reason: String,
}

impl Fault {
    fn new(part: Part, reason: impl Into<String>) -> Self {
        Self {
            part,
            reason: reason.into(),
        }
    }
}

impl From<Fault> for Invalid {
    fn from(Fault { part, reason }: Fault) -> Self {
        Self::new(match part {
            Part::Category => reason,
            Part::Section(index) | Part::Field(index) => {
                format!("{}[{index}] {reason}", part.member())
            }
            _ => format!("{} {reason}", part.member()),
        })
    }
}

/// The content of an item by a request. `old` is the item that is replaced, `None` for a new item.
pub(crate) fn content(input: ItemInput, old: Option<&Item>, edit: &mut Edit<'_>) -> Result<Content, Fault> {
    let category = category(input.category.as_deref(), old)?;
    let title = title(input.title.unwrap_or_default(), old)?;
    let tags = tags(input.tags)?;
    let urls = urls(input.urls, old)?;
    let mut sections = Sections::declare(input.sections, old, edit)?;
    let mut fields = fields::compose(input.fields, old, &mut sections, edit)?;
    if old.is_none() && category.comes_with_notes() {
        fields::add_notes(&mut fields);
    }
    let sections = sections.finish(&mut fields);
    Ok(Content {
        title,
        category,
        urls,
        favorite: input.favorite.unwrap_or_default(),
        tags,
        sections,
        fields,
    })
}

/// The category. An item can keep CUSTOM and DOCUMENT, but no request can give it one of them.
fn category(word: Option<&str>, old: Option<&Item>) -> Result<Category, Fault> {
    let fault = |reason: &str| Err(Fault::new(Part::Category, reason));
    let Some(word) = word else {
        return fault("Invalid item category: `category` is missing");
    };
    match (Category::from_word(word), old) {
        (None, _) => fault("Invalid item category"),
        // The Go SDK reads every category that it does not know as CUSTOM, and sends that back.
        (Some(Category::Custom), Some(old)) => Ok(old.category),
        (Some(Category::Custom), None) => fault("Items of category CUSTOM cannot be created; choose another category"),
        (Some(Category::Document), Some(old)) if old.category == Category::Document => Ok(Category::Document),
        (Some(Category::Document), _) => {
            fault("Items of category DOCUMENT cannot be created through the API: it has no way to upload files")
        }
        (Some(category), _) => Ok(category),
    }
}

fn title(title: String, old: Option<&Item>) -> Result<String, Fault> {
    let unchanged = old.is_some_and(|old| old.title == title);
    if unchanged || title.chars().count() <= limits::TITLE_CHARS {
        Ok(title)
    } else {
        Err(Fault::new(
            Part::Title,
            format!("is longer than {} characters", limits::TITLE_CHARS),
        ))
    }
}

/// The tags without duplicates and empty ones, in the client's order, which Terraform compares.
fn tags(tags: Vec<String>) -> Result<Vec<String>, Fault> {
    let mut seen = HashSet::new();
    let tags: Vec<String> = tags
        .into_iter()
        .filter(|tag| !tag.is_empty() && seen.insert(tag.clone()))
        .collect();
    if tags.len() > limits::TAGS {
        return Err(Fault::new(Part::Tags, format!("are more than {}", limits::TAGS)));
    }
    if tags.iter().all(|tag| tag.chars().count() <= limits::TAG_CHARS) {
        Ok(tags)
    } else {
        Err(Fault::new(
            Part::Tags,
            format!("hold one longer than {} characters", limits::TAG_CHARS),
        ))
    }
}

/// The URLs in the client's order. The first is primary if the client marks none.
fn urls(inputs: Vec<UrlInput>, old: Option<&Item>) -> Result<Vec<Url>, Fault> {
    if inputs.len() > limits::URLS {
        return Err(Fault::new(Part::Urls, format!("are more than {}", limits::URLS)));
    }
    let old_urls = old.map_or(&[][..], |old| &old.urls);
    let keep_label = |UrlInput { href, label, primary }| {
        // The Python SDK drops the labels of URLs, so an update without a label keeps it.
        let kept = || old_urls.iter().find(|url| url.href == href)?.label.clone();
        let label = label.or_else(kept).filter(|label| !label.is_empty());
        Url { primary, label, href }
    };
    let mut urls: Vec<Url> = inputs.into_iter().map(keep_label).collect();
    if let Some(first) = urls.first_mut()
        && !first.primary
    {
        let none_primary = !urls.iter().any(|url| url.primary);
        urls[0].primary = none_primary;
    }
    let too_long = |url: &Url| {
        url.label
            .as_ref()
            .is_some_and(|label| label.chars().count() > limits::LABEL_CHARS)
    };
    if urls.iter().any(too_long) {
        Err(Fault::new(
            Part::Urls,
            format!("hold a label longer than {} characters", limits::LABEL_CHARS),
        ))
    } else {
        Ok(urls)
    }
}
