//! What an item consists of, without the values of its fields, and how two versions of an item differ.

use std::collections::HashMap;

use serde::Serialize;

use sidevault_model::activity::VaultRef;
use sidevault_model::{
    Category, Field, FieldType, File, Item, ItemId, Purpose, Section, SectionRef, State, Timestamp, Url,
};

/// An item without the values of its fields. Everything that is not named here is left out, so a new member of [`Field`] does not
/// appear by itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outline<'a> {
    id: ItemId,
    title: &'a str,
    version: u32,
    vault: VaultRef,
    category: Category,
    urls: &'a [Url],
    favorite: bool,
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_edited_by: &'a str,
    sections: &'a [Section],
    fields: Vec<FieldOutline<'a>>,
    files: &'a [File],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FieldOutline<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    field_type: FieldType,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<Purpose>,
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<&'a SectionRef>,
    has_value: bool,
}

impl<'a> Outline<'a> {
    /// The item without the values of its fields.
    pub(crate) fn of(item: &'a Item) -> Self {
        let fields = item.fields.iter().map(|field| FieldOutline {
            id: &field.id,
            field_type: field.field_type,
            purpose: field.purpose,
            label: &field.label,
            section: field.section.as_ref(),
            has_value: !field.value.is_empty(),
        });
        Self {
            id: item.id,
            title: &item.title,
            version: item.version,
            vault: VaultRef { id: item.vault },
            category: item.category,
            urls: &item.urls,
            favorite: item.favorite,
            tags: &item.tags,
            state: item.state,
            created_at: item.created_at,
            updated_at: item.updated_at,
            last_edited_by: &item.last_edited_by,
            sections: &item.sections,
            fields: fields.collect(),
            files: &item.files,
        }
    }
}

impl<'a> Differences<'a> {
    /// How the version `after` differs from `before`, without values.
    pub(crate) fn between(before: &'a Item, after: &'a Item) -> Self {
        let mut old: HashMap<FieldName<'a>, &'a Field> = named(&before.fields).collect();
        let mut fields = Vec::new();
        for (name, field) in named(&after.fields) {
            let change = match old.remove(&name) {
                None => Change::Added,
                Some(before) if before.value == field.value && before.field_type == field.field_type => continue,
                Some(_) => Change::Changed,
            };
            fields.push(FieldDifference::of(field, change));
        }
        // In the order of the old version: a map has none.
        let gone = named(&before.fields).filter(|(name, _)| old.contains_key(name));
        fields.extend(gone.map(|(_, field)| FieldDifference::of(field, Change::Gone)));
        let parts = [
            ("title", after.title != before.title),
            ("category", after.category != before.category),
            ("tags", after.tags != before.tags),
            ("urls", after.urls != before.urls),
            ("favorite", after.favorite != before.favorite),
            ("state", after.state != before.state),
            ("files", after.files != before.files),
        ];
        Self {
            from: before.version,
            to: after.version,
            fields,
            parts: parts
                .iter()
                .filter(|(_, differs)| *differs)
                .map(|(name, _)| *name)
                .collect(),
        }
    }
}

/// The differences between two versions of an item.
#[derive(Serialize)]
pub(crate) struct Differences<'a> {
    from: u32,
    to: u32,
    fields: Vec<FieldDifference<'a>>,
    /// Which other members of the item differ, by their names in JSON.
    parts: Vec<&'static str>,
}

#[derive(Serialize)]
struct FieldDifference<'a> {
    id: &'a str,
    label: &'a str,
    #[serde(rename = "type")]
    field_type: FieldType,
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<&'a SectionRef>,
    change: Change,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    Added,
    Changed,
    Gone,
}

impl<'a> FieldDifference<'a> {
    fn of(field: &'a Field, change: Change) -> Self {
        Self {
            id: &field.id,
            label: &field.label,
            field_type: field.field_type,
            section: field.section.as_ref(),
            change,
        }
    }
}

/// What names a field in both versions: its section, its label (its id if it has none), and its number among fields of the same name.
type FieldName<'a> = (&'a str, &'a str, usize);

fn named(fields: &[Field]) -> impl Iterator<Item = (FieldName<'_>, &Field)> {
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    fields.iter().map(move |field| {
        let section = field.section.as_ref().map_or("", |section| section.id.as_str());
        let number = seen.entry((section, field.label_or_id())).or_default();
        *number += 1;
        ((section, field.label_or_id(), *number), field)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(fields: &[(&str, &str)]) -> Item {
        let fields: Vec<_> = fields
            .iter()
            .enumerate()
            .map(|(n, (label, value))| {
                serde_json::json!({"id": format!("f{n}"), "type": "CONCEALED", "label": label, "value": value,
                    "entropy": 3.5, "passwordDetails": {"history": ["old-secret"]}})
            })
            .collect();
        let json = serde_json::json!({"id": "a".repeat(26), "title": "t", "vault": {"id": "b".repeat(26)}, "version": 2,
            "category": "LOGIN", "fields": fields});
        Item::from_json(json.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn an_outline_has_labels_and_types_and_no_value() {
        let text = serde_json::to_string(&Outline::of(&item(&[("password", "s3cret"), ("empty", "")]))).unwrap();
        assert!(text.contains(r#""label":"password","hasValue":true"#), "{text}");
        assert!(text.contains(r#""label":"empty","hasValue":false"#), "{text}");
        for secret in ["s3cret", "old-secret", "entropy"] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    #[test]
    fn differences_name_what_changed_came_and_went_and_no_value() {
        let before = item(&[
            ("kept", "1"),
            ("changed", "2"),
            ("gone", "3"),
            ("twice", "4"),
            ("twice", "5"),
        ]);
        let after = item(&[
            ("kept", "1"),
            ("changed", "9"),
            ("new", "7"),
            ("twice", "4"),
            ("twice", "6"),
        ]);
        let shown = serde_json::to_value(Differences::between(&before, &after)).unwrap();
        let fields: Vec<_> = shown["fields"].as_array().unwrap().iter().collect();
        let changes: Vec<_> = fields
            .iter()
            .map(|field| (field["label"].as_str().unwrap(), field["change"].as_str().unwrap()))
            .collect();
        assert_eq!(
            changes,
            [
                ("changed", "changed"),
                ("new", "added"),
                ("twice", "changed"),
                ("gone", "gone")
            ]
        );
        assert!(fields.iter().all(|field| field.get("value").is_none()));
    }

    #[test]
    fn differences_name_the_other_members_that_differ() {
        let before = item(&[]);
        let mut after = before.clone();
        after.title = "new".to_owned();
        after.tags.push("x".to_owned());
        let shown = serde_json::to_value(Differences::between(&before, &after)).unwrap();
        assert_eq!(shown["parts"], serde_json::json!(["title", "tags"]));
    }
}
