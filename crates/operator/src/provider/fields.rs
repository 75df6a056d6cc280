//! The values of an item's fields.

use std::collections::HashMap;

use sidevault_model::{Field, Item, remote_ref};

use super::ProviderError;
use crate::values::Values;

/// The value of the one field with this label; an empty label stands for `password`.
///
/// # Errors
/// [`ProviderError::Count`] unless exactly one field has the label, because any choice could be the wrong one.
pub(super) fn field(item: &Item, label: &str) -> Result<Vec<u8>, ProviderError> {
    match remote_ref::only_field(item, label) {
        Ok(field) => Ok(field.value.clone().into_bytes()),
        Err(count) => Err(not_one(item, remote_ref::label(label), count)),
    }
}

/// The values of all fields by label, or of the fields with one label if `label` is not empty. Leaves out fields whose
/// label `is_wanted` does not accept.
///
/// # Errors
/// [`ProviderError::Count`] if two of the fields have the same label, whether it is wanted or not.
pub(super) fn fields(item: &Item, label: &str, is_wanted: impl FnMut(&str) -> bool) -> Result<Values, ProviderError> {
    fields_with(item, label, is_wanted, |field| &field.label)
}

/// `label_of` lets a test count how often a label is read.
fn fields_with<'a>(
    item: &'a Item,
    label: &str,
    mut is_wanted: impl FnMut(&str) -> bool,
    label_of: impl Fn(&'a Field) -> &'a str,
) -> Result<Values, ProviderError> {
    let by_label = FieldsByLabel::with(&item.fields, &label_of);
    let mut values = Values::new();
    for field in &item.fields {
        let found = label_of(field);
        if !label.is_empty() && found != label {
            continue;
        }
        by_label.only(found).map_err(|count| not_one(item, found, count))?;
        if is_wanted(found) {
            values.insert(found.to_owned(), field.value.clone().into_bytes());
        }
    }
    Ok(values)
}

/// The fields of an item by label. Built in one pass, so that work on all fields of an item takes time linear in their
/// number.
pub(super) struct FieldsByLabel<'a>(HashMap<&'a str, (&'a Field, usize)>);

impl<'a> FieldsByLabel<'a> {
    pub(super) fn new(item: &'a Item) -> Self {
        Self::with(&item.fields, |field| &field.label)
    }

    fn with(fields: &'a [Field], label_of: impl Fn(&'a Field) -> &'a str) -> Self {
        let mut by_label = HashMap::with_capacity(fields.len());
        for field in fields {
            by_label.entry(label_of(field)).or_insert((field, 0)).1 += 1;
        }
        Self(by_label)
    }

    /// The one field with this label.
    ///
    /// # Errors
    /// How many fields have the label, if that is not one.
    pub(super) fn only(&self, label: &str) -> Result<&'a Field, usize> {
        match self.0.get(label) {
            Some((field, 1)) => Ok(field),
            Some((_, count)) => Err(*count),
            None => Err(0),
        }
    }
}

fn not_one(item: &Item, label: &str, count: usize) -> ProviderError {
    ProviderError::Count(format!(
        "expected one 1Password ItemField matching: '{label}' in '{}', got {count}",
        item.title
    ))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// An item whose fields have these labels, and the label as the value.
    fn item(labels: &[String]) -> Item {
        let fields: Vec<serde_json::Value> = labels
            .iter()
            .map(|label| serde_json::json!({ "id": label, "label": label, "value": label, "type": "STRING" }))
            .collect();
        serde_json::from_value(serde_json::json!({
            "id": "aaaaaaaaaaaaaaaaaaaaaaaaaa", "vault": { "id": "vvvvvvvvvvvvvvvvvvvvvvvvvv" }, "title": "db",
            "category": "SERVER", "fields": fields,
        }))
        .unwrap()
    }

    #[test]
    fn a_label_must_be_unique() {
        let item = item(&["a", "b", "b"].map(str::to_owned));
        let error = |label| fields(&item, label, |_| true).unwrap_err().to_string();
        let twice = "expected one 1Password ItemField matching: 'b' in 'db', got 2";
        assert_eq!(error(""), twice);
        assert_eq!(error("b"), twice);
        assert_eq!(field(&item, "b").unwrap_err().to_string(), twice);
        assert_eq!(
            field(&item, "").unwrap_err().to_string(),
            "expected one 1Password ItemField matching: 'password' in 'db', got 0"
        );
        assert_eq!(fields(&item, "a", |_| true).unwrap().len(), 1);
        assert_eq!(field(&item, "a").unwrap(), b"a");
    }

    #[test]
    fn twice_as_many_fields_are_read_with_twice_as_many_steps() {
        let steps = |count: usize| {
            let labels: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            let (item, steps) = (item(&labels), Cell::new(0));
            let values = fields_with(
                &item,
                "",
                |_| true,
                |field| {
                    steps.set(steps.get() + 1);
                    &field.label
                },
            );
            assert_eq!(values.unwrap().len(), count);
            steps.get()
        };
        assert_eq!(steps(2000), 2 * steps(1000));
    }
}
