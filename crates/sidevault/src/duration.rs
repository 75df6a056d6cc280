//! Durations in Go's form (`1m30s`), which Connect's variables and External Secrets' flags have, and in days and weeks.

use std::time::Duration;

/// A text that is no duration. The message quotes its first 40 characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no duration: write a number and a unit, such as 10s, 1m30s, 12h or 90d")]
pub(crate) struct InvalidDuration(String);

/// Reads a duration as Go's `time.ParseDuration` does, and also `d` (24 hours) and `w` (7 days).
///
/// # Errors
/// If the text is not a duration, or is a negative one.
pub(crate) fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let nanos = sidevault_go::duration::parse_with_days(text.trim());
    nanos
        .and_then(|nanos| u64::try_from(nanos).ok())
        .map(Duration::from_nanos)
        .ok_or_else(|| InvalidDuration(text.chars().take(40).collect()))
}

/// Reads when something expires: `never`, or how long from now.
#[cfg(feature = "server")]
pub(crate) fn parse_expiry(text: &str) -> Result<Option<Duration>, InvalidDuration> {
    match text.trim() {
        "never" => Ok(None),
        text => parse(text).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text: String) {
            let _ = parse(&text);
        }

        #[test]
        fn whole_numbers_of_a_unit_are_exact(seconds in 0..1_000_000_u64) {
            prop_assert_eq!(parse(&format!("{seconds}s")).unwrap(), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn durations_in_gos_form_are_read() {
        for (text, seconds) in [
            ("10s", 10.0),
            ("1m30s", 90.0),
            ("1h", 3600.0),
            ("1.5h", 5400.0),
            ("250ms", 0.25),
            ("0", 0.0),
            ("+2s", 2.0),
            ("90d", 90.0 * 86400.0),
            ("2w", 14.0 * 86400.0),
            ("1d12h", 36.0 * 3600.0),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_secs_f64(seconds), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "10 s",
            "1x",
            "1.2.3s",
            "ten",
            "never",
            "1e9s",
            ".s",
            "99999999999999999999w",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn never_is_an_expiry_and_no_duration() {
        assert_eq!(parse_expiry("never").unwrap(), None);
        assert_eq!(parse_expiry("1h").unwrap(), Some(Duration::from_secs(3600)));
        assert!(parse_expiry("soon").is_err());
    }
}
