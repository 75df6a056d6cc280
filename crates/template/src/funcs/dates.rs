//! sprig: dates and durations.

use std::rc::Rc;

use jiff::tz::TimeZone;

use super::{Ctx, Fault, Func, Ran, Ty, any, f, text, utf8};
use crate::go::strconv::parse_int;
use crate::go::time::Time;
use crate::go::val::Val;
use crate::go::{duration, layout};

pub(super) const TABLE: &[Func] = &[
    f("now", &[], |ctx, _| {
        let mut now = Time::new(ctx.now, TimeZone::UTC);
        now.monotonic = true;
        Ok(Val::Time(Rc::new(now)))
    }),
    f("date", &[Ty::Str, Ty::Any], |ctx, args| {
        in_zone(ctx, text(args, 0), &any(args, 1), b"Local")
    }),
    f("dateInZone", &[Ty::Str, Ty::Any, Ty::Str], |ctx, args| {
        in_zone(ctx, text(args, 0), &any(args, 1), text(args, 2))
    }),
    f("date_in_zone", &[Ty::Str, Ty::Any, Ty::Str], |ctx, args| {
        in_zone(ctx, text(args, 0), &any(args, 1), text(args, 2))
    }),
    f("htmlDate", &[Ty::Any], |ctx, args| {
        in_zone(ctx, b"2006-01-02", &any(args, 0), b"Local")
    }),
    f("htmlDateInZone", &[Ty::Any, Ty::Str], |ctx, args| {
        in_zone(ctx, b"2006-01-02", &any(args, 0), text(args, 1))
    }),
    f("dateModify", &[Ty::Str, Ty::Time], |_, args| modify(args, false)),
    f("date_modify", &[Ty::Str, Ty::Time], |_, args| modify(args, false)),
    f("mustDateModify", &[Ty::Str, Ty::Time], |_, args| modify(args, true)),
    f("must_date_modify", &[Ty::Str, Ty::Time], |_, args| modify(args, true)),
    f("ago", &[Ty::Any], |ctx, args| {
        let since = moment(ctx, &any(args, 0)).nanos_until(ctx.now);
        ctx.text(duration::format(duration::round_to_second(since)))
    }),
    f("duration", &[Ty::Any], |ctx, args| {
        let seconds = match any(args, 0) {
            Val::Str(text) => clamped(&String::from_utf8_lossy(&text)),
            Val::Int64(seconds) => seconds,
            _ => 0,
        };
        ctx.text(duration::format(seconds.wrapping_mul(1_000_000_000)))
    }),
    f("durationRound", &[Ty::Any], round),
    f("toDate", &[Ty::Str, Ty::Str], |ctx, args| {
        ctx.work(text(args, 0).len() as u64 / 2)?;
        Ok(parsed(args).unwrap_or_else(|| Val::Time(Rc::new(Time::zero()))))
    }),
    f("mustToDate", &[Ty::Str, Ty::Str], |ctx, args| {
        ctx.work(text(args, 0).len() as u64 / 2)?;
        parsed(args).ok_or_else(|| Fault::from("parsing time: the text does not fit the layout"))
    }),
    f("unixEpoch", &[Ty::Time], |ctx, args| {
        ctx.text(seconds(args).to_string())
    }),
];

pub(super) const METHODS: &[Func] = &[
    f("Format", &[Ty::Str], |ctx, args| {
        let shown = receiver(args).format(text(args, 1));
        ctx.text(shown)
    }),
    f("String", &[], |ctx, args| ctx.text(receiver(args).text())),
    f("Unix", &[], |_, args| Ok(Val::Int64(seconds(args)))),
    f("UnixMilli", &[], |_, args| {
        Ok(Val::Int64(receiver(args).zoned.timestamp().as_millisecond()))
    }),
    f("UnixNano", &[], |_, args| {
        Ok(Val::Int64(receiver(args).zoned.timestamp().as_nanosecond() as i64))
    }),
    f("UnixMicro", &[], |_, args| {
        Ok(Val::Int64(receiver(args).zoned.timestamp().as_microsecond()))
    }),
    f("Before", &[Ty::Time], |_, args| Ok(Val::Bool(compared(args).is_lt()))),
    f("After", &[Ty::Time], |_, args| Ok(Val::Bool(compared(args).is_gt()))),
    f("Equal", &[Ty::Time], |_, args| Ok(Val::Bool(compared(args).is_eq()))),
    f("Compare", &[Ty::Time], |_, args| Ok(Val::Int(compared(args) as i64))),
    f("UTC", &[], |_, args| {
        Ok(Val::Time(Rc::new(receiver(args).in_zone(b"UTC"))))
    }),
    f("Local", &[], |_, args| {
        Ok(Val::Time(Rc::new(receiver(args).in_zone(b"UTC"))))
    }),
    f("IsZero", &[], |_, args| {
        Ok(Val::Bool(
            receiver(args).zoned.timestamp() == Time::zero().zoned.timestamp(),
        ))
    }),
    f("Year", &[], |_, args| Ok(Val::Int(receiver(args).zoned.year().into()))),
    f("Day", &[], |_, args| Ok(Val::Int(receiver(args).zoned.day().into()))),
    f("YearDay", &[], |_, args| {
        Ok(Val::Int(receiver(args).zoned.day_of_year().into()))
    }),
    f("Hour", &[], |_, args| Ok(Val::Int(receiver(args).zoned.hour().into()))),
    f("Minute", &[], |_, args| {
        Ok(Val::Int(receiver(args).zoned.minute().into()))
    }),
    f("Second", &[], |_, args| {
        Ok(Val::Int(receiver(args).zoned.second().into()))
    }),
    f("Nanosecond", &[], |_, args| {
        Ok(Val::Int(receiver(args).zoned.subsec_nanosecond().into()))
    }),
    f("AddDate", &[Ty::Int, Ty::Int, Ty::Int], add_date),
];

fn receiver(args: &[Val]) -> Rc<Time> {
    match any(args, 0) {
        Val::Time(time) => time,
        _ => Rc::new(Time::zero()),
    }
}

/// The receiver with the argument, as moments.
fn compared(args: &[Val]) -> std::cmp::Ordering {
    receiver(args)
        .zoned
        .timestamp()
        .cmp(&receiver(&args[1..]).zoned.timestamp())
}

fn seconds(args: &[Val]) -> i64 {
    receiver(args)
        .zoned
        .timestamp()
        .as_nanosecond()
        .div_euclid(1_000_000_000) as i64
}

/// A time, or seconds since 1970; of anything else it is now.
fn moment(ctx: &Ctx, value: &Val) -> Time {
    match value {
        Val::Time(time) => Time::clone(time),
        Val::Int(seconds) | Val::Int64(seconds) => Time::unix(*seconds),
        _ => Time::new(ctx.now, TimeZone::UTC),
    }
}

fn in_zone(ctx: &mut Ctx, layout: &[u8], value: &Val, zone: &[u8]) -> Ran {
    ctx.reserve(layout.len().saturating_mul(8))?;
    ctx.work(layout.len() as u64 / 2)?;
    let shown = moment(ctx, value).in_zone(zone).format(layout);
    ctx.text(shown)
}

fn modify(args: &[Val], must: bool) -> Ran {
    match duration::parse(&utf8(args, 0)) {
        Some(nanos) => {
            let Val::Time(time) = any(args, 1) else {
                return Ok(Val::Nil);
            };
            Ok(Val::Time(Rc::new(time.add(nanos))))
        }
        None if must => Err("time: invalid duration".into()),
        None => Ok(any(args, 1)),
    }
}

fn parsed(args: &[Val]) -> Option<Val> {
    let (zoned, name) = layout::parse(text(args, 0), text(args, 1))?;
    Some(Val::Time(Rc::new(Time {
        zoned,
        zone_name: name.map(Rc::from),
        monotonic: false,
    })))
}

/// `strconv.ParseInt` keeps the nearest number of what is out of range.
fn clamped(text: &str) -> i64 {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    match parse_int(text, 10) {
        Some(number) => number,
        None if body.is_empty() || !body.bytes().all(|byte| byte.is_ascii_digit()) => 0,
        None if text.starts_with('-') => i64::MIN,
        None => i64::MAX,
    }
}

fn round(ctx: &mut Ctx, args: &[Val]) -> Ran {
    let nanos = match any(args, 0) {
        Val::Str(text) => duration::parse(&String::from_utf8_lossy(&text)).unwrap_or(0),
        Val::Int64(nanos) => nanos,
        Val::Time(time) => time.nanos_until(ctx.now),
        _ => 0,
    };
    let nanos = nanos.unsigned_abs();
    let second = 1_000_000_000;
    let units = [
        (second * 86_400 * 365, "y"),
        (second * 86_400 * 30, "mo"),
        (second * 86_400, "d"),
        (second * 3600, "h"),
        (second * 60, "m"),
        (second, "s"),
    ];
    let shown = units.iter().find(|(unit, _)| nanos > *unit);
    ctx.text(shown.map_or("0s".to_owned(), |(unit, name)| format!("{}{name}", nanos / unit)))
}

/// Go normalises what overflows: 31 January and a month is 3 March, or 2 in a leap year.
fn add_date(_: &mut Ctx, args: &[Val]) -> Ran {
    let time = receiver(args);
    let [years, months, days] = [1, 2, 3].map(|i| super::int(args, i));
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
        Some(zoned) => Ok(Val::Time(Rc::new(Time {
            zoned,
            zone_name: time.zone_name.clone(),
            monotonic: false,
        }))),
        None => Err("the date is out of range".into()),
    }
}
