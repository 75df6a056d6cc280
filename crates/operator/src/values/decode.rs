//! `decodingStrategy` and `nullBytePolicy`.

use sidevault_go::base64;

use super::{Values, ValuesError};
use crate::types::{DecodingStrategy, NullBytePolicy};

/// Decodes a value.
///
/// # Errors
/// With the strategies `Base64` and `Base64URL`, if the value is not in that encoding.
pub(crate) fn decode(strategy: DecodingStrategy, value: Vec<u8>) -> Result<Vec<u8>, ValuesError> {
    // The error names a position and quotes nothing of the value.
    let failed = |illegal: base64::Illegal| ValuesError::new(illegal.to_string());
    match strategy {
        DecodingStrategy::None => Ok(value),
        DecodingStrategy::Base64 => base64::decode(&value).map_err(failed),
        DecodingStrategy::Base64URL => base64::decode_url(&value).map_err(failed),
        DecodingStrategy::Auto => Ok(base64::decode(&value)
            .or_else(|_| base64::decode_url(&value))
            .unwrap_or(value)),
    }
}

/// Decodes all values.
///
/// # Errors
/// As [`decode`]; the error names the key.
pub(crate) fn decode_all(strategy: DecodingStrategy, values: Values) -> Result<Values, ValuesError> {
    values
        .into_iter()
        .map(|(key, value)| match decode(strategy, value) {
            Ok(value) => Ok((key, value)),
            Err(error) => Err(ValuesError::new(format!("failure decoding key {key}: {error}"))),
        })
        .collect()
}

/// Checks a value against `nullBytePolicy`.
///
/// # Errors
/// With the policy `Fail`, if the value has a NUL byte. The error names the key.
pub(crate) fn check_nul(policy: Option<NullBytePolicy>, key: &str, value: &[u8]) -> Result<(), ValuesError> {
    if policy == Some(NullBytePolicy::Fail) && value.contains(&0) {
        return Err(ValuesError::new(format!(
            "fetched secret value for key {key:?} contains null bytes; use a text-safe format such as PEM/base64 or \
             leave nullBytePolicy unset for intentional binary data"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_tries_both_alphabets_and_keeps_other_values() {
        let auto = |text: &str| decode(DecodingStrategy::Auto, text.as_bytes().to_vec()).unwrap();
        assert_eq!(auto("aGVsbG8="), b"hello");
        assert_eq!(auto("_-8="), [0xff, 0xef]);
        assert_eq!(auto("not base64!"), b"not base64!");
        assert_eq!(auto("aGVs\nbG8="), b"hello");
    }

    #[test]
    fn trailing_bits_are_ignored_as_in_go() {
        for strategy in [
            DecodingStrategy::Base64,
            DecodingStrategy::Base64URL,
            DecodingStrategy::Auto,
        ] {
            assert_eq!(decode(strategy, b"QR==".to_vec()).unwrap(), b"A");
        }
    }

    #[test]
    fn base64_refuses_other_values_without_quoting_them() {
        let error = decode(DecodingStrategy::Base64, b"s3cr*t".to_vec())
            .unwrap_err()
            .to_string();
        assert!(error.contains("base64") && !error.contains("s3cr"), "{error}");
    }

    #[test]
    fn nul_bytes_are_refused_only_with_the_policy_fail() {
        assert!(check_nul(None, "k", b"\0").is_ok());
        assert!(check_nul(Some(NullBytePolicy::Fail), "k", b"a\0").is_err());
    }
}
