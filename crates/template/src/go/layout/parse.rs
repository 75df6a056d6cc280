//! Parses times by a layout.

use std::rc::Rc;

use jiff::civil::{Date, DateTime, Time as Clock};
use jiff::tz::Offset;

use super::super::time::{Location, Time};
use super::{Field, MONTHS, WEEKDAYS, next_field};

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
    /// The text has `AM`. It may have `PM` too.
    am: bool,
    pm: bool,
    offset: Option<i32>,
    /// The text has `UTC` or `Z`.
    utc: bool,
    zone: Option<String>,
}

/// `time.ParseInLocation(layout, text, time.Local)`
pub(crate) fn parse(layout: &[u8], text: &[u8]) -> Option<Time> {
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

/// Skips text of the layout. A run of spaces in the layout matches any run of spaces.
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
    match field {
        Field::LongMonth | Field::Month => {
            let length = (field == Field::Month).then_some(3);
            let (month, rest) = name(text, &MONTHS, length)?;
            parts.month = i8::try_from(month + 1).ok();
            Some(rest)
        }
        Field::LongWeekDay => Some(name(text, &WEEKDAYS, None)?.1),
        Field::WeekDay => Some(name(text, &WEEKDAYS, Some(3))?.1),
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
            // Whether the month has this day is checked at the end.
            parts.day = i8::try_from(number).ok();
            Some(rest)
        }
        Field::UnderYearDay | Field::ZeroYearDay => {
            let (spaces, least) = if field == Field::UnderYearDay { (2, 1) } else { (0, 3) };
            let spaces = text.iter().take(spaces).take_while(|byte| **byte == b' ').count();
            let (number, rest) = digits(&text[spaces..], least, 3)?;
            parts.year_day = i16::try_from(number).ok();
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
            // Go accepts a fraction of a second that the layout does not have.
            let named = matches!(next_field(layout_rest), (_, Some(Field::Fraction { .. }), _));
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
            match names.iter().position(|name| *name == head)? {
                0 => parts.am = true,
                _ => parts.pm = true,
            }
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
            let (seconds, rest) = offset(text, colon, minutes, seconds)?;
            parts.offset = Some(seconds);
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

/// Parses an offset such as `+0700` to seconds.
fn offset(text: &[u8], colon: bool, minutes: bool, seconds: bool) -> Option<(i32, &[u8])> {
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
        total += within::<i32>(number, 0, if i == 0 { 24 } else { 60 })? * scale;
        rest = after;
    }
    Some((sign * total, rest))
}

/// Parses a zone such as `MST`, `CEST`, `GMT+3` or `+03`. Go knows only the offset of UTC, and keeps the names of
/// others.
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
    // The text is shorter than any abbreviation.
    text.get(2)?;
    let (name, rest) = text.split_at(length);
    parts.zone = Some(String::from_utf8_lossy(name).into_owned());
    Some(rest)
}

/// The length of a sign and an hour up to 23, or 0 if the text does not begin with these.
fn signed_hours(text: &[u8]) -> usize {
    let Some(b'+' | b'-') = text.first() else { return 0 };
    let count = text[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let hours = std::str::from_utf8(&text[1..=count])
        .ok()
        .and_then(|hours| hours.parse::<u64>().ok());
    hours.filter(|hours| *hours <= 23).map_or(0, |_| 1 + count)
}

fn assemble(parts: Parts) -> Option<Time> {
    let hour = match parts.hour {
        hour if parts.pm && hour < 12 => hour + 12,
        12 if parts.am => 0,
        hour => hour,
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
    let fixed = |name: Option<String>, seconds| {
        let offset = Offset::from_seconds(seconds).ok()?;
        Some(Location::Fixed(Rc::from(name.unwrap_or_default()), offset))
    };
    let (read_at, shown_at) = match (parts.utc, parts.offset, parts.zone) {
        (true, ..) => (Location::Utc, None),
        (false, None, None) | (false, Some(0), None) => (Location::Local, None),
        (false, Some(offset), name) => (fixed(name, offset)?, None),
        (false, None, Some(name)) => {
            // The time is in UTC. `GMT+3` only sets in which zone it is printed.
            let hours = name.strip_prefix("GMT").and_then(|hours| hours.parse::<i32>().ok());
            (Location::Local, Some(fixed(Some(name), hours.unwrap_or(0) * 3600)?))
        }
    };
    let read = Time::new(time.to_zoned_datetime(read_at.zone()).ok()?.timestamp(), read_at);
    Some(match shown_at {
        Some(location) => read.at(location),
        None => read,
    })
}
