//! sprig's functions for regular expressions, in Go's syntax.

use super::{Context, Fault, Func, Ran, Ty, f, int, text};
use crate::go::regex::Regex;
use crate::go::val::{Elem, Val};

pub(super) const TABLE: &[Func] = &[
    f("regexMatch", &[Ty::Str, Ty::Str], |ctx, args| {
        // sprig ignores an invalid expression in this function only.
        Ok(Val::Bool(
            compile(ctx, args).is_ok_and(|regex| regex.is_match(text(args, 1))),
        ))
    }),
    f("mustRegexMatch", &[Ty::Str, Ty::Str], |ctx, args| {
        Ok(Val::Bool(compile(ctx, args)?.is_match(text(args, 1))))
    }),
    f("regexFind", &[Ty::Str, Ty::Str], find),
    f("mustRegexFind", &[Ty::Str, Ty::Str], find),
    f("regexFindAll", &[Ty::Str, Ty::Str, Ty::Int], find_all),
    f("mustRegexFindAll", &[Ty::Str, Ty::Str, Ty::Int], find_all),
    f("regexReplaceAll", &[Ty::Str, Ty::Str, Ty::Str], |ctx, args| {
        replace(ctx, args, false)
    }),
    f("mustRegexReplaceAll", &[Ty::Str, Ty::Str, Ty::Str], |ctx, args| {
        replace(ctx, args, false)
    }),
    f("regexReplaceAllLiteral", &[Ty::Str, Ty::Str, Ty::Str], |ctx, args| {
        replace(ctx, args, true)
    }),
    f(
        "mustRegexReplaceAllLiteral",
        &[Ty::Str, Ty::Str, Ty::Str],
        |ctx, args| replace(ctx, args, true),
    ),
    f("regexSplit", &[Ty::Str, Ty::Str, Ty::Int], split),
    f("mustRegexSplit", &[Ty::Str, Ty::Str, Ty::Int], split),
    f("regexQuoteMeta", &[Ty::Str], |ctx, args| {
        let mut out = Vec::new();
        for byte in text(args, 0) {
            if br"\.+*?()|[]{}^$".contains(byte) {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        ctx.text(out)
    }),
];

fn compile(ctx: &mut Context, args: &[Val]) -> Result<Regex, Fault> {
    ctx.work(200 + (text(args, 0).len() as u64) * 4 + text(args, 1).len() as u64 / 16)?;
    let pattern = std::str::from_utf8(text(args, 0)).map_err(|_| Fault::from("error parsing regexp: invalid UTF-8"))?;
    Regex::new(pattern).map_err(|error| Fault::from(error.to_string()))
}

fn find(ctx: &mut Context, args: &[Val]) -> Ran {
    let regex = compile(ctx, args)?;
    ctx.text(
        regex
            .find(text(args, 1))
            .map(|found| found.as_bytes())
            .unwrap_or_default(),
    )
}

fn find_all(ctx: &mut Context, args: &[Val]) -> Ran {
    let regex = compile(ctx, args)?;
    let limit = usize::try_from(int(args, 2)).unwrap_or(usize::MAX);
    let mut all = Vec::new();
    for found in regex.find_iter(text(args, 1)).take(limit) {
        ctx.turn()?;
        all.push(Val::str(found.as_bytes()));
    }
    Ok(if all.is_empty() {
        Val::nil_list(Elem::Str)
    } else {
        Val::of(Elem::Str, all)
    })
}

fn replace(ctx: &mut Context, args: &[Val], literal: bool) -> Ran {
    let regex = compile(ctx, args)?;
    let (bytes, with) = (text(args, 1), text(args, 2));
    let mut out = Vec::new();
    let mut from = 0;
    for (whole, captures) in regex.captures_iter(bytes) {
        ctx.turn()?;
        out.extend_from_slice(&bytes[from..whole.start()]);
        if literal {
            out.extend_from_slice(with);
        } else {
            regex.expand(&mut out, with, &captures);
        }
        from = whole.end();
        if out.len() > crate::limits::MAX_OUTPUT {
            return Err(Fault::Limit("a string is too long"));
        }
    }
    out.extend_from_slice(&bytes[from..]);
    ctx.text(out)
}

/// `Regexp.Split`
fn split(ctx: &mut Context, args: &[Val]) -> Ran {
    let regex = compile(ctx, args)?;
    let (bytes, limit) = (text(args, 1), int(args, 2));
    if limit == 0 {
        return Ok(Val::nil_list(Elem::Str));
    }
    if !text(args, 0).is_empty() && bytes.is_empty() {
        return Ok(Val::strings([Vec::new()]));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    let mut begin = 0;
    let mut end = 0;
    for found in regex.find_iter(bytes) {
        ctx.turn()?;
        if parts.len() + 1 == limit {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            parts.push(bytes[begin..end].to_vec());
        }
        begin = found.end();
    }
    if end != bytes.len() {
        parts.push(bytes[begin..].to_vec());
    }
    Ok(Val::strings(parts))
}
