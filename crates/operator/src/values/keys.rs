//! `conversionStrategy`, and which keys a Secret may have.

use super::{Values, ValuesError};
use crate::types::{ConversionStrategy, PushConversion};

/// The longest key that Kubernetes accepts in a Secret, in bytes.
const LONGEST: usize = 253;

/// Converts the labels of fields and names of files to keys of a Secret.
///
/// # Errors
/// If two names are converted to the same key.
pub(crate) fn convert(strategy: ConversionStrategy, values: Values) -> Result<Values, ValuesError> {
    let mut converted = Values::new();
    for (name, value) in values {
        let key: String = name
            .chars()
            .map(|c| match (fits(c), strategy) {
                (true, _) => c.to_string(),
                (false, ConversionStrategy::Default) => "_".to_owned(),
                (false, ConversionStrategy::Unicode) => format!("_U{:04x}_", u32::from(c)),
            })
            .collect();
        if converted.insert(key.clone(), value).is_some() {
            return Err(ValuesError::new(format!(
                "secret name collision during conversion: {key}"
            )));
        }
    }
    Ok(converted)
}

/// Replaces each `_U0020_` that [`convert`] wrote by the character it stands for.
pub(crate) fn reverse(strategy: PushConversion, key: &str) -> String {
    if strategy == PushConversion::None {
        return key.to_owned();
    }
    let mut text = String::new();
    let mut rest = key;
    while let Some(start) = rest.find("_U") {
        text.push_str(&rest[..start]);
        let after = &rest[start + 2..];
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count().min(5);
        let ends = digits >= 4 && after.as_bytes().get(digits) == Some(&b'_');
        let decoded = u32::from_str_radix(&after[..digits], 16).ok().and_then(char::from_u32);
        match decoded.filter(|_| ends) {
            Some(c) => {
                text.push(c);
                rest = &after[digits + 1..];
            }
            None => {
                text.push_str("_U");
                rest = after;
            }
        }
    }
    text + rest
}

/// Removes an empty key, as External Secrets does, and checks the others.
///
/// # Errors
/// If Kubernetes does not accept a key. The error names the key and the reason.
pub(crate) fn check(mut values: Values) -> Result<Values, ValuesError> {
    values.remove("");
    for key in values.keys() {
        if key.len() > LONGEST {
            let start: String = key.chars().take(LONGEST).collect();
            return Err(ValuesError::new(format!(
                "key has length {} but max is {LONGEST}: (following is truncated): {start}",
                key.len()
            )));
        }
        if let Some(c) = key.chars().find(|c| !fits(*c)) {
            return Err(ValuesError::new(format!(
                "key has invalid character {c}, only alphanumeric, '-', '.' and '_' are allowed: {key}"
            )));
        }
    }
    Ok(values)
}

/// Whether a key may contain a character, by External Secrets' rule: Kubernetes accepts fewer.
fn fits(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '.' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(keys: &[&str]) -> Values {
        keys.iter().map(|key| ((*key).to_owned(), Vec::new())).collect()
    }

    fn keys(values: &Values) -> Vec<&str> {
        values.keys().map(String::as_str).collect()
    }

    #[test]
    fn characters_that_no_key_has_are_replaced() {
        let names = values(&["api token", "tls.crt"]);
        let default = convert(ConversionStrategy::Default, names.clone()).unwrap();
        assert_eq!(keys(&default), ["api_token", "tls.crt"]);
        let unicode = convert(ConversionStrategy::Unicode, names).unwrap();
        assert_eq!(keys(&unicode), ["api_U0020_token", "tls.crt"]);
    }

    #[test]
    fn names_that_convert_to_the_same_key_are_refused() {
        assert!(convert(ConversionStrategy::Default, values(&["a b", "a_b"])).is_err());
    }

    #[test]
    fn reverse_undoes_convert() {
        for name in ["api token", "a🚀b", "plain", "_U12", "_U0020", "x_Uzzzz_"] {
            let converted = convert(ConversionStrategy::Unicode, values(&[name])).unwrap();
            assert_eq!(reverse(PushConversion::ReverseUnicode, keys(&converted)[0]), name);
        }
    }

    #[test]
    fn invalid_keys_are_refused() {
        assert!(check(values(&["a/b"])).is_err());
        assert!(check(values(&[&"k".repeat(254)])).is_err());
        assert_eq!(keys(&check(values(&["", "ok"])).unwrap()), ["ok"]);
    }
}
