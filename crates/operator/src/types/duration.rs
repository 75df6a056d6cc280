//! Durations as Go writes them: `1h0m0s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration in Go's notation (`time.ParseDuration`). Negative ones count as zero: no field here gives them a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

/// The text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration; write it like 1h30m or 15s")]
pub struct NoDuration(String);

impl FromStr for GoDuration {
    type Err = NoDuration;

    fn from_str(text: &str) -> Result<Self, NoDuration> {
        let refuse = || NoDuration(text.chars().take(64).collect());
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(refuse());
        }
        let mut seconds = 0.0_f64;
        while !rest.is_empty() {
            let number = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(refuse)?;
            let amount: f64 = rest[..number].parse().map_err(|_| refuse())?;
            rest = &rest[number..];
            let unit = rest
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(rest.len());
            seconds += amount
                * match &rest[..unit] {
                    "h" => 3600.0,
                    "m" => 60.0,
                    "s" => 1.0,
                    "ms" => 1e-3,
                    "us" | "µs" | "μs" => 1e-6,
                    "ns" => 1e-9,
                    _ => return Err(refuse()),
                };
            rest = &rest[unit..];
        }
        if negative {
            return Ok(Self::default());
        }
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| refuse())
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        let rest = (self.0 - Duration::from_secs(hours * 3600 + minutes * 60)).as_secs_f64();
        match (hours, minutes) {
            (0, 0) => write!(f, "{rest}s"),
            (0, _) => write!(f, "{minutes}m{rest}s"),
            _ => write!(f, "{hours}h{minutes}m{rest}s"),
        }
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

/// A store's refresh interval: whole seconds, or a duration (External Secrets 2.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Interval {
    /// Seconds; negative ones count as not set.
    Seconds(i64),
    /// A duration.
    Text(GoDuration),
}

impl Interval {
    /// The interval, if there is one: 0 means "the controller's default".
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
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn go_durations_are_read() {
        let cases = [
            ("1h", 3_600_000),
            ("1h0m0s", 3_600_000),
            ("1.5h", 5_400_000),
            ("15s", 15_000),
            ("100ms", 100),
            ("0", 0),
            ("0s", 0),
            ("-5s", 0),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(
                text.parse(),
                Ok(GoDuration(Duration::from_millis(milliseconds))),
                "{text}"
            );
        }
        for text in ["", "1", "h", "1d", "1h ", "1..5s", "s1"] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn and_written() {
        for text in ["1h0m0s", "15s", "2m30s", "1.5s"] {
            assert_eq!(text.parse::<GoDuration>().unwrap().to_string(), text);
        }
    }
}
