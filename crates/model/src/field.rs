//! Fields of an item: what people call "the secret" is a field's value.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::section::SectionRef;
use crate::wire::{null_as_default, wire_enum};

wire_enum! {
    /// What kind of text a value is.
    ///
    /// A one-time password is `OTP` on the wire, whatever the specification says. An unlisted word in a stored or
    /// mirrored item reads as [`FieldType::Unknown`].
    pub enum FieldType, unknown = Some(Self::Unknown);
    /// Plain text.
    String = "STRING",
    /// An e-mail address.
    Email = "EMAIL",
    /// Text that is shown as dots.
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
    /// None of the above.
    Unknown = "UNKNOWN",
}

wire_enum! {
    /// The part a field plays when its item fills in a form. Most fields have none.
    pub enum Purpose, unknown = None;
    /// The user's name; at most one on an item.
    Username = "USERNAME",
    /// The password; at most one on an item.
    Password = "PASSWORD",
    /// The notes.
    Notes = "NOTES",
}

impl Purpose {
    /// The id of a new field of this purpose, and its label when the client gave none (Connect 1.5.0: never empty).
    pub const fn usual_name(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Password => "password",
            Self::Notes => "notesPlain",
        }
    }
}

/// What is remembered about a password field.
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

/// One field. `label` and `value` are always sent (Ansible indexes both); the other members only when there is one.
///
/// The current one-time password (`totp`) is no part of it: it is added to an answer by
/// [`crate::totp::insert_codes`] and never stored. `Debug` hides the value.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// Unique within the item; any text, kept as the client chose it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub id: String,
    /// What kind of text the value is.
    #[serde(rename = "type", default = "plain")]
    pub field_type: FieldType,
    /// The part it plays, if any. Left out of the JSON when none: every SDK reads absence as `""`.
    #[serde(
        default,
        deserialize_with = "purpose_or_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub purpose: Option<Purpose>,
    /// What people see.
    #[serde(default, deserialize_with = "null_as_default")]
    pub label: String,
    /// The text itself; empty when there is none.
    #[serde(default, deserialize_with = "null_as_default")]
    pub value: String,
    /// The section it stands in. Never `null` in JSON: Ansible would crash on that.
    #[serde(
        default,
        deserialize_with = "section_or_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub section: Option<SectionRef>,
    /// Bits of a PASSWORD field's value: exact when generated here, else an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f64>,
    /// Earlier passwords of a PASSWORD field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_details: Option<PasswordDetails>,
}

impl Field {
    /// A field of this type, label and value, with no purpose and no section.
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

fn plain() -> FieldType {
    FieldType::String
}

/// `""`, `null` and words we do not know are all "no purpose".
fn purpose_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Purpose>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.as_deref().and_then(Purpose::from_word))
}

/// `null`, `{}` and `{"id": ""}` are all "no section".
fn section_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SectionRef>, D::Error> {
    let section = Option::<SectionRef>::deserialize(deserializer)?;
    Ok(section.filter(|section| !section.id.is_empty()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
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
    fn what_other_servers_leave_out_or_send_as_null_is_read() {
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
