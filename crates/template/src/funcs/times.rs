//! The methods of `time.Time` and of the types of their results: durations, months, weekdays and locations.

use std::rc::Rc;

use super::{Context, Fault, Func, Ran, Ty, any, f, int, text};
use crate::go::duration;
use crate::go::time::{Location, Time};
use crate::go::val::Val;

const SECOND: i64 = 1_000_000_000;

pub(super) const TIME: &[&[Func]] = &[CALENDAR, MOMENT, MOVED, SHOWN, UNCALLABLE];

const CALENDAR: &[Func] = &[
    f("Year", &[], |_, args| Ok(Val::Int(time(args).zoned.year().into()))),
    f("Month", &[], |_, args| Ok(Val::Month(time(args).zoned.month().into()))),
    f("Day", &[], |_, args| Ok(Val::Int(time(args).zoned.day().into()))),
    f("Weekday", &[], |_, args| {
        let day = time(args).zoned.weekday();
        Ok(Val::Weekday(day.to_sunday_zero_offset().into()))
    }),
    f("YearDay", &[], |_, args| {
        Ok(Val::Int(time(args).zoned.day_of_year().into()))
    }),
    f("Hour", &[], |_, args| Ok(Val::Int(time(args).zoned.hour().into()))),
    f("Minute", &[], |_, args| Ok(Val::Int(time(args).zoned.minute().into()))),
    f("Second", &[], |_, args| Ok(Val::Int(time(args).zoned.second().into()))),
    f("Nanosecond", &[], |_, args| {
        Ok(Val::Int(time(args).zoned.subsec_nanosecond().into()))
    }),
    f("Location", &[], |_, args| {
        Ok(Val::Location(Rc::new(time(args).location.clone())))
    }),
    // No function returns a time in a zone of the time zone database.
    f("IsDST", &[], |_, _| Ok(Val::Bool(false))),
];

const MOMENT: &[Func] = &[
    f("Unix", &[], |_, args| Ok(Val::Int64(unix(&time(args), SECOND)))),
    f("UnixMilli", &[], |_, args| {
        Ok(Val::Int64(unix(&time(args), SECOND / 1000)))
    }),
    f("UnixMicro", &[], |_, args| Ok(Val::Int64(unix(&time(args), 1000)))),
    f("UnixNano", &[], |_, args| Ok(Val::Int64(unix(&time(args), 1)))),
    f("Before", &[Ty::Time], |_, args| Ok(Val::Bool(compared(args).is_lt()))),
    f("After", &[Ty::Time], |_, args| Ok(Val::Bool(compared(args).is_gt()))),
    f("Equal", &[Ty::Time], |_, args| Ok(Val::Bool(compared(args).is_eq()))),
    f("Compare", &[Ty::Time], |_, args| Ok(Val::Int(compared(args) as i64))),
    f("Sub", &[Ty::Time], |_, args| {
        Ok(Val::Duration(time(&args[1..]).nanos_until(time(args).moment())))
    }),
    f("IsZero", &[], |_, args| {
        Ok(Val::Bool(time(args).moment() == Time::zero().moment()))
    }),
];

const MOVED: &[Func] = &[
    f("Add", &[Ty::Duration], |_, args| add(&time(args), nanos(args, 1))),
    f("AddDate", &[Ty::Int, Ty::Int, Ty::Int], add_date),
    f("Truncate", &[Ty::Duration], |_, args| {
        let (time, step) = (time(args), nanos(args, 1));
        let time = time.at(time.location.clone());
        match step {
            ..=0 => Ok(Val::Time(Rc::new(time))),
            step => add(&time, -time.past(step)),
        }
    }),
    f("Round", &[Ty::Duration], |_, args| {
        let (time, step) = (time(args), nanos(args, 1));
        let time = time.at(time.location.clone());
        if step <= 0 {
            return Ok(Val::Time(Rc::new(time)));
        }
        let past = time.past(step);
        let down = i128::from(past) * 2 < i128::from(step);
        add(&time, if down { -past } else { step - past })
    }),
    f("In", &[Ty::Location], |_, args| match any(args, 1) {
        Val::Location(location) => shown_at(args, &location),
        _ => Err("time: missing Location in call to Time.In".into()),
    }),
    f("UTC", &[], |_, args| shown_at(args, &Location::Utc)),
    f("Local", &[], |_, args| shown_at(args, &Location::Local)),
];

const SHOWN: &[Func] = &[
    f("Format", &[Ty::Str], |ctx, args| {
        let shown = format(ctx, args, text(args, 1))?;
        ctx.text(shown)
    }),
    f("String", &[], |ctx, args| ctx.text(time(args).text())),
    f("GoString", &[], |ctx, args| ctx.text(time(args).go_text())),
    f("MarshalText", &[], |ctx, args| append(ctx, &Val::Nil, &rfc3339(args)?)),
    f("MarshalJSON", &[], |ctx, args| {
        append(ctx, &Val::Nil, &[b"\"", rfc3339(args)?.as_slice(), b"\""].concat())
    }),
    f("MarshalBinary", &[], |ctx, args| {
        let bytes = binary(args)?;
        append(ctx, &Val::Nil, &bytes)
    }),
    f("GobEncode", &[], |ctx, args| {
        let bytes = binary(args)?;
        append(ctx, &Val::Nil, &bytes)
    }),
    f("AppendFormat", &[Ty::Bytes, Ty::Str], |ctx, args| {
        let shown = format(ctx, args, text(args, 2))?;
        append(ctx, &any(args, 1), &shown)
    }),
    f("AppendText", &[Ty::Bytes], |ctx, args| {
        append(ctx, &any(args, 1), &rfc3339(args)?)
    }),
    f("AppendBinary", &[Ty::Bytes], |ctx, args| {
        let bytes = binary(args)?;
        append(ctx, &any(args, 1), &bytes)
    }),
];

/// Methods with several results, which a template can't use.
const UNCALLABLE: &[Func] = &[
    f("Clock", &[], |_, _| {
        Err(Fault::Uncallable(
            "function Clock has 3 return values; should be 1 or 2",
        ))
    }),
    f("Date", &[], |_, _| {
        Err(Fault::Uncallable("function Date has 3 return values; should be 1 or 2"))
    }),
    f("ISOWeek", &[], |_, _| {
        let message = "invalid function signature for ISOWeek: second return value should be error; is int";
        Err(Fault::Uncallable(message))
    }),
    f("Zone", &[], |_, _| {
        let message = "invalid function signature for Zone: second return value should be error; is int";
        Err(Fault::Uncallable(message))
    }),
    f("ZoneBounds", &[], |_, _| {
        let message = "invalid function signature for ZoneBounds: second return value should be error; is time.Time";
        Err(Fault::Uncallable(message))
    }),
];

pub(super) const DURATION: &[&[Func]] = &[
    NAMED_BY_STRING,
    &[
        f("Abs", &[], |_, args| Ok(Val::Duration(nanos(args, 0).saturating_abs()))),
        f("Hours", &[], |_, args| in_units(args, 3600 * SECOND)),
        f("Minutes", &[], |_, args| in_units(args, 60 * SECOND)),
        f("Seconds", &[], |_, args| in_units(args, SECOND)),
        f("Milliseconds", &[], |_, args| {
            Ok(Val::Int64(nanos(args, 0) / (SECOND / 1000)))
        }),
        f("Microseconds", &[], |_, args| Ok(Val::Int64(nanos(args, 0) / 1000))),
        f("Nanoseconds", &[], |_, args| Ok(Val::Int64(nanos(args, 0)))),
        f("Round", &[Ty::Duration], |_, args| {
            Ok(Val::Duration(duration::round(nanos(args, 0), nanos(args, 1))))
        }),
        f("Truncate", &[Ty::Duration], |_, args| {
            Ok(Val::Duration(duration::truncate(nanos(args, 0), nanos(args, 1))))
        }),
    ],
];

/// Months, weekdays and locations have the method `String` only.
pub(super) const NAMED: &[&[Func]] = &[NAMED_BY_STRING];

const NAMED_BY_STRING: &[Func] = &[f("String", &[], |ctx, args| {
    ctx.text(super::stringer(&any(args, 0)).unwrap_or_default())
})];

fn time(args: &[Val]) -> Rc<Time> {
    match any(args, 0) {
        Val::Time(time) => time,
        _ => Rc::new(Time::zero()),
    }
}

fn nanos(args: &[Val], index: usize) -> i64 {
    match args.get(index) {
        Some(Val::Duration(nanos)) => *nanos,
        _ => 0,
    }
}

/// The time since 1970 in units of `unit` nanoseconds.
pub(super) fn unix(time: &Time, unit: i64) -> i64 {
    time.moment().as_nanosecond().div_euclid(i128::from(unit)) as i64
}

fn compared(args: &[Val]) -> std::cmp::Ordering {
    time(args).moment().cmp(&time(&args[1..]).moment())
}

fn in_units(args: &[Val], unit: i64) -> Ran {
    Ok(Val::Float(duration::in_units(nanos(args, 0), unit)))
}

pub(super) fn add(time: &Time, nanos: i64) -> Ran {
    match time.add(nanos) {
        Some(time) => Ok(Val::Time(Rc::new(time))),
        None => Err("the date is out of range".into()),
    }
}

fn shown_at(args: &[Val], location: &Location) -> Ran {
    Ok(Val::Time(Rc::new(time(args).at(location.clone()))))
}

fn format(ctx: &mut Context, args: &[Val], layout: &[u8]) -> Result<Vec<u8>, Fault> {
    ctx.reserve(layout.len().saturating_mul(8))?;
    ctx.work(layout.len() as u64 / 2)?;
    Ok(time(args).format(layout))
}

fn rfc3339(args: &[Val]) -> Result<Vec<u8>, Fault> {
    let text = time(args).rfc3339();
    text.ok_or_else(|| "year or offset outside of RFC 3339's range".into())
}

fn binary(args: &[Val]) -> Result<Vec<u8>, Fault> {
    let bytes = time(args).binary();
    bytes.ok_or_else(|| "Time.MarshalBinary: unexpected zone offset".into())
}

/// Appends bytes to the `[]byte` `before`, if there is one.
fn append(ctx: &mut Context, before: &Val, bytes: &[u8]) -> Ran {
    let all = [before.as_bytes().unwrap_or_default().as_slice(), bytes].concat();
    // An element of a list takes this many times the memory of a byte of a string.
    ctx.reserve(all.len().saturating_mul(size_of::<Val>()))?;
    let nil = !matches!(before, Val::List(list) if !list.nil);
    Ok(Val::bytes(&all, nil))
}

/// Go normalises a day that the month does not have: a month after 31 January is 3 March, or 2 March in a leap year.
fn add_date(_: &mut Context, args: &[Val]) -> Ran {
    let time = time(args);
    let [years, months, days] = [1, 2, 3].map(|i| int(args, i));
    let zoned = &time.zoned;
    let month = i64::from(zoned.month()) - 1 + months.clamp(-200_000, 200_000);
    let year = i64::from(zoned.year()) + years.clamp(-20_000, 20_000) + month.div_euclid(12);
    let first = i16::try_from(year)
        .ok()
        .and_then(|year| jiff::civil::Date::new(year, (month.rem_euclid(12) + 1) as i8, 1).ok());
    let shift = jiff::Span::new().try_days(i64::from(zoned.day()) - 1 + days.clamp(-8_000_000, 8_000_000));
    let date = first
        .zip(shift.ok())
        .and_then(|(first, shift)| first.checked_add(shift).ok());
    let moved = date.and_then(|date| {
        date.to_datetime(zoned.time())
            .to_zoned_datetime(zoned.time_zone().clone())
            .ok()
    });
    match moved {
        Some(zoned) => Ok(Val::Time(Rc::new(Time::new(zoned.timestamp(), time.location.clone())))),
        None => Err("the date is out of range".into()),
    }
}
