//! Computes the PATCH operations of a write to an item. No I/O.

use std::collections::HashSet;

use serde_json::{Value, json};
use sidevault_model::patch::{Op, Operation, escape};
use sidevault_model::remote_ref::label;
use sidevault_model::{Field, FieldInput, FieldType, Item, ItemInput, Purpose, VaultId};

use super::{Put, UPDATE};
use crate::provider::ProviderError;
use crate::provider::fields::FieldsByLabel;

/// The category of new items, as External Secrets sets it.
const CATEGORY: &str = "SERVER";

/// The item that is created if none exists.
pub(super) fn new_item(vault: VaultId, put: &Put) -> ItemInput {
    let field = |(property, value): &(String, String)| FieldInput {
        field_type: Some(FieldType::Concealed),
        label: Some(label(property).to_owned()),
        value: Some(value.clone()),
        ..FieldInput::default()
    };
    ItemInput {
        title: Some(put.title.clone()),
        vault: Some(vault.to_string()),
        category: Some(CATEGORY.to_owned()),
        tags: put.metadata.tags.clone().unwrap_or_default(),
        fields: put.values.iter().map(field).collect(),
        ..ItemInput::default()
    }
}

/// The operations that write the values and tags of `put` to an existing item. Empty if the item already has them.
///
/// # Errors
/// [`ProviderError::Count`] if several fields have the label of a value.
pub(super) fn update(item: &Item, put: &Put) -> Result<Vec<Operation>, ProviderError> {
    let mut operations = Vec::new();
    let by_label = FieldsByLabel::new(item);
    for (property, value) in &put.values {
        let field = at_most_one(item, &by_label, label(property))?;
        if put.only_missing && (property.is_empty() || field.is_some()) {
            continue;
        }
        match field {
            Some(field) if field.value == *value => {}
            Some(field) => {
                let path = format!("/fields/{}/value", escape(&field.id));
                operations.push(operation(Op::Replace, path, Some(json!(value))));
            }
            None => {
                let field = json!({ "label": label(property), "type": FieldType::Concealed, "value": value });
                operations.push(operation(Op::Add, "/fields".to_owned(), Some(field)));
            }
        }
    }
    if let Some(tags) = &put.metadata.tags
        && *tags != item.tags
        && !(put.only_missing && operations.is_empty())
    {
        // `replace` needs a target that exists (RFC 6902, 4.3).
        let op = if item.tags.is_empty() { Op::Add } else { Op::Replace };
        operations.push(operation(op, "/tags".to_owned(), Some(json!(tags))));
    }
    Ok(operations)
}

/// How values are removed from an item.
#[derive(Debug, PartialEq)]
pub(super) enum Withdrawal {
    /// The item has none of the fields.
    Nothing,
    /// The operations remove the fields.
    Fields(Vec<Operation>),
    /// The item is deleted, because nothing else is left in it.
    Item,
}

/// Computes how the fields of these properties are removed from an item.
///
/// # Errors
/// [`ProviderError::Count`] if several fields have the label of a property.
pub(super) fn withdraw(item: &Item, properties: &[&str]) -> Result<Withdrawal, ProviderError> {
    let by_label = FieldsByLabel::new(item);
    let mut removed: Vec<&Field> = Vec::new();
    // Labels in `removed` are unique in the item.
    let mut labels: HashSet<&str> = HashSet::new();
    for property in properties {
        if let Some(field) = at_most_one(item, &by_label, label(property))?
            && labels.insert(&field.label)
        {
            removed.push(field);
        }
    }
    if removed.is_empty() {
        return Ok(Withdrawal::Nothing);
    }
    // Servers give every item a notes field, and give fields without a section one without id and label.
    let is_blank = |field: &Field| field.purpose == Some(Purpose::Notes) && field.value.is_empty();
    let keeps_fields = item
        .fields
        .iter()
        .any(|field| !labels.contains(field.label.as_str()) && !is_blank(field));
    let keeps_sections = match item.sections.as_slice() {
        [] => false,
        [only] => !(only.id.is_empty() && only.label.is_empty()),
        _ => true,
    };
    if !keeps_fields && !keeps_sections && item.files.is_empty() {
        return Ok(Withdrawal::Item);
    }
    let remove = |field: &Field| operation(Op::Remove, format!("/fields/{}", escape(&field.id)), None);
    Ok(Withdrawal::Fields(removed.into_iter().map(remove).collect()))
}

/// The field with this label, if there is one.
fn at_most_one<'a>(item: &Item, by_label: &FieldsByLabel<'a>, label: &str) -> Result<Option<&'a Field>, ProviderError> {
    match by_label.only(label) {
        Ok(field) => Ok(Some(field)),
        Err(0) => Ok(None),
        Err(count) => Err(ProviderError::Count(format!(
            "{UPDATE}: expected one 1Password ItemField matching: '{label}' in '{}', got {count}",
            item.title
        ))),
    }
}

fn operation(op: Op, path: String, value: Option<Value>) -> Operation {
    Operation { op, path, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(fields: Value) -> Item {
        serde_json::from_value(json!({
            "id": "aaaaaaaaaaaaaaaaaaaaaaaaaa", "vault": { "id": "vvvvvvvvvvvvvvvvvvvvvvvvvv" }, "title": "db",
            "category": "SERVER", "tags": ["old"], "fields": fields,
        }))
        .unwrap()
    }

    fn field(id: &str, label: &str, value: &str) -> Value {
        json!({ "id": id, "label": label, "value": value, "type": "CONCEALED" })
    }

    fn put(values: &[(&str, &str)]) -> Put {
        Put {
            title: "db".to_owned(),
            values: values
                .iter()
                .map(|(property, value)| ((*property).to_owned(), (*value).to_owned()))
                .collect(),
            ..Put::default()
        }
    }

    fn shown(operations: &[Operation]) -> Value {
        serde_json::to_value(operations).unwrap()
    }

    #[test]
    fn unchanged_values_are_not_written() {
        let item = item(json!([field("p/1", "password", "a"), field("2", "user", "u")]));
        assert!(update(&item, &put(&[("", "a"), ("user", "u")])).unwrap().is_empty());
        let operations = update(&item, &put(&[("", "b"), ("user", "u"), ("port", "5")])).unwrap();
        let expected = json!([
            { "op": "replace", "path": "/fields/p~11/value", "value": "b" },
            { "op": "add", "path": "/fields", "value": { "label": "port", "type": "CONCEALED", "value": "5" } },
        ]);
        assert_eq!(shown(&operations), expected);
    }

    #[test]
    fn tags_replace_the_tags_of_the_item() {
        let mut item = item(json!([field("1", "password", "a")]));
        let mut put = put(&[("", "a")]);
        put.metadata.tags = Some(vec!["new".to_owned()]);
        let replace = json!([{ "op": "replace", "path": "/tags", "value": ["new"] }]);
        assert_eq!(shown(&update(&item, &put).unwrap()), replace);
        item.tags.clear();
        assert_eq!(shown(&update(&item, &put).unwrap())[0]["op"], "add");
        item.tags = vec!["new".to_owned()];
        assert!(update(&item, &put).unwrap().is_empty());
    }

    #[test]
    fn only_missing_keeps_existing_values() {
        let item = item(json!([field("1", "user", "a")]));
        let mut put = put(&[("", "x"), ("user", "x"), ("port", "5")]);
        put.only_missing = true;
        put.metadata.tags = Some(vec!["new".to_owned()]);
        let operations = update(&item, &put).unwrap();
        assert_eq!(shown(&operations)[0]["value"]["label"], "port");
        assert_eq!(operations.len(), 2, "the port and the tags");
        put.values.truncate(2);
        assert!(
            update(&item, &put).unwrap().is_empty(),
            "an existing item counts as having the default value"
        );
    }

    #[test]
    fn a_label_of_two_fields_is_an_error() {
        let item = item(json!([field("1", "user", "a"), field("2", "user", "b")]));
        let error = update(&item, &put(&[("user", "x")])).unwrap_err().to_string();
        assert!(
            error.ends_with("expected one 1Password ItemField matching: 'user' in 'db', got 2"),
            "{error}"
        );
        assert!(withdraw(&item, &["user"]).is_err());
    }

    #[test]
    fn an_item_without_other_content_is_deleted() {
        let two = item(json!([field("1", "password", "a"), field("2", "user", "u")]));
        assert_eq!(withdraw(&two, &["other"]).unwrap(), Withdrawal::Nothing);
        let Withdrawal::Fields(operations) = withdraw(&two, &["", "password"]).unwrap() else {
            panic!()
        };
        assert_eq!(shown(&operations), json!([{ "op": "remove", "path": "/fields/1" }]));
        assert_eq!(withdraw(&two, &["", "user"]).unwrap(), Withdrawal::Item);
        let notes = json!({ "id": "notesPlain", "label": "notesPlain", "type": "STRING", "purpose": "NOTES" });
        let mut noted = item(json!([field("1", "password", "a"), notes]));
        assert_eq!(withdraw(&noted, &[""]).unwrap(), Withdrawal::Item);
        noted.fields[1].value = "remember".to_owned();
        assert!(matches!(withdraw(&noted, &[""]).unwrap(), Withdrawal::Fields(_)));
    }
}
