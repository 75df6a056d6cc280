//! Values of DATE and MONTH_YEAR fields. They are stored as Unix seconds and as `YYYYMM`.

use jiff::civil;
use jiff::tz::TimeZone;

use crate::time::Timestamp;

/// A DATE as Unix seconds. `2024-05-03` becomes 12:01 UTC of that day, as Terraform writes it, so that it is the same day in almost
/// every time zone. An RFC 3339 time and Unix seconds are taken as they are. An empty value stays empty.
pub(crate) fn date(value: &str) -> Result<String, &'static str> {
    const REASON: &str = "must have a DATE value of Unix seconds or YYYY-MM-DD";
    if value.is_empty() {
        return Ok(String::new());
    }
    let seconds = value
        .parse()
        .ok()
        .or_else(|| day(value))
        .or_else(|| Some(Timestamp::parse(value)?.as_seconds()));
    match seconds {
        // Clients convert the number to a date, so it must be in the range of dates.
        Some(seconds) if jiff::Timestamp::from_second(seconds).is_ok() => Ok(seconds.to_string()),
        _ => Err(REASON),
    }
}

fn day(value: &str) -> Option<i64> {
    // Jiff also reads other ISO 8601 forms. This one has exactly ten characters.
    let day: civil::Date = (value.len() == 10).then(|| value.parse().ok())??;
    Some(TimeZone::UTC.to_timestamp(day.at(12, 1, 0, 0)).ok()?.as_second())
}

/// A MONTH_YEAR as `YYYYMM`. An empty value stays empty.
pub(crate) fn month_year(value: &str) -> Result<String, &'static str> {
    let well_formed = value.len() == 6 && value.bytes().all(|byte| byte.is_ascii_digit());
    let month = well_formed.then(|| value[4..].parse::<u8>().ok()).flatten();
    match month {
        _ if value.is_empty() => Ok(String::new()),
        Some(1..=12) => Ok(value.to_owned()),
        _ => Err("must have a MONTH_YEAR value of the form YYYYMM"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Checks 88 and 110.
    #[test]
    fn a_day_is_1201_utc() {
        assert_eq!(date("2024-05-03").unwrap(), "1714737660");
        assert_eq!(date("1714737660").unwrap(), "1714737660");
        assert_eq!(date("-86400").unwrap(), "-86400");
        assert_eq!(date("2024-05-03T23:30:00-02:00").unwrap(), "1714786200");
        assert_eq!(date("").unwrap(), "");
    }

    // Check 111.
    #[test]
    fn invalid_dates_are_refused() {
        for bad in [
            "abc",
            "2024-13-01",
            "2024-02-30",
            "20240503T",
            " 1",
            "1.5",
            "99999999999999999999",
            "9999999999999999",
        ] {
            assert!(date(bad).is_err(), "{bad}");
        }
    }

    // Checks 89 and 112.
    #[test]
    fn a_month_is_six_digits() {
        assert_eq!(month_year("202212").unwrap(), "202212");
        assert_eq!(month_year("").unwrap(), "");
        for bad in [
            "202213",
            "202200",
            "2022-12",
            "12/2022",
            "22",
            "２０２２１２",
            "20221２",
        ] {
            assert!(month_year(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_is_idempotent(value in ".{0,12}|[0-9-]{1,10}") {
            for read in [date, month_year] {
                if let Ok(kept) = read(&value) {
                    prop_assert_eq!(read(&kept).unwrap(), kept);
                }
            }
        }
    }
}
