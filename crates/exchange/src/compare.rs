//! Compares an item of an export with the one that a server has.

use std::collections::HashMap;
use std::fmt;

use sidevault_model::{Field, Item};

use crate::import::ImportedItem;

/// What differs between two items. The text names it, and has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A part of the item: `title`, `tags`, `time of creation` and so on.
    Part(&'static str),
    /// A field that the server does not have.
    FieldMissing(String),
    /// A field that only the server has.
    FieldAdded(String),
    /// A field, and which part of it differs: `value`, `type` and so on.
    Field(String, &'static str),
    /// A file that the server does not have.
    FileMissing(String),
    /// A file that only the server has.
    FileAdded(String),
    /// A file, and which part of it differs: `name`, `size`, `content`.
    File(String, &'static str),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |name: &str| sidevault_model::printable(name);
        match self {
            Self::Part(part) => f.write_str(part),
            Self::FieldMissing(field) => write!(f, "field \"{}\" is missing", shown(field)),
            Self::FieldAdded(field) => write!(f, "field \"{}\" is not in the export", shown(field)),
            Self::Field(field, part) => write!(f, "{part} of field \"{}\"", shown(field)),
            Self::FileMissing(file) => write!(f, "file \"{}\" is missing", shown(file)),
            Self::FileAdded(file) => write!(f, "file \"{}\" is not in the export", shown(file)),
            Self::File(file, part) => write!(f, "{part} of file \"{}\"", shown(file)),
        }
    }
}

/// What differs between the item as an import makes it and the item that a server has. Contents of files are not compared.
///
/// `wanted` is made of `imported` ([`plan::item`](crate::plan::item)). Times that the export does not have are not compared.
///
/// The version, who changed the item last and the entropy of passwords are the server's own, and don't count. Times count in whole
/// seconds, as the API has them.
pub fn differences(imported: &ImportedItem, wanted: &Item, served: &Item) -> Vec<Difference> {
    let has_created = imported.created_at.or(imported.updated_at).is_some();
    let parts = [
        ("title", wanted.title == served.title),
        ("category", wanted.category == served.category),
        ("web addresses", wanted.urls == served.urls),
        ("favourite", wanted.favorite == served.favorite),
        ("tags", wanted.tags == served.tags),
        ("archived", wanted.state == served.state),
        (
            "time of creation",
            !has_created || wanted.created_at.as_seconds() == served.created_at.as_seconds(),
        ),
        (
            "time of the last change",
            imported.updated_at.is_none() || wanted.updated_at.as_seconds() == served.updated_at.as_seconds(),
        ),
        ("sections", wanted.sections == served.sections),
    ];
    let mut found: Vec<Difference> = parts
        .into_iter()
        .filter(|(_, is_equal)| !is_equal)
        .map(|(part, _)| Difference::Part(part))
        .collect();
    fields(wanted, served, &mut found);
    files(wanted, served, &mut found);
    found
}

fn fields(wanted: &Item, served: &Item, found: &mut Vec<Difference>) {
    let mut there: HashMap<&str, &Field> = served.fields.iter().map(|field| (field.id.as_str(), field)).collect();
    for field in &wanted.fields {
        let name = || field.label_or_id().to_owned();
        let Some(other) = there.remove(field.id.as_str()) else {
            found.push(Difference::FieldMissing(name()));
            continue;
        };
        let parts = [
            ("value", field.value == other.value),
            ("label", field.label == other.label),
            ("type", field.field_type == other.field_type),
            ("purpose", field.purpose == other.purpose),
            ("section", field.section == other.section),
            ("history", history(field) == history(other)),
        ];
        let different = parts.into_iter().filter(|(_, is_equal)| !is_equal);
        found.extend(different.map(|(part, _)| Difference::Field(name(), part)));
    }
    let added = served
        .fields
        .iter()
        .filter(|field| there.contains_key(field.id.as_str()));
    found.extend(added.map(|field| Difference::FieldAdded(field.label.clone())));
    let order = |item: &Item| item.fields.iter().map(|field| field.id.clone()).collect::<Vec<_>>();
    if wanted.fields.len() == served.fields.len() && there.is_empty() && order(wanted) != order(served) {
        found.push(Difference::Part("order of the fields"));
    }
}

fn history(field: &Field) -> &[String] {
    field.password_details.as_ref().map_or(&[], |details| &details.history)
}

fn files(wanted: &Item, served: &Item, found: &mut Vec<Difference>) {
    for file in &wanted.files {
        let Some(other) = served.files.iter().find(|other| other.id == file.id) else {
            found.push(Difference::FileMissing(file.name.clone()));
            continue;
        };
        let parts = [
            ("name", file.name == other.name),
            ("size", file.size == other.size),
            ("section", file.section == other.section),
        ];
        let different = parts.into_iter().filter(|(_, is_equal)| !is_equal);
        found.extend(different.map(|(part, _)| Difference::File(file.name.clone(), part)));
    }
    let added = served
        .files
        .iter()
        .filter(|file| wanted.files.iter().all(|other| other.id != file.id));
    found.extend(added.map(|file| Difference::FileAdded(file.name.clone())));
}

#[cfg(test)]
mod tests {
    use sidevault_model::{Category, FieldType, File, FileId, ItemId, PasswordDetails, State, Timestamp, VaultId};

    use super::*;

    fn item() -> Item {
        let (vault, id) = (VaultId::from_digest(&[1; 32]), ItemId::from_digest(&[2; 32]));
        let mut password = Field::new("password", FieldType::Concealed, "password", "s3cret");
        password.password_details = Some(PasswordDetails {
            history: vec!["older".into()],
        });
        Item {
            id,
            title: "db".into(),
            version: 1,
            vault,
            category: Category::Login,
            urls: Vec::new(),
            favorite: false,
            tags: vec!["a".into()],
            state: None,
            created_at: Timestamp::from_millis(1_000),
            updated_at: Timestamp::from_millis(2_000),
            last_edited_by: String::new(),
            sections: Vec::new(),
            fields: vec![password, Field::new("x", FieldType::String, "port", "5432")],
            files: vec![File::new(vault, id, FileId::from_digest(&[3; 32]), "tls.crt", 12)],
        }
    }

    fn found(served: &Item) -> Vec<Difference> {
        let mut imported = ImportedItem::new("x", 0, "db", Category::Login);
        (imported.created_at, imported.updated_at) = (Some(item().created_at), Some(item().updated_at));
        differences(&imported, &item(), served)
    }

    type Change = fn(&mut Item);

    #[test]
    fn each_part_is_compared_and_no_value_is_shown() {
        assert_eq!(found(&item()), []);
        let changes: [(&str, Change); 14] = [
            ("title", |item| item.title.push('x')),
            ("category", |item| item.category = Category::Server),
            ("tags", |item| item.tags.clear()),
            ("archived", |item| item.state = Some(State::Archived)),
            ("favourite", |item| item.favorite = true),
            ("time of creation", |item| {
                item.created_at = Timestamp::from_millis(5_000)
            }),
            ("time of the last change", |item| {
                item.updated_at = Timestamp::from_millis(5_000)
            }),
            ("value of field \"password\"", |item| {
                item.fields[0].value = "s3cre7".into()
            }),
            ("history of field \"password\"", |item| {
                item.fields[0].password_details = None
            }),
            ("field \"port\" is missing", |item| drop(item.fields.pop())),
            ("order of the fields", |item| item.fields.reverse()),
            ("size of file \"tls.crt\"", |item| item.files[0].size = 1),
            ("file \"tls.crt\" is missing", |item| item.files.clear()),
            ("section of file \"tls.crt\"", |item| {
                item.files[0].section = Some(Default::default())
            }),
        ];
        for (shown, change) in changes {
            let mut served = item();
            change(&mut served);
            let shown_parts: Vec<String> = found(&served).iter().map(ToString::to_string).collect();
            assert_eq!(shown_parts, [shown]);
            assert!(!shown_parts[0].contains("s3cre"));
        }
        let mut served = item();
        (served.version, served.last_edited_by, served.fields[0].entropy) = (7, "token".into(), Some(10.0));
        assert_eq!(found(&served), []);
    }

    #[test]
    fn times_that_the_export_does_not_have_are_not_compared() {
        let mut served = item();
        (served.created_at, served.updated_at) = (Timestamp::from_millis(9_000), Timestamp::from_millis(9_000));
        assert_eq!(found(&served).len(), 2);
        let imported = ImportedItem::new("x", 0, "db", Category::Login);
        assert_eq!(differences(&imported, &item(), &served), []);
    }

    #[test]
    fn what_only_the_server_has_is_a_difference() {
        let mut served = item();
        served.fields.push(Field::new("y", FieldType::String, "note", "s3cret"));
        let found = found(&served);
        assert_eq!(found, [Difference::FieldAdded("note".into())]);
    }
}
