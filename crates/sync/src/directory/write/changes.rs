//! The edits of a file that make its item what a client wants.

use std::collections::{HashMap, HashSet};

use sidevault_model::{Field, FieldType, Item, Purpose};
use sidevault_sops::{Change, Edit, Step, Value};

use super::super::draft::ParsedDocument;
use super::places::{Coding, FieldPlace, ItemPlace, encoded};
use super::refusal::FileError;

/// The edits, and what the item must be afterwards.
pub(super) struct Changes {
    pub(super) edits: Vec<Edit>,
    expected: Vec<Entry>,
}

/// A field as the file tells it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    section: Option<String>,
    label: String,
    value: String,
}

impl Changes {
    /// The changes from `old`, the item that the file has at `place`, to `wanted`.
    ///
    /// # Errors
    /// [`FileError::NotKept`] if `wanted` has what a file can't hold.
    pub(super) fn between(place: &ItemPlace<'_>, old: &Item, wanted: &Item) -> Result<Self, FileError> {
        refuse_what_follows_from_the_file(old, wanted)?;
        let fields = place.fields()?;
        let lookup = Lookup::of(&fields);
        let old_fields: HashMap<&str, &Field> = old.fields.iter().map(|field| (field.id.as_str(), field)).collect();
        let mut kept = HashSet::new();
        let mut changes = Self {
            edits: Vec::new(),
            expected: Vec::new(),
        };
        for field in &wanted.fields {
            let section = section_name(field, wanted, &fields);
            let Some(at) = lookup.find(field, section.as_deref()) else {
                changes.add(place, field, section)?;
                continue;
            };
            let known = &fields[at];
            if !kept.insert(at) {
                return Err(not_kept(format!(
                    "two fields are for the key {:?} of the file",
                    known.label
                )));
            }
            refuse_other_name(field, section.as_deref(), known)?;
            let was = old_fields.get(known.id.as_str()).map(|was| was.value.as_str());
            if was != Some(field.value.as_str()) {
                changes.edit(place, known.path.clone(), Change::Set(stored(known, &field.value)));
            }
            changes.expect(known.section, &known.label, &field.value);
        }
        for (at, known) in fields.iter().enumerate() {
            // Binary values are files of the item, which no request changes.
            if kept.contains(&at) || !old_fields.contains_key(known.id.as_str()) {
                continue;
            }
            for path in known.hidden.iter().chain([&known.path]) {
                changes.edit(place, path.clone(), Change::Remove);
            }
        }
        Ok(changes)
    }

    fn add(&mut self, place: &ItemPlace<'_>, field: &Field, section: Option<String>) -> Result<(), FileError> {
        if field.purpose == Some(Purpose::Notes) && field.value.is_empty() {
            // Clients add empty notes by themselves.
            return Ok(());
        }
        if field.field_type == FieldType::Otp {
            return Err(not_kept(
                "a field of a file has no type, so it can't be a one-time password; keep this item in a local vault",
            ));
        }
        if field.label.is_empty() {
            return Err(not_kept("a new field needs a label: it becomes the key in the file"));
        }
        let (path, coding) = place.of_new(section.as_deref(), &field.label);
        let value = Value::String(encoded(&field.value, coding));
        self.edit(place, path, Change::Set(value));
        self.expect(section.as_deref(), &field.label, &field.value);
        Ok(())
    }

    fn edit(&mut self, place: &ItemPlace<'_>, path: Vec<Step>, change: Change) {
        self.edits.push(Edit {
            document: place.document,
            path,
            change,
        });
    }

    fn expect(&mut self, section: Option<&str>, label: &str, value: &str) {
        self.expected.push(Entry {
            section: section.map(str::to_owned),
            label: label.to_owned(),
            value: value.to_owned(),
        });
    }

    /// Checks that the changed file has the `n`-th item as it should be, and all others as they were.
    pub(super) fn verify(
        mut self,
        n: usize,
        before: &[ParsedDocument],
        after: &[ParsedDocument],
    ) -> Result<(), FileError> {
        let others_are_equal = before.len() == after.len()
            && before.iter().zip(after).enumerate().all(|(at, (before, after))| {
                let same_fields = || before.fields == after.fields && before.sections == after.sections;
                before.name == after.name && before.binaries == after.binaries && (at == n || same_fields())
            });
        let mut found: Vec<Entry> = after
            .get(n)
            .map(|item| &item.fields[..])
            .unwrap_or_default()
            .iter()
            .map(entry)
            .collect();
        found.sort_unstable();
        self.expected.sort_unstable();
        if others_are_equal && found == self.expected {
            Ok(())
        } else {
            Err(not_kept(
                "the file's format can't hold this change: read again, it would have other names or values; change the file \
                 itself",
            ))
        }
    }
}

fn entry(field: &Field) -> Entry {
    Entry {
        section: field.section.as_ref().map(|section| section.id.clone()),
        label: field.label.clone(),
        value: field.value.clone(),
    }
}

/// Title, category, tags and the like are computed from the file, so a request can't change them. Clients that leave lists out
/// mean no change by that.
fn refuse_what_follows_from_the_file(old: &Item, wanted: &Item) -> Result<(), FileError> {
    if wanted.title != old.title {
        return Err(not_kept(
            "the title follows from the file's name, or from the name of the Secret in it; rename the file",
        ));
    }
    if wanted.category != old.category {
        return Err(not_kept(format!(
            "the category follows from the file's fields, and is {} here; leave it as it is",
            old.category.as_str()
        )));
    }
    if !wanted.tags.is_empty() && wanted.tags != old.tags {
        return Err(not_kept(
            "tags follow from the file's directory; leave them as they are",
        ));
    }
    if !wanted.urls.is_empty() || wanted.favorite {
        return Err(not_kept("a file has no URLs and is no favourite; leave them out"));
    }
    Ok(())
}

/// A field's label is its key in the file.
fn refuse_other_name(field: &Field, section: Option<&str>, known: &FieldPlace<'_>) -> Result<(), FileError> {
    let same_label = field.label.is_empty() || field.label == known.label;
    if same_label && (section.is_none() || section == known.section) {
        Ok(())
    } else {
        Err(not_kept(format!(
            "the label and section of the field {:?} are its place in the file; add a field with the new name, and remove this one",
            known.label
        )))
    }
}

pub(super) fn not_kept(problem: impl Into<String>) -> FileError {
    FileError::NotKept(problem.into())
}

/// The section that a field is to be in, by its name in the file.
fn section_name(field: &Field, wanted: &Item, fields: &[FieldPlace<'_>]) -> Option<String> {
    let section = field.section.as_ref()?;
    if fields.iter().any(|known| known.section == Some(&section.id)) {
        return Some(section.id.clone());
    }
    named_section(field, wanted)
}

/// The name of a field's section: its label, or else its id.
pub(super) fn named_section(field: &Field, item: &Item) -> Option<String> {
    let section = field.section.as_ref()?;
    let declared = item.sections.iter().find(|declared| declared.id == section.id);
    let label = section.label.clone().or_else(|| Some(declared?.label.clone()));
    Some(
        label
            .filter(|label| !label.is_empty())
            .unwrap_or_else(|| section.id.clone()),
    )
}

/// Finds the fields of a file by id, and for clients that send none, by section and label.
struct Lookup<'a> {
    by_id: HashMap<&'a str, usize>,
    by_name: HashMap<(Option<&'a str>, &'a str), usize>,
}

impl<'a> Lookup<'a> {
    fn of(fields: &'a [FieldPlace<'_>]) -> Self {
        let ids = fields.iter().enumerate();
        Self {
            by_id: ids.clone().map(|(at, field)| (field.id.as_str(), at)).collect(),
            by_name: ids
                .map(|(at, field)| ((field.section, field.label.as_str()), at))
                .collect(),
        }
    }

    fn find(&self, field: &Field, section: Option<&str>) -> Option<usize> {
        let named = || self.by_name.get(&(section, field.label.as_str()));
        self.by_id.get(field.id.as_str()).or_else(named).copied()
    }
}

/// The value for the file. A number or boolean stays one if the new text can be nothing else.
fn stored(known: &FieldPlace<'_>, text: &str) -> Value {
    let same_form = match known.value {
        _ if known.coding == Coding::Base64 => false,
        Value::Int(_) => text.parse::<i64>().is_ok_and(|number| number.to_string() == text),
        Value::Bool(_) => matches!(text, "true" | "false"),
        _ => false,
    };
    match known.value {
        Value::Int(_) if same_form => Value::Int(text.to_owned()),
        Value::Bool(_) if same_form => Value::Bool(text == "true"),
        _ => Value::String(encoded(text, known.coding)),
    }
}
