//! sprig's functions for base64, base32 and hexadecimal. As in sprig, the result of decoding an invalid text is Go's
//! error message.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use data_encoding::{BASE32, HEXLOWER_PERMISSIVE};

use super::{Context, Fault, Func, Ran, Ty, f, text};
use crate::go::base64;
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("b64enc", &[Ty::Str], |ctx, args| {
        ctx.reserve(text(args, 0).len().saturating_mul(2))?;
        ctx.text(STANDARD.encode(text(args, 0)))
    }),
    f("b64dec", &[Ty::Str], |ctx, args| match base64::decode(text(args, 0)) {
        Ok(bytes) => ctx.text(bytes),
        Err(illegal) => ctx.text(illegal.to_string()),
    }),
    f("b32enc", &[Ty::Str], |ctx, args| {
        ctx.reserve(text(args, 0).len().saturating_mul(2))?;
        ctx.text(BASE32.encode(text(args, 0)))
    }),
    f("b32dec", &[Ty::Str], |ctx, args| {
        let compact: Vec<u8> = text(args, 0)
            .iter()
            .copied()
            .filter(|byte| !matches!(byte, b'\n' | b'\r'))
            .collect();
        match BASE32.decode(&compact) {
            Ok(bytes) => ctx.text(bytes),
            Err(error) => ctx.text(format!("illegal base32 data at input byte {}", error.position)),
        }
    }),
    f("hexdec", &[Ty::Str], hexdec),
];

fn hexdec(ctx: &mut Context, args: &[Val]) -> Ran {
    let input = text(args, 0);
    if let Some(bad) = input.chunks(2).flatten().find(|byte| !byte.is_ascii_hexdigit()) {
        let shown = crate::go::fmt::sprintf(ctx, b"encoding/hex: invalid byte: %#U", &[Val::Int(i64::from(*bad))])?;
        return ctx.text(shown);
    }
    match HEXLOWER_PERMISSIVE.decode(input) {
        Ok(bytes) => ctx.text(bytes),
        Err(_) if input.len() % 2 == 1 => ctx.text("encoding/hex: odd length hex string"),
        Err(_) => Err(Fault::from("encoding/hex: invalid input")),
    }
}
