//! From a decrypted document to items: the rules a user can read in docs/directory.md.

use std::path::Path;

use sidevault_model::{Category, Field, FieldType, FileId, ItemId, Purpose, Section, SectionRef, VaultId};
use sidevault_sops::{Format, Value, scalar_text};

use super::secret;

/// An item as a file makes it: all but version, times and editor.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) id: ItemId,
    pub(crate) title: String,
    pub(crate) category: Category,
    pub(crate) sections: Vec<Section>,
    pub(crate) fields: Vec<Field>,
    pub(crate) files: Vec<DraftFile>,
}

/// A file of a draft. Its content is in the store already, under `content`.
#[derive(Clone)]
pub(crate) struct DraftFile {
    pub(crate) id: FileId,
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) content: FileId,
}

/// What a document says, before it has ids: those need the vault and the file's path.
pub(crate) struct Reading {
    /// The title, if the document has one of its own.
    pub(crate) title: Option<String>,
    pub(crate) sections: Vec<Section>,
    pub(crate) fields: Vec<Field>,
    /// Values that are not text, by name: they become files of the item.
    pub(crate) binaries: Vec<(String, Vec<u8>)>,
}

/// What the documents of one file say. Kubernetes manifests other than Secrets say nothing.
///
/// # Errors
/// Says what in the file can't become an item; never a value.
pub(crate) fn read_documents(documents: &[Value]) -> Result<Vec<Reading>, String> {
    let mut readings = Vec::new();
    for (n, document) in documents.iter().enumerate() {
        let at = |error: String| {
            if documents.len() > 1 {
                format!("document {}: {error}", n + 1)
            } else {
                error
            }
        };
        match document {
            Value::Null => {}
            Value::Mapping(entries) => match kind_of(entries) {
                Some("Secret") => readings.push(secret::read(entries).map_err(at)?),
                Some("List" | "SecretList") => {
                    if let Some(Value::Sequence(items)) = get(entries, "items") {
                        readings.extend(read_documents(items).map_err(at)?);
                    }
                }
                Some(_) => {}
                None => readings.push(read_mapping(entries)),
            },
            _ => return Err(at("the top level must be a mapping of names to values".to_owned())),
        }
    }
    Ok(readings)
}

/// The kind of a Kubernetes manifest; None if it is not one.
fn kind_of(entries: &[(String, Value)]) -> Option<&str> {
    get(entries, "apiVersion").and_then(text)?;
    get(entries, "kind").and_then(text)
}

pub(crate) fn get<'a>(entries: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// A field a key; a mapping becomes a section, and what is nested deeper gets dotted labels.
fn read_mapping(entries: &[(String, Value)]) -> Reading {
    let mut reading = Reading {
        title: None,
        sections: Vec::new(),
        fields: Vec::new(),
        binaries: Vec::new(),
    };
    for (key, value) in entries {
        match value {
            Value::Mapping(inner) if !inner.is_empty() => {
                reading.sections.push(Section {
                    id: key.clone(),
                    label: key.clone(),
                });
                add_nested(&mut reading, key, "", inner);
            }
            _ => add(&mut reading, None, key, value),
        }
    }
    reading
}

fn add_nested(reading: &mut Reading, section: &str, prefix: &str, entries: &[(String, Value)]) {
    for (key, value) in entries {
        let label = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            Value::Mapping(inner) if !inner.is_empty() => add_nested(reading, section, &label, inner),
            _ => add(reading, Some(section), &label, value),
        }
    }
}

fn add(reading: &mut Reading, section: Option<&str>, label: &str, value: &Value) {
    if let Value::Bytes(bytes) = value
        && std::str::from_utf8(bytes).is_err()
    {
        reading.binaries.push((label.to_owned(), bytes.clone()));
        return;
    }
    let id = section.map_or_else(|| label.to_owned(), |section| format!("{section}.{label}"));
    let mut field = Field::new(id, FieldType::Concealed, label, value_text(value));
    field.section = section.map(|id| SectionRef {
        id: id.to_owned(),
        label: Some(id.to_owned()),
    });
    reading.fields.push(field);
}

/// A scalar as it is written; a list or an empty mapping as JSON.
fn value_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Sequence(_) | Value::Mapping(_) => to_json(value).to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        scalar => scalar_text(scalar),
    }
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(_) | Value::Float(_) => {
            let text = scalar_text(value);
            serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))
        }
        Value::Sequence(values) => values.iter().map(to_json).collect(),
        Value::Mapping(entries) => serde_json::Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), to_json(value)))
                .collect(),
        ),
        other => value_text(other).into(),
    }
}

/// Category and purposes from the names: `username` and `password` make a LOGIN, a `password`
/// alone makes a PASSWORD, anything else is a SECURE_NOTE.
pub(crate) fn categorize(fields: &mut [Field]) -> Category {
    let top = |fields: &[Field], name: &str| {
        fields
            .iter()
            .position(|field| field.section.is_none() && field.label == name)
    };
    let (username, password) = (top(fields, "username"), top(fields, "password"));
    if let Some(n) = password {
        fields[n].purpose = Some(Purpose::Password);
    }
    if let Some(n) = username {
        fields[n].field_type = FieldType::String;
        fields[n].purpose = password.map(|_| Purpose::Username);
    }
    match (username, password) {
        (Some(_), Some(_)) => Category::Login,
        (None, Some(_)) => Category::Password,
        _ => Category::SecureNote,
    }
}

/// The title of a mapping: the file's name without its format, and without the `.sops` or `.enc`
/// that people put before it or behind it. `db.sops.yaml` is `db`, and so is `db.yaml.enc`.
pub(crate) fn stem(relative: &str) -> &str {
    let name = relative.rsplit('/').next().unwrap_or(relative);
    // A suffix that hides the format.
    let name = [".enc", ".encrypted", ".sops"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .filter(|inner| Format::from_path(Path::new(inner)) != Format::Binary)
        .unwrap_or(name);
    let stem = match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    };
    let without = stem
        .strip_suffix(".sops")
        .or_else(|| stem.strip_suffix(".enc"))
        .or_else(|| stem.strip_suffix(".dec"));
    without.filter(|rest| !rest.is_empty()).unwrap_or(stem)
}

/// The content's id: the same content of the same item always gets the same one, so that it is
/// stored once however often it is read.
pub(crate) fn content_id(
    ids: &sidevault_keys::IdKey,
    vault: VaultId,
    item: ItemId,
    name: &str,
    sha256: &[u8; 32],
) -> FileId {
    ids.file(
        vault,
        item,
        &format!("content\0{name}\0{}", data_encoding::HEXLOWER.encode(sha256)),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn map(entries: Vec<(&str, Value)>) -> Value {
        Value::Mapping(
            entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn nested_mappings_become_sections_with_dotted_labels() {
        let document = map(vec![
            ("user", string("u")),
            (
                "db",
                map(vec![("host", string("h")), ("tls", map(vec![("ca", string("c"))]))]),
            ),
        ]);
        let readings = read_documents(&[document]).unwrap();
        let fields: Vec<_> = readings[0]
            .fields
            .iter()
            .map(|f| {
                (
                    f.id.as_str(),
                    f.label.as_str(),
                    f.section.as_ref().map(|s| s.id.as_str()),
                    f.value.as_str(),
                )
            })
            .collect();
        assert_eq!(
            fields,
            [
                ("user", "user", None, "u"),
                ("db.host", "host", Some("db"), "h"),
                ("db.tls.ca", "tls.ca", Some("db"), "c")
            ]
        );
        assert_eq!(readings[0].sections[0].label, "db");
    }

    #[test]
    fn lists_are_json() {
        let document = map(vec![(
            "hosts",
            Value::Sequence(vec![string("a"), Value::Bool(true), Value::Null]),
        )]);
        assert_eq!(
            read_documents(&[document]).unwrap()[0].fields[0].value,
            r#"["a",true,null]"#
        );
    }

    #[test]
    fn manifests_that_are_not_secrets_are_left_out() {
        let manifest = map(vec![("apiVersion", string("v1")), ("kind", string("ConfigMap"))]);
        assert!(read_documents(&[manifest]).unwrap().is_empty());
    }

    #[test]
    fn a_bare_scalar_is_refused() {
        assert!(read_documents(&[string("x")]).is_err());
    }

    #[test]
    fn username_and_password_make_a_login() {
        let mut fields = vec![
            Field::new("username", FieldType::Concealed, "username", "u"),
            Field::new("password", FieldType::Concealed, "password", "p"),
        ];
        assert_eq!(categorize(&mut fields), Category::Login);
        assert_eq!(fields[0].purpose, Some(Purpose::Username));
        assert_eq!(fields[0].field_type, FieldType::String);
        assert_eq!(categorize(&mut fields[1..]), Category::Password);
    }

    #[test]
    fn stems_lose_format_and_sops() {
        for (path, title) in [
            ("a/db.yaml", "db"),
            ("db.sops.yaml", "db"),
            ("db.enc.json", "db"),
            ("db.yaml.enc", "db"),
            ("config.env.encrypted", "config"),
            ("values.sops.yml.sops", "values"),
            ("db.enc", "db"),
            ("v1.2.yaml", "v1.2"),
            ("Makefile", "Makefile"),
            ("x/.sops.yaml", ".sops"),
        ] {
            assert_eq!(stem(path), title, "{path}");
        }
    }
}
