//! Vaults and items in `op`'s JSON, whose members are in snake_case.

use serde_json::{Map, Value, json};
use sidevault_model::reference::{Reference, field_section, is_plain};
use sidevault_model::{Field, FieldType, File, Item, Purpose, SectionRef, Timestamp, Vault, totp};

/// A vault in a list.
pub(super) fn vault_entry(vault: &Vault) -> Value {
    json!({
        "id": vault.id,
        "name": vault.name,
        "content_version": vault.content_version,
        "created_at": vault.created_at,
        "updated_at": vault.updated_at,
        "items": vault.items,
    })
}

/// A vault alone.
pub(super) fn vault(vault: &Vault) -> Value {
    let mut shown = vault_entry(vault);
    shown["description"] = vault.description.clone().unwrap_or_default().into();
    shown["attribute_version"] = vault.attribute_version.into();
    shown["type"] = vault.vault_type.as_str().into();
    shown
}

/// An item in a list, without its fields.
pub(super) fn summary(item: &Item, vault: &Vault) -> Value {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(item.id));
    shown.insert("title".to_owned(), json!(item.title));
    if item.favorite {
        shown.insert("favorite".to_owned(), json!(true));
    }
    if !item.tags.is_empty() {
        shown.insert("tags".to_owned(), json!(item.tags));
    }
    shown.insert("version".to_owned(), json!(item.version));
    shown.insert("vault".to_owned(), json!({"id": vault.id, "name": vault.name}));
    shown.insert("category".to_owned(), json!(item.category));
    if let Some(state) = item.state {
        shown.insert("state".to_owned(), json!(state));
    }
    shown.insert("last_edited_by".to_owned(), json!(item.last_edited_by));
    shown.insert("created_at".to_owned(), json!(item.created_at));
    shown.insert("updated_at".to_owned(), json!(item.updated_at));
    let username = item
        .fields
        .iter()
        .find(|field| field.purpose == Some(Purpose::Username));
    if let Some(username) = username.filter(|username| !username.value.is_empty()) {
        shown.insert("additional_information".to_owned(), json!(username.value));
    }
    if !item.urls.is_empty() {
        let url = |url: &sidevault_model::Url| {
            let mut shown = Map::new();
            if let Some(label) = url.label.as_deref().filter(|label| !label.is_empty()) {
                shown.insert("label".to_owned(), json!(label));
            }
            if url.primary {
                shown.insert("primary".to_owned(), json!(true));
            }
            shown.insert("href".to_owned(), json!(url.href));
            Value::Object(shown)
        };
        shown.insert("urls".to_owned(), item.urls.iter().map(url).collect());
    }
    Value::Object(shown)
}

/// An item with its fields.
pub(super) fn item(item: &Item, vault: &Vault) -> Value {
    let mut shown = summary(item, vault);
    if !item.sections.is_empty() {
        let section = |section: &sidevault_model::Section| match section.label.as_str() {
            "" => json!({"id": section.id}),
            label => json!({"id": section.id, "label": label}),
        };
        shown["sections"] = item.sections.iter().map(section).collect();
    }
    shown["fields"] = item.fields.iter().map(|one| field(one, item, vault)).collect();
    if !item.files.is_empty() {
        shown["files"] = item.files.iter().map(|one| file(one, item)).collect();
    }
    shown
}

/// A field, with the reference that names it and the current one-time password.
pub(super) fn field(field: &Field, item: &Item, vault: &Vault) -> Value {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(field.id));
    if let Some(section) = section(field.section.as_ref(), item) {
        shown.insert("section".to_owned(), section);
    }
    shown.insert("type".to_owned(), json!(field.field_type));
    if let Some(purpose) = field.purpose {
        shown.insert("purpose".to_owned(), json!(purpose));
    }
    shown.insert("label".to_owned(), json!(field.label));
    if !field.value.is_empty() {
        shown.insert("value".to_owned(), json!(field.value));
    }
    if let Some(entropy) = field.entropy {
        shown.insert("entropy".to_owned(), json!(entropy));
    }
    if field.field_type == FieldType::Otp
        && let Some(code) = totp::code(&field.value, Timestamp::now())
    {
        shown.insert("totp".to_owned(), json!(code));
    }
    shown.insert("reference".to_owned(), json!(reference(field, item, vault).to_string()));
    if let Some(details) = &field.password_details {
        shown.insert("password_details".to_owned(), json!({"history": details.history}));
    }
    Value::Object(shown)
}

fn file(file: &File, item: &Item) -> Value {
    let mut shown = json!({
        "id": file.id,
        "name": file.name,
        "size": file.size,
        "content_path": file.content_path,
    });
    if let Some(section) = section(file.section.as_ref(), item) {
        shown["section"] = section;
    }
    shown
}

fn section(section: Option<&SectionRef>, item: &Item) -> Option<Value> {
    let section = section?;
    let label = field_section(item, Some(section)).map(|known| known.label.as_str());
    Some(match label.or(section.label.as_deref()) {
        None | Some("") => json!({"id": section.id}),
        Some(label) => json!({"id": section.id, "label": label}),
    })
}

/// The reference to a field: by names, or by ids where a name has characters that references don't.
pub(super) fn reference(field: &Field, item: &Item, vault: &Vault) -> Reference {
    let name = |name: &str, id: &str| {
        let is_usable = !name.is_empty() && name.chars().all(is_plain);
        if is_usable || id.is_empty() {
            name.to_owned()
        } else {
            id.to_owned()
        }
    };
    let section = field.section.as_ref().map(|section| {
        let label = field_section(item, Some(section)).map_or("", |known| known.label.as_str());
        name(label, &section.id)
    });
    Reference::to_field(
        &name(&vault.name, vault.id.as_str()),
        &name(&item.title, item.id.as_str()),
        section.as_deref(),
        &name(&field.label, &field.id),
    )
}
