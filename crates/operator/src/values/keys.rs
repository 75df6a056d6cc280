//! Keys: what a Secret's keys may be, and how names become keys.

use super::{Values, ValuesError};
use crate::types::{ConversionStrategy, PushConversion};

/// The longest key (Kubernetes).
const LONGEST: usize = 253;

/// Makes names into keys.
///
/// # Errors
/// When two names become one key.
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

/// Turns what [`convert`] wrote for one character back.
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

/// Drops an empty key, and refuses keys that a Secret can't hold.
///
/// # Errors
/// Names the key and what is wrong with it.
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

fn fits(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '.' | '_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn values(keys: &[&str]) -> Values {
        keys.iter().map(|key| ((*key).to_owned(), Vec::new())).collect()
    }

    fn keys(values: &Values) -> Vec<&str> {
        values.keys().map(String::as_str).collect()
    }

    #[test]
    fn names_become_keys() {
        let names = values(&["api token", "tls.crt"]);
        let default = convert(ConversionStrategy::Default, names.clone()).unwrap();
        assert_eq!(keys(&default), ["api_token", "tls.crt"]);
        let unicode = convert(ConversionStrategy::Unicode, names).unwrap();
        assert_eq!(keys(&unicode), ["api_U0020_token", "tls.crt"]);
    }

    #[test]
    fn two_names_for_one_key_are_refused() {
        assert!(convert(ConversionStrategy::Default, values(&["a b", "a_b"])).is_err());
    }

    #[test]
    fn a_converted_name_can_be_turned_back() {
        for name in ["api token", "a🚀b", "plain", "_U12", "_U0020", "x_Uzzzz_"] {
            let converted = convert(ConversionStrategy::Unicode, values(&[name])).unwrap();
            assert_eq!(reverse(PushConversion::ReverseUnicode, keys(&converted)[0]), name);
        }
    }

    #[test]
    fn what_a_secret_cannot_hold_is_refused() {
        assert!(check(values(&["a/b"])).is_err());
        assert!(check(values(&[&"k".repeat(254)])).is_err());
        assert_eq!(keys(&check(values(&["", "ok"])).unwrap()), ["ok"]);
    }
}
