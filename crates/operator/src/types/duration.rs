//! Durations in Go's notation, such as `1h0m0s`, in manifests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sidevault_go::duration;

/// A duration in Go's notation (`time.ParseDuration`), up to 292 years. A negative one is read as zero, because no
/// field of these resources gives it another meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

/// The text is not a duration in Go's notation. Holds the first 64 characters of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration; write it like 1h30m or 15s")]
pub struct InvalidDuration(String);

impl FromStr for GoDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let nanos = duration::parse(text).ok_or_else(|| InvalidDuration(text.chars().take(64).collect()))?;
        Ok(Self(Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX);
        f.write_str(&duration::format(nanos))
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The refresh interval of a store: whole seconds, or a duration since External Secrets 2.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Interval {
    /// Seconds; a negative number counts as not set.
    Seconds(i64),
    /// A duration.
    Text(GoDuration),
}

impl Interval {
    /// The interval, or `None` if the controller's default is to be used: External Secrets gives 0 that meaning.
    pub fn duration(self) -> Option<Duration> {
        let duration = match self {
            Self::Seconds(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
            Self::Text(GoDuration(duration)) => duration,
        };
        (!duration.is_zero()).then_some(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_and_printed_in_gos_notation() {
        for (text, milliseconds, printed) in [
            ("1h", 3_600_000, "1h0m0s"),
            ("1.5h", 5_400_000, "1h30m0s"),
            ("2m30s", 150_000, "2m30s"),
            ("100ms", 100, "100ms"),
            ("0", 0, "0s"),
            ("-5s", 0, "0s"),
        ] {
            let duration: GoDuration = text.parse().unwrap();
            assert_eq!(duration.0, Duration::from_millis(milliseconds), "{text}");
            assert_eq!(duration.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn an_invalid_duration_is_quoted_in_part() {
        let error = "1 day".parse::<GoDuration>().unwrap_err().to_string();
        assert_eq!(error, "\"1 day\" is not a duration; write it like 1h30m or 15s");
        assert!("x".repeat(1000).parse::<GoDuration>().unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn an_interval_of_zero_stands_for_the_default() {
        assert_eq!(Interval::Seconds(-1).duration(), None);
        assert_eq!(Interval::Seconds(5).duration(), Some(Duration::from_secs(5)));
        assert_eq!(Interval::Text(GoDuration(Duration::ZERO)).duration(), None);
    }
}
