//! Go's layouts, which are written as a reference time: `2006-01-02 15:04:05`.

mod format;
mod parse;

pub(crate) use format::format;
pub(crate) use parse::parse;

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

const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// `Month.String`
pub(crate) fn month_name(month: i64) -> String {
    let name = month.checked_sub(1).and_then(|month| usize::try_from(month).ok());
    match name.and_then(|month| MONTHS.get(month)) {
        Some(name) => (*name).to_owned(),
        None => format!("%!Month({})", month as u64),
    }
}

/// `Weekday.String`
pub(crate) fn weekday_name(day: i64) -> String {
    match usize::try_from(day).ok().and_then(|day| WEEKDAYS.get(day)) {
        Some(name) => (*name).to_owned(),
        None => format!("%!Weekday({})", day as u64),
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
    /// `Z07:00` (with `Z` for UTC) or `-07:00`; with or without colons, seconds and minutes.
    Offset {
        z: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    },
    /// `.000` or `.999`, with a point or a comma.
    Fraction {
        digits: usize,
        zeros: bool,
        mark: u8,
    },
}

/// The fields in the order in which Go tries them. A longer field precedes a field that it begins with.
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

/// Finds the next field of `layout`. Returns the text before it, the field, and the text after it.
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
            // `Janitor` does not contain a month, and `_2006` is an underscore and a year.
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

/// Reads a fraction such as `.000` or `,999`, which no digit may follow.
fn fraction_length(rest: &[u8]) -> Option<usize> {
    if !matches!(rest.first()?, b'.' | b',') {
        return None;
    }
    let digit = *rest.get(1).filter(|digit| matches!(digit, b'0' | b'9'))?;
    let count = rest[1..].iter().take_while(|byte| **byte == digit).count();
    (!rest.get(count + 1).is_some_and(u8::is_ascii_digit)).then_some(count + 1)
}
