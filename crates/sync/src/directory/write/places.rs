//! Where a file has an item, and where that item's fields are. It follows the rules by which `draft` and `secret` make items of
//! documents.

use data_encoding::BASE64;
use sidevault_sops::{Step, Value};

use super::super::draft::{DocumentError, Shape, get, leaves};

/// How the text of a field is written in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Coding {
    Plain,
    /// In base64, as in the `data` of a Secret.
    Base64,
}

/// Where the file has a field.
pub(super) struct FieldPlace<'a> {
    /// The field's id.
    pub(super) id: String,
    /// The id of the field's section.
    pub(super) section: Option<&'a str>,
    pub(super) label: String,
    pub(super) path: Vec<Step>,
    pub(super) value: &'a Value,
    pub(super) coding: Coding,
    /// A second place with the same key, which counts if the field's own place is gone.
    pub(super) hidden: Option<Vec<Step>>,
}

/// Where the file has an item.
pub(super) struct ItemPlace<'a> {
    /// The number of the document, counted from 0.
    pub(super) document: usize,
    path: Vec<Step>,
    entries: &'a [(String, Value)],
}

impl<'a> ItemPlace<'a> {
    /// The place of the `n`-th item of a file, counted from 0.
    pub(super) fn find(documents: &'a [Value], n: usize) -> Option<Self> {
        let mut all = Vec::new();
        for (document, value) in documents.iter().enumerate() {
            collect(value, document, &[], &mut all);
        }
        all.into_iter().nth(n)
    }

    /// The places of the item's fields and of its binary values, in the order of the file.
    pub(super) fn fields(&self) -> Result<Vec<FieldPlace<'a>>, DocumentError> {
        if matches!(Shape::of(self.entries), Shape::Secret) {
            return Ok(self.fields_of_secret());
        }
        let mut places = Vec::new();
        paths(self.entries, &self.path, &mut places);
        let fields = leaves(self.entries)?.into_iter().zip(places);
        let fields = fields.map(|(leaf, path)| FieldPlace {
            id: leaf.id,
            section: leaf.section,
            label: leaf.label,
            path,
            value: leaf.value,
            coding: Coding::Plain,
            hidden: None,
        });
        Ok(fields.collect())
    }

    fn fields_of_secret(&self) -> Vec<FieldPlace<'a>> {
        let mut fields: Vec<FieldPlace<'a>> = Vec::new();
        for (part, coding) in [("data", Coding::Base64), ("stringData", Coding::Plain)] {
            let Some(Value::Mapping(entries)) = get(self.entries, part) else {
                continue;
            };
            for (key, value) in entries {
                let before = fields.iter().position(|field| field.id == *key);
                fields.push(FieldPlace {
                    id: key.clone(),
                    section: None,
                    label: key.clone(),
                    path: self.below(&[part, key]),
                    value,
                    coding,
                    hidden: before.map(|at| fields[at].path.clone()),
                });
                if let Some(at) = before {
                    fields.remove(at);
                }
            }
        }
        fields
    }

    /// The place of a field that the item does not have yet.
    pub(super) fn of_new(&self, section: Option<&str>, label: &str) -> (Vec<Step>, Coding) {
        if matches!(Shape::of(self.entries), Shape::Secret) {
            let has_plain =
                matches!(get(self.entries, "stringData"), Some(Value::Mapping(entries)) if !entries.is_empty());
            return match has_plain {
                true => (self.below(&["stringData", label]), Coding::Plain),
                false => (self.below(&["data", label]), Coding::Base64),
            };
        }
        let path = match section {
            Some(section) => self.below(&[section, label]),
            None => self.below(&[label]),
        };
        (path, Coding::Plain)
    }

    fn below(&self, keys: &[&str]) -> Vec<Step> {
        let keys = keys.iter().map(|key| Step::Key((*key).to_owned()));
        self.path.iter().cloned().chain(keys).collect()
    }
}

/// Collects the mappings in a document that make an item.
fn collect<'a>(value: &'a Value, document: usize, path: &[Step], all: &mut Vec<ItemPlace<'a>>) {
    let Value::Mapping(entries) = value else { return };
    match Shape::of(entries) {
        Shape::List(items) => {
            for (n, item) in items.iter().enumerate() {
                let below = path.iter().cloned();
                let below: Vec<Step> = below.chain([Step::Key("items".to_owned()), Step::Item(n)]).collect();
                collect(item, document, &below, all);
            }
        }
        Shape::Secret | Shape::Mapping => all.push(ItemPlace {
            document,
            path: path.to_owned(),
            entries,
        }),
        Shape::OtherManifest => {}
    }
}

/// The paths of all values, in the order of [`leaves`].
fn paths(entries: &[(String, Value)], above: &[Step], all: &mut Vec<Vec<Step>>) {
    for (key, value) in entries {
        let mut path = above.to_owned();
        path.push(Step::Key(key.clone()));
        match value {
            Value::Mapping(inner) if !inner.is_empty() => paths(inner, &path, all),
            _ => all.push(path),
        }
    }
}

/// The text of a field in the form of the file.
pub(super) fn encoded(text: &str, coding: Coding) -> String {
    match coding {
        Coding::Plain => text.to_owned(),
        Coding::Base64 => BASE64.encode(text.as_bytes()),
    }
}
