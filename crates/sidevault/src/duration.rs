//! Durations as people write them: Go's form, which Connect's variables have, and days and weeks.

use std::time::Duration;

/// A text that is no duration; says so without repeating more than a person typed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no duration: write a number and a unit, such as 10s, 1m30s, 12h or 90d")]
pub(crate) struct InvalidDuration(String);

/// Nanoseconds in a unit.
fn unit(word: &str) -> Option<f64> {
    Some(match word {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        "d" => 24.0 * 3600e9,
        "w" => 7.0 * 24.0 * 3600e9,
        _ => return None,
    })
}

/// Reads a duration as Go's `time.ParseDuration` does, but none below zero, and with `d` (24 h)
/// and `w` besides. A bare `0` is the only number without a unit.
pub(crate) fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration(text.chars().take(40).collect());
    let trimmed = text.trim();
    if trimmed == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = trimmed.strip_prefix('+').unwrap_or(trimmed);
    let mut nanos = 0.0;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let number_ends = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .ok_or_else(invalid)?;
        let (number, after) = rest.split_at(number_ends);
        let unit_ends = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (word, next) = after.split_at(unit_ends);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        nanos += number * unit(word).ok_or_else(invalid)?;
        rest = next;
    }
    Duration::try_from_secs_f64(nanos / 1e9).map_err(|_| invalid())
}

/// Reads when something expires: `never`, or how long from now.
pub(crate) fn parse_expiry(text: &str) -> Result<Option<Duration>, InvalidDuration> {
    match text.trim() {
        "never" => Ok(None),
        text => parse(text).map(Some),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text: String) {
            let _ = parse(&text);
        }

        #[test]
        fn whole_numbers_of_a_unit_are_exact(seconds in 0..1_000_000_u64) {
            prop_assert_eq!(parse(&format!("{seconds}s")).unwrap(), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn gos_durations_are_read() {
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
    fn what_is_no_duration_is_refused() {
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

    #[test]
    fn never_is_an_expiry_only() {
        assert_eq!(parse_expiry("never").unwrap(), None);
        assert_eq!(parse_expiry("1h").unwrap(), Some(Duration::from_secs(3600)));
        assert!(parse_expiry("soon").is_err());
    }
}
