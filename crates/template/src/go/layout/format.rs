//! Formats times by a layout.

use jiff::tz::Offset;

use super::super::time::{Location, Time};
use super::{Field, MONTHS, WEEKDAYS, next_field};

/// `Time.Format`
pub(crate) fn format(time: &Time, layout: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(layout.len() + 8);
    let mut layout = layout;
    loop {
        let (prefix, field, rest) = next_field(layout);
        out.extend_from_slice(prefix);
        let Some(field) = field else { return out };
        out.extend_from_slice(show(time, field).as_bytes());
        layout = rest;
    }
}

fn show(shown: &Time, field: Field) -> String {
    let time = &shown.zoned;
    let month = MONTHS[usize::try_from(time.month() - 1).unwrap_or(0).min(11)];
    let hour12 = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let weekday = WEEKDAYS[time.weekday().to_sunday_zero_offset().unsigned_abs() as usize % 7];
    match field {
        Field::LongMonth => month.to_owned(),
        Field::Month => month[..3].to_owned(),
        Field::NumMonth => time.month().to_string(),
        Field::ZeroMonth => format!("{:02}", time.month()),
        Field::LongWeekDay => weekday.to_owned(),
        Field::WeekDay => weekday[..3].to_owned(),
        Field::Day => time.day().to_string(),
        Field::UnderDay => format!("{:2}", time.day()),
        Field::ZeroDay => format!("{:02}", time.day()),
        Field::UnderYearDay => format!("{:3}", time.day_of_year()),
        Field::ZeroYearDay => format!("{:03}", time.day_of_year()),
        Field::Hour => format!("{:02}", time.hour()),
        Field::Hour12 => hour12.to_string(),
        Field::ZeroHour12 => format!("{hour12:02}"),
        Field::Minute => time.minute().to_string(),
        Field::ZeroMinute => format!("{:02}", time.minute()),
        Field::Second => time.second().to_string(),
        Field::ZeroSecond => format!("{:02}", time.second()),
        Field::LongYear if time.year() < 0 => format!("-{:04}", time.year().unsigned_abs()),
        Field::LongYear => format!("{:04}", time.year()),
        Field::Year => format!("{:02}", time.year().unsigned_abs() % 100),
        Field::Pm => if time.hour() >= 12 { "PM" } else { "AM" }.to_owned(),
        Field::LowerPm => if time.hour() >= 12 { "pm" } else { "am" }.to_owned(),
        Field::ZoneName => zone_name(shown),
        Field::Offset {
            z,
            colon,
            minutes,
            seconds,
        } => show_offset(time.offset(), z, colon, minutes, seconds),
        Field::Fraction { digits, zeros, mark } => {
            let all = format!("{:09}", time.subsec_nanosecond());
            let mut shown = all[..digits.min(9)].to_owned();
            if !zeros {
                shown.truncate(shown.trim_end_matches('0').len());
                if shown.is_empty() {
                    return String::new();
                }
            }
            format!("{}{shown}", char::from(mark))
        }
    }
}

/// The abbreviation of the zone, or its offset if it has no abbreviation.
fn zone_name(time: &Time) -> String {
    match &time.location {
        Location::Fixed(name, _) if name.is_empty() => show_offset(time.zoned.offset(), false, false, true, false),
        Location::Zone(zone) => zone.to_offset_info(time.moment()).abbreviation().to_owned(),
        named => named.name().to_owned(),
    }
}

fn show_offset(offset: Offset, z: bool, colon: bool, minutes: bool, seconds: bool) -> String {
    let total = offset.seconds();
    if z && total == 0 {
        return "Z".to_owned();
    }
    // Go takes the sign from the minutes, so an offset of only negative seconds has a sign before the seconds.
    let (sign, total) = if total <= -60 { ('-', -total) } else { ('+', total) };
    let mut out = format!("{sign}{:02}", total / 3600);
    let between = if colon { ":" } else { "" };
    if minutes {
        out.push_str(&format!("{between}{:02}", total / 60 % 60));
    }
    if seconds {
        let minus = if total < 0 { "-" } else { "" };
        out.push_str(&format!("{between}{minus}{:02}", (total % 60).abs()));
    }
    out
}
