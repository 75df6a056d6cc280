//! `sidevault item edit`: only what is named is sent, so that changes by others stay.

use sidevault_client::Client;
use sidevault_model::patch::{Op, Operation};
use sidevault_model::{FieldType, Item, recipe};

use super::{read_item, show, written};
use crate::cli::ItemEdit;
use crate::exit::Failure;
use crate::fields::{Content, FieldArgument};

pub(super) async fn run(client: &Client, arguments: ItemEdit) -> Result<(), Failure> {
    let item = client.resolve(&arguments.vault.vault, &arguments.item).await?;
    if let Some(path) = &arguments.from_file {
        let mut input = read_item(path)?;
        input.id = Some(item.id.to_string());
        input.vault = Some(item.vault.to_string());
        let changed = client.replace_item(item.vault, item.id, &input).await?;
        return written(&changed, "replaced", arguments.json);
    }
    let operations = operations(&item, &arguments)?;
    if operations.is_empty() {
        return Err(Failure::Usage(
            "nothing to change: say what with --title, --tag, --field or --from-file".to_owned(),
        ));
    }
    let changed = client.patch_item(item.vault, item.id, &operations).await?;
    written(&changed, "changed", arguments.json)
}

fn operations(item: &Item, arguments: &ItemEdit) -> Result<Vec<Operation>, Failure> {
    let mut operations = Vec::new();
    if let Some(title) = &arguments.title {
        operations.push(operation(Op::Replace, "/title", Some(title.as_str().into())));
    }
    if !arguments.tags.is_empty() {
        operations.push(operation(Op::Replace, "/tags", Some(arguments.tags.as_slice().into())));
    }
    for field in &arguments.fields {
        change(item, field, &mut operations)?;
    }
    Ok(operations)
}

fn change(item: &Item, argument: &FieldArgument, operations: &mut Vec<Operation>) -> Result<(), Failure> {
    let present = match show::find(item, &argument.label) {
        Ok(field) => Some(field),
        Err(Failure::NotFound(_)) if argument.content != Content::Deleted => None,
        Err(failure) => return Err(failure),
    };
    let Some(field) = present else {
        let input = serde_json::to_value(argument.to_input()).map_err(|error| Failure::Failed(error.to_string()))?;
        operations.push(operation(Op::Add, "/fields", Some(input)));
        return Ok(());
    };
    let path = format!("/fields/{}", escaped(&field.id));
    let (value, field_type) = match &argument.content {
        Content::Deleted => {
            operations.push(operation(Op::Remove, &path, None));
            return Ok(());
        }
        Content::Value { value, field_type } => (value.clone(), *field_type),
        // A server makes a value only where there is none.
        Content::Generated(recipe) => (
            recipe::generate(recipe, &mut rand::rng()).map_err(|invalid| Failure::Usage(invalid.to_string()))?,
            Some(FieldType::Concealed),
        ),
    };
    if let Some(field_type) = field_type.filter(|wanted| *wanted != field.field_type) {
        let word = field_type.as_str().into();
        operations.push(operation(Op::Replace, &format!("{path}/type"), Some(word)));
    }
    operations.push(operation(Op::Replace, &format!("{path}/value"), Some(value.into())));
    Ok(())
}

fn operation(op: Op, path: &str, value: Option<serde_json::Value>) -> Operation {
    Operation {
        op,
        path: path.to_owned(),
        value,
    }
}

/// RFC 6901, section 3.
fn escaped(id: &str) -> String {
    id.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sidevault_model::{ItemId, VaultId};

    use super::*;

    fn item() -> Item {
        serde_json::from_value(serde_json::json!({
            "id": ItemId::from_digest(&[1; 32]).to_string(),
            "title": "t",
            "vault": {"id": VaultId::from_digest(&[2; 32]).to_string()},
            "category": "LOGIN",
            "fields": [{"id": "a/b", "label": "key", "type": "STRING", "value": "old"}],
        }))
        .unwrap()
    }

    fn changes(field: &str) -> Result<Vec<String>, Failure> {
        let mut operations = Vec::new();
        change(&item(), &field.parse().unwrap(), &mut operations)?;
        Ok(operations
            .iter()
            .map(|one| serde_json::to_string(one).unwrap())
            .collect())
    }

    #[test]
    fn a_field_that_is_there_is_changed_by_its_id() {
        assert_eq!(
            changes("key=new").unwrap(),
            [r#"{"op":"replace","path":"/fields/a~1b/value","value":"new"}"#]
        );
        assert_eq!(changes("key[concealed]=new").unwrap().len(), 2);
        assert_eq!(
            changes("key[delete]=").unwrap(),
            [r#"{"op":"remove","path":"/fields/a~1b"}"#]
        );
    }

    #[test]
    fn a_field_that_is_not_there_is_added_but_not_deleted() {
        assert!(changes("other=x").unwrap()[0].starts_with(r#"{"op":"add","path":"/fields","value":{"#));
        assert_eq!(changes("other[delete]=").unwrap_err().code(), 3);
    }
}
