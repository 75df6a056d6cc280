//! What a remote reference of External Secrets means in an item: which value a `property` names, and which items a `find` selects.
//! The operator reads by these rules, and the commands that check manifests say what it will read.

use crate::category::Category;
use crate::field::Field;
use crate::file::File;
use crate::item::Item;

/// The label that an empty property stands for.
pub const DEFAULT_LABEL: &str = "password";

/// What the property of a remote reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    /// The label of a field.
    Field(&'a str),
    /// The name of a file.
    File(&'a str),
}

impl<'a> Property<'a> {
    /// Reads a property. `field/` and `file/` in front of it say which of the two it names; without a prefix a property names a file
    /// if the item is a document, and a field otherwise.
    pub fn parse(category: Category, text: &'a str) -> Self {
        if let Some(label) = text.strip_prefix("field/") {
            Self::Field(label)
        } else if let Some(name) = text.strip_prefix("file/") {
            Self::File(name)
        } else if category == Category::Document {
            Self::File(text)
        } else {
            Self::Field(text)
        }
    }
}

/// The label that a property without a prefix names: an empty one stands for [`DEFAULT_LABEL`].
pub fn label(property: &str) -> &str {
    if property.is_empty() { DEFAULT_LABEL } else { property }
}

/// The one field with the label that a property names.
///
/// # Errors
/// How many fields have the label, if that is not one, because any choice could be the wrong one.
pub fn only_field<'a>(item: &'a Item, property: &str) -> Result<&'a Field, usize> {
    let label = label(property);
    let mut fields = item.fields.iter().filter(|field| field.label == label);
    match (fields.next(), fields.count()) {
        (Some(field), 0) => Ok(field),
        (first, others) => Err(usize::from(first.is_some()) + others),
    }
}

/// The files that a property names: those with this name; all if it is empty. A reference to one value takes the first.
pub fn files<'a>(item: &'a Item, name: &str) -> impl Iterator<Item = &'a File> {
    item.files
        .iter()
        .filter(move |file| name.is_empty() || file.name == name)
}

/// Whether a `find` selects an item: one that has all tags, or without `tags` one with the title `path`, or without both any item.
/// Of a selected item, the fields and files whose names match `find.name` are read.
pub fn find_selects<'a>(item: &Item, tags: Option<impl IntoIterator<Item = &'a str>>, path: Option<&str>) -> bool {
    match tags {
        Some(tags) => tags.into_iter().all(|tag| item.tags.iter().any(|known| known == tag)),
        None => path.is_none_or(|path| path == item.title),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        serde_json::from_value(serde_json::json!({
            "id": "aaaaaaaaaaaaaaaaaaaaaaaaaa", "vault": { "id": "vvvvvvvvvvvvvvvvvvvvvvvvvv" }, "title": "db",
            "category": "SERVER", "tags": ["a", "b"],
            "fields": [{"id": "1", "label": "a", "type": "STRING"}, {"id": "2", "label": "b", "type": "STRING"},
                {"id": "3", "label": "b", "type": "STRING"}, {"id": "4", "label": "password", "type": "STRING"}],
            "files": [{"id": "ffffffffffffffffffffffffff", "name": "x"},
                {"id": "gggggggggggggggggggggggggg", "name": "y"}],
        }))
        .unwrap()
    }

    #[test]
    fn a_prefix_says_whether_a_property_is_a_field_or_a_file() {
        assert_eq!(Property::parse(Category::Login, "user"), Property::Field("user"));
        assert_eq!(Property::parse(Category::Login, "file/a.pem"), Property::File("a.pem"));
        assert_eq!(Property::parse(Category::Document, "a.pem"), Property::File("a.pem"));
        assert_eq!(
            Property::parse(Category::Document, "field/note"),
            Property::Field("note")
        );
    }

    #[test]
    fn exactly_one_field_must_have_the_label() {
        let item = item();
        let id = |label| only_field(&item, label).map(|field| field.id.as_str());
        assert_eq!([id("a"), id(""), id("b"), id("c")], [Ok("1"), Ok("4"), Err(2), Err(0)]);
        assert_eq!(files(&item, "").count(), 2);
        assert_eq!(files(&item, "y").count(), 1);
    }

    #[test]
    fn tags_count_more_than_the_title() {
        let item = item();
        let no_tags: Option<[&str; 0]> = None;
        assert!(find_selects(&item, no_tags, None) && find_selects(&item, no_tags, Some("db")));
        assert!(!find_selects(&item, no_tags, Some("other")));
        assert!(find_selects(&item, Some(["b", "a"]), Some("other")));
        assert!(!find_selects(&item, Some(["a", "c"]), None));
    }
}
