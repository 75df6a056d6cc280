//! sprig's functions for strings.

use super::{Context, Fault, Func, Ran, Ty, any, f, int, strval, text, v};
use crate::go::fmt;
use crate::go::strconv::quote;
use crate::go::unicode;
use crate::go::val::{Elem, Items, Map, Str, Val};

pub(super) const TABLE: &[Func] = &[
    f("abbrev", &[Ty::Int, Ty::Str], abbrev),
    f("abbrevboth", &[Ty::Int, Ty::Int, Ty::Str], abbrev_both),
    f("trunc", &[Ty::Int, Ty::Str], trunc),
    f("trim", &[Ty::Str], |ctx, args| ctx.text(trim_space(text(args, 0)))),
    f("upper", &[Ty::Str], |ctx, args| {
        ctx.text(unicode::map(text(args, 0), unicode::to_upper))
    }),
    f("lower", &[Ty::Str], |ctx, args| {
        ctx.text(unicode::map(text(args, 0), unicode::to_lower))
    }),
    f("substr", &[Ty::Int, Ty::Int, Ty::Str], substr),
    f("repeat", &[Ty::Int, Ty::Str], repeat),
    f("trimall", &[Ty::Str, Ty::Str], trim_all),
    f("trimAll", &[Ty::Str, Ty::Str], trim_all),
    f("trimSuffix", &[Ty::Str, Ty::Str], |ctx, args| {
        let whole = text(args, 1);
        ctx.text(whole.strip_suffix(text(args, 0)).unwrap_or(whole))
    }),
    f("trimPrefix", &[Ty::Str, Ty::Str], |ctx, args| {
        let whole = text(args, 1);
        ctx.text(whole.strip_prefix(text(args, 0)).unwrap_or(whole))
    }),
    f("contains", &[Ty::Str, Ty::Str], |ctx, args| {
        ctx.work(text(args, 1).len() as u64 / 64)?;
        Ok(Val::Bool(find(text(args, 1), text(args, 0)).is_some()))
    }),
    f("hasPrefix", &[Ty::Str, Ty::Str], |_, args| {
        Ok(Val::Bool(text(args, 1).starts_with(text(args, 0))))
    }),
    f("hasSuffix", &[Ty::Str, Ty::Str], |_, args| {
        Ok(Val::Bool(text(args, 1).ends_with(text(args, 0))))
    }),
    v("quote", &[], Ty::Any, |ctx, args| quoted(ctx, args, true)),
    v("squote", &[], Ty::Any, |ctx, args| quoted(ctx, args, false)),
    v("cat", &[], Ty::Any, cat),
    f("indent", &[Ty::Int, Ty::Str], |ctx, args| {
        let out = indent(ctx, int(args, 0), text(args, 1))?;
        ctx.text(out)
    }),
    f("nindent", &[Ty::Int, Ty::Str], |ctx, args| {
        let mut out = vec![b'\n'];
        out.extend_from_slice(&indent(ctx, int(args, 0), text(args, 1))?);
        ctx.text(out)
    }),
    f("replace", &[Ty::Str, Ty::Str, Ty::Str], |ctx, args| {
        let out = replace(ctx, text(args, 2), text(args, 0), text(args, 1))?;
        ctx.text(out)
    }),
    f("plural", &[Ty::Str, Ty::Str, Ty::Int], |_, args| {
        Ok(any(args, usize::from(int(args, 2) != 1)))
    }),
    f("toString", &[Ty::Any], |ctx, args| {
        let out = strval(ctx, &any(args, 0))?;
        ctx.text(out)
    }),
    f("split", &[Ty::Str, Ty::Str], |ctx, args| {
        numbered(ctx, text(args, 1), text(args, 0), -1)
    }),
    f("splitn", &[Ty::Str, Ty::Int, Ty::Str], |ctx, args| {
        numbered(ctx, text(args, 2), text(args, 0), int(args, 1))
    }),
    f("splitList", &[Ty::Str, Ty::Str], |ctx, args| {
        let parts = split(ctx, text(args, 1), text(args, 0), -1)?;
        Ok(Val::of(Elem::Str, parts.into_iter().map(Val::Str).collect()))
    }),
];

pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    memchr::memmem::find(haystack, needle)
}

fn trim_space(bytes: &[u8]) -> Vec<u8> {
    let mut chars: Vec<unicode::Rune> = unicode::runes(bytes).collect();
    let space = |rune: &unicode::Rune| matches!(rune, unicode::Rune::Char(c) if unicode::is_space(*c));
    let start: usize = chars.iter().take_while(|rune| space(rune)).map(|rune| rune.len()).sum();
    chars.reverse();
    let end: usize = chars.iter().take_while(|rune| space(rune)).map(|rune| rune.len()).sum();
    bytes.get(start..bytes.len() - end).unwrap_or_default().to_vec()
}

fn trim_all(ctx: &mut Context, args: &[Val]) -> Ran {
    let cut: Vec<unicode::Rune> = unicode::runes(text(args, 0)).collect();
    let bytes = text(args, 1);
    ctx.work((bytes.len() as u64).saturating_mul(cut.len() as u64) / 64)?;
    // Go reads an invalid byte as U+FFFD here.
    let in_cut = |rune: &unicode::Rune| cut.iter().any(|other| other.char() == rune.char());
    let mut chars: Vec<unicode::Rune> = unicode::runes(bytes).collect();
    let start: usize = chars
        .iter()
        .take_while(|rune| in_cut(rune))
        .map(|rune| rune.len())
        .sum();
    chars.reverse();
    let end: usize = chars
        .iter()
        .take_while(|rune| in_cut(rune))
        .map(|rune| rune.len())
        .sum();
    ctx.text(bytes.get(start..bytes.len() - end).unwrap_or_default())
}

fn trunc(ctx: &mut Context, args: &[Val]) -> Ran {
    let bytes = text(args, 1);
    let length = bytes.len() as i64;
    let count = int(args, 0);
    let kept = match count {
        ..0 if length.saturating_add(count) > 0 => &bytes[(length + count) as usize..],
        0.. if length > count => &bytes[..count as usize],
        _ => bytes,
    };
    ctx.text(kept)
}

fn substr(ctx: &mut Context, args: &[Val]) -> Ran {
    let (start, end, bytes) = (int(args, 0), int(args, 1), text(args, 2));
    let range = if start < 0 {
        usize::try_from(end).ok().map(|end| 0..end)
    } else if end < 0 || end > bytes.len() as i64 {
        usize::try_from(start).ok().map(|start| start..bytes.len())
    } else {
        usize::try_from(start)
            .ok()
            .zip(usize::try_from(end).ok())
            .map(|(start, end)| start..end)
    };
    match range.and_then(|range| bytes.get(range)) {
        Some(part) => ctx.text(part),
        None => Err("runtime error: slice bounds out of range".into()),
    }
}

fn repeat(ctx: &mut Context, args: &[Val]) -> Ran {
    let Ok(count) = usize::try_from(int(args, 0)) else {
        return Err("strings: negative Repeat count".into());
    };
    ctx.reserve(text(args, 1).len().saturating_mul(count))?;
    if text(args, 1).is_empty() {
        return Ok(Val::str(""));
    }
    ctx.text(text(args, 1).repeat(count))
}

fn abbrev(ctx: &mut Context, args: &[Val]) -> Ran {
    let (width, bytes) = (int(args, 0), text(args, 1));
    if width < 4 {
        return ctx.text(bytes);
    }
    ctx.text(abbreviated(bytes, 0, width))
}

fn abbrev_both(ctx: &mut Context, args: &[Val]) -> Ran {
    let (left, right, bytes) = (int(args, 0), int(args, 1), text(args, 2));
    if right < 4 || left > 0 && right < 7 {
        return ctx.text(bytes);
    }
    ctx.text(abbreviated(bytes, left, right))
}

/// `goutils.AbbreviateFull`, which counts bytes.
fn abbreviated(bytes: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let length = bytes.len() as i64;
    if length <= width {
        return bytes.to_vec();
    }
    let mut offset = offset.min(length);
    if length - offset < width - 3 {
        offset = length - (width - 3);
    }
    let part = |from: i64, to: i64| bytes.get(from.max(0) as usize..to.max(0) as usize).unwrap_or_default();
    if offset <= 4 {
        return [part(0, width - 3), b"..."].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    if offset + width - 3 < length {
        let tail = abbreviated(part(offset, length), 0, width - 3);
        return [b"...", tail.as_slice()].concat();
    }
    [b"...", part(length - (width - 3), length)].concat()
}

fn quoted(ctx: &mut Context, args: &[Val], double: bool) -> Ran {
    let mut parts = Vec::new();
    for arg in args.iter().filter(|arg| !matches!(arg, Val::Nil)) {
        let shown = strval(ctx, arg)?;
        parts.push(if double {
            quote(&shown)
        } else {
            [b"'", shown.as_slice(), b"'"].concat()
        });
    }
    ctx.text(parts.join(&b' '))
}

fn cat(ctx: &mut Context, args: &[Val]) -> Ran {
    let mut parts = Vec::new();
    for arg in args.iter().filter(|arg| !matches!(arg, Val::Nil)) {
        parts.push(fmt::value(ctx, arg)?);
    }
    ctx.text(parts.join(&b' '))
}

fn indent(ctx: &mut Context, spaces: i64, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let Ok(spaces) = usize::try_from(spaces) else {
        return Err("strings: negative Repeat count".into());
    };
    ctx.reserve(spaces)?;
    let pad = vec![b' '; spaces];
    let mut out = pad.clone();
    out.extend_from_slice(&replace(ctx, bytes, b"\n", &[b"\n", pad.as_slice()].concat())?);
    Ok(out)
}

/// `strings.Replace(bytes, old, new, -1)`. An empty `old` matches before every rune and at the end.
fn replace(ctx: &mut Context, bytes: &[u8], old: &[u8], new: &[u8]) -> Result<Vec<u8>, Fault> {
    let starts: Vec<usize> = if old.is_empty() {
        let mut at = 0;
        let mut starts = vec![0];
        starts.extend(unicode::runes(bytes).map(|rune| {
            at += rune.len();
            at
        }));
        starts
    } else {
        memchr::memmem::find_iter(bytes, old).collect()
    };
    ctx.reserve(bytes.len().saturating_add(new.len().saturating_mul(starts.len())))?;
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for start in starts {
        out.extend_from_slice(&bytes[from..start]);
        out.extend_from_slice(new);
        from = start + old.len();
    }
    out.extend_from_slice(&bytes[from..]);
    Ok(out)
}

/// `strings.SplitN`
pub(super) fn split(ctx: &mut Context, bytes: &[u8], separator: &[u8], limit: i64) -> Result<Vec<Str>, Fault> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    if separator.is_empty() {
        let mut rest = bytes;
        while let Some(rune) = unicode::runes(rest).next() {
            ctx.work(1)?;
            if parts.len() + 1 == limit {
                parts.push(rest.into());
                return Ok(parts);
            }
            parts.push(rest[..rune.len()].into());
            rest = &rest[rune.len()..];
        }
        return Ok(parts);
    }
    let mut rest = bytes;
    while parts.len() + 1 < limit {
        let Some(at) = find(rest, separator) else { break };
        ctx.work(1)?;
        parts.push(rest[..at].into());
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest.into());
    Ok(parts)
}

/// Makes the `map[string]string` `{_0: …, _1: …}`.
fn numbered(ctx: &mut Context, bytes: &[u8], separator: &[u8], limit: i64) -> Ran {
    let mut items = Items::new();
    for (i, part) in split(ctx, bytes, separator, limit)?.into_iter().enumerate() {
        items.insert(format!("_{i}").into_bytes().into(), Val::Str(part));
    }
    Ok(Val::Map(std::rc::Rc::new(Map::new(true, false, items))))
}
