//! Go's built-in functions, except `slice`, which sprig replaces.

use super::{Context, Fault, Func, Ran, Ty, any, f, v};
use crate::go::fmt;
use crate::go::unicode::{Rune, is_print, push, runes};
use crate::go::url;
use crate::go::val::{Basic, Val};

pub(super) const TABLE: &[Func] = &[
    // `and` and `or` evaluate only the arguments that they need, so exec/call.rs runs them.
    v("and", &[Ty::Reflect], Ty::Reflect, |_, _| Ok(Val::Nil)),
    v("or", &[Ty::Reflect], Ty::Reflect, |_, _| Ok(Val::Nil)),
    v("call", &[Ty::Reflect], Ty::Reflect, call),
    v("eq", &[Ty::Reflect], Ty::Reflect, |_, args| eq(args).map(Val::Bool)),
    f("ge", &[Ty::Reflect, Ty::Reflect], |_, args| Ok(Val::Bool(!less(args)?))),
    f("gt", &[Ty::Reflect, Ty::Reflect], |_, args| {
        Ok(Val::Bool(!less(args)? && !eq(args)?))
    }),
    v("html", &[], Ty::Any, html),
    v("index", &[Ty::Reflect], Ty::Reflect, index),
    v("js", &[], Ty::Any, js),
    f("le", &[Ty::Reflect, Ty::Reflect], |_, args| {
        Ok(Val::Bool(less(args)? || eq(args)?))
    }),
    f("len", &[Ty::Reflect], len),
    f("lt", &[Ty::Reflect, Ty::Reflect], |_, args| less(args).map(Val::Bool)),
    f("ne", &[Ty::Reflect, Ty::Reflect], |_, args| Ok(Val::Bool(!eq(args)?))),
    f("not", &[Ty::Reflect], |_, args| Ok(Val::Bool(!any(args, 0).truth()))),
    v("print", &[], Ty::Any, |ctx, args| {
        let text = fmt::sprint(ctx, args)?;
        ctx.text(text)
    }),
    v("printf", &[Ty::Str], Ty::Any, |ctx, args| {
        let text = fmt::sprintf(ctx, super::text(args, 0), &args[1..])?;
        ctx.text(text)
    }),
    v("println", &[], Ty::Any, |ctx, args| {
        let text = fmt::sprintln(ctx, args)?;
        ctx.text(text)
    }),
    v("urlquery", &[], Ty::Any, |ctx, args| {
        let text = shown(ctx, args)?;
        ctx.reserve(text.len())?;
        ctx.text(url::query_escape(&text))
    }),
];

fn call(_: &mut Context, args: &[Val]) -> Ran {
    match any(args, 0) {
        Val::Nil => Err("call of nil".into()),
        other => Err(format!("non-function of type {}", other.type_name()).into()),
    }
}

fn incompatible(a: &Val, b: &Val) -> Fault {
    format!(
        "incompatible types for comparison: {} and {}",
        a.type_name(),
        b.type_name()
    )
    .into()
}

/// Whether the first argument is equal to one of the others.
fn eq(args: &[Val]) -> Result<bool, Fault> {
    let Some((first, others)) = args.split_first() else {
        return Ok(false);
    };
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(a: &Val, b: &Val) -> Result<bool, Fault> {
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        return Ok(a == b);
    }
    match (a, b) {
        (Val::Bool(a), Val::Bool(b)) => Ok(a == b),
        (Val::Float(a), Val::Float(b)) => Ok(a == b),
        (Val::Str(a), Val::Str(b)) => Ok(a == b),
        (Val::Nil, other) | (other, Val::Nil) => Ok(is_nil(other)),
        _ if a.basic() != b.basic() => Err(incompatible(a, b)),
        _ if a.kind_name() != b.kind_name() => {
            Err(format!("non-comparable types {} and {}", a.type_name(), b.type_name()).into())
        }
        _ if is_nil(a) || is_nil(b) => Ok(is_nil(a) == is_nil(b)),
        (Val::Time(a), Val::Time(b)) => Ok(a == b && a.location.is(&b.location)),
        (Val::Location(a), Val::Location(b)) => Ok(a.is(b)),
        (Val::Version(a), Val::Version(b)) => Ok(std::rc::Rc::ptr_eq(a, b)),
        (Val::NextVersion(a), Val::NextVersion(b)) => Ok(a == b),
        (Val::Cert(a), Val::Cert(b)) => Ok(a.cert == b.cert && a.key == b.key),
        (_, b) if matches!(b.kind_name(), "struct" | "ptr") => Ok(false),
        (_, b) => Err(format!("non-comparable type {}", b.type_name()).into()),
    }
}

/// The type of an indexed value; of a pointer, the type that it points to.
fn pointed_to(value: &Val) -> &'static str {
    let name = value.type_name();
    name.strip_prefix('*').unwrap_or(name)
}

fn is_nil(value: &Val) -> bool {
    match value {
        Val::Nil => true,
        Val::List(list) => list.nil,
        Val::Map(map) => map.nil,
        _ => false,
    }
}

fn less(args: &[Val]) -> Result<bool, Fault> {
    let (a, b) = (any(args, 0), any(args, 1));
    if a.basic() == Basic::Invalid || b.basic() == Basic::Invalid {
        return Err("invalid type for comparison".into());
    }
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        return Ok(a < b);
    }
    match (&a, &b) {
        (Val::Float(a), Val::Float(b)) => Ok(a < b),
        (Val::Str(a), Val::Str(b)) => Ok(a < b),
        (Val::Bool(_), Val::Bool(_)) => Err("invalid type for comparison".into()),
        _ => Err(incompatible(&a, &b)),
    }
}

fn index(_: &mut Context, args: &[Val]) -> Ran {
    let mut item = any(args, 0);
    if matches!(item, Val::Nil) {
        return Err("index of untyped nil".into());
    }
    for index in &args[1..] {
        item = match &item {
            Val::Str(text) => Val::Byte(*position(index, text.len()).map(|at| &text[at])?),
            Val::List(list) => position(index, list.items.len()).map(|at| list.items[at].clone())?,
            Val::Map(map) => match index {
                Val::Str(key) => {
                    let absent = || if map.strings { Val::str("") } else { Val::Nil };
                    map.items.borrow().get(key).cloned().unwrap_or_else(absent)
                }
                Val::Nil => return Err("value is nil; should be of type string".into()),
                other => return Err(format!("value has type {}; should be string", other.type_name()).into()),
            },
            Val::Nil => return Err("index of nil pointer".into()),
            other => return Err(format!("can't index item of type {}", pointed_to(other)).into()),
        };
    }
    Ok(item)
}

fn position(index: &Val, length: usize) -> Result<usize, Fault> {
    match index.as_int() {
        Some(at) => match usize::try_from(at) {
            Ok(at) if at < length => Ok(at),
            Ok(at) if at == length => Err("reflect: slice index out of range".into()),
            _ => Err("index out of range".into()),
        },
        None if matches!(index, Val::Nil) => Err("cannot index slice/array with nil".into()),
        None => Err(format!("cannot index slice/array with type {}", index.type_name()).into()),
    }
}

fn len(_: &mut Context, args: &[Val]) -> Ran {
    let length = match any(args, 0) {
        Val::Str(text) => text.len(),
        Val::List(list) => list.items.len(),
        Val::Map(map) => map.items.borrow().len(),
        Val::Nil => return Err("len of nil pointer".into()),
        other => return Err(format!("len of type {}", pointed_to(&other)).into()),
    };
    Ok(Val::Int(length as i64))
}

/// The arguments as one string, as `print` formats them, but with `<no value>` for `nil`.
fn shown(ctx: &mut Context, args: &[Val]) -> Result<Vec<u8>, Fault> {
    let args: Vec<Val> = args
        .iter()
        .map(|arg| {
            if matches!(arg, Val::Nil) {
                Val::str("<no value>")
            } else {
                arg.clone()
            }
        })
        .collect();
    fmt::sprint(ctx, &args)
}

fn html(ctx: &mut Context, args: &[Val]) -> Ran {
    let text = shown(ctx, args)?;
    ctx.reserve(text.len())?;
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            byte => out.push(byte),
        }
    }
    ctx.text(out)
}

fn js(ctx: &mut Context, args: &[Val]) -> Ran {
    let text = shown(ctx, args)?;
    ctx.reserve(text.len())?;
    let special = |rune: Rune| {
        let c = rune.char();
        c < ' ' || !c.is_ascii() || "\\'\"<>&=".contains(c)
    };
    if !runes(&text).any(special) {
        return ctx.text(text);
    }
    let mut out = Vec::with_capacity(text.len());
    for rune in runes(&text) {
        match rune.char() {
            '\\' => out.extend_from_slice(b"\\\\"),
            '\'' => out.extend_from_slice(b"\\'"),
            '"' => out.extend_from_slice(b"\\\""),
            c @ ('<' | '>' | '&' | '=') => out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes()),
            c if c < ' ' => out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes()),
            c if c.is_ascii() => push(&mut out, c),
            c if is_print(c) => match rune {
                Rune::Char(c) => push(&mut out, c),
                Rune::Bad(byte) => out.push(byte),
            },
            c => out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes()),
        }
    }
    ctx.text(out)
}
