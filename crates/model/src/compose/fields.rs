//! The rules for fields: ids, types, purposes, generated values, dates, password history.

use std::collections::{HashMap, HashSet};

use crate::date;
use crate::field::{Field, FieldType, PasswordDetails, Purpose};
use crate::ids;
use crate::input::{Edit, FieldInput};
use crate::item::Item;
use crate::limits;
use crate::recipe::{self, Recipe};

use super::sections::Sections;
use super::{Fault, Part};

/// The fields in the client's order. What the client left out is taken from the old field or from the defaults.
pub(super) fn compose(
    inputs: Vec<FieldInput>,
    old: Option<&Item>,
    sections: &mut Sections<'_>,
    edit: &mut Edit<'_>,
) -> Result<Vec<Field>, Fault> {
    if inputs.len() > limits::FIELDS {
        return Err(Fault::new(Part::Fields, format!("are more than {}", limits::FIELDS)));
    }
    let old = Old::new(old);
    let mut ids = Ids::of(&inputs)?;
    let claimed: HashSet<Purpose> = inputs.iter().filter_map(|input| input.purpose.flatten()).collect();
    let mut fields: Vec<Field> = Vec::with_capacity(inputs.len());
    let mut used: Vec<Purpose> = Vec::new();
    for (index, input) in inputs.into_iter().enumerate() {
        let fault = |reason: String| Fault::new(Part::Field(index), reason);
        let id = ids.of_field(&input, &old, edit);
        let was = old.by_id.get(id.as_str()).copied();
        let kept_purpose = || was?.purpose.filter(|purpose| !claimed.contains(purpose));
        let purpose = input.purpose.unwrap_or_else(kept_purpose);
        only_one(purpose, &mut used).map_err(fault)?;
        let mut field = Field::new(id, field_type(input.field_type, purpose, was), "", "");
        field.purpose = purpose;
        field.label = label(input.label, purpose, was).map_err(fault)?;
        field.section = match input.section {
            Some(section) => Some(sections.resolve(section, edit).map_err(fault)?),
            None => None,
        };
        let value = Value::of(input.value, input.generate, input.recipe, edit).map_err(fault)?;
        value
            .put_into(&mut field, was, &old)
            .map_err(|reason| fault(reason.to_owned()))?;
        fields.push(field);
    }
    Ok(fields)
}

/// Adds an empty notes field after the client's fields, unless there is one.
pub(super) fn add_notes(fields: &mut Vec<Field>) {
    let name = Purpose::Notes.usual_name();
    if !fields
        .iter()
        .any(|field| field.purpose == Some(Purpose::Notes) || field.id == name)
    {
        fields.push(Field {
            purpose: Some(Purpose::Notes),
            ..Field::new(name, FieldType::String, name, "")
        });
    }
}

/// The earlier passwords of a field that was `previous` and now has `value`: newest first, at most [`limits::HISTORY`].
pub(crate) fn history(previous: &Field, purpose: Option<Purpose>, value: &str) -> Option<PasswordDetails> {
    let mut history = previous.password_details.clone().unwrap_or_default().history;
    if purpose == Some(Purpose::Password) && !previous.value.is_empty() && previous.value != value {
        history.insert(0, previous.value.clone());
        history.truncate(limits::HISTORY);
    }
    (!history.is_empty()).then_some(PasswordDetails { history })
}

/// The fields of the item that is replaced.
struct Old<'a> {
    by_id: HashMap<&'a str, &'a Field>,
    by_purpose: Vec<(Purpose, &'a Field)>,
}

impl<'a> Old<'a> {
    fn new(item: Option<&'a Item>) -> Self {
        let fields = item.map_or(&[][..], |item| &item.fields);
        Self {
            // Reversed, so that the first of two fields with the same id is taken.
            by_id: fields.iter().rev().map(|field| (field.id.as_str(), field)).collect(),
            by_purpose: fields
                .iter()
                .filter_map(|field| Some((field.purpose?, field)))
                .collect(),
        }
    }

    fn with_purpose(&self, purpose: Purpose) -> Option<&'a Field> {
        self.by_purpose
            .iter()
            .find(|(played, _)| *played == purpose)
            .map(|(_, field)| *field)
    }
}

/// The ids that fields have already.
struct Ids(HashSet<String>);

impl Ids {
    fn of(inputs: &[FieldInput]) -> Result<Self, Fault> {
        let mut taken = HashSet::new();
        for (index, input) in inputs.iter().enumerate() {
            let Some(id) = &input.id else { continue };
            if id.len() > limits::ID_BYTES {
                let reason = format!("has an id longer than {} bytes", limits::ID_BYTES);
                return Err(Fault::new(Part::Field(index), reason));
            }
            if !taken.insert(id.clone()) {
                return Err(Fault::new(Part::Field(index), "has the id of another field"));
            }
        }
        Ok(Self(taken))
    }

    /// The client's id. Without one, a field with a purpose gets the id of the old field with this purpose, or the usual one; any other
    /// field gets a new id.
    fn of_field(&mut self, input: &FieldInput, old: &Old<'_>, edit: &mut Edit<'_>) -> String {
        if let Some(id) = &input.id {
            return id.clone();
        }
        if let Some(purpose) = input.purpose.flatten() {
            let had = old.with_purpose(purpose).map(|field| field.id.as_str());
            for id in had.into_iter().chain([purpose.usual_name()]) {
                if self.0.insert(id.to_owned()) {
                    return id.to_owned();
                }
            }
        }
        loop {
            // The first id is new, unless two edits use the same random numbers, as in tests.
            let id = ids::fresh_from(&mut *edit.rng);
            if self.0.insert(id.clone()) {
                return id;
            }
        }
    }
}

/// Refuses a second USERNAME or PASSWORD. The text is Connect's, because people search for it.
fn only_one(purpose: Option<Purpose>, used: &mut Vec<Purpose>) -> Result<(), String> {
    if let Some(purpose @ (Purpose::Username | Purpose::Password)) = purpose {
        if used.contains(&purpose) {
            let name = purpose.usual_name();
            return Err(format!("is a second one. You can only use one \"{name}\" field."));
        }
        used.push(purpose);
    }
    Ok(())
}

/// The type: the client's, else the old field's, else STRING. The Go SDK sends UNKNOWN for types that it does not know, so that counts as
/// left out. A PASSWORD with the type STRING becomes CONCEALED, because STRING is the default of some clients.
fn field_type(sent: Option<FieldType>, purpose: Option<Purpose>, was: Option<&Field>) -> FieldType {
    let kept = was.map(|field| field.field_type);
    let wanted = match sent {
        None | Some(FieldType::Unknown) => kept.or(sent),
        sent => sent,
    };
    match (wanted.unwrap_or(FieldType::String), purpose) {
        (FieldType::String, Some(Purpose::Password)) => FieldType::Concealed,
        (wanted, _) => wanted,
    }
}

/// The label. That of a field with a purpose is never empty (Connect 1.5.0).
fn label(sent: Option<String>, purpose: Option<Purpose>, was: Option<&Field>) -> Result<String, String> {
    match (sent.filter(|label| !label.is_empty()), purpose) {
        (Some(label), _) => {
            let unchanged = was.is_some_and(|field| field.label == label);
            if unchanged || label.chars().count() <= limits::LABEL_CHARS {
                Ok(label)
            } else {
                Err(format!("has a label longer than {} characters", limits::LABEL_CHARS))
            }
        }
        (None, Some(purpose)) => Ok(purpose.usual_name().to_owned()),
        (None, None) => Ok(String::new()),
    }
}

/// The new value of a field.
struct Value {
    text: String,
    /// The entropy, if the value was generated.
    generated: Option<f64>,
}

impl Value {
    /// The client's value. If that is empty and `generate` is set, a generated value.
    fn of(sent: Option<String>, generate: bool, recipe: Option<Recipe>, edit: &mut Edit<'_>) -> Result<Self, String> {
        let sent = sent.unwrap_or_default();
        if !generate || !sent.is_empty() {
            return Ok(Self {
                text: sent,
                generated: None,
            });
        }
        let recipe = recipe.unwrap_or_default();
        let text = recipe::generate(&recipe, &mut *edit.rng).map_err(|error| error.to_string())?;
        Ok(Self {
            text,
            generated: Some(recipe.entropy()),
        })
    }

    /// Sets the value of the field, its entropy and its history.
    fn put_into(self, field: &mut Field, was: Option<&Field>, old: &Old<'_>) -> Result<(), &'static str> {
        // An unchanged value is not checked, so that a client can send back any item that it has read.
        let unchanged = was.is_some_and(|was| was.field_type == field.field_type && was.value == self.text);
        field.value = match field.field_type {
            FieldType::Date if !unchanged => date::date(&self.text)?,
            FieldType::MonthYear if !unchanged => date::month_year(&self.text)?,
            _ => self.text,
        };
        // If a client moves the password to a field with another id, the history moves, too.
        let password = field.purpose == Some(Purpose::Password);
        let previous = if password {
            old.with_purpose(Purpose::Password).or(was)
        } else {
            was
        };
        field.password_details = previous.and_then(|previous| history(previous, field.purpose, &field.value));
        if password && !field.value.is_empty() {
            let kept = || previous.filter(|previous| previous.value == field.value)?.entropy;
            let entropy = self
                .generated
                .or_else(kept)
                .unwrap_or_else(|| recipe::estimate(&field.value));
            field.entropy = Some(entropy);
        }
        Ok(())
    }
}
