//! Which backups are kept.

use std::collections::BTreeSet;
use std::str::FromStr;

use jiff::civil::{Date, ISOWeekDate};
use jiff::tz::TimeZone;
use sidevault_model::Timestamp;

/// How many backups are kept: of each of the last days, weeks and months that have one, the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    days: usize,
    weeks: usize,
    months: usize,
}

/// A text is no [`Retention`].
#[derive(Debug, thiserror::Error)]
#[error("expected how many daily, weekly and monthly backups to keep, such as 7d,4w,12m")]
pub struct ParseRetentionError;

impl FromStr for Retention {
    type Err = ParseRetentionError;

    fn from_str(text: &str) -> Result<Self, ParseRetentionError> {
        let mut retention = Self::default();
        for part in text.split(',') {
            let part = part.trim();
            let unit = part.chars().next_back().ok_or(ParseRetentionError)?;
            let count = part.strip_suffix(unit).and_then(|count| count.parse().ok());
            let count = count.filter(|count| *count > 0).ok_or(ParseRetentionError)?;
            let of_unit = match unit {
                'd' => &mut retention.days,
                'w' => &mut retention.weeks,
                'm' => &mut retention.months,
                _ => return Err(ParseRetentionError),
            };
            if std::mem::replace(of_unit, count) != 0 {
                return Err(ParseRetentionError);
            }
        }
        Ok(retention)
    }
}

impl Retention {
    /// The positions of the backups that are kept. The newest always is.
    pub(super) fn kept(&self, times: &[Timestamp]) -> BTreeSet<usize> {
        let mut newest_first: Vec<(usize, Date)> = times
            .iter()
            .enumerate()
            .map(|(n, taken_at)| (n, date(*taken_at)))
            .collect();
        newest_first.sort_by_key(|(n, _)| std::cmp::Reverse((times[*n], *n)));
        let mut kept: BTreeSet<usize> = newest_first.first().map(|(n, _)| *n).into_iter().collect();
        kept.extend(newest_of_each(&newest_first, self.days, |date| date));
        kept.extend(newest_of_each(&newest_first, self.weeks, |date| {
            let week = ISOWeekDate::from(date);
            (week.year(), week.week())
        }));
        kept.extend(newest_of_each(&newest_first, self.months, |date| {
            (date.year(), date.month())
        }));
        kept
    }

    /// The time from which on every moment can be restored, if each of these backups is followed by segments: so many days before the
    /// newest.
    pub(super) fn every_moment_since(&self, newest: Timestamp) -> Timestamp {
        const DAY_MILLIS: i64 = 24 * 3600 * 1000;
        let days = i64::try_from(self.days).unwrap_or(i64::MAX);
        Timestamp::from_millis(newest.as_millis().saturating_sub(days.saturating_mul(DAY_MILLIS)))
    }
}

/// The newest backup of each of the last `count` periods that have one.
fn newest_of_each<P: PartialEq>(
    newest_first: &[(usize, Date)],
    count: usize,
    period: impl Fn(Date) -> P,
) -> Vec<usize> {
    let mut found: Vec<(usize, P)> = Vec::new();
    for (n, date) in newest_first {
        if found.len() >= count {
            break;
        }
        let period = period(*date);
        if found.last().is_none_or(|(_, last)| *last != period) {
            found.push((*n, period));
        }
    }
    found.into_iter().map(|(n, _)| n).collect()
}

fn date(time: Timestamp) -> Date {
    let moment = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or_default();
    moment.to_zoned_datetime(TimeZone::UTC).date()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(retention: &str, times: &[&str]) -> Vec<usize> {
        let times: Vec<_> = times.iter().map(|time| Timestamp::parse(time).unwrap()).collect();
        let retention: Retention = retention.parse().unwrap();
        retention.kept(&times).into_iter().collect()
    }

    #[test]
    fn the_newest_of_each_day_week_and_month_is_kept() {
        let times = [
            "2026-09-30T12:00:00Z",
            "2026-10-31T12:00:00Z",
            "2026-11-22T12:00:00Z",
            "2026-11-28T12:00:00Z",
            "2026-11-29T12:00:00Z",
            "2026-11-30T01:00:00Z",
            "2026-11-30T02:00:00Z",
        ];
        assert_eq!(kept("1d", &times), [6]);
        assert_eq!(kept("3d", &times), [3, 4, 6]);
        // 29 November is the Sunday of the week before.
        assert_eq!(kept("3w", &times), [2, 4, 6]);
        assert_eq!(kept("2m", &times), [1, 6]);
        assert_eq!(kept("2d,2w,3m", &times), [0, 1, 4, 6]);
        assert_eq!(kept("7d", &[]), [] as [usize; 0]);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "7", "d", "0d", "7d,", "7d 4w", "7d,2d", "7y", "-1d", "7D", "1é"] {
            assert!(text.parse::<Retention>().is_err(), "{text}");
        }
        assert_eq!(
            " 7d , 4w,12m".parse::<Retention>().unwrap(),
            Retention {
                days: 7,
                weeks: 4,
                months: 12
            }
        );
    }

    proptest! {
        #[test]
        fn the_newest_is_kept_and_no_more_than_asked(
            times in prop::collection::vec(0_i64..200_000_000_000, 1..60),
            days in 1_usize..9, weeks in 1_usize..9, months in 1_usize..9,
        ) {
            let times: Vec<_> = times.into_iter().map(Timestamp::from_millis).collect();
            let kept = Retention { days, weeks, months }.kept(&times);
            prop_assert!(kept.len() <= days + weeks + months);
            let newest = times.iter().max().unwrap();
            prop_assert!(kept.iter().any(|n| times[*n] == *newest));
        }

        /// Thinning out again, or after a new backup, never brings back a need for what was deleted.
        #[test]
        fn what_is_kept_is_kept_again(times in prop::collection::vec(0_i64..20_000_000_000, 1..60)) {
            let times: Vec<_> = times.into_iter().map(Timestamp::from_millis).collect();
            let retention = Retention { days: 3, weeks: 2, months: 2 };
            let kept: Vec<_> = retention.kept(&times).into_iter().map(|n| times[n]).collect();
            prop_assert_eq!(retention.kept(&kept).len(), kept.len());
        }
    }
}
