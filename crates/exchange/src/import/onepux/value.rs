//! The value of a section's field: an object with one member, whose name is the kind of the value.

use serde_json::{Map, Value};
use sidevault_model::FieldType;

use crate::import::value::{is_date, is_month, plain};

/// What a value becomes.
#[derive(Debug, PartialEq)]
pub(super) enum Converted {
    /// The value of a field.
    Text(FieldType, String),
    /// A private key, and what is known of it.
    SshKey {
        private_key: String,
        /// Id, label and value of further fields.
        details: Vec<(&'static str, &'static str, String)>,
    },
    /// A file of the item.
    File { document_id: String, name: String },
}

/// A value, and what of it changes, if anything does.
pub(super) struct Conversion {
    pub(super) value: Converted,
    pub(super) loss: Option<String>,
}

/// Converts a value. It never fails: a kind that is not known is kept as text.
pub(super) fn convert(value: &Value) -> Conversion {
    let exact = |value| Conversion { value, loss: None };
    let text = |field_type, text: String| exact(Converted::Text(field_type, text));
    let union = match value {
        Value::Object(union) => union,
        // Some exports have a bare text.
        bare => return text(FieldType::String, plain(bare)),
    };
    let Some((kind, inner)) = only_member(union) else {
        return match union.is_empty() {
            true => text(FieldType::String, String::new()),
            false => as_json(value, "a value of several parts"),
        };
    };
    match kind {
        "string" => text(FieldType::String, plain(inner)),
        "concealed" => text(FieldType::Concealed, plain(inner)),
        "totp" => text(FieldType::Otp, plain(inner)),
        "phone" => text(FieldType::Phone, plain(inner)),
        "url" => text(FieldType::Url, plain(inner)),
        "menu" => text(FieldType::Menu, plain(inner)),
        "gender" => text(FieldType::Gender, plain(inner)),
        "creditCardType" => text(FieldType::CreditCardType, plain(inner)),
        "creditCardNumber" => text(FieldType::CreditCardNumber, plain(inner)),
        "reference" => text(FieldType::Reference, plain(inner)),
        "email" => text(FieldType::Email, email(inner)),
        "address" => text(FieldType::Address, address(inner)),
        "date" => checked(FieldType::Date, inner, is_date),
        "monthYear" => checked(FieldType::MonthYear, inner, is_month),
        "sshKey" => exact(ssh_key(inner)),
        "file" => exact(Converted::File {
            document_id: member(inner, "documentId"),
            name: member(inner, "fileName"),
        }),
        _ if inner.is_object() || inner.is_array() => as_json(inner, "a value of an unknown kind"),
        _ => Conversion {
            value: Converted::Text(FieldType::String, plain(inner)),
            loss: Some("a value of an unknown kind is kept as text".to_owned()),
        },
    }
}

/// The union's member that is not `null`.
fn only_member(union: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut members = union.iter().filter(|(_, value)| !value.is_null());
    match (members.next(), members.next()) {
        (Some((kind, value)), None) => Some((kind, value)),
        // {"totp": null}
        (None, _) if union.len() == 1 => union.iter().next().map(|(kind, value)| (kind.as_str(), value)),
        _ => None,
    }
}

/// `{"email_address": …, "provider": …}`, or a text.
pub(super) fn email(value: &Value) -> String {
    match value {
        Value::Object(_) => member(value, "email_address"),
        other => plain(other),
    }
}

fn member(value: &Value, name: &str) -> String {
    value.get(name).map(plain).unwrap_or_default()
}

/// Connect has an address as one line.
fn address(value: &Value) -> String {
    if !value.is_object() {
        return plain(value);
    }
    let parts = ["street", "city", "state", "zip", "country"].map(|name| member(value, name));
    let filled: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    filled.join(", ")
}

/// Connect and `op` show the public key, the fingerprint and the type as fields of the item.
fn ssh_key(value: &Value) -> Converted {
    if !value.is_object() {
        return Converted::Text(FieldType::SshKey, plain(value));
    }
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    let key_type = match metadata.get("keyType") {
        // {"t": "ed25519"}, {"t": "rsa", "c": {"rsaLength": 4096}}
        Some(Value::Object(kind)) => {
            let name = kind.get("t").map(plain).unwrap_or_default();
            match kind
                .get("c")
                .and_then(|detail| detail.get("rsaLength").or(Some(detail)))
            {
                Some(Value::Number(bits)) => format!("{name}-{bits}"),
                _ => name,
            }
        }
        Some(other) => plain(other),
        None => String::new(),
    };
    let details = [
        ("public_key", "public key", member(metadata, "publicKey")),
        ("fingerprint", "fingerprint", member(metadata, "fingerprint")),
        ("key_type", "key type", key_type),
    ];
    Converted::SshKey {
        private_key: Some(member(value, "privateKey"))
            .filter(|key| !key.is_empty())
            .unwrap_or_else(|| member(metadata, "privateKey")),
        details: details.into_iter().filter(|(_, _, value)| !value.is_empty()).collect(),
    }
}

/// A value with this form, else a text.
fn checked(field_type: FieldType, value: &Value, has_form: fn(&str) -> bool) -> Conversion {
    let text = plain(value);
    if text.is_empty() || has_form(&text) {
        return Conversion {
            value: Converted::Text(field_type, text),
            loss: None,
        };
    }
    Conversion {
        value: Converted::Text(FieldType::String, text),
        loss: Some(format!("a value that is no {field_type} is kept as text")),
    }
}

fn as_json(value: &Value, what: &str) -> Conversion {
    Conversion {
        value: Converted::Text(FieldType::Concealed, value.to_string()),
        loss: Some(format!("{what} is kept as JSON")),
    }
}
