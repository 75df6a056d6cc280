//! Go's reference-time layouts: `2006-01-02 15:04:05`.

use jiff::ZonedDateTime;
use jiff::civil::{Date, DateTime, Time as Clock, Weekday};
use jiff::tz::{Offset, TimeZone};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn weekday_name(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Field {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekDay,
    WeekDay,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    Pm,
    LowerPm,
    ZoneName,
    /// `Z07:00` (with `Z` for UTC) or `-07:00`; colons, seconds, hours only.
    Offset {
        z: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    },
    /// `.000` or `.999`, with the mark.
    Fraction {
        digits: usize,
        zeros: bool,
        mark: u8,
    },
}

/// The names in the order in which Go tries them; a longer one stands before its beginning.
const FIELDS: &[(&str, Field)] = &[
    ("January", Field::LongMonth),
    ("Jan", Field::Month),
    ("Monday", Field::LongWeekDay),
    ("Mon", Field::WeekDay),
    ("MST", Field::ZoneName),
    ("002", Field::ZeroYearDay),
    ("01", Field::ZeroMonth),
    ("02", Field::ZeroDay),
    ("03", Field::ZeroHour12),
    ("04", Field::ZeroMinute),
    ("05", Field::ZeroSecond),
    ("06", Field::Year),
    ("15", Field::Hour),
    ("1", Field::NumMonth),
    ("2006", Field::LongYear),
    ("2", Field::Day),
    ("__2", Field::UnderYearDay),
    ("_2", Field::UnderDay),
    ("3", Field::Hour12),
    ("4", Field::Minute),
    ("5", Field::Second),
    ("PM", Field::Pm),
    ("pm", Field::LowerPm),
    ("-07:00:00", offset(false, true, true, true)),
    ("-07:00", offset(false, true, true, false)),
    ("-070000", offset(false, false, true, true)),
    ("-0700", offset(false, false, true, false)),
    ("-07", offset(false, false, false, false)),
    ("Z07:00:00", offset(true, true, true, true)),
    ("Z07:00", offset(true, true, true, false)),
    ("Z070000", offset(true, false, true, true)),
    ("Z0700", offset(true, false, true, false)),
    ("Z07", offset(true, false, false, false)),
];

const fn offset(z: bool, colon: bool, minutes: bool, seconds: bool) -> Field {
    Field::Offset {
        z,
        colon,
        minutes,
        seconds,
    }
}

/// The next field of `layout`: what stands before it, the field, what follows.
fn next_field(layout: &[u8]) -> (&[u8], Option<Field>, &[u8]) {
    for at in 0..layout.len() {
        let rest = &layout[at..];
        if let Some(length) = fraction_length(rest) {
            let field = Field::Fraction {
                digits: length - 1,
                zeros: rest[1] == b'0',
                mark: rest[0],
            };
            return (&layout[..at], Some(field), &rest[length..]);
        }
        for (text, field) in FIELDS {
            if !rest.starts_with(text.as_bytes()) {
                continue;
            }
            let after = &rest[text.len()..];
            // `Janitor` is no month, and `_2006` is an underscore and a year.
            if *text == "Jan" && after.first().is_some_and(u8::is_ascii_lowercase) && !after.starts_with(b"uary") {
                continue;
            }
            if *text == "Mon" && after.first().is_some_and(u8::is_ascii_lowercase) {
                continue;
            }
            if *text == "_2" && rest.starts_with(b"_2006") {
                return (&layout[..=at], Some(Field::LongYear), &rest[5..]);
            }
            return (&layout[..at], Some(*field), after);
        }
    }
    (layout, None, &[])
}

/// `.000`, `,999` and their like, with no digit behind.
fn fraction_length(rest: &[u8]) -> Option<usize> {
    if !matches!(rest.first()?, b'.' | b',') {
        return None;
    }
    let digit = *rest.get(1).filter(|digit| matches!(digit, b'0' | b'9'))?;
    let count = rest[1..].iter().take_while(|byte| **byte == digit).count();
    (!rest.get(count + 1).is_some_and(u8::is_ascii_digit)).then_some(count + 1)
}

/// `name` is the zone's, where it is not what the time's zone is called.
pub(crate) fn format(time: &ZonedDateTime, name: Option<&str>, layout: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(layout.len() + 8);
    let mut layout = layout;
    loop {
        let (prefix, field, rest) = next_field(layout);
        out.extend_from_slice(prefix);
        let Some(field) = field else { return out };
        match (field, name) {
            (Field::ZoneName, Some(name)) => out.extend_from_slice(name.as_bytes()),
            _ => out.extend_from_slice(show(time, field).as_bytes()),
        }
        layout = rest;
    }
}

fn show(time: &ZonedDateTime, field: Field) -> String {
    let month = MONTHS[usize::try_from(time.month() - 1).unwrap_or(0).min(11)];
    let hour12 = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let weekday = weekday_name(time.weekday());
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
        Field::LongYear => format!("{:04}", time.year()),
        Field::Year => format!("{:02}", time.year().rem_euclid(100)),
        Field::Pm => if time.hour() >= 12 { "PM" } else { "AM" }.to_owned(),
        Field::LowerPm => if time.hour() >= 12 { "pm" } else { "am" }.to_owned(),
        Field::ZoneName => zone_name(time),
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

/// The zone's abbreviation. One that is nothing but an offset is `+03` in the database, but a zone that was read as an
/// offset has no name, and Go shows `-0700`.
fn zone_name(time: &ZonedDateTime) -> String {
    if time.time_zone() == &TimeZone::UTC {
        return "UTC".to_owned();
    }
    if time.time_zone().to_fixed_offset().is_ok() {
        return show_offset(time.offset(), false, false, true, false);
    }
    let info = time.time_zone().to_offset_info(time.timestamp());
    info.abbreviation().to_owned()
}

fn show_offset(offset: Offset, z: bool, colon: bool, minutes: bool, seconds: bool) -> String {
    let total = offset.seconds();
    if z && total == 0 {
        return "Z".to_owned();
    }
    let sign = if total < 0 { '-' } else { '+' };
    let total = total.unsigned_abs();
    let mut out = format!("{sign}{:02}", total / 3600);
    let between = if colon { ":" } else { "" };
    if minutes {
        out.push_str(&format!("{between}{:02}", total / 60 % 60));
    }
    if seconds {
        out.push_str(&format!("{between}{:02}", total % 60));
    }
    out
}

#[derive(Default)]
struct Parts {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    year_day: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanos: i32,
    pm: Option<bool>,
    offset: Option<i32>,
    /// `UTC`, or `Z`, stood there.
    utc: bool,
    zone: Option<String>,
}

/// `time.ParseInLocation(layout, text, UTC)`; with the name of the zone, if one stood there that is not known.
pub(crate) fn parse(layout: &[u8], text: &[u8]) -> Option<(ZonedDateTime, Option<String>)> {
    let mut parts = Parts::default();
    let mut layout = layout;
    let mut text = text;
    loop {
        let (prefix, field, rest) = next_field(layout);
        text = skip(prefix, text)?;
        let Some(field) = field else {
            if !text.is_empty() {
                return None;
            }
            break;
        };
        text = read(&mut parts, field, text, rest)?;
        layout = rest;
    }
    assemble(parts)
}

/// Runs of spaces in the layout match runs of spaces in the text.
fn skip<'t>(prefix: &[u8], text: &'t [u8]) -> Option<&'t [u8]> {
    let mut prefix = prefix;
    let mut text = text;
    while let Some((first, rest)) = prefix.split_first() {
        if *first == b' ' {
            if text.first().is_some_and(|byte| *byte != b' ') {
                return None;
            }
            prefix = prefix.trim_ascii_start();
            text = text.trim_ascii_start();
            continue;
        }
        text = text.strip_prefix(&[*first])?;
        prefix = rest;
    }
    Some(text)
}

fn digits(text: &[u8], least: usize, most: usize) -> Option<(i32, &[u8])> {
    let count = text.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    if count < least {
        return None;
    }
    let number = std::str::from_utf8(&text[..count]).ok()?.parse().ok()?;
    Some((number, &text[count..]))
}

fn within<T: TryFrom<i32>>(number: i32, low: i32, high: i32) -> Option<T> {
    (low..=high).contains(&number).then_some(())?;
    T::try_from(number).ok()
}

fn name<'t>(text: &'t [u8], names: &[&str], length: Option<usize>) -> Option<(usize, &'t [u8])> {
    names.iter().enumerate().find_map(|(i, name)| {
        let name = &name.as_bytes()[..length.unwrap_or(name.len())];
        let head = text.get(..name.len())?;
        head.eq_ignore_ascii_case(name).then(|| (i, &text[name.len()..]))
    })
}

fn read<'t>(parts: &mut Parts, field: Field, text: &'t [u8], layout_rest: &[u8]) -> Option<&'t [u8]> {
    const DAYS: [&str; 7] = [
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ];
    match field {
        Field::LongMonth | Field::Month => {
            let length = (field == Field::Month).then_some(3);
            let (month, rest) = name(text, &MONTHS, length)?;
            parts.month = i8::try_from(month + 1).ok();
            Some(rest)
        }
        Field::LongWeekDay => Some(name(text, &DAYS, None)?.1),
        Field::WeekDay => Some(name(text, &DAYS, Some(3))?.1),
        Field::NumMonth | Field::ZeroMonth => {
            let least = if field == Field::ZeroMonth { 2 } else { 1 };
            let (number, rest) = digits(text, least, 2)?;
            parts.month = Some(within(number, 1, 12)?);
            Some(rest)
        }
        Field::Day | Field::UnderDay | Field::ZeroDay => {
            let text = if field == Field::UnderDay {
                text.strip_prefix(b" ").unwrap_or(text)
            } else {
                text
            };
            let least = if field == Field::ZeroDay { 2 } else { 1 };
            let (number, rest) = digits(text, least, 2)?;
            parts.day = Some(within(number, 1, 31)?);
            Some(rest)
        }
        Field::UnderYearDay | Field::ZeroYearDay => {
            let (number, rest) = digits(text.trim_ascii_start(), 1, 3)?;
            parts.year_day = Some(within(number, 1, 366)?);
            Some(rest)
        }
        Field::LongYear => {
            let (number, rest) = digits(text, 4, 4)?;
            parts.year = i16::try_from(number).ok();
            Some(rest)
        }
        Field::Year => {
            let (number, rest) = digits(text, 2, 2)?;
            parts.year = i16::try_from(if number >= 69 { 1900 + number } else { 2000 + number }).ok();
            Some(rest)
        }
        Field::Hour => {
            let (number, rest) = digits(text, 1, 2)?;
            parts.hour = within(number, 0, 23)?;
            Some(rest)
        }
        Field::Hour12 | Field::ZeroHour12 => {
            let least = if field == Field::ZeroHour12 { 2 } else { 1 };
            let (number, rest) = digits(text, least, 2)?;
            parts.hour = within(number, 0, 12)?;
            Some(rest)
        }
        Field::Minute | Field::ZeroMinute => {
            let least = if field == Field::ZeroMinute { 2 } else { 1 };
            let (number, rest) = digits(text, least, 2)?;
            parts.minute = within(number, 0, 59)?;
            Some(rest)
        }
        Field::Second | Field::ZeroSecond => {
            let least = if field == Field::ZeroSecond { 2 } else { 1 };
            let (number, rest) = digits(text, least, 2)?;
            parts.second = within(number, 0, 59)?;
            // Go takes a fraction that the layout does not name.
            let named = matches!(next_field(layout_rest), (b"", Some(Field::Fraction { .. }), _));
            if !named && rest.len() >= 2 && matches!(rest[0], b'.' | b',') && rest[1].is_ascii_digit() {
                return fraction(parts, rest, None);
            }
            Some(rest)
        }
        Field::Pm | Field::LowerPm => {
            let names: [&[u8]; 2] = if field == Field::Pm {
                [b"AM", b"PM"]
            } else {
                [b"am", b"pm"]
            };
            let head = text.get(..2)?;
            parts.pm = Some(names.iter().position(|name| *name == head)? == 1);
            Some(&text[2..])
        }
        Field::ZoneName => zone_abbreviation(parts, text),
        Field::Offset {
            z,
            colon,
            minutes,
            seconds,
        } => {
            if z && let Some(rest) = text.strip_prefix(b"Z") {
                parts.utc = true;
                return Some(rest);
            }
            let (sign, mut rest) = match text.first()? {
                b'+' => (1, &text[1..]),
                b'-' => (-1, &text[1..]),
                _ => return None,
            };
            let mut total = 0;
            let scales: &[i32] = match (minutes, seconds) {
                (false, _) => &[3600],
                (true, false) => &[3600, 60],
                (true, true) => &[3600, 60, 1],
            };
            for (i, scale) in scales.iter().enumerate() {
                if i > 0 && colon {
                    rest = rest.strip_prefix(b":")?;
                }
                let (number, after) = digits(rest, 2, 2)?;
                total += within::<i32>(number, 0, if i == 0 { 24 } else { 59 })? * scale;
                rest = after;
            }
            parts.offset = Some(sign * total);
            Some(rest)
        }
        Field::Fraction { digits, zeros, .. } => {
            if zeros {
                return fraction(parts, text, Some(digits));
            }
            if text.len() < 2 || !matches!(text[0], b'.' | b',') || !text[1].is_ascii_digit() {
                return Some(text);
            }
            fraction(parts, text, None)
        }
    }
}

fn fraction<'t>(parts: &mut Parts, text: &'t [u8], exact: Option<usize>) -> Option<&'t [u8]> {
    let rest = text.strip_prefix(b".").or_else(|| text.strip_prefix(b","))?;
    let count = match exact {
        Some(count) => count,
        None => rest.iter().take_while(|byte| byte.is_ascii_digit()).count(),
    };
    let shown = std::str::from_utf8(rest.get(..count)?).ok()?;
    if !shown.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nine = format!("{:0<9}", &shown[..shown.len().min(9)]);
    parts.nanos = nine.parse().ok()?;
    Some(&rest[count..])
}

/// `MST`, `CEST`, `GMT+3`, `+03`: Go knows the offset of UTC only, and keeps the name of the others.
fn zone_abbreviation<'t>(parts: &mut Parts, text: &'t [u8]) -> Option<&'t [u8]> {
    if let Some(rest) = text.strip_prefix(b"UTC") {
        parts.utc = true;
        return Some(rest);
    }
    let length = match text {
        [b'C', b'h', b'S', b'T', ..] | [b'M', b'e', b'S', b'T', ..] => 4,
        [b'G', b'M', b'T', rest @ ..] => 3 + signed_hours(rest),
        [b'+' | b'-', ..] => Some(signed_hours(text)).filter(|length| *length > 0)?,
        _ => match text.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count() {
            3 => 3,
            4 if text[3] == b'T' || text.starts_with(b"WITA") => 4,
            5 if text[4] == b'T' => 5,
            _ => return None,
        },
    };
    // Shorter than any name.
    text.get(2)?;
    let (name, rest) = text.split_at(length);
    parts.zone = Some(String::from_utf8_lossy(name).into_owned());
    Some(rest)
}

/// The length of a sign and hours up to 23; 0 if that is not what stands there.
fn signed_hours(text: &[u8]) -> usize {
    let Some(b'+' | b'-') = text.first() else { return 0 };
    let count = text[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let hours = std::str::from_utf8(&text[1..=count])
        .ok()
        .and_then(|hours| hours.parse::<u64>().ok());
    hours.filter(|hours| *hours <= 23).map_or(0, |_| 1 + count)
}

fn assemble(parts: Parts) -> Option<(ZonedDateTime, Option<String>)> {
    let hour = match parts.pm {
        Some(true) if parts.hour < 12 => parts.hour + 12,
        Some(false) if parts.hour == 12 => 0,
        _ => parts.hour,
    };
    let year = parts.year.unwrap_or(0);
    let date = match parts.year_day {
        Some(day) => {
            let first = Date::new(year, 1, 1).ok()?;
            let date = first.checked_add(jiff::Span::new().days(i64::from(day) - 1)).ok()?;
            let agrees = date.year() == year
                && parts.month.is_none_or(|month| month == date.month())
                && parts.day.is_none_or(|day| day == date.day());
            agrees.then_some(date)?
        }
        None => Date::new(year, parts.month.unwrap_or(1), parts.day.unwrap_or(1)).ok()?,
    };
    let clock = Clock::new(hour, parts.minute, parts.second, parts.nanos).ok()?;
    let time = DateTime::from_parts(date, clock);
    let fixed = |seconds| Offset::from_seconds(seconds).ok().map(TimeZone::fixed);
    let (zoned, name) = match (parts.utc, parts.offset, parts.zone) {
        (true, ..) | (false, None, None) => (time.to_zoned_datetime(TimeZone::UTC).ok()?, None),
        (false, Some(0), name) => (time.to_zoned_datetime(TimeZone::UTC).ok()?, name),
        (false, Some(offset), name) => (time.to_zoned_datetime(fixed(offset)?).ok()?, name),
        (false, None, Some(name)) => {
            // What was read is UTC's time; `GMT+3` says only how it is shown.
            let hours = name.strip_prefix("GMT").and_then(|hours| hours.parse::<i32>().ok());
            let zone = hours
                .filter(|hours| *hours != 0)
                .map_or(Some(TimeZone::UTC), |hours| fixed(hours * 3600))?;
            let zoned = time.to_zoned_datetime(TimeZone::UTC).ok()?;
            (zoned.with_time_zone(zone), Some(name))
        }
    };
    Some((zoned, name))
}
