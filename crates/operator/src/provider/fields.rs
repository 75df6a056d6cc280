//! Values of an item.

use sidevault_model::{Category, Item};

use super::ProviderError;
use crate::values::Values;

/// What a property names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property<'a> {
    /// A field, by its label.
    Field(&'a str),
    /// A file, by its name.
    File(&'a str),
}

/// `field/` and `file/` say what is meant; without them it is a file of a document, a field of anything else.
pub(super) fn property<'a>(category: &Category, property: &'a str) -> Property<'a> {
    if let Some(label) = property.strip_prefix("field/") {
        Property::Field(label)
    } else if let Some(name) = property.strip_prefix("file/") {
        Property::File(name)
    } else if *category == Category::Document {
        Property::File(property)
    } else {
        Property::Field(property)
    }
}

/// The value of the one field with a label; `password` when none is given.
pub(super) fn field(item: &Item, label: &str) -> Result<Vec<u8>, ProviderError> {
    let label = if label.is_empty() { "password" } else { label };
    only(item, label)?;
    let field = item.fields.iter().find(|field| field.label == label);
    Ok(field.map(|field| field.value.clone().into_bytes()).unwrap_or_default())
}

/// All fields, or those with one label.
pub(super) fn fields(item: &Item, label: &str, mut wanted: impl FnMut(&str) -> bool) -> Result<Values, ProviderError> {
    let mut values = Values::new();
    for field in &item.fields {
        if !label.is_empty() && field.label != label {
            continue;
        }
        only(item, &field.label)?;
        if wanted(&field.label) {
            values.insert(field.label.clone(), field.value.clone().into_bytes());
        }
    }
    Ok(values)
}

/// Refuses a label that is not there exactly once: any choice could be the wrong one.
fn only(item: &Item, label: &str) -> Result<(), ProviderError> {
    match item.fields.iter().filter(|field| field.label == label).count() {
        1 => Ok(()),
        count => Err(ProviderError::Count(format!(
            "expected one 1Password ItemField matching: '{label}' in '{}', got {count}",
            item.title
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_says_what_is_meant() {
        assert_eq!(property(&Category::Login, "user"), Property::Field("user"));
        assert_eq!(property(&Category::Login, "file/a.pem"), Property::File("a.pem"));
        assert_eq!(property(&Category::Document, "a.pem"), Property::File("a.pem"));
        assert_eq!(property(&Category::Document, "field/note"), Property::Field("note"));
    }
}
