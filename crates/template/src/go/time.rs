//! Go's `time.Time`. The local zone is UTC.

use std::rc::Rc;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use super::layout;

/// A moment and the zone it is shown in.
#[derive(Clone, PartialEq)]
pub(crate) struct Time {
    pub(crate) zoned: ZonedDateTime,
    /// What the zone was called where the time was read, if Go does not know the zone.
    pub(crate) zone_name: Option<Rc<str>>,
    /// `time.Now` shows its monotonic clock too.
    pub(crate) monotonic: bool,
}

impl Time {
    pub(crate) fn new(moment: Timestamp, zone: TimeZone) -> Self {
        Self {
            zoned: moment.to_zoned_datetime(zone),
            zone_name: None,
            monotonic: false,
        }
    }

    /// 1 January of the year 1, Go's zero time.
    pub(crate) fn zero() -> Self {
        Self::unix(-62_135_596_800)
    }

    /// Outside of the years -9999 to 9999 it is the nearest moment.
    pub(crate) fn unix(seconds: i64) -> Self {
        let moment =
            Timestamp::from_second(seconds).unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX });
        Self::new(moment, TimeZone::UTC)
    }

    pub(crate) fn add(&self, nanos: i64) -> Self {
        let moment = self.zoned.timestamp();
        let moved = moment
            .checked_add(jiff::SignedDuration::from_nanos(nanos))
            .unwrap_or(moment);
        Self {
            zone_name: self.zone_name.clone(),
            ..Self::new(moved, self.zoned.time_zone().clone())
        }
    }

    /// `t.In(LoadLocation(name))`; an unknown zone is UTC.
    pub(crate) fn in_zone(&self, name: &[u8]) -> Self {
        Self::new(self.zoned.timestamp(), zone(name))
    }

    /// `time.Since`, which stops at what an `i64` holds.
    pub(crate) fn nanos_until(&self, now: Timestamp) -> i64 {
        let nanos = now.as_nanosecond() - self.zoned.timestamp().as_nanosecond();
        i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
    }

    pub(crate) fn format(&self, layout: &[u8]) -> Vec<u8> {
        layout::format(&self.zoned, self.zone_name.as_deref(), layout)
    }

    /// `Time.String`.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.format(b"2006-01-02 15:04:05.999999999 -0700 MST")).into_owned();
        if self.monotonic {
            text.push_str(" m=+0.000000001");
        }
        text
    }

    /// RFC 3339 with nanoseconds, as JSON has it.
    pub(crate) fn rfc3339(&self) -> Vec<u8> {
        self.format(b"2006-01-02T15:04:05.999999999Z07:00")
    }
}

/// `time.LoadLocation`, from the database that is linked in.
fn zone(name: &[u8]) -> TimeZone {
    let Ok(name) = std::str::from_utf8(name) else {
        return TimeZone::UTC;
    };
    if matches!(name, "" | "UTC" | "Local") {
        return TimeZone::UTC;
    }
    jiff::tz::TimeZoneDatabase::bundled().get(name).unwrap_or(TimeZone::UTC)
}
