//! What a write does to an item: pure.

use serde_json::{Value, json};
use sidevault_model::patch::{Op, Operation};
use sidevault_model::{Field, FieldInput, FieldType, Item, ItemInput, Purpose, VaultId};

use super::{Put, UPDATE};
use crate::provider::ProviderError;

/// The label of a value that says none.
const PASSWORD: &str = "password";
/// The category of new items.
const CATEGORY: &str = "SERVER";

/// The label of a property.
pub(crate) fn label(property: &str) -> &str {
    if property.is_empty() { PASSWORD } else { property }
}

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

/// What is to be done to an item that is there.
pub(super) fn update(item: &Item, put: &Put) -> Result<Vec<Operation>, ProviderError> {
    let mut operations = Vec::new();
    for (property, value) in &put.values {
        let field = only(item, label(property))?;
        if put.only_missing && (property.is_empty() || field.is_some()) {
            continue;
        }
        match field {
            Some(field) if field.value == *value => {}
            Some(field) => {
                let path = format!("/fields/{}/value", pointer(&field.id));
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
        // There is nothing to replace where there is no tag.
        let op = if item.tags.is_empty() { Op::Add } else { Op::Replace };
        operations.push(operation(op, "/tags".to_owned(), Some(json!(tags))));
    }
    Ok(operations)
}

/// What taking values out of an item comes to.
#[derive(Debug, PartialEq)]
pub(super) enum Withdrawal {
    /// They are not there.
    Nothing,
    /// Fields go.
    Fields(Vec<Operation>),
    /// Nothing would be left of it.
    Item,
}

/// What is to be done so that values are gone.
pub(super) fn withdraw(item: &Item, properties: &[&str]) -> Result<Withdrawal, ProviderError> {
    let mut gone: Vec<&Field> = Vec::new();
    for property in properties {
        if let Some(field) = only(item, label(property))?
            && !gone.contains(&field)
        {
            gone.push(field);
        }
    }
    if gone.is_empty() {
        return Ok(Withdrawal::Nothing);
    }
    // Servers give every item notes, and a section without id and label to fields that have none.
    let is_blank = |field: &Field| field.purpose == Some(Purpose::Notes) && field.value.is_empty();
    let fields = item
        .fields
        .iter()
        .any(|field| !gone.contains(&field) && !is_blank(field));
    let sections = match item.sections.as_slice() {
        [] => false,
        [only] => !(only.id.is_empty() && only.label.is_empty()),
        _ => true,
    };
    if !fields && !sections && item.files.is_empty() {
        return Ok(Withdrawal::Item);
    }
    let remove = |field: &Field| operation(Op::Remove, format!("/fields/{}", pointer(&field.id)), None);
    Ok(Withdrawal::Fields(gone.into_iter().map(remove).collect()))
}

/// The one field with a label, if there is any.
fn only<'a>(item: &'a Item, label: &str) -> Result<Option<&'a Field>, ProviderError> {
    let mut fields = item.fields.iter().filter(|field| field.label == label);
    match (fields.next(), fields.count()) {
        (field, 0) => Ok(field),
        (_, more) => Err(ProviderError::Count(format!(
            "{UPDATE}: expected one 1Password ItemField matching: '{label}' in '{}', got {}",
            item.title,
            more + 1
        ))),
    }
}

fn operation(op: Op, path: String, value: Option<Value>) -> Operation {
    Operation { op, path, value }
}

/// JSON Pointer's escapes (RFC 6901).
fn pointer(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
    fn only_what_differs_is_written() {
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
    fn tags_take_the_place_of_those_that_are_there() {
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
    fn what_is_there_stays_if_only_missing_values_are_wanted() {
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
            "an item that is there has its usual value"
        );
    }

    #[test]
    fn a_label_that_is_there_twice_is_an_error() {
        let item = item(json!([field("1", "user", "a"), field("2", "user", "b")]));
        let error = update(&item, &put(&[("user", "x")])).unwrap_err().to_string();
        assert!(
            error.ends_with("expected one 1Password ItemField matching: 'user' in 'db', got 2"),
            "{error}"
        );
        assert!(withdraw(&item, &["user"]).is_err());
    }

    #[test]
    fn an_emptied_item_goes_and_another_loses_its_fields() {
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
