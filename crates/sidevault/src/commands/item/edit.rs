//! `sidevault item edit`: sends only what the arguments name, so that changes by others stay.

use sidevault_model::patch::{Op, Operation, escape};
use sidevault_model::{FieldType, Item, SectionInput, recipe};

use super::{new_section, read_item, show, urls, written};
use crate::cli::ItemEdit;
use crate::exit::Failure;
use crate::fields::{self, Content, FieldArgument};
use crate::server::Server;

pub(super) async fn run(server: &Server, arguments: ItemEdit) -> Result<(), Failure> {
    let item = server.item(&arguments.vault.vault, &arguments.item).await?;
    let client = &server.client;
    let (changed, what) = if let Some(path) = &arguments.from_file {
        let mut input = read_item(path)?;
        input.id = Some(item.id.to_string());
        input.vault = Some(item.vault.to_string());
        (client.replace_item(item.vault, item.id, &input).await, "replaced")
    } else {
        let fields = fields::read(&arguments.fields, false)?;
        let operations = operations(&item, &arguments, &fields)?;
        if operations.is_empty() {
            return Err(Failure::Usage(
                "no change is named: use --title, --category, --tag, --url, --field or --from-file".to_owned(),
            ));
        }
        (client.patch_item(item.vault, item.id, &operations).await, "changed")
    };
    let answer = changed.map_err(|error| server.failure(error))?;
    // Connect answers a change with the version from before it.
    let changed = client.item(item.vault, item.id).await.unwrap_or(answer);
    written(&changed, what, arguments.json)
}

pub(crate) fn operations(
    item: &Item,
    arguments: &ItemEdit,
    fields: &[FieldArgument],
) -> Result<Vec<Operation>, Failure> {
    let mut operations = Vec::new();
    if let Some(title) = &arguments.title {
        operations.push(operation(Op::Replace, "/title", Some(title.as_str().into())));
    }
    if let Some(category) = &arguments.category {
        let word = category.to_ascii_uppercase();
        operations.push(operation(Op::Replace, "/category", Some(word.into())));
    }
    if !arguments.tags.is_empty() {
        operations.push(operation(Op::Replace, "/tags", Some(arguments.tags.as_slice().into())));
    }
    if !arguments.urls.is_empty() {
        let urls: Vec<_> = urls(arguments.urls.clone(), true).collect();
        operations.push(operation(Op::Replace, "/urls", Some(json(&urls)?)));
    }
    let mut sections: Vec<SectionInput> = item
        .sections
        .iter()
        .map(|section| SectionInput {
            id: Some(section.id.clone()),
            label: Some(section.label.clone()),
        })
        .collect();
    for field in fields {
        change(item, field, &mut sections, &mut operations)?;
    }
    Ok(operations)
}

fn change(
    item: &Item,
    argument: &FieldArgument,
    sections: &mut Vec<SectionInput>,
    operations: &mut Vec<Operation>,
) -> Result<(), Failure> {
    let present = match show::find(item, &argument.name) {
        Ok(field) => Some(field),
        Err(Failure::NotFound(_)) if argument.content != Content::Deleted => None,
        Err(failure) => return Err(failure),
    };
    let Some(field) = present else {
        let section = argument.name.section.as_ref().map(|label| {
            let known = sections.iter().find(|section| section.label.as_ref() == Some(label));
            known.cloned().unwrap_or_else(|| {
                let section = new_section(label);
                sections.push(section.clone());
                // The field below names the section, which is why the section comes first.
                operations.push(operation(Op::Add, "/sections", json(&section).ok()));
                section
            })
        });
        let input = json(&argument.to_input(section))?;
        operations.push(operation(Op::Add, "/fields", Some(input)));
        return Ok(());
    };
    let path = format!("/fields/{}", escape(&field.id));
    let (value, field_type) = match &argument.content {
        Content::Deleted => {
            operations.push(operation(Op::Remove, &path, None));
            return Ok(());
        }
        Content::Value { value, field_type } => (value.clone(), *field_type),
        // A server makes a value only for a field that has none.
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

fn json(value: &impl serde::Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(value).map_err(|error| Failure::Failed(error.to_string()))
}

fn operation(op: Op, path: &str, value: Option<serde_json::Value>) -> Operation {
    Operation {
        op,
        path: path.to_owned(),
        value,
    }
}

#[cfg(test)]
mod tests {
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
        let fields = fields::read(&[field.parse().unwrap()], false)?;
        let (mut sections, mut operations) = (Vec::new(), Vec::new());
        change(&item(), &fields[0], &mut sections, &mut operations)?;
        Ok(operations
            .iter()
            .map(|one| serde_json::to_string(one).unwrap())
            .collect())
    }

    #[test]
    fn a_present_field_is_changed_by_its_id() {
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
    fn a_missing_field_is_added_and_can_not_be_deleted() {
        assert!(changes("other=x").unwrap()[0].starts_with(r#"{"op":"add","path":"/fields","value":{"#));
        assert_eq!(changes("other[delete]=").unwrap_err().code(), 3);
    }

    #[test]
    fn a_missing_section_is_added_before_its_field() {
        let operations = changes("replica.host=db2").unwrap();
        assert!(operations[0].starts_with(r#"{"op":"add","path":"/sections","value":{"id":"section-"#));
        assert!(operations[1].contains(r#""label":"host""#) && operations[1].contains(r#""label":"replica""#));
    }
}
