//! Fields of an item. The secrets are values of fields.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::section::SectionRef;
use crate::wire::{null_as_default, wire_enum};

wire_enum! {
    /// The type of a field's value.
    ///
    /// A one-time password has the type `OTP`: Connect's specification says `TOTP`, which no Connect server accepts. Another word in
    /// an item of another server is read as [`FieldType::Unknown`].
    pub enum FieldType, unknown = Some(Self::Unknown);
    /// Plain text.
    String = "STRING",
    /// An e-mail address.
    Email = "EMAIL",
    /// Text that user interfaces hide.
    Concealed = "CONCEALED",
    /// A web address.
    Url = "URL",
    /// The secret behind one-time passwords: an `otpauth://` URI or a base32 seed.
    Otp = "OTP",
    /// A day: Unix seconds as text.
    Date = "DATE",
    /// A month: `YYYYMM`.
    MonthYear = "MONTH_YEAR",
    /// One choice of a list.
    Menu = "MENU",
    /// A postal address.
    Address = "ADDRESS",
    /// A credit card's number.
    CreditCardNumber = "CREDIT_CARD_NUMBER",
    /// A credit card's brand.
    CreditCardType = "CREDIT_CARD_TYPE",
    /// A gender.
    Gender = "GENDER",
    /// A telephone number.
    Phone = "PHONE",
    /// A link to another item.
    Reference = "REFERENCE",
    /// A file.
    File = "FILE",
    /// A private SSH key.
    SshKey = "SSHKEY",
    /// Another type.
    Unknown = "UNKNOWN",
}

wire_enum! {
    /// What a field is for when its item fills in a form. Most fields have no purpose.
    pub enum Purpose, unknown = None;
    /// The user's name. An item has at most one.
    Username = "USERNAME",
    /// The password. An item has at most one.
    Password = "PASSWORD",
    /// The notes.
    Notes = "NOTES",
}

impl Purpose {
    /// The id of a new field with this purpose, and the label if the client sends none: since Connect 1.5.0 the label of such a field
    /// is never empty.
    pub const fn usual_name(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Password => "password",
            Self::Notes => "notesPlain",
        }
    }
}

/// The earlier values of a password field.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordDetails {
    /// Earlier passwords, newest first, at most [`crate::limits::HISTORY`].
    #[serde(default, deserialize_with = "null_as_default")]
    pub history: Vec<String>,
}

impl fmt::Debug for PasswordDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordDetails({} earlier)", self.history.len())
    }
}

/// A field. `label` and `value` are always sent, because Ansible needs both members; other members only if the field has them.
///
/// The current one-time password (`totp`) is not stored: [`crate::totp::insert_codes`] adds it to answers. `Debug` hides the value.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// The id: any text that the client chose, unique within the item.
    #[serde(default, deserialize_with = "null_as_default")]
    pub id: String,
    /// The type of the value.
    #[serde(rename = "type", default = "string_type")]
    pub field_type: FieldType,
    /// The purpose, if any. A field without one has no such member in JSON, which every SDK reads as `""`.
    #[serde(
        default,
        deserialize_with = "purpose_or_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub purpose: Option<Purpose>,
    /// The name that people see.
    #[serde(default, deserialize_with = "null_as_default")]
    pub label: String,
    /// The value. Empty if the field has none.
    #[serde(default, deserialize_with = "null_as_default")]
    pub value: String,
    /// The section that the field belongs to. It is never `null` in JSON, because Ansible crashes on that.
    #[serde(
        default,
        deserialize_with = "section_or_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub section: Option<SectionRef>,
    /// The entropy of a PASSWORD field's value in bits: exact if this server generated the value, else an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f64>,
    /// Earlier passwords of a PASSWORD field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_details: Option<PasswordDetails>,
}

impl Field {
    /// What names the field for people: its label, or its id if it has none.
    pub fn label_or_id(&self) -> &str {
        if self.label.is_empty() { &self.id } else { &self.label }
    }

    /// A field with this type, label and value, without purpose and section.
    pub fn new(
        id: impl Into<String>,
        field_type: FieldType,
        label: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            field_type,
            purpose: None,
            label: label.into(),
            value: value.into(),
            section: None,
            entropy: None,
            password_details: None,
        }
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field")
            .field("id", &self.id)
            .field("field_type", &self.field_type)
            .field("purpose", &self.purpose)
            .field("password_details", &self.password_details)
            .finish_non_exhaustive()
    }
}

fn string_type() -> FieldType {
    FieldType::String
}

/// `""`, `null` and unknown words all mean that the field has no purpose.
fn purpose_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Purpose>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.as_deref().and_then(Purpose::from_word))
}

/// `null`, `{}` and `{"id": ""}` all mean that the field belongs to no section.
fn section_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SectionRef>, D::Error> {
    let section = Option::<SectionRef>::deserialize(deserializer)?;
    Ok(section.filter(|section| !section.id.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Checks 80 and 81.
    #[test]
    fn a_bare_field_sends_id_type_label_and_value_and_no_section() {
        let field = Field::new("host", FieldType::String, "", "");
        assert_eq!(
            serde_json::to_string(&field).unwrap(),
            r#"{"id":"host","type":"STRING","label":"","value":""}"#
        );
    }

    #[test]
    fn missing_and_null_and_unknown_members_are_read() {
        let field: Field = serde_json::from_str(
            r#"{"id":"notesPlain","type":"WAX_SEAL","purpose":"","section":null,"totp":"123456","passwordDetails":{}}"#,
        )
        .unwrap();
        assert_eq!(field.field_type, FieldType::Unknown);
        assert_eq!((field.purpose, field.section, field.value.as_str()), (None, None, ""));
    }

    #[test]
    fn debug_shows_no_value() {
        let mut field = Field::new("password", FieldType::Concealed, "password", "hunter2");
        field.password_details = Some(PasswordDetails {
            history: vec!["hunter1".into()],
        });
        assert!(!format!("{field:?}").contains("hunter"));
    }
}
