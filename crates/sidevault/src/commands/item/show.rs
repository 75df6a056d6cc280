//! An item for eyes.

use sidevault_model::filter::fold;
use sidevault_model::{Field, FieldType, Item, Purpose};

use crate::exit::Failure;
use crate::output::{self, Table};

/// Stands for a value that is not shown. Always as long: the length is nobody's business either.
const CONCEALED: &str = "********";

/// Prints the whole item; concealed values only if asked to.
pub(super) fn item(item: &Item, reveal: bool) -> Result<(), Failure> {
    output::line(&format!("id        {}", item.id))?;
    output::line(&format!("title     {}", output::printable(&item.title)))?;
    output::line(&format!("vault     {}", item.vault))?;
    output::line(&format!("category  {}", item.category))?;
    output::line(&format!("version   {}", item.version))?;
    output::line(&format!("updated   {}", item.updated_at))?;
    if !item.tags.is_empty() {
        output::line(&format!("tags      {}", output::printable(&item.tags.join(", "))))?;
    }
    for url in &item.urls {
        output::line(&format!("url       {}", output::printable(&url.href)))?;
    }
    for file in &item.files {
        output::line(&format!("file      {} {}", file.id, output::printable(&file.name)))?;
    }
    output::line("")?;
    let mut table = Table::new(["SECTION", "FIELD", "TYPE", "VALUE"]);
    for field in &item.fields {
        let value = match field.value.is_empty() || reveal || !is_concealed(field) {
            true => field.value.as_str(),
            false => CONCEALED,
        };
        table.row([
            section(item, field).to_owned(),
            field.label.clone(),
            field.field_type.to_string(),
            value.to_owned(),
        ]);
    }
    table.print()
}

fn is_concealed(field: &Field) -> bool {
    let hidden = [
        FieldType::Concealed,
        FieldType::Otp,
        FieldType::SshKey,
        FieldType::CreditCardNumber,
    ];
    hidden.contains(&field.field_type) || field.purpose == Some(Purpose::Password)
}

fn section<'a>(item: &'a Item, field: &Field) -> &'a str {
    let Some(section) = &field.section else { return "" };
    item.sections
        .iter()
        .find(|declared| declared.id == section.id)
        .map_or("", |declared| declared.label.as_str())
}

/// Prints one value as it is, and nothing else.
pub(super) fn field(item: &Item, label: &str) -> Result<(), Failure> {
    output::line(&find(item, label)?.value)
}

/// The one field with this label, in whatever case, or id.
pub(super) fn find<'a>(item: &'a Item, label: &str) -> Result<&'a Field, Failure> {
    let exact = item
        .fields
        .iter()
        .filter(|field| field.label == label)
        .collect::<Vec<_>>();
    let by_id = || item.fields.iter().filter(|field| field.id == label).collect::<Vec<_>>();
    let folded = || {
        let wanted = fold(label);
        item.fields
            .iter()
            .filter(|field| fold(&field.label) == wanted)
            .collect::<Vec<_>>()
    };
    let found = [exact, by_id(), folded()].into_iter().find(|found| !found.is_empty());
    match found.as_deref() {
        Some([field]) => Ok(field),
        Some(_) => Err(Failure::Conflict(
            "several fields have this label: say which by its id (sidevault item get --json)".to_owned(),
        )),
        None => Err(Failure::NotFound(format!(
            "field \"{}\" not found in item {}",
            output::printable(label),
            item.id
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sidevault_model::{ItemId, VaultId};

    use super::*;

    fn item(fields: &[(&str, &str)]) -> Item {
        let mut json = serde_json::json!({
            "id": ItemId::from_digest(&[1; 32]).to_string(),
            "title": "t",
            "vault": {"id": VaultId::from_digest(&[2; 32]).to_string()},
            "category": "LOGIN",
            "fields": [],
        });
        for (id, label) in fields {
            json["fields"]
                .as_array_mut()
                .unwrap()
                .push(serde_json::json!({"id": id, "label": label, "value": id}));
        }
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_label_is_preferred_to_an_id_and_the_exact_case_to_another() {
        let item = item(&[("1", "Host"), ("2", "host"), ("host", "x"), ("3", "Port")]);
        assert_eq!(find(&item, "host").unwrap().id, "2");
        assert_eq!(find(&item, "3").unwrap().id, "3");
        assert_eq!(find(&item, "PORT").unwrap().id, "3");
        assert_eq!(find(&item, "HOST").unwrap_err().code(), 5);
        assert_eq!(find(&item, "none").unwrap_err().code(), 3);
    }
}
