//! JSON of secrets by name: Vault's KV store (`vault kv get`, and the trees of `vkv` and `medusa`), Doppler, and Infisical.
//!
//! An object with a value in it is an item, and an object with objects only is a folder. An object within an item is a section.

use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sidevault_model::{Category, FieldType, Purpose, Timestamp, categorize, limits};

use super::builder::ItemBuilder;
use super::json::{Members, Records};
use super::lenient::json_error;
use super::value::plain;
use super::whole::{Contents, Whole};
use super::{Entry, Groups, ImportError, ImportedItem, ImportedVault, Options};

/// How deep folders may be nested.
const MAX_DEPTH: usize = 64;

/// The most bytes of the ids of one item's fields, which repeat the names around them.
const MAX_NAME_BYTES: usize = 16 << 20;

/// Whether a record is a tree. A record that has only values is one if all its names are those of variables, as Doppler's are.
pub(super) fn recognises(record: &Members<'_>) -> bool {
    is_vault(record) || is_infisical(record) || is_flat(record) || is_folder(record)
}

/// The answer of Vault's API: `{"request_id": …, "data": {"data": {…}, "metadata": {…}}}`.
fn is_vault(record: &Members<'_>) -> bool {
    let is_object = |value: &&RawValue| value.get().starts_with('{');
    record.contains_key("lease_duration") && record.get("data").is_some_and(is_object)
}

/// An element of Infisical's list.
fn is_infisical(record: &Members<'_>) -> bool {
    let has = |name: &str| record.contains_key(name);
    has("key") && has("value") || has("secretKey") && has("secretValue")
}

fn is_flat(record: &Members<'_>) -> bool {
    let is_variable = |name: &str| {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(is_letter)
    };
    let is_computed = |value: &&RawValue| value.get().contains("\"computed\"");
    !record.is_empty()
        && record.keys().all(|name| is_variable(name))
        && (record.values().all(|value| value.get().starts_with('"')) || record.values().all(is_computed))
}

fn is_folder(record: &Members<'_>) -> bool {
    !record.is_empty()
        && record.keys().all(|name| name.ends_with('/'))
        && record.values().all(|value| value.get().starts_with('{'))
}

/// Reads all records.
pub(super) fn read(records: &Records<'_>, options: &Options<'_>) -> Result<Whole, ImportError> {
    let mut reader = Reader {
        vaults: Vec::new(),
        entries: Vec::new(),
        options,
    };
    let mut parsed = Vec::new();
    for (n, record) in records.records.iter().enumerate() {
        let place = format!("record {}", n + 1);
        let object: Map<String, Value> = serde_json::from_str(record.get())
            .map_err(|error| json_error(&place, error, "it is no object, as the first record is"))?;
        parsed.push(object);
    }
    let first = records.first().unwrap_or_default();
    if is_infisical(&first) {
        reader.infisical(&parsed)?;
    } else {
        for (n, object) in parsed.iter().enumerate() {
            reader.record(n, object)?;
        }
    }
    Ok(Whole {
        vaults: reader.vaults,
        entries: reader.entries,
        contents: Contents::Memory(HashMap::new()),
    })
}

struct Reader<'a> {
    vaults: Vec<ImportedVault>,
    entries: Vec<Entry>,
    options: &'a Options<'a>,
}

/// Where an item is.
struct Place<'a> {
    vault: usize,
    folder: &'a str,
    title: &'a str,
}

impl Reader<'_> {
    fn vault(&mut self, name: &str) -> usize {
        let known = self.vaults.iter().position(|vault| vault.name == name);
        known.unwrap_or_else(|| {
            self.vaults.push(ImportedVault {
                source_id: name.to_owned(),
                name: name.to_owned(),
                description: None,
            });
            self.vaults.len() - 1
        })
    }

    fn record(&mut self, n: usize, object: &Map<String, Value>) -> Result<(), ImportError> {
        let name = self.options.name.to_owned();
        // Vault's answer does not say where the secret is.
        let title = if n == 0 {
            name.clone()
        } else {
            format!("{name}-{}", n + 1)
        };
        if object.contains_key("lease_duration")
            && let Some(Value::Object(data)) = object.get("data")
        {
            let vault = self.vault(&name);
            let place = Place {
                vault,
                folder: "",
                title: &title,
            };
            let item = match (data.get("data"), data.get("metadata")) {
                (Some(Value::Object(values)), Some(Value::Object(metadata))) => {
                    let mut item = item(&place, values)?;
                    let created = metadata.get("created_time").and_then(Value::as_str);
                    item.updated_at = created.and_then(Timestamp::parse);
                    item
                }
                _ => item(&place, data)?,
            };
            self.entries.push(Entry::Item(item));
            return Ok(());
        }
        if object.keys().all(|name| name.ends_with('/')) && self.options.groups == Groups::Vaults {
            for (engine, below) in object {
                let vault = self.vault(engine.trim_end_matches('/'));
                self.tree(vault, "", &title, below, 0)?;
            }
            return Ok(());
        }
        let vault = self.vault(&name);
        let doppler = ["DOPPLER_PROJECT", "DOPPLER_CONFIG"].map(|name| object.get(name).map(computed).map(plain));
        let title = match doppler {
            [Some(project), Some(config)] => format!("{project}-{config}"),
            _ => title,
        };
        let values = object
            .iter()
            .map(|(name, value)| (name.clone(), computed(value).clone()));
        let object = Value::Object(values.collect());
        self.tree(vault, "", &title, &object, 0)
    }

    /// Reads an item or a folder.
    fn tree(
        &mut self,
        vault: usize,
        folder: &str,
        title: &str,
        value: &Value,
        depth: usize,
    ) -> Result<(), ImportError> {
        let Value::Object(members) = value else { return Ok(()) };
        if depth > MAX_DEPTH {
            return Err(ImportError::malformed(
                sidevault_model::printable(folder),
                format!("folders are nested more than {MAX_DEPTH} deep"),
            ));
        }
        if members.is_empty() {
            return Ok(());
        }
        if members.values().any(|value| !value.is_object()) {
            self.entries
                .push(Entry::Item(item(&Place { vault, folder, title }, members)?));
            return Ok(());
        }
        // The top of a tree has no name of its own.
        let below = match (depth, folder) {
            (0, _) => String::new(),
            (_, "") => title.trim_end_matches('/').to_owned(),
            (_, folder) => format!("{folder}/{}", title.trim_end_matches('/')),
        };
        for (name, value) in members {
            self.tree(vault, &below, name, value, depth + 1)?;
        }
        Ok(())
    }

    /// Infisical lists secrets with the path of their folder. Each folder becomes an item.
    fn infisical(&mut self, records: &[Map<String, Value>]) -> Result<(), ImportError> {
        let name = self.options.name.to_owned();
        let vault = self.vault(&name);
        let mut folders: Vec<(String, Map<String, Value>, Vec<String>)> = Vec::new();
        for (n, record) in records.iter().enumerate() {
            let text = |names: [&str; 2]| {
                names
                    .iter()
                    .find_map(|name| record.get(*name))
                    .map(plain)
                    .unwrap_or_default()
            };
            let path = text(["secretPath", "path"]);
            let path = path.trim_matches('/');
            let at = folders.iter().position(|(known, ..)| known == path).unwrap_or_else(|| {
                folders.push((path.to_owned(), Map::new(), Vec::new()));
                folders.len() - 1
            });
            let (_, values, comments) = &mut folders[at];
            let key = text(["key", "secretKey"]);
            if values
                .insert(key.clone(), text(["value", "secretValue"]).into())
                .is_some()
            {
                let place = format!("record {}", n + 1);
                return Err(ImportError::malformed(
                    place,
                    "its folder has a secret with this key already",
                ));
            }
            let comment = text(["comment", "secretComment"]);
            if !comment.is_empty() {
                comments.push(format!("{key}: {comment}"));
            }
        }
        for (path, values, comments) in folders {
            let (folder, title) = match path.rsplit_once('/') {
                Some((folder, title)) => (folder, title),
                None if path.is_empty() => ("", name.as_str()),
                None => ("", path.as_str()),
            };
            let mut builder = build(&Place { vault, folder, title }, &values)?;
            if !comments.is_empty() {
                builder.with_purpose(Purpose::Notes, comments.join("\n"));
            }
            let item = finish(builder);
            self.entries.push(Entry::Item(item));
        }
        Ok(())
    }
}

/// Doppler's longer form of a value: `{"computed": …, "note": …}`.
fn computed(value: &Value) -> &Value {
    match value {
        Value::Object(members) => members.get("computed").unwrap_or(value),
        value => value,
    }
}

fn item(place: &Place<'_>, values: &Map<String, Value>) -> Result<ImportedItem, ImportError> {
    build(place, values).map(finish)
}

fn build(place: &Place<'_>, values: &Map<String, Value>) -> Result<ItemBuilder, ImportError> {
    let source_id = format!("tree {}\n{}", place.folder, place.title);
    let mut builder = ItemBuilder::new(&source_id, place.vault, place.title, Category::SecureNote);
    builder.tag(place.folder);
    values_into(&mut builder, "", values, &mut 0, 0)?;
    Ok(builder)
}

fn finish(builder: ItemBuilder) -> ImportedItem {
    let mut item = builder.finish();
    item.category = categorize(&mut item.fields);
    item
}

/// Adds the values of an object. `section` is the path of names around them.
fn values_into(
    builder: &mut ItemBuilder,
    section: &str,
    values: &Map<String, Value>,
    names: &mut usize,
    depth: usize,
) -> Result<(), ImportError> {
    let section_ref = (!section.is_empty()).then(|| builder.section(section, section));
    for (name, value) in values {
        let path = match section {
            "" => name.clone(),
            section => format!("{section}.{name}"),
        };
        *names += path.len();
        if *names > MAX_NAME_BYTES {
            return Err(ImportError::TooLarge {
                what: "the names of an item's fields, each with the names around it,".to_owned(),
                limit: MAX_NAME_BYTES as u64,
            });
        }
        match value {
            Value::Object(below) if depth < MAX_DEPTH && path.len() <= limits::ID_BYTES => {
                values_into(builder, &path, below, names, depth + 1)?;
            }
            value => builder.field(&path, FieldType::Concealed, name, plain(value), section_ref.clone()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::import::open;
    use crate::import::testing::{entries_of, file, item_of};

    /// Vault, title, tags and fields of each item.
    fn read(text: &str, groups: Groups) -> Vec<String> {
        let options = Options {
            groups,
            name: "shop",
            ..Options::default()
        };
        let source = open(file(text.as_bytes()), &options).unwrap();
        let vaults = source.vaults().unwrap();
        let shown = |item: ImportedItem| {
            let fields = item.fields.iter().map(|field| format!("{}={}", field.id, field.value));
            let fields: Vec<String> = fields.collect();
            let vault = &vaults[item.vault].name;
            format!("{vault}:{}:{}:{}", item.tags.join(","), item.title, fields.join(" "))
        };
        entries_of(&*source).into_iter().map(item_of).map(shown).collect()
    }

    #[test]
    fn vaults_answer_is_one_item() {
        let answer = json!({ "request_id": "x", "lease_id": "", "lease_duration": 0, "renewable": false, "data": {
            "data": { "username": "me", "password": "s3cret", "port": 5432, "tls": { "ca": "x", "on": true } },
            "metadata": { "created_time": "2020-01-02T03:04:05.123456Z", "version": 3 } } });
        assert_eq!(
            read(&answer.to_string(), Groups::Vaults),
            ["shop::shop:username=me password=s3cret port=5432 tls.ca=x tls.on=true"]
        );
        let version_1 = json!({ "lease_duration": 2764800, "data": { "a": "1" } });
        assert_eq!(read(&version_1.to_string(), Groups::Vaults), ["shop::shop:a=1"]);
        let source = open(file(answer.to_string().as_bytes()), &Options::default()).unwrap();
        let item = item_of(entries_of(&*source).remove(0));
        assert_eq!(
            (item.category, item.updated_at.unwrap().as_seconds()),
            (Category::Login, 1_577_934_245)
        );
        assert_eq!(item.fields[1].purpose, Some(Purpose::Password));
        assert_eq!(item.sections.len(), 1);
    }

    #[test]
    fn trees_of_engines_keep_their_folders() {
        let tree = json!({ "kv/": { "app": { "key": "s3cret" }, "team/": { "db": { "user": "u" }, "deep/": { "x": { "y": [1, 2] } } }, "empty": {} },
            "other/": { "z": { "a": null } } });
        assert_eq!(
            read(&tree.to_string(), Groups::Vaults),
            [
                "kv::app:key=s3cret",
                "kv:team:db:user=u",
                "kv:team/deep:x:y=[1,2]",
                "other::z:a="
            ]
        );
        assert_eq!(
            read(&tree.to_string(), Groups::Tags),
            [
                "shop:kv:app:key=s3cret",
                "shop:kv/team:db:user=u",
                "shop:kv/team/deep:x:y=[1,2]",
                "shop:other:z:a="
            ]
        );
    }

    #[test]
    fn doppler_and_infisical_are_read() {
        let flat = json!({ "DOPPLER_PROJECT": "shop", "DOPPLER_CONFIG": "prd", "DB_URL": "s3cret" });
        let expected = ["shop::shop-prd:DOPPLER_PROJECT=shop DOPPLER_CONFIG=prd DB_URL=s3cret"];
        assert_eq!(read(&flat.to_string(), Groups::Vaults), expected);
        let long = json!({ "DOPPLER_PROJECT": { "computed": "shop", "note": "" }, "DOPPLER_CONFIG": { "computed": "prd" },
            "DB_URL": { "computed": "s3cret", "computedVisibility": "masked", "note": "" } });
        assert_eq!(read(&long.to_string(), Groups::Vaults), expected);
        let infisical = json!([
            { "key": "A", "value": "1", "type": "shared", "comment": "first", "secretPath": "/" },
            { "key": "A", "value": "2", "secretPath": "/team/db" }, { "key": "B", "value": "3", "secretPath": "/" } ]);
        assert_eq!(
            read(&infisical.to_string(), Groups::Vaults),
            ["shop::shop:A=1 B=3 notesPlain=A: first", "shop:team:db:A=2"]
        );
    }

    #[test]
    fn broken_and_deep_trees_are_refused_without_their_values() {
        let deep = format!(
            "{{\"kv/\":{}{}",
            "{\"a/\":".repeat(100),
            "{\"s3cret\":\"s3cret\"}".to_owned() + &"}".repeat(101)
        );
        for (text, words) in [
            (r#"{"A":"s3cret"} 1"#, "record 2, line 1"),
            (
                r#"[{"key":"a","value":"s3cret"},{"key":"a","value":"2"}]"#,
                "record 2: its folder has",
            ),
            (&deep, "nested"),
        ] {
            let error = open(file(text.as_bytes()), &Options::default())
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{error}");
        }
    }
}
