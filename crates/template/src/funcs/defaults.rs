//! sprig's functions for defaults, conditions and JSON.

use super::{Context, Fault, Func, Ran, Ty, any, f, text, v};
use crate::go::json::{self, Style};
use crate::go::val::Val;

const PLAIN: Style = Style {
    escape_html: true,
    pretty: false,
};
const PRETTY: Style = Style {
    escape_html: true,
    pretty: true,
};
const RAW: Style = Style {
    escape_html: false,
    pretty: false,
};

pub(super) const TABLE: &[Func] = &[
    v("default", &[Ty::Any], Ty::Any, |_, args| {
        Ok(if any(args, 1).truth() {
            any(args, 1)
        } else {
            any(args, 0)
        })
    }),
    f("empty", &[Ty::Any], |_, args| Ok(Val::Bool(!any(args, 0).truth()))),
    v("coalesce", &[], Ty::Any, |_, args| {
        Ok(args.iter().find(|arg| arg.truth()).cloned().unwrap_or(Val::Nil))
    }),
    v("all", &[], Ty::Any, |_, args| {
        Ok(Val::Bool(args.iter().all(Val::truth)))
    }),
    v("any", &[], Ty::Any, |_, args| {
        Ok(Val::Bool(args.iter().any(Val::truth)))
    }),
    f("ternary", &[Ty::Any, Ty::Any, Ty::Bool], |_, args| {
        Ok(any(args, usize::from(!any(args, 2).truth())))
    }),
    f("fromJson", &[Ty::Str], |ctx, args| {
        Ok(json::decode(ctx, text(args, 0))?.unwrap_or(Val::Nil))
    }),
    f("mustFromJson", &[Ty::Str], |ctx, args| {
        json::decode(ctx, text(args, 0))?.ok_or_else(|| Fault::from("not valid JSON"))
    }),
    f("toJson", &[Ty::Any], |ctx, args| encode(ctx, args, PLAIN, false)),
    f("mustToJson", &[Ty::Any], |ctx, args| encode(ctx, args, PLAIN, true)),
    f("toPrettyJson", &[Ty::Any], |ctx, args| encode(ctx, args, PRETTY, false)),
    f("mustToPrettyJson", &[Ty::Any], |ctx, args| {
        encode(ctx, args, PRETTY, true)
    }),
    f("toRawJson", &[Ty::Any], |ctx, args| encode(ctx, args, RAW, true)),
    f("mustToRawJson", &[Ty::Any], |ctx, args| encode(ctx, args, RAW, true)),
    f("fail", &[Ty::Str], |_, _| Err("failed".into())),
    f("hello", &[], |_, _| Ok(Val::str("Hello!"))),
];

fn encode(ctx: &mut Context, args: &[Val], style: Style, must: bool) -> Ran {
    match json::encode(ctx, &any(args, 0), style)? {
        Some(out) => ctx.text(out),
        None if must => Err("json: unsupported value".into()),
        None => Ok(Val::str("")),
    }
}
