//! Go's `time.Time`. The local time zone is UTC.

use std::rc::Rc;

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ZonedDateTime};

use super::layout;

/// Seconds from 1 January of the year 1, which is Go's zero time, to 1970.
const ZERO_TO_UNIX: i64 = 62_135_596_800;

/// A moment, and the zone in which it is printed.
#[derive(Clone, PartialEq)]
pub(crate) struct Time {
    pub(crate) zoned: ZonedDateTime,
    pub(crate) location: Location,
    /// The reading of the monotonic clock in nanoseconds, which `time.Now` adds and `String` prints.
    pub(crate) monotonic: Option<i64>,
}

/// `time.Location`
#[derive(Clone, PartialEq)]
pub(crate) enum Location {
    Utc,
    /// `time.Local`, which is UTC here, but a different location than `time.UTC`.
    Local,
    /// An offset from a parsed text, with the zone's name if the text had one.
    Fixed(Rc<str>, Offset),
    /// A zone of the time zone database.
    Zone(TimeZone),
}

impl Location {
    /// `time.LoadLocation` with the time zone database that is compiled in. An unknown zone is UTC.
    pub(crate) fn load(name: &[u8]) -> Self {
        match std::str::from_utf8(name) {
            Ok("Local") => Self::Local,
            Ok("" | "UTC") | Err(_) => Self::Utc,
            Ok(name) => jiff::tz::TimeZoneDatabase::bundled()
                .get(name)
                .map_or(Self::Utc, Self::Zone),
        }
    }

    pub(crate) fn zone(&self) -> TimeZone {
        match self {
            Self::Utc | Self::Local => TimeZone::UTC,
            Self::Fixed(_, offset) => TimeZone::fixed(*offset),
            Self::Zone(zone) => zone.clone(),
        }
    }

    /// `Location.String`
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Utc | Self::Local => "UTC",
            Self::Fixed(name, _) => name,
            Self::Zone(zone) => zone.iana_name().unwrap_or_default(),
        }
    }

    /// Whether both have the same pointer in Go. Go makes a new pointer for each offset that it parses, and reuses the
    /// pointers of whole hours without a name.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(a, _), Self::Fixed(b, _)) if Rc::ptr_eq(a, b) => true,
            (Self::Fixed(name, offset), Self::Fixed(..)) => {
                let hours = offset.seconds() / 3600;
                self == other && name.is_empty() && offset.seconds() % 3600 == 0 && (-12..=14).contains(&hours)
            }
            _ => self == other,
        }
    }
}

impl Time {
    pub(crate) fn new(moment: Timestamp, location: Location) -> Self {
        Self {
            zoned: moment.to_zoned_datetime(location.zone()),
            location,
            monotonic: None,
        }
    }

    /// Go's zero time, 1 January of the year 1.
    pub(crate) fn zero() -> Self {
        Self::new(Self::unix(-ZERO_TO_UNIX).moment(), Location::Utc)
    }

    /// The time of `seconds` since 1970. Outside of the years -9999 to 9999 it is the nearest time inside.
    pub(crate) fn unix(seconds: i64) -> Self {
        let moment =
            Timestamp::from_second(seconds).unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX });
        Self::new(moment, Location::Local)
    }

    pub(crate) fn moment(&self) -> Timestamp {
        self.zoned.timestamp()
    }

    /// `None` after the year 9999, which Go supports.
    pub(crate) fn add(&self, nanos: i64) -> Option<Self> {
        let moved = self
            .moment()
            .checked_add(jiff::SignedDuration::from_nanos(nanos))
            .ok()?;
        Some(Self {
            monotonic: self.monotonic.and_then(|clock| clock.checked_add(nanos)),
            ..Self::new(moved, self.location.clone())
        })
    }

    /// `t.In(location)`
    pub(crate) fn at(&self, location: Location) -> Self {
        Self::new(self.moment(), location)
    }

    /// The remainder of the time since Go's zero time divided by `step`.
    pub(crate) fn past(&self, step: i64) -> i64 {
        let nanos = self.moment().as_nanosecond() + i128::from(ZERO_TO_UNIX) * 1_000_000_000;
        nanos.rem_euclid(i128::from(step)) as i64
    }

    /// `other.Sub(t)`, limited to the range of an `i64`.
    pub(crate) fn nanos_until(&self, other: Timestamp) -> i64 {
        let nanos = other.as_nanosecond() - self.moment().as_nanosecond();
        i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
    }

    pub(crate) fn format(&self, layout: &[u8]) -> Vec<u8> {
        layout::format(self, layout)
    }

    /// `Time.String`
    pub(crate) fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.format(b"2006-01-02 15:04:05.999999999 -0700 MST")).into_owned();
        if let Some(clock) = self.monotonic {
            let sign = if clock < 0 { '-' } else { '+' };
            let clock = clock.unsigned_abs();
            text.push_str(&format!(
                " m={sign}{}.{:09}",
                clock / 1_000_000_000,
                clock % 1_000_000_000
            ));
        }
        text
    }

    /// `Time.GoString`, which `%#v` prints.
    pub(crate) fn go_text(&self) -> String {
        let month = layout::month_name(self.zoned.month().into());
        let (year, day) = (self.zoned.year(), self.zoned.day());
        let (hour, minute, second) = (self.zoned.hour(), self.zoned.minute(), self.zoned.second());
        let place = match &self.location {
            Location::Utc => "time.UTC".to_owned(),
            Location::Local => "time.Local".to_owned(),
            other => format!("time.Location({})", super::strconv::quote_text(other.name())),
        };
        let nanos = self.zoned.subsec_nanosecond();
        format!("time.Date({year}, time.{month}, {day}, {hour}, {minute}, {second}, {nanos}, {place})")
    }

    /// RFC 3339 with nanoseconds, for JSON; `None` for years and offsets that RFC 3339 can't express.
    pub(crate) fn rfc3339(&self) -> Option<Vec<u8>> {
        let known = self.zoned.year() >= 0 && self.zoned.offset().seconds().abs() < 24 * 3600;
        known.then(|| self.format(b"2006-01-02T15:04:05.999999999Z07:00"))
    }

    /// `Time.MarshalBinary`; `None` for an offset that the format can't express.
    pub(crate) fn binary(&self) -> Option<Vec<u8>> {
        let offset = match self.location {
            Location::Utc => -60,
            _ => Some(self.zoned.offset().seconds()).filter(|offset| offset / 60 != -1)?,
        };
        let seconds = self.moment().as_nanosecond().div_euclid(1_000_000_000) as i64 + ZERO_TO_UNIX;
        let odd = (offset % 60) as i8;
        let mut bytes = vec![if odd == 0 { 1 } else { 2 }];
        bytes.extend_from_slice(&seconds.to_be_bytes());
        bytes.extend_from_slice(&self.zoned.subsec_nanosecond().to_be_bytes());
        bytes.extend_from_slice(&((offset / 60) as i16).to_be_bytes());
        if odd != 0 {
            bytes.extend_from_slice(&odd.to_be_bytes());
        }
        Some(bytes)
    }
}
