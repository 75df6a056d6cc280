//! sprig's functions for random values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt as _;
use rand::seq::SliceRandom as _;

use super::{Context, Func, Ran, Ty, f, int, text};
use crate::go::unicode::{Rune, push, runes};
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("randAlphaNum", &[Ty::Int], |ctx, args| {
        chars(ctx, args, |c| c.is_ascii_alphanumeric())
    }),
    f("randAlpha", &[Ty::Int], |ctx, args| {
        chars(ctx, args, |c| c.is_ascii_alphabetic())
    }),
    f("randNumeric", &[Ty::Int], |ctx, args| {
        chars(ctx, args, |c| c.is_ascii_digit())
    }),
    f("randAscii", &[Ty::Int], |ctx, args| {
        chars(ctx, args, |c| (b' '..0x7f).contains(c))
    }),
    f("randBytes", &[Ty::Int], |ctx, args| {
        let Ok(count) = usize::try_from(int(args, 0)) else {
            return Err("runtime error: makeslice: len out of range".into());
        };
        ctx.reserve(count.saturating_mul(2))?;
        let mut bytes = vec![0_u8; count];
        rand::rng().fill(bytes.as_mut_slice());
        ctx.text(STANDARD.encode(bytes))
    }),
    f("randInt", &[Ty::Int, Ty::Int], |_, args| {
        let (low, high) = (int(args, 0), int(args, 1));
        if high <= low || high.checked_sub(low).is_none() {
            return Err("invalid argument to Intn".into());
        }
        Ok(Val::Int(rand::random_range(low..high)))
    }),
    f("shuffle", &[Ty::Str], |ctx, args| {
        ctx.work(text(args, 0).len() as u64 / 8)?;
        let mut all: Vec<char> = runes(text(args, 0)).map(Rune::char).collect();
        all.shuffle(&mut rand::rng());
        let mut out = Vec::new();
        all.into_iter().for_each(|c| push(&mut out, c));
        ctx.text(out)
    }),
    f("uuidv4", &[], |ctx, _| {
        ctx.text(uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string())
    }),
];

fn chars(ctx: &mut Context, args: &[Val], allowed: fn(&u8) -> bool) -> Ran {
    let Ok(count) = usize::try_from(int(args, 0)) else {
        // sprig ignores the error of a negative count.
        return Ok(Val::str(""));
    };
    ctx.reserve(count)?;
    ctx.work(count as u64)?;
    let set: Vec<u8> = (0..0x80_u8).filter(allowed).collect();
    let mut rng = rand::rng();
    let out: Vec<u8> = (0..count).map(|_| set[rng.random_range(0..set.len())]).collect();
    ctx.text(out)
}
