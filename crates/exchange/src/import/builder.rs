//! Puts an item together. Every reader does it in the same way, so that field ids are unique and the same at every reading.

use std::collections::HashSet;

use sidevault_model::{Category, Field, FieldType, PasswordDetails, Purpose, Section, SectionRef, limits, totp};

use super::ImportedItem;

/// The section for fields whose label a field outside sections has already: a reference to that label would be ambiguous.
const FURTHER: (&str, &str) = ("further-fields", "further fields");

/// An item that is not complete yet.
pub(crate) struct ItemBuilder {
    pub(crate) item: ImportedItem,
    field_ids: HashSet<String>,
}

impl ItemBuilder {
    pub(crate) fn new(source_id: &str, vault: usize, title: &str, category: Category) -> Self {
        Self {
            item: ImportedItem::new(source_id, vault, title, category),
            field_ids: HashSet::new(),
        }
    }

    pub(crate) fn finish(self) -> ImportedItem {
        self.item
    }

    /// Whether a field has this id.
    pub(crate) fn has_field(&self, id: &str) -> bool {
        self.field_ids.contains(id)
    }

    /// Adds a tag once.
    pub(crate) fn tag(&mut self, tag: &str) {
        if !tag.is_empty() && self.item.tags.iter().all(|known| known != tag) {
            self.item.tags.push(tag.to_owned());
        }
    }

    /// Adds what can't be carried over, with a name for it.
    pub(crate) fn lose(&mut self, label: &str, reason: &str) {
        self.item
            .losses
            .push(format!("\"{}\": {reason}", sidevault_model::printable(label)));
    }

    /// The section with this id, which is made if the item has none.
    pub(crate) fn section(&mut self, id: &str, label: &str) -> SectionRef {
        let known = self.item.sections.iter().find(|section| section.id == id);
        let label = match known {
            Some(section) => section.label.clone(),
            None => {
                self.item.sections.push(Section {
                    id: id.to_owned(),
                    label: label.to_owned(),
                });
                label.to_owned()
            }
        };
        SectionRef {
            id: id.to_owned(),
            label: Some(label).filter(|label| !label.is_empty()),
        }
    }

    /// Adds the user name, the password or the notes. An item has one of each; a second one becomes another field.
    pub(crate) fn with_purpose(&mut self, purpose: Purpose, value: String) {
        let name = purpose.usual_name();
        let field_type = match purpose {
            Purpose::Password => FieldType::Concealed,
            _ => FieldType::String,
        };
        if self.has_field(name) {
            // A password both in the form and beside it.
            let is_same = self
                .item
                .fields
                .iter()
                .any(|field| field.id == name && field.value == value);
            if !is_same && !value.is_empty() {
                self.field(name, field_type, name, value, None);
            }
            return;
        }
        self.field(name, field_type, name, value, None);
        if let Some(field) = self.item.fields.last_mut() {
            field.purpose = Some(purpose);
        }
    }

    /// Adds a field. If its id is taken, it gets a number, which is the same at every reading.
    pub(crate) fn field(
        &mut self,
        id: &str,
        field_type: FieldType,
        label: &str,
        value: String,
        section: Option<SectionRef>,
    ) {
        let wanted = if id.is_empty() { label } else { id };
        let free = self.free_id(wanted);
        if free != wanted && !id.is_empty() {
            self.lose(
                label,
                "another field of the item has the same id, so this one gets another id",
            );
        }
        self.push(free, field_type, label, value, section);
    }

    /// Adds a field of a format whose fields have names and no ids. If the name is taken, the field goes into a section of its own.
    pub(crate) fn named(&mut self, field_type: FieldType, name: &str, value: String) {
        let is_taken = |field: &Field| field.section.is_none() && (field.label == name || field.id == name);
        let section = self
            .item
            .fields
            .iter()
            .any(is_taken)
            .then(|| self.section(FURTHER.0, FURTHER.1));
        let id = self.free_id(if name.len() > limits::ID_BYTES { "field" } else { name });
        self.push(id, field_type, name, value, section);
    }

    /// Adds the secret behind one-time passwords; if the server can't compute codes of it, as concealed text.
    pub(crate) fn one_time_password(&mut self, name: &str, value: String) {
        if totp::code(&value, sidevault_model::Timestamp::from_millis(0)).is_some() {
            self.named(FieldType::Otp, name, value);
        } else {
            self.lose(
                name,
                "no codes can be computed of this secret, so it is kept as concealed text",
            );
            self.named(FieldType::Concealed, name, value);
        }
    }

    /// Adds the earlier passwords, newest first.
    pub(crate) fn history(&mut self, mut earlier: Vec<String>) {
        earlier.retain(|password| !password.is_empty());
        if earlier.is_empty() {
            return;
        }
        let count = earlier.len();
        let password = self
            .item
            .fields
            .iter_mut()
            .find(|field| field.purpose == Some(Purpose::Password));
        let Some(password) = password else {
            self.item
                .losses
                .push(format!("{count} earlier passwords: the item has no password field"));
            return;
        };
        earlier.truncate(limits::HISTORY);
        password.password_details = Some(PasswordDetails { history: earlier });
        if count > limits::HISTORY {
            self.item.losses.push(format!(
                "{} of {count} earlier passwords: the newest {} are kept",
                count - limits::HISTORY,
                limits::HISTORY
            ));
        }
    }

    fn free_id(&self, wanted: &str) -> String {
        let mut free = wanted.to_owned();
        let mut number = 1;
        while free.is_empty() || self.field_ids.contains(&free) {
            number += 1;
            free = format!("{wanted}-{number}");
        }
        free
    }

    fn push(&mut self, id: String, field_type: FieldType, label: &str, value: String, section: Option<SectionRef>) {
        self.field_ids.insert(id.clone());
        self.item.fields.push(Field {
            section,
            ..Field::new(id, field_type, label, value)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_taken_go_into_a_section() {
        let mut builder = ItemBuilder::new("x", 0, "t", Category::Login);
        builder.with_purpose(Purpose::Password, "one".into());
        for value in ["two", "three"] {
            builder.named(FieldType::String, "password", value.into());
        }
        builder.named(FieldType::String, &"n".repeat(limits::ID_BYTES + 1), "four".into());
        let item = builder.finish();
        let shown: Vec<(&str, bool)> = item
            .fields
            .iter()
            .map(|field| (field.id.as_str(), field.section.is_some()))
            .collect();
        assert_eq!(
            shown,
            [
                ("password", false),
                ("password-2", true),
                ("password-3", true),
                ("field", false)
            ]
        );
        assert_eq!(item.sections.len(), 1);
        assert!(item.losses.is_empty());
    }

    #[test]
    fn a_secret_that_makes_no_codes_stays_text() {
        let mut builder = ItemBuilder::new("x", 0, "t", Category::Login);
        builder.one_time_password("otp", "JBSWY3DPEHPK3PXP".into());
        builder.one_time_password("steam", "steam://JBSWY3DP".into());
        let item = builder.finish();
        assert_eq!(item.fields[0].field_type, FieldType::Otp);
        assert_eq!(item.fields[1].field_type, FieldType::Concealed);
        assert_eq!(item.losses.len(), 1);
    }
}
