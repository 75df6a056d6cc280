//! sprig: regular expressions, in Go's syntax.

mod syntax;

use ::regex::bytes::{Captures, Match, Regex, RegexBuilder};

use super::{Ctx, Fault, Func, Ran, Ty, f, int, text};
use crate::go::unicode;
use crate::go::val::{Elem, Val};

pub(super) const TABLE: &[Func] = &[
    f("regexMatch", &[Ty::Str, Ty::Str], |ctx, args| {
        // sprig swallows the error of a bad expression here, and nowhere else.
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

/// A compiled program's bytes; the work of compiling follows them.
const SIZE_LIMIT: usize = 1 << 20;

fn compile(ctx: &mut Ctx, args: &[Val]) -> Result<Regex, Fault> {
    ctx.work(200 + (text(args, 0).len() as u64) * 4 + text(args, 1).len() as u64 / 16)?;
    let pattern = std::str::from_utf8(text(args, 0)).map_err(|_| Fault::from("error parsing regexp: invalid UTF-8"))?;
    let translated = syntax::translate(pattern).ok_or("error parsing regexp")?;
    RegexBuilder::new(&translated)
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(SIZE_LIMIT)
        .nest_limit(100)
        .build()
        .map_err(|_| Fault::from("error parsing regexp"))
}

/// Go sees runes: nothing matches within one.
fn within_rune(bytes: &[u8], at: usize) -> bool {
    (1..=3.min(at)).any(|back| {
        matches!(unicode::runes(&bytes[at - back..]).next(), Some(unicode::Rune::Char(c)) if c.len_utf8() > back)
    })
}

fn matches<'b>(regex: &'b Regex, bytes: &'b [u8]) -> impl Iterator<Item = Match<'b>> {
    regex
        .find_iter(bytes)
        .filter(|found| !(found.is_empty() && within_rune(bytes, found.start())))
}

fn find(ctx: &mut Ctx, args: &[Val]) -> Ran {
    let regex = compile(ctx, args)?;
    ctx.text(
        regex
            .find(text(args, 1))
            .map(|found| found.as_bytes())
            .unwrap_or_default(),
    )
}

fn find_all(ctx: &mut Ctx, args: &[Val]) -> Ran {
    let regex = compile(ctx, args)?;
    let limit = usize::try_from(int(args, 2)).unwrap_or(usize::MAX);
    let mut all = Vec::new();
    for found in matches(&regex, text(args, 1)).take(limit) {
        ctx.turn()?;
        all.push(Val::str(found.as_bytes()));
    }
    Ok(if all.is_empty() {
        Val::nil_list(Elem::Str)
    } else {
        Val::of(Elem::Str, all)
    })
}

fn replace(ctx: &mut Ctx, args: &[Val], literal: bool) -> Ran {
    let regex = compile(ctx, args)?;
    let (bytes, with) = (text(args, 1), text(args, 2));
    let mut out = Vec::new();
    let mut from = 0;
    for captures in regex.captures_iter(bytes) {
        ctx.turn()?;
        let Some(whole) = captures.get(0) else { continue };
        if whole.is_empty() && within_rune(bytes, whole.start()) {
            continue;
        }
        out.extend_from_slice(&bytes[from..whole.start()]);
        if literal {
            out.extend_from_slice(with);
        } else {
            expand(&mut out, with, &captures);
        }
        from = whole.end();
        if out.len() > crate::limits::MAX_OUTPUT {
            return Err(Fault::Limit("a string is too long"));
        }
    }
    out.extend_from_slice(&bytes[from..]);
    ctx.text(out)
}

/// `Regexp.Expand`: `$1`, `$name`, `${name}`, `$$`.
fn expand(out: &mut Vec<u8>, template: &[u8], captures: &Captures<'_>) {
    let mut rest = template;
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(b"$") {
            out.push(b'$');
            rest = after;
            continue;
        }
        match reference(rest) {
            Some((name, after)) => {
                rest = after;
                let name = String::from_utf8_lossy(name);
                let group = match name.parse::<usize>() {
                    Ok(number) => captures.get(number),
                    Err(_) => captures.name(&name),
                };
                out.extend_from_slice(group.map(|group| group.as_bytes()).unwrap_or_default());
            }
            None => out.push(b'$'),
        }
    }
    out.extend_from_slice(rest);
}

fn reference(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (braced, body) = match rest.strip_prefix(b"{") {
        Some(body) => (true, body),
        None => (false, rest),
    };
    let length: usize = unicode::runes(body)
        .take_while(|rune| unicode::is_alphanumeric(rune.char()))
        .map(unicode::Rune::len)
        .sum();
    if length == 0 {
        return None;
    }
    let (name, after) = body.split_at(length);
    if braced {
        Some((name, after.strip_prefix(b"}")?))
    } else {
        Some((name, after))
    }
}

/// `Regexp.Split`
fn split(ctx: &mut Ctx, args: &[Val]) -> Ran {
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
    for found in matches(&regex, bytes) {
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
