//! sprig's functions for paths. Those that begin with `os` do the same on Unix.

use super::{Func, Ty, f, text};
use crate::go::path;
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("base", &[Ty::Str], |ctx, args| ctx.text(path::base(text(args, 0)))),
    f("dir", &[Ty::Str], |ctx, args| ctx.text(path::dir(text(args, 0)))),
    f("clean", &[Ty::Str], |ctx, args| ctx.text(path::clean(text(args, 0)))),
    f("ext", &[Ty::Str], |ctx, args| ctx.text(path::ext(text(args, 0)))),
    f("isAbs", &[Ty::Str], |_, args| {
        Ok(Val::Bool(text(args, 0).starts_with(b"/")))
    }),
    f("osBase", &[Ty::Str], |ctx, args| ctx.text(path::base(text(args, 0)))),
    f("osDir", &[Ty::Str], |ctx, args| ctx.text(path::dir(text(args, 0)))),
    f("osClean", &[Ty::Str], |ctx, args| ctx.text(path::clean(text(args, 0)))),
    f("osExt", &[Ty::Str], |ctx, args| ctx.text(path::ext(text(args, 0)))),
    f("osIsAbs", &[Ty::Str], |_, args| {
        Ok(Val::Bool(text(args, 0).starts_with(b"/")))
    }),
];
