//! Items as `op item get --format json` prints them, as Connect's API returns them, and as `sidevault export --to json` writes them.
//! They differ in how they write the names of members.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use sidevault_model::{Category, FieldType, Purpose, Section, SectionRef, Timestamp, Url};
use zeroize::Zeroizing;

use super::builder::ItemBuilder;
use super::json::{Members, Records};
use super::lenient::{json_error, nullable, number, text};
use super::value::{is_date, is_month};
use super::whole::{Contents, Whole};
use super::{Entry, ImportError, ImportedFile, ImportedVault, Skipped};

const FORM: &str = "a member has not the form that items have";

/// The vault of items that name none.
const NO_VAULT: &str = "items";

/// Whether a record is an item, or a list of vaults with their items.
pub(super) fn recognises(record: &Members<'_>) -> bool {
    let has = |name| record.contains_key(name);
    let is_item = has("id") && has("title") && has("category");
    is_item || record.get("vaults").is_some_and(|vaults| vaults.get().starts_with('['))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Export {
    #[serde(deserialize_with = "nullable")]
    vaults: Vec<Vault>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Vault {
    #[serde(deserialize_with = "text")]
    id: String,
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "text")]
    description: String,
    #[serde(deserialize_with = "nullable")]
    items: Vec<Item>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item {
    #[serde(deserialize_with = "text")]
    id: String,
    #[serde(deserialize_with = "text")]
    title: String,
    #[serde(deserialize_with = "text")]
    category: String,
    #[serde(deserialize_with = "nullable")]
    vault: Vault,
    #[serde(deserialize_with = "nullable")]
    favorite: bool,
    #[serde(deserialize_with = "nullable")]
    tags: Vec<String>,
    #[serde(deserialize_with = "text")]
    state: String,
    #[serde(alias = "createdAt", deserialize_with = "text")]
    created_at: String,
    #[serde(alias = "updatedAt", deserialize_with = "text")]
    updated_at: String,
    #[serde(deserialize_with = "nullable")]
    urls: Vec<Url>,
    #[serde(deserialize_with = "nullable")]
    sections: Vec<Section>,
    #[serde(deserialize_with = "nullable")]
    fields: Option<Vec<Field>>,
    #[serde(deserialize_with = "nullable")]
    files: Vec<File>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Field {
    #[serde(deserialize_with = "text")]
    id: String,
    #[serde(rename = "type", deserialize_with = "text")]
    field_type: String,
    #[serde(deserialize_with = "text")]
    purpose: String,
    #[serde(deserialize_with = "text")]
    label: String,
    #[serde(deserialize_with = "text")]
    value: String,
    #[serde(deserialize_with = "nullable")]
    section: SectionRef,
    #[serde(alias = "passwordDetails", deserialize_with = "nullable")]
    password_details: PasswordDetails,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PasswordDetails {
    #[serde(deserialize_with = "nullable")]
    history: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    #[serde(deserialize_with = "text")]
    id: String,
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "number")]
    size: Option<i64>,
    #[serde(deserialize_with = "nullable")]
    section: SectionRef,
    /// In base64. Only `sidevault export` writes it.
    #[serde(deserialize_with = "nullable")]
    content: Option<String>,
}

/// Reads all records.
pub(super) fn read(records: &Records<'_>) -> Result<Whole, ImportError> {
    let mut reader = Reader {
        whole: Whole {
            vaults: Vec::new(),
            entries: Vec::new(),
            contents: Contents::Memory(HashMap::new()),
        },
        contents: HashMap::new(),
        ids: HashSet::new(),
        has_fields: false,
    };
    for (n, record) in records.records.iter().enumerate() {
        let failed = |error| json_error(&format!("record {}", n + 1), error, FORM);
        let text = record.get();
        let members: Members<'_> = serde_json::from_str(text).map_err(failed)?;
        if !members.contains_key("vaults") {
            let item: Item = serde_json::from_str(text).map_err(failed)?;
            let vault = reader.vault(&item.vault);
            reader.item(vault, item)?;
            continue;
        }
        let export: Export = serde_json::from_str(text).map_err(failed)?;
        for mut vault in export.vaults {
            let items = std::mem::take(&mut vault.items);
            let number = reader.vault(&vault);
            items.into_iter().try_for_each(|item| reader.item(number, item))?;
        }
    }
    if !reader.has_fields && !reader.whole.entries.is_empty() {
        return Err(ImportError::Format(
            "these are items without their fields, as `op item list` prints them: \
             op item list --format json | op item get - --format json | sidevault import -"
                .to_owned(),
        ));
    }
    reader.whole.contents = Contents::Memory(reader.contents);
    Ok(reader.whole)
}

struct Reader {
    whole: Whole,
    contents: HashMap<String, Zeroizing<Vec<u8>>>,
    /// The vault and the id of each item.
    ids: HashSet<(usize, String)>,
    has_fields: bool,
}

impl Reader {
    /// The number of a vault.
    fn vault(&mut self, vault: &Vault) -> usize {
        let named = [&vault.id, &vault.name];
        let id = named
            .into_iter()
            .find(|name| !name.is_empty())
            .map_or(NO_VAULT, |name| name);
        let known = self.whole.vaults.iter().position(|known| known.source_id == id);
        known.unwrap_or_else(|| {
            self.whole.vaults.push(ImportedVault {
                source_id: id.to_owned(),
                name: if vault.name.is_empty() { id } else { &vault.name }.to_owned(),
                description: Some(vault.description.clone()).filter(|text| !text.is_empty()),
            });
            self.whole.vaults.len() - 1
        })
    }

    fn item(&mut self, vault: usize, item: Item) -> Result<(), ImportError> {
        let reason = match () {
            () if item.id.is_empty() => Some("it has no id"),
            () if !self.ids.insert((vault, item.id.clone())) => Some("an item with the same id is before it"),
            () => None,
        };
        if let Some(reason) = reason {
            self.whole.entries.push(Entry::Skipped(Skipped {
                source_id: item.id,
                vault,
                reason: reason.into(),
            }));
            return Ok(());
        }
        let known = Category::from_word(&item.category);
        let category = known.unwrap_or(Category::Custom);
        let mut builder = ItemBuilder::new(&item.id, vault, &item.title, category);
        if known.is_none() {
            builder.item.losses.push(format!(
                "the category {} is not known: the item becomes a CUSTOM",
                sidevault_model::printable(&item.category)
            ));
        }
        builder.item.favorite = item.favorite;
        builder.item.archived = item.state.eq_ignore_ascii_case("ARCHIVED");
        builder.item.created_at = Timestamp::parse(&item.created_at);
        builder.item.updated_at = Timestamp::parse(&item.updated_at);
        builder.item.urls = item.urls;
        builder.item.sections = item.sections;
        item.tags.iter().for_each(|tag| builder.tag(tag));
        match item.fields {
            Some(fields) => {
                self.has_fields = true;
                fields.into_iter().for_each(|field| self::field(&mut builder, field));
            }
            None => builder
                .item
                .losses
                .push("its fields: the JSON has none, not even an empty list".to_owned()),
        }
        for file in item.files {
            self.file(&mut builder, &item.id, file)?;
        }
        self.whole.entries.push(Entry::Item(builder.finish()));
        Ok(())
    }

    fn file(&mut self, builder: &mut ItemBuilder, item: &str, file: File) -> Result<(), ImportError> {
        let Some(content) = file.content else {
            builder.lose(
                &file.name,
                "a file, whose content is not in this JSON: copy it with `op read` or `sidevault document get`",
            );
            return Ok(());
        };
        let place = format!("{item}/{}", file.id);
        let content = Zeroizing::new(content);
        let content = BASE64.decode(content.as_bytes()).map_err(|_| {
            ImportError::malformed(
                format!("the file {}", sidevault_model::printable(&file.name)),
                "it is not base64",
            )
        })?;
        if file
            .size
            .is_some_and(|size| u64::try_from(size).ok() != Some(content.len() as u64))
        {
            let place = format!("the file {}", sidevault_model::printable(&file.name));
            return Err(ImportError::malformed(place, "it has not the size that the JSON says"));
        }
        let section = section_of(builder, file.section);
        builder.item.files.push(ImportedFile {
            source_id: file.id,
            name: file.name,
            size: content.len() as u64,
            section,
            place: place.clone(),
        });
        self.contents.insert(place, Zeroizing::new(content));
        Ok(())
    }
}

fn field(builder: &mut ItemBuilder, field: Field) {
    let section = section_of(builder, field.section);
    let mut field_type = match FieldType::from_word(&field.field_type) {
        // The API does not accept it in a new item.
        Some(FieldType::Unknown) | None => FieldType::String,
        Some(known) => known,
    };
    let has_form = match field_type {
        FieldType::Date => is_date(&field.value),
        FieldType::MonthYear => is_month(&field.value),
        _ => true,
    };
    if !has_form && !field.value.is_empty() {
        builder.lose(
            &field.label,
            &format!("a value that is no {field_type} is kept as text"),
        );
        field_type = FieldType::String;
    }
    builder.field(&field.id, field_type, &field.label, field.value, section);
    if let Some(made) = builder.item.fields.last_mut() {
        made.purpose = Purpose::from_word(&field.purpose);
    }
    if Purpose::from_word(&field.purpose) == Some(Purpose::Password) {
        builder.history(field.password_details.history);
    }
}

/// The section of a field or file. It is made if the item's list lacks it.
fn section_of(builder: &mut ItemBuilder, section: SectionRef) -> Option<SectionRef> {
    if section.id.is_empty() {
        return None;
    }
    let label = section.label.unwrap_or_default();
    Some(builder.section(&section.id, &label))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::import::testing::{entries_of, file, item_of};
    use crate::import::{Entry, ImportedItem, Options, open};

    /// Two items as `op` prints them.
    fn op_items() -> [Value; 2] {
        [
            json!({
                "id": "fx4kbvhwq3ydpw6ptk7wzgzhpm", "title": "orders", "version": 3, "category": "DATABASE", "tags": ["a", "b"],
                "favorite": true, "vault": { "id": "ftz4pm2xxwmwrsd7rjqn7grzfz", "name": "apps" }, "last_edited_by": "X",
                "created_at": "2020-01-02T03:04:05Z", "updated_at": "2021-01-02T03:04:05Z", "additional_information": "me",
                "urls": [{ "label": "site", "primary": true, "href": "https://a.example" }],
                "sections": [{ "id": "s1", "label": "replica" }, { "id": "add more" }],
                "fields": [
                    { "id": "password", "type": "CONCEALED", "purpose": "PASSWORD", "label": "password", "value": "s3cret",
                      "reference": "op://apps/orders/password", "password_details": { "strength": "GOOD", "history": ["older"] } },
                    { "id": "x", "type": "STRING", "label": "host", "value": "db", "section": { "id": "s1", "label": "replica" } },
                    { "id": "o", "type": "OTP", "label": "code", "value": "JBSWY3DPEHPK3PXP", "totp": "123456", "section": { "id": "add more" } },
                    { "id": "d", "type": "DATE", "label": "since", "value": "last week" },
                    { "id": "e", "type": "STRING", "label": "empty" }
                ],
                "files": [{ "id": "abc", "name": "ca.pem", "size": 3, "content_path": "/v1/x" }]
            }),
            json!({ "id": "gx4kbvhwq3ydpw6ptk7wzgzhpm", "title": "note", "category": "WAX", "state": "ARCHIVED", "fields": [] }),
        ]
    }

    fn read(text: &str) -> (Vec<String>, Vec<ImportedItem>) {
        let source = open(file(text.as_bytes()), &Options::default()).unwrap();
        let vaults = source.vaults().unwrap().into_iter().map(|vault| vault.name);
        (
            vaults.collect(),
            entries_of(&*source).into_iter().map(item_of).collect(),
        )
    }

    #[test]
    fn items_of_op_come_alone_in_a_list_and_one_after_the_other() {
        let [first, second] = op_items();
        let (_, expected) = read(&json!([first, second]).to_string());
        assert_eq!(read(&format!("{first:#}\n{second}\n")).1, expected);
        let (vaults, alone) = read(&first.to_string());
        assert_eq!((vaults, &alone[..]), (vec!["apps".to_owned()], &expected[..1]));
        let item = &expected[0];
        let fields: Vec<(&str, &str, &str)> = item
            .fields
            .iter()
            .map(|field| (field.id.as_str(), field.field_type.as_str(), field.value.as_str()))
            .collect();
        assert_eq!(
            fields,
            [
                ("password", "CONCEALED", "s3cret"),
                ("x", "STRING", "db"),
                ("o", "OTP", "JBSWY3DPEHPK3PXP"),
                ("d", "STRING", "last week"),
                ("e", "STRING", "")
            ]
        );
        assert_eq!(item.fields[0].password_details.as_ref().unwrap().history, ["older"]);
        assert_eq!(
            item.fields[1].section.as_ref().unwrap().label.as_deref(),
            Some("replica")
        );
        assert_eq!(item.created_at.unwrap().to_string(), "2020-01-02T03:04:05Z");
        assert_eq!((item.favorite, item.urls[0].primary, item.tags.len()), (true, true, 2));
        assert_eq!(item.losses.len(), 2, "{:?}", item.losses);
        assert!(expected[1].archived && expected[1].losses[0].contains("WAX"));
        let labelled = json!({ "id": "1", "title": "t", "category": "LOGIN", "fields": [{ "id": "a", "label": "vaults", "value": "v" }] });
        let source = open(file(format!("{labelled}{labelled}").as_bytes()), &Options::default()).unwrap();
        let entries = entries_of(&*source);
        assert!(
            matches!(&entries[..], [Entry::Item(_), Entry::Skipped(_)]),
            "{entries:?}"
        );
    }

    #[test]
    fn a_list_without_fields_is_refused_with_the_way_out() {
        let [mut first, _] = op_items();
        first.as_object_mut().unwrap().remove("fields");
        let source = open(file(json!([first]).to_string().as_bytes()), &Options::default());
        let error = source.err().unwrap().to_string();
        assert!(error.contains("op item get -"), "{error}");
    }

    #[test]
    fn files_of_an_export_have_their_contents() {
        let content = |content: &str, size: u32| {
            json!({ "vaults": [{ "id": "ftz4pm2xxwmwrsd7rjqn7grzfz", "name": "apps", "description": "d", "items": [
                { "id": "fx4kbvhwq3ydpw6ptk7wzgzhpm", "title": "t", "category": "LOGIN", "createdAt": "2020-01-02T03:04:05Z",
                  "fields": [], "files": [{ "id": "f", "name": "a", "size": size, "content": content }] } ] }] })
            .to_string()
        };
        let text = content("czNjcmV0", 6);
        let source = open(file(text.as_bytes()), &Options::default()).unwrap();
        assert_eq!(source.vaults().unwrap()[0].description.as_deref(), Some("d"));
        let item = item_of(entries_of(&*source).remove(0));
        let mut bytes = Vec::new();
        source
            .content(&item.files[0], &mut |from| {
                Ok(from.read_to_end(&mut bytes).map(drop)?)
            })
            .unwrap();
        assert_eq!(bytes, b"s3cret");
        for text in [content("czNjcmV0", 7), content("czNj cmV0", 6)] {
            let error = open(file(text.as_bytes()), &Options::default())
                .err()
                .unwrap()
                .to_string();
            assert!(error.starts_with("the file a: it"), "{error}");
        }
    }

    #[test]
    fn broken_items_are_refused_without_their_values() {
        for (text, words) in [
            (
                r#"{"id":"1","title":"s3cret","category":"LOGIN","fields":"s3cret"}"#,
                "record 1, line 1",
            ),
            (r#"{"id":"1","title":"s3cret","category":"LOGIN""#, "cut short"),
            (r#"{"s3cret":1}"#, "in no format"),
        ] {
            let error = open(file(text.as_bytes()), &Options::default())
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{error}");
        }
    }
}
