//! sprig's functions for types.

use super::{Context, Fault, Func, Ty, any, f, text};
use crate::go::val::Val;
use crate::limits::MAX_VALUE_DEPTH;

pub(super) const TABLE: &[Func] = &[
    f("typeOf", &[Ty::Any], |_, args| Ok(Val::str(any(args, 0).type_name()))),
    f("typeIs", &[Ty::Str, Ty::Any], |_, args| {
        Ok(Val::Bool(any(args, 1).type_name().as_bytes() == text(args, 0)))
    }),
    f("typeIsLike", &[Ty::Str, Ty::Any], |_, args| {
        let name = any(args, 1).type_name().as_bytes();
        Ok(Val::Bool(
            name == text(args, 0) || name.strip_prefix(b"*") == Some(text(args, 0)),
        ))
    }),
    f("kindOf", &[Ty::Any], |_, args| Ok(Val::str(any(args, 0).kind_name()))),
    f("kindIs", &[Ty::Str, Ty::Any], |_, args| {
        Ok(Val::Bool(any(args, 1).kind_name().as_bytes() == text(args, 0)))
    }),
    f("deepEqual", &[Ty::Any, Ty::Any], |ctx, args| {
        deep_equal(ctx, &any(args, 0), &any(args, 1), 0).map(Val::Bool)
    }),
];

/// `reflect.DeepEqual`: values of different types are never equal.
pub(super) fn deep_equal(ctx: &mut Context, a: &Val, b: &Val, depth: usize) -> Result<bool, Fault> {
    ctx.work(1)?;
    if depth > MAX_VALUE_DEPTH {
        return Err(Fault::Limit("a value is nested too deeply"));
    }
    Ok(match (a, b) {
        (Val::Nil, Val::Nil) => true,
        (Val::Bool(a), Val::Bool(b)) => a == b,
        (Val::Int(a), Val::Int(b)) | (Val::Int64(a), Val::Int64(b)) => a == b,
        (Val::Uint64(a), Val::Uint64(b)) => a == b,
        (Val::Byte(a), Val::Byte(b)) => a == b,
        (Val::Float(a), Val::Float(b)) => a == b,
        (Val::Str(a), Val::Str(b)) => a == b,
        (Val::Duration(a), Val::Duration(b)) | (Val::Month(a), Val::Month(b)) | (Val::Weekday(a), Val::Weekday(b)) => {
            a == b
        }
        (Val::Time(a), Val::Time(b)) => a == b,
        (Val::Location(a), Val::Location(b)) => a == b,
        (Val::Version(a), Val::Version(b)) | (Val::NextVersion(a), Val::NextVersion(b)) => a == b,
        (Val::Cert(a), Val::Cert(b)) => a.cert == b.cert && a.key == b.key,
        (Val::List(a), Val::List(b)) => {
            if a.elem != b.elem || a.nil != b.nil || a.items.len() != b.items.len() {
                return Ok(false);
            }
            for (a, b) in a.items.iter().zip(&b.items) {
                if !deep_equal(ctx, a, b, depth + 1)? {
                    return Ok(false);
                }
            }
            true
        }
        (Val::Map(a), Val::Map(b)) => {
            let (left, right) = (a.items.borrow(), b.items.borrow());
            if a.strings != b.strings || a.nil != b.nil || left.len() != right.len() {
                return Ok(false);
            }
            for ((key, a), (other, b)) in left.iter().zip(right.iter()) {
                if key != other || !deep_equal(ctx, a, b, depth + 1)? {
                    return Ok(false);
                }
            }
            true
        }
        _ => false,
    })
}
