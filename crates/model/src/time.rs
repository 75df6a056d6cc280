//! Timestamps, as the API shows them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z.
///
/// It is displayed and serialised as RFC 3339 in UTC with whole seconds (`2022-01-17T23:41:32Z`), as Connect does, so the
/// milliseconds are lost in JSON. Any form of RFC 3339 is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// 0000-01-01T00:00:00Z, the first time that RFC 3339 can express, and 9999-12-30T22:00:00Z, the last that Jiff can. Times before
/// and after are displayed as these.
const SECONDS: (i64, i64) = (-62_167_219_200, 253_402_207_200);

impl Timestamp {
    /// The present time of the system's clock.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// The time this many milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, negative before it.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time of an RFC 3339 date-time. `None` if the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let moment: jiff::Timestamp = text.parse().ok()?;
        Some(Self(moment.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.as_seconds().clamp(SECONDS.0, SECONDS.1);
        let moment = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{}", moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_displayed_in_utc_with_whole_seconds() {
        assert_eq!(
            Timestamp::from_millis(1_642_462_892_999).to_string(),
            "2022-01-17T23:41:32Z"
        );
        assert_eq!(Timestamp::from_millis(-1).to_string(), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn any_rfc_3339_form_is_read() {
        let same = [
            "2022-01-17T23:41:32Z",
            "2022-01-18T00:41:32+01:00",
            "2022-01-17t23:41:32z",
            "2022-01-17T23:41:32.000000001Z",
        ];
        for text in same {
            assert_eq!(Timestamp::parse(text).unwrap().as_seconds(), 1_642_462_892, "{text}");
        }
        // The zero time of the Go SDK.
        assert_eq!(
            Timestamp::parse("0001-01-01T00:00:00Z").unwrap().to_string(),
            "0001-01-01T00:00:00Z"
        );
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn times_out_of_range_are_clamped() {
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string(), "9999-12-30T22:00:00Z");
        assert_eq!(Timestamp::from_millis(i64::MIN).to_string(), "0000-01-01T00:00:00Z");
    }

    proptest! {
        #[test]
        fn json_keeps_whole_seconds(seconds in SECONDS.0..=SECONDS.1) {
            let at = Timestamp::from_millis(seconds * 1000);
            let json = serde_json::to_string(&at).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), at);
        }

        #[test]
        fn parse_never_panics(text in ".*") {
            let _ = Timestamp::parse(&text);
        }
    }
}
