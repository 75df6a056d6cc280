//! Prints an item, or one of its fields, for people.

use sidevault_model::filter::fold;
use sidevault_model::reference::field_section;
use sidevault_model::{Field, FieldType, Item, Purpose, Timestamp, totp};

use crate::exit::Failure;
use crate::fields::FieldName;
use crate::output::{self, Table};

/// Stands for a concealed value. It has the same length for every value, so that it does not tell the value's length.
const CONCEALED: &str = "********";

/// Prints the whole item; concealed values only with `reveal`. `vault` is the vault's name and id.
pub(crate) fn item(item: &Item, vault: &str, reveal: bool) -> Result<(), Failure> {
    output::line(&format!("id        {}", item.id))?;
    output::line(&format!("title     {}", sidevault_model::printable(&item.title)))?;
    output::line(&format!("vault     {vault}"))?;
    output::line(&format!("category  {}", item.category))?;
    output::line(&format!("version   {}", item.version))?;
    output::line(&format!("updated   {}", item.updated_at))?;
    if !item.tags.is_empty() {
        output::line(&format!(
            "tags      {}",
            sidevault_model::printable(&item.tags.join(", "))
        ))?;
    }
    for url in &item.urls {
        output::line(&format!("url       {}", sidevault_model::printable(&url.href)))?;
    }
    for file in &item.files {
        output::line(&format!(
            "file      {} {}",
            file.id,
            sidevault_model::printable(&file.name)
        ))?;
    }
    output::line("")?;
    let mut table = Table::new(["SECTION", "FIELD", "TYPE", "VALUE"]);
    for field in &item.fields {
        let value = if is_concealed(field) && !reveal && !field.value.is_empty() {
            CONCEALED
        } else {
            &field.value
        };
        table.row([
            section_of(item, field).to_owned(),
            field.label.clone(),
            field.field_type.to_string(),
            value.to_owned(),
        ]);
    }
    table.print()
}

pub(crate) fn is_concealed(field: &Field) -> bool {
    let hidden = [
        FieldType::Concealed,
        FieldType::Otp,
        FieldType::SshKey,
        FieldType::CreditCardNumber,
    ];
    hidden.contains(&field.field_type) || field.purpose == Some(Purpose::Password)
}

/// The label of a field's section, empty for a field outside any section.
pub(crate) fn section_of<'a>(item: &'a Item, field: &Field) -> &'a str {
    field_section(item, field.section.as_ref()).map_or("", |section| section.label.as_str())
}

/// The current one-time password of the item's first field that gives one.
pub(crate) fn one_time_password(item: &Item) -> Result<String, Failure> {
    let fields = item.fields.iter().filter(|field| field.field_type == FieldType::Otp);
    let code = fields
        .filter_map(|field| totp::code(&field.value, Timestamp::now()))
        .next();
    code.ok_or_else(|| {
        Failure::NotFound(format!(
            "item {} \"{}\" has no field with one-time passwords",
            item.id,
            sidevault_model::printable(&item.title)
        ))
    })
}

/// Prints the value of the field with this name as it is, and nothing else.
pub(crate) fn field(item: &Item, name: &str) -> Result<(), Failure> {
    output::line(&find(item, &FieldName::parse(name))?.value)
}

/// The only field that fits best: one with this label, in this case; else the field with this id; else a label in
/// another case; else a section and a label.
pub(crate) fn find<'a>(item: &'a Item, name: &FieldName) -> Result<&'a Field, Failure> {
    let (whole, folded) = (name.whole.as_str(), fold(&name.whole));
    let section = name.section.as_deref().map(fold);
    let label = fold(&name.label);
    let rules: [&dyn Fn(&Field) -> bool; 4] = [
        &|field| field.label == whole,
        &|field| field.id == whole,
        &|field| fold(&field.label) == folded,
        &|field| {
            let found = section.as_deref();
            fold(&field.label) == label && found.is_some_and(|found| fold(section_of(item, field)) == found)
        },
    ];
    let fitting =
        |rule: &&dyn Fn(&Field) -> bool| -> Vec<&'a Field> { item.fields.iter().filter(|field| rule(field)).collect() };
    let found = rules.iter().map(fitting).find(|found| !found.is_empty());
    let shown = sidevault_model::printable(whole);
    match found.as_deref() {
        Some([field]) => Ok(field),
        Some(several) => {
            let ids: Vec<String> = several
                .iter()
                .map(|field| sidevault_model::printable(&field.id))
                .collect();
            Err(Failure::Conflict(format!(
                "several fields of item {} are named \"{shown}\": use SECTION.LABEL, or the id of one of them ({})",
                item.id,
                ids.join(", ")
            )))
        }
        None => Err(Failure::NotFound(format!(
            "field \"{shown}\" not found in item {} \"{}\"; it has {}",
            item.id,
            sidevault_model::printable(&item.title),
            labels(item)
        ))),
    }
}

/// The labels of an item's fields, the first 20, for a message.
fn labels(item: &Item) -> String {
    const SHOWN: usize = 20;
    let mut labels: Vec<String> = item
        .fields
        .iter()
        .take(SHOWN)
        .map(|field| match section_of(item, field) {
            "" => sidevault_model::printable(&field.label),
            section => sidevault_model::printable(&format!("{section}.{}", field.label)),
        })
        .collect();
    match item.fields.len() {
        0 => "no fields".to_owned(),
        all if all > SHOWN => {
            labels.push(format!("and {} more", all - SHOWN));
            labels.join(", ")
        }
        _ => labels.join(", "),
    }
}

#[cfg(test)]
mod tests {
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

    fn found(item: &Item, name: &str) -> Result<String, u8> {
        find(item, &FieldName::parse(name))
            .map(|field| field.id.clone())
            .map_err(|failure| failure.code())
    }

    #[test]
    fn a_label_is_preferred_to_an_id_and_the_exact_case_to_another() {
        let item = item(&[("1", "Host"), ("2", "host"), ("host", "x"), ("3", "Port")]);
        assert_eq!(found(&item, "host").unwrap(), "2");
        assert_eq!(found(&item, "3").unwrap(), "3");
        assert_eq!(found(&item, "PORT").unwrap(), "3");
        assert_eq!(found(&item, "HOST"), Err(5));
        assert_eq!(found(&item, "none"), Err(3));
    }

    #[test]
    fn a_field_is_found_by_section_and_label_and_a_label_may_hold_a_dot() {
        let mut item = item(&[("1", "host"), ("2", "host"), ("3", "tls.crt")]);
        item.sections = serde_json::from_value(serde_json::json!([{"id": "s", "label": "Replica"}])).unwrap();
        item.fields[1].section = serde_json::from_value(serde_json::json!({"id": "s"})).unwrap();
        assert_eq!(found(&item, "replica.HOST").unwrap(), "2");
        assert_eq!(found(&item, "tls.crt").unwrap(), "3");
        assert_eq!(found(&item, "tls\\.crt").unwrap(), "3");
        assert_eq!(found(&item, "primary.host"), Err(3));
    }

    #[test]
    fn several_hits_are_named_by_their_ids() {
        let item = item(&[("a1", "host"), ("b2", "host")]);
        let message = find(&item, &FieldName::parse("host")).unwrap_err().to_string();
        assert!(message.contains("a1, b2"), "{message}");
    }
}
