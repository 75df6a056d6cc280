//! Reads JSON that other programs wrote in several versions: `null` is the same as absent, and a number may stand for a text.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::ImportError;

/// `null` is the default.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A text; a number or boolean as text; empty for anything else.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
        _ => String::new(),
    })
}

/// A whole number, also as text; `None` for anything else.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    })
}

/// The error of a JSON parser, whose own text quotes the input. `form` is said if a member has another type than the format gives it.
pub(crate) fn json_error(place: &str, error: serde_json::Error, form: &str) -> ImportError {
    use serde_json::error::Category;
    match error.classify() {
        Category::Io => ImportError::Io(error.into()),
        kind => ImportError::malformed(
            format!("{place}, line {} column {}", error.line(), error.column()),
            match kind {
                Category::Eof => "the JSON is cut short",
                Category::Data => form,
                _ => "it is not valid JSON",
            },
        ),
    }
}
