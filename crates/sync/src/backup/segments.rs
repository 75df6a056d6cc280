//! The names of segments. They lie beside the backup that they follow, in a directory of their own.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use sidevault_model::Timestamp;

use super::SUFFIXES;

/// How the name of the directory with the segments of a backup ends.
const DIRECTORY: &str = ".segments";

/// How the names of segments end, without and with encryption.
const ENDS: [&str; 2] = [".segment", ".segment.age"];

/// How a name shows a time, in UTC. The milliseconds follow.
const TIME: &str = "%Y%m%dT%H%M%S";

/// The directory with the segments that follow a backup.
pub(super) fn directory_of(backup: &str) -> Option<String> {
    let stem = SUFFIXES.iter().find_map(|suffix| backup.strip_suffix(suffix))?;
    Some(format!("{stem}{DIRECTORY}"))
}

/// The backup's name, without its end, of a directory with segments.
pub(super) fn stem_of(directory: &str) -> Option<&str> {
    let stem = directory.strip_suffix(DIRECTORY)?;
    super::time_of(&format!("{stem}{}", SUFFIXES[0])).map(|_| stem)
}

/// The name of a segment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentName {
    pub(super) number: u64,
    /// The newest change in it.
    pub(super) through: i64,
    /// When that was made.
    pub(super) last_at: Timestamp,
    pub(super) is_encrypted: bool,
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.last_at.as_millis();
        let moment = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
        let (number, through, end) = (self.number, self.through, ENDS[usize::from(self.is_encrypted)]);
        let (time, millis) = (moment.strftime(TIME), millis.rem_euclid(1000));
        write!(f, "{number:08}-{through}-{time}.{millis:03}Z{end}")
    }
}

impl FromStr for SegmentName {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let found = || {
            let (rest, is_encrypted) = match name.strip_suffix(ENDS[1]) {
                Some(rest) => (rest, true),
                None => (name.strip_suffix(ENDS[0])?, false),
            };
            let mut parts = rest.splitn(3, '-');
            let (number, through, time) = (parts.next()?, parts.next()?, parts.next()?);
            let (seconds, millis) = time.strip_suffix('Z')?.split_once('.')?;
            let moment = jiff::civil::DateTime::strptime(TIME, seconds).ok()?;
            let moment = TimeZone::UTC.to_timestamp(moment).ok()?;
            let read = Self {
                number: number.parse().ok()?,
                through: through.parse().ok()?,
                last_at: Timestamp::from_millis(moment.as_millisecond() + millis.parse::<i64>().ok()?),
                is_encrypted,
            };
            // No two names mean the same.
            (read.to_string() == name).then_some(read)
        };
        found().ok_or(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_found_by_the_name_that_it_got() {
        let backup = "sidevault-20261130T204507Z-17.sqlite";
        for name in [backup.to_owned(), format!("{backup}.age")] {
            assert_eq!(directory_of(&name).unwrap(), "sidevault-20261130T204507Z-17.segments");
        }
        assert_eq!(
            stem_of("sidevault-20261130T204507Z-17.segments"),
            Some("sidevault-20261130T204507Z-17")
        );
        assert_eq!((directory_of("notes.txt"), stem_of("notes.segments")), (None, None));
        for is_encrypted in [false, true] {
            let name = SegmentName {
                number: 3,
                through: 1_796_142_111_273,
                last_at: Timestamp::from_millis(1_796_142_111_007),
                is_encrypted,
            };
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for other in [
            "3-17-20261130T204507.000Z.segment",
            "00000003-17-20261130T204507Z.segment",
            "00000003-17-yesterday.000Z.segment",
            "00000003--17-20261130T204507.000Z.segment",
            "00000003-17-20261130T204507.000Z.segment.tmp",
            ".segment",
        ] {
            assert!(other.parse::<SegmentName>().is_err(), "{other}");
        }
    }
}
