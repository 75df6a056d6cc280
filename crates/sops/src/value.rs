//! The values of a document, in the order of the file.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroize;

/// One value of a document.
///
/// Numbers and times are kept as text, in the form of `sops -d --output-type json`, so that no digit is lost. Text is wiped on
/// drop and not shown by `Debug`. A type with `Drop` can't be destructured by value: borrow its content, or take it with
/// [`std::mem::take`]. Key names are not secret: SOPS does not encrypt them.
#[derive(Clone, Default, PartialEq)]
pub enum Value {
    /// `null`, `~`, or no text.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A decimal integer, with a minus sign if it is negative.
    Int(String),
    /// A float in JSON's notation (`0.1`, `1e+21`), or `.inf`, `-.inf`, `.nan`.
    Float(String),
    /// Text.
    String(String),
    /// Bytes that are not UTF-8, or that have the type `bytes` in the file.
    Bytes(Vec<u8>),
    /// A time in RFC 3339, with up to nine decimals: `2024-01-31T00:00:00Z`.
    Time(String),
    /// A list.
    Sequence(Vec<Value>),
    /// Keys and values, in the order of the file. No key occurs twice, except sections of [`crate::ini::parse`].
    Mapping(Vec<(String, Value)>),
    /// The value of a YAML merge key (`<<`): a mapping or a list of mappings. [`crate::yaml::parse`] returns it;
    /// [`crate::read`] merges it.
    Merge(Box<Value>),
}

impl Value {
    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The items, if this is a list.
    pub fn as_sequence(&self) -> Option<&[Value]> {
        match self {
            Self::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if this is a mapping.
    pub fn as_mapping(&self) -> Option<&[(String, Value)]> {
        match self {
            Self::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let (_, value) = self.as_mapping()?.iter().find(|(name, _)| name == key)?;
        Some(value)
    }

    /// [`Value::String`] if `bytes` are UTF-8, else [`Value::Bytes`].
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::String(text),
            Err(error) => Self::Bytes(error.into_bytes()),
        }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        match self {
            Self::Int(text) | Self::Float(text) | Self::String(text) | Self::Time(text) => {
                text.zeroize();
            }
            Self::Bytes(bytes) => bytes.zeroize(),
            // Each item is wiped when it is dropped.
            Self::Null | Self::Bool(_) | Self::Sequence(_) | Self::Mapping(_) | Self::Merge(_) => {}
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bool(_) => f.write_str("Bool(..)"),
            Self::Int(_) => f.write_str("Int(..)"),
            Self::Float(_) => f.write_str("Float(..)"),
            Self::String(_) => f.write_str("String(..)"),
            Self::Bytes(_) => f.write_str("Bytes(..)"),
            Self::Time(_) => f.write_str("Time(..)"),
            Self::Sequence(items) => write!(f, "Sequence({} items)", items.len()),
            Self::Mapping(entries) => write!(f, "Mapping({} entries)", entries.len()),
            Self::Merge(_) => f.write_str("Merge(..)"),
        }
    }
}

/// The text of a value, for a field.
///
/// A string is unchanged; numbers, booleans and times have the form of `sops -d --output-type json`; bytes become base64, and
/// null becomes an empty text. A list or mapping becomes compact JSON.
pub fn scalar_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(text) | Value::Float(text) | Value::String(text) | Value::Time(text) => text.clone(),
        Value::Bytes(bytes) => STANDARD.encode(bytes),
        Value::Sequence(_) | Value::Mapping(_) | Value::Merge(_) => {
            let mut out = String::new();
            write_json(value, &mut out);
            out
        }
    }
}

fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(text) => out.push_str(text),
        // JSON has no infinities: they become texts in YAML's notation.
        Value::Float(text) if !text.ends_with(|c: char| c.is_ascii_alphabetic()) => {
            out.push_str(text);
        }
        Value::Float(text) | Value::String(text) | Value::Time(text) => write_json_text(text, out),
        Value::Bytes(bytes) => write_json_text(&STANDARD.encode(bytes), out),
        Value::Merge(merged) => write_json(merged, out),
        Value::Sequence(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_json(item, out);
            }
            out.push(']');
        }
        Value::Mapping(entries) => {
            out.push('{');
            for (position, (key, item)) in entries.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_json_text(key, out);
                out.push(':');
                write_json(item, out);
            }
            out.push('}');
        }
    }
}

fn write_json_text(text: &str, out: &mut String) {
    // The `Display` of serde_json's `Value::String` escapes the text and never fails.
    let mut escaped = serde_json::Value::String(text.to_owned());
    out.push_str(&escaped.to_string());
    if let serde_json::Value::String(copy) = &mut escaped {
        copy.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_types_and_sizes_but_no_content() {
        let value = Value::Mapping(vec![
            ("user".into(), Value::String("hunter2".into())),
            ("pin".into(), Value::Int("4711".into())),
        ]);
        assert_eq!(format!("{value:?}"), "Mapping(2 entries)");
        let shown = format!("{:?}", value.as_mapping());
        assert!(!shown.contains("hunter2") && !shown.contains("4711"), "{shown}");
    }

    #[test]
    fn a_collection_becomes_compact_json() {
        let value = Value::Mapping(vec![
            ("a".into(), Value::Sequence(vec![Value::Int("1".into()), Value::Null])),
            ("b\"".into(), Value::String("x\ny".into())),
            ("f".into(), Value::Float("1e+21".into())),
            ("i".into(), Value::Float("-.inf".into())),
        ]);
        assert_eq!(
            scalar_text(&value),
            r#"{"a":[1,null],"b\"":"x\ny","f":1e+21,"i":"-.inf"}"#
        );
    }

    #[test]
    fn scalars_become_their_plain_text() {
        assert_eq!(scalar_text(&Value::Null), "");
        assert_eq!(scalar_text(&Value::Bool(true)), "true");
        assert_eq!(scalar_text(&Value::String(" as is \n".into())), " as is \n");
        assert_eq!(scalar_text(&Value::Bytes(vec![0xff, 0x00])), "/wA=");
    }
}
