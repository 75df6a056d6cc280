//! sprig's functions for dates and durations.

use std::rc::Rc;

use super::{Context, Fault, Func, Ran, Ty, any, f, text, times, utf8};
use crate::go::strconv::parse_int;
use crate::go::time::{Location, Time};
use crate::go::val::Val;
use crate::go::{duration, layout};

pub(super) const TABLE: &[Func] = &[
    f("now", &[], |ctx, _| {
        // Go's monotonic clock starts with the process. Here it starts with the rendering.
        let mut now = Time::new(ctx.now, Location::Local);
        now.monotonic = Some(1);
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
        ctx.text(duration::format(duration::round(since, 1_000_000_000)))
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
        let time = moment(ctx, &any(args, 0));
        ctx.text(times::unix(&time, 1_000_000_000).to_string())
    }),
];

/// Reads an argument as a time or as seconds since 1970. Other values stand for the current time.
fn moment(ctx: &Context, value: &Val) -> Time {
    match value {
        Val::Time(time) => Time::clone(time),
        Val::Int(seconds) | Val::Int64(seconds) => Time::unix(*seconds),
        _ => Time::new(ctx.now, Location::Local),
    }
}

fn in_zone(ctx: &mut Context, layout: &[u8], value: &Val, zone: &[u8]) -> Ran {
    ctx.reserve(layout.len().saturating_mul(8))?;
    ctx.work(layout.len() as u64 / 2)?;
    let shown = moment(ctx, value).at(Location::load(zone)).format(layout);
    ctx.text(shown)
}

fn modify(args: &[Val], must: bool) -> Ran {
    match duration::parse(&utf8(args, 0)) {
        Some(nanos) => {
            let Val::Time(time) = any(args, 1) else {
                return Ok(Val::Nil);
            };
            times::add(&time, nanos)
        }
        None if must => Err("time: invalid duration".into()),
        None => Ok(any(args, 1)),
    }
}

fn parsed(args: &[Val]) -> Option<Val> {
    let time = layout::parse(text(args, 0), text(args, 1))?;
    Some(Val::Time(Rc::new(time)))
}

/// As `strconv.ParseInt`, which returns the nearest number if the text is out of range.
fn clamped(text: &str) -> i64 {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    match parse_int(text, 10) {
        Some(number) => number,
        None if body.is_empty() || !body.bytes().all(|byte| byte.is_ascii_digit()) => 0,
        None if text.starts_with('-') => i64::MIN,
        None => i64::MAX,
    }
}

fn round(ctx: &mut Context, args: &[Val]) -> Ran {
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
