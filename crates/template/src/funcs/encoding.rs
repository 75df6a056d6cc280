//! sprig: base64, base32, hexadecimal. What does not decode gives Go's message as the value, as sprig does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::{BASE32, HEXLOWER_PERMISSIVE};

use super::{Ctx, Fault, Func, Ran, Ty, f, text};
use crate::go::pem::STANDARD_LAX;
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("b64enc", &[Ty::Str], |ctx, args| {
        ctx.reserve(text(args, 0).len().saturating_mul(2))?;
        ctx.text(STANDARD.encode(text(args, 0)))
    }),
    f("b64dec", &[Ty::Str], |ctx, args| match decode_base64(text(args, 0)) {
        Ok(bytes) => ctx.text(bytes),
        Err(at) => ctx.text(format!("illegal base64 data at input byte {at}")),
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

/// Go's strict alphabet with padding; newlines are skipped. The error is the position Go names.
pub(super) fn decode_base64(input: &[u8]) -> Result<Vec<u8>, usize> {
    let kept: Vec<(usize, u8)> = input
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, byte)| !matches!(byte, b'\n' | b'\r'))
        .collect();
    let compact: Vec<u8> = kept.iter().map(|(_, byte)| *byte).collect();
    if let Ok(bytes) = STANDARD_LAX.decode(&compact) {
        return Ok(bytes);
    }
    Err(error_position(input))
}

/// Where Go's decoder stops: it reads quanta of four characters.
fn error_position(input: &[u8]) -> usize {
    let mut at = 0;
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let skip = |at: &mut usize| {
        while matches!(input.get(*at), Some(b'\n' | b'\r')) {
            *at += 1;
        }
    };
    loop {
        for j in 0..4 {
            skip(&mut at);
            let Some(&byte) = input.get(at) else {
                return if j == 0 { at } else { at - j };
            };
            at += 1;
            if alphabet(byte) {
                continue;
            }
            if byte != b'=' || j < 2 {
                return at - 1;
            }
            if j == 2 {
                skip(&mut at);
                match input.get(at) {
                    None => return input.len(),
                    Some(b'=') => at += 1,
                    Some(_) => return at - 1,
                }
            }
            skip(&mut at);
            return at;
        }
    }
}

fn hexdec(ctx: &mut Ctx, args: &[Val]) -> Ran {
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
