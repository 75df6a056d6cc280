//! sprig's functions for lists.

use std::rc::Rc;

use super::{Context, Fault, Func, Ran, Ty, any, f, int, strval, v};
use crate::go::val::{Elem, List, Val};

pub(super) const TABLE: &[Func] = &[
    v("list", &[], Ty::Any, |_, args| Ok(Val::list(args.to_vec()))),
    v("tuple", &[], Ty::Any, |_, args| Ok(Val::list(args.to_vec()))),
    f("append", &[Ty::Any, Ty::Any], push),
    f("push", &[Ty::Any, Ty::Any], push),
    f("mustAppend", &[Ty::Any, Ty::Any], push),
    f("mustPush", &[Ty::Any, Ty::Any], push),
    f("prepend", &[Ty::Any, Ty::Any], prepend),
    f("mustPrepend", &[Ty::Any, Ty::Any], prepend),
    f("first", &[Ty::Any], |_, args| {
        Ok(items(args, 0)?.items.first().cloned().unwrap_or(Val::Nil))
    }),
    f("mustFirst", &[Ty::Any], |_, args| {
        Ok(items(args, 0)?.items.first().cloned().unwrap_or(Val::Nil))
    }),
    f("last", &[Ty::Any], |_, args| {
        Ok(items(args, 0)?.items.last().cloned().unwrap_or(Val::Nil))
    }),
    f("mustLast", &[Ty::Any], |_, args| {
        Ok(items(args, 0)?.items.last().cloned().unwrap_or(Val::Nil))
    }),
    f("rest", &[Ty::Any], rest),
    f("mustRest", &[Ty::Any], rest),
    f("initial", &[Ty::Any], initial),
    f("mustInitial", &[Ty::Any], initial),
    f("reverse", &[Ty::Any], reverse),
    f("mustReverse", &[Ty::Any], reverse),
    f("uniq", &[Ty::Any], uniq),
    f("mustUniq", &[Ty::Any], uniq),
    f("compact", &[Ty::Any], compact),
    f("mustCompact", &[Ty::Any], compact),
    v("without", &[Ty::Any], Ty::Any, without),
    v("mustWithout", &[Ty::Any], Ty::Any, without),
    f("has", &[Ty::Any, Ty::Any], has),
    f("mustHas", &[Ty::Any, Ty::Any], has),
    v("slice", &[Ty::Any], Ty::Any, slice),
    v("mustSlice", &[Ty::Any], Ty::Any, slice),
    v("concat", &[], Ty::Any, concat),
    f("chunk", &[Ty::Int, Ty::Any], chunk),
    f("mustChunk", &[Ty::Int, Ty::Any], chunk),
    f("sortAlpha", &[Ty::Any], sort_alpha),
    f("join", &[Ty::Str, Ty::Any], join),
    f("toStrings", &[Ty::Any], |ctx, args| {
        Ok(Val::strings(strings(ctx, &any(args, 0))?))
    }),
    f("until", &[Ty::Int], |ctx, args| {
        let count = int(args, 0);
        until_step(ctx, 0, count, if count < 0 { -1 } else { 1 }).map(ints)
    }),
    f("untilStep", &[Ty::Int, Ty::Int, Ty::Int], |ctx, args| {
        until_step(ctx, int(args, 0), int(args, 1), int(args, 2)).map(ints)
    }),
    v("seq", &[], Ty::Int, seq),
];

fn items(args: &[Val], index: usize) -> Result<&Rc<List>, Fault> {
    match args.get(index) {
        Some(Val::List(list)) => Ok(list),
        Some(Val::Nil) | None => Err("runtime error: invalid memory address or nil pointer dereference".into()),
        Some(other) => Err(format!("a list is wanted, not {}", other.kind_name()).into()),
    }
}

/// Sharing an element is cheap, so that a template can append to a list in a loop.
fn made(ctx: &mut Context, items: Vec<Val>) -> Ran {
    ctx.work(items.len() as u64 / 16)?;
    Ok(Val::list(items))
}

fn push(ctx: &mut Context, args: &[Val]) -> Ran {
    let mut all = items(args, 0)?.items.clone();
    all.push(any(args, 1));
    made(ctx, all)
}

fn prepend(ctx: &mut Context, args: &[Val]) -> Ran {
    let mut all = vec![any(args, 1)];
    all.extend_from_slice(&items(args, 0)?.items);
    made(ctx, all)
}

fn rest(ctx: &mut Context, args: &[Val]) -> Ran {
    match items(args, 0)?.items.split_first() {
        Some((_, rest)) => made(ctx, rest.to_vec()),
        None => Ok(Val::nil_list(Elem::Any)),
    }
}

fn initial(ctx: &mut Context, args: &[Val]) -> Ran {
    match items(args, 0)?.items.split_last() {
        Some((_, initial)) => made(ctx, initial.to_vec()),
        None => Ok(Val::nil_list(Elem::Any)),
    }
}

fn reverse(ctx: &mut Context, args: &[Val]) -> Ran {
    let all = items(args, 0)?.items.iter().rev().cloned().collect();
    made(ctx, all)
}

fn compact(ctx: &mut Context, args: &[Val]) -> Ran {
    let all = items(args, 0)?
        .items
        .iter()
        .filter(|item| item.truth())
        .cloned()
        .collect();
    made(ctx, all)
}

fn contains(ctx: &mut Context, haystack: &[Val], needle: &Val) -> Result<bool, Fault> {
    for item in haystack {
        if super::reflect::deep_equal(ctx, needle, item, 0)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn uniq(ctx: &mut Context, args: &[Val]) -> Ran {
    let mut kept = Vec::new();
    for item in &items(args, 0)?.items {
        if !contains(ctx, &kept, item)? {
            kept.push(item.clone());
        }
    }
    made(ctx, kept)
}

fn without(ctx: &mut Context, args: &[Val]) -> Ran {
    let mut kept = Vec::new();
    for item in &items(args, 0)?.items {
        if !contains(ctx, &args[1..], item)? {
            kept.push(item.clone());
        }
    }
    made(ctx, kept)
}

fn has(ctx: &mut Context, args: &[Val]) -> Ran {
    if matches!(any(args, 1), Val::Nil) {
        return Ok(Val::Bool(false));
    }
    contains(ctx, &items(args, 1)?.items, &any(args, 0)).map(Val::Bool)
}

fn slice(ctx: &mut Context, args: &[Val]) -> Ran {
    let list = items(args, 0)?;
    let length = list.items.len();
    if length == 0 {
        return Ok(Val::Nil);
    }
    let start = args.get(1).map_or(0, super::math::to_int);
    let end = args.get(2).map_or(length as i64, super::math::to_int);
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    match range.and_then(|(start, end)| list.items.get(start..end)) {
        Some(part) => {
            ctx.work(part.len() as u64)?;
            Ok(Val::of(list.elem, part.to_vec()))
        }
        None => Err("reflect.Value.Slice: slice index out of bounds".into()),
    }
}

fn concat(ctx: &mut Context, args: &[Val]) -> Ran {
    let mut all = Vec::new();
    for i in 0..args.len() {
        let list = items(args, i)?;
        ctx.work(list.items.len() as u64)?;
        all.extend_from_slice(&list.items);
    }
    // As in Go, appending nothing to a nil slice results in a nil slice.
    Ok(if all.is_empty() {
        Val::nil_list(Elem::Any)
    } else {
        Val::list(all)
    })
}

fn chunk(ctx: &mut Context, args: &[Val]) -> Ran {
    let list = items(args, 1)?;
    let length = list.items.len();
    let Some(size) = usize::try_from(int(args, 0)).ok().filter(|size| *size > 0) else {
        return Err("runtime error: makeslice: len out of range".into());
    };
    ctx.work(length as u64)?;
    let chunks = list.items.chunks(size).map(|chunk| Val::list(chunk.to_vec())).collect();
    Ok(Val::of(Elem::List, chunks))
}

/// sprig's `strslice`: every element as a string, without nils.
pub(super) fn strings(ctx: &mut Context, value: &Val) -> Result<Vec<Vec<u8>>, Fault> {
    match value {
        Val::List(list) => {
            let present = list.items.iter().filter(|item| !matches!(item, Val::Nil));
            let mut total = 0;
            let mut out = Vec::with_capacity(list.items.len());
            for item in present {
                ctx.work(1)?;
                let text = strval(ctx, item)?;
                total += text.len();
                if total > crate::limits::MAX_OUTPUT {
                    return Err(Fault::Limit("a string is too long"));
                }
                out.push(text);
            }
            Ok(out)
        }
        Val::Nil => Ok(Vec::new()),
        other => Ok(vec![strval(ctx, other)?]),
    }
}

fn sort_alpha(ctx: &mut Context, args: &[Val]) -> Ran {
    let mut all = strings(ctx, &any(args, 0))?;
    if matches!(any(args, 0), Val::Nil) {
        all = vec![b"<nil>".to_vec()];
    }
    ctx.work(all.len() as u64 * 4)?;
    all.sort();
    Ok(Val::strings(all))
}

fn join(ctx: &mut Context, args: &[Val]) -> Ran {
    let parts = strings(ctx, &any(args, 1))?;
    let between = super::text(args, 0);
    ctx.reserve(between.len().saturating_mul(parts.len()))?;
    ctx.text(parts.join(between))
}

fn ints(items: Vec<i64>) -> Val {
    Val::of(Elem::Int, items.into_iter().map(Val::Int).collect())
}

fn until_step(ctx: &mut Context, start: i64, stop: i64, step: i64) -> Result<Vec<i64>, Fault> {
    let mut out = Vec::new();
    let down = stop < start;
    if down && step >= 0 || !down && step <= 0 {
        return Ok(out);
    }
    let mut at = start;
    while if down { at > stop } else { at < stop } {
        ctx.work(1)?;
        out.push(at);
        // With other numbers Go would count from the other end.
        match at.checked_add(step) {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(out)
}

fn seq(ctx: &mut Context, args: &[Val]) -> Ran {
    let direction = |start: i64, end: i64| if end < start { -1 } else { 1 };
    let numbers = match args.len() {
        1 => {
            let end = int(args, 0);
            let step = direction(1, end);
            until_step(ctx, 1, end.saturating_add(step), step)?
        }
        2 => {
            let (start, end) = (int(args, 0), int(args, 1));
            let step = direction(start, end);
            until_step(ctx, start, end.saturating_add(step), step)?
        }
        3 => {
            let (start, step, end) = (int(args, 0), int(args, 1), int(args, 2));
            if end < start && step > 0 {
                return Ok(Val::str(""));
            }
            until_step(ctx, start, end.saturating_add(direction(start, end)), step)?
        }
        _ => Vec::new(),
    };
    let words: Vec<String> = numbers.iter().map(i64::to_string).collect();
    ctx.text(words.join(" "))
}
