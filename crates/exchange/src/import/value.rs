//! Values of JSON as values of fields.

use serde_json::Value;

/// A text as it is; a number or boolean as text; `null` is empty; lists and objects are JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Unix seconds in the range of dates that the API has.
pub(crate) fn is_date(text: &str) -> bool {
    text.parse()
        .is_ok_and(|seconds: i64| (-62_135_596_800..=253_402_207_200).contains(&seconds))
}

/// `YYYYMM`.
pub(crate) fn is_month(text: &str) -> bool {
    let digits = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && text[4..].parse().is_ok_and(|month: u8| (1..=12).contains(&month))
}
