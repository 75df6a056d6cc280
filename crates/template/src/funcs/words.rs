//! sprig's functions for case, words and line wrapping.

mod joined;

use joined::{pascal, separated};

use super::{Context, Func, Ran, Ty, f, int, text};
use crate::go::unicode::{self, is_letter, is_lower, is_space, is_title, is_upper, push};
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("title", &[Ty::Str], title),
    f("untitle", &[Ty::Str], untitle),
    f("swapcase", &[Ty::Str], swapcase),
    f("nospace", &[Ty::Str], nospace),
    f("initials", &[Ty::Str], initials),
    f("snakecase", &[Ty::Str], |ctx, args| {
        ctx.text(separated(text(args, 0), '_'))
    }),
    f("kebabcase", &[Ty::Str], |ctx, args| {
        ctx.text(separated(text(args, 0), '-'))
    }),
    f("camelcase", &[Ty::Str], |ctx, args| ctx.text(pascal(text(args, 0)))),
    f("wrap", &[Ty::Int, Ty::Str], |ctx, args| {
        let out = wrap(text(args, 1), int(args, 0), b"", false);
        ctx.text(out)
    }),
    f("wrapWith", &[Ty::Int, Ty::Str, Ty::Str], |ctx, args| {
        let lines = text(args, 2).len() / usize::try_from(int(args, 0)).unwrap_or(1).max(1) + 1;
        ctx.reserve(lines.saturating_mul(text(args, 1).len()))?;
        let out = wrap(text(args, 2), int(args, 0), text(args, 1), true);
        ctx.text(out)
    }),
];

/// `strings.Title`: makes the first letter of each word an upper-case letter.
fn title(ctx: &mut Context, args: &[Val]) -> Ran {
    let mut before = ' ';
    let out = unicode::map(text(args, 0), |c| {
        let word = |c: char| {
            if c.is_ascii() {
                c.is_ascii_alphanumeric() || c == '_'
            } else {
                is_letter(c) || unicode::is_digit(c) || !is_space(c)
            }
        };
        let starts = !word(before);
        before = c;
        if starts { unicode::to_title(c) } else { c }
    });
    ctx.text(out)
}

fn untitle(ctx: &mut Context, args: &[Val]) -> Ran {
    let mut starts = true;
    let out = unicode::map(text(args, 0), |c| {
        if is_space(c) {
            starts = true;
        } else if std::mem::take(&mut starts) {
            return unicode::to_lower(c);
        }
        c
    });
    ctx.text(out)
}

fn swapcase(ctx: &mut Context, args: &[Val]) -> Ran {
    let mut space = true;
    let out = unicode::map(text(args, 0), |c| {
        if is_upper(c) || is_title(c) {
            space = false;
            return unicode::to_lower(c);
        }
        if is_lower(c) {
            return if std::mem::take(&mut space) {
                unicode::to_title(c)
            } else {
                unicode::to_upper(c)
            };
        }
        if is_letter(c) {
            space = false;
            return c;
        }
        space = is_space(c);
        c
    });
    ctx.text(out)
}

/// goutils reads every byte as a rune.
fn latin_space(byte: u8) -> bool {
    is_space(char::from(byte))
}

fn nospace(ctx: &mut Context, args: &[Val]) -> Ran {
    let bytes = text(args, 0);
    if !bytes.iter().any(|byte| latin_space(*byte)) {
        return ctx.text(bytes);
    }
    let mut out = Vec::new();
    for byte in bytes.iter().filter(|byte| !latin_space(**byte)) {
        push(&mut out, char::from(*byte));
    }
    ctx.text(out)
}

fn initials(ctx: &mut Context, args: &[Val]) -> Ran {
    let mut out = Vec::new();
    let mut gap = true;
    for byte in text(args, 0) {
        if latin_space(*byte) {
            gap = true;
        } else if std::mem::take(&mut gap) {
            push(&mut out, char::from(*byte));
        }
    }
    ctx.text(out)
}

/// `goutils.WrapCustom`, which counts bytes.
fn wrap(bytes: &[u8], width: i64, newline: &[u8], long_words: bool) -> Vec<u8> {
    let newline = if newline.is_empty() { b"\n" } else { newline };
    let width = usize::try_from(width).unwrap_or(1).max(1);
    let mut out = Vec::new();
    let mut offset = 0;
    while bytes.len() - offset > width {
        if bytes[offset] == b' ' {
            offset += 1;
            continue;
        }
        let end = offset + width;
        if let Some(space) = bytes[offset..=end].iter().rposition(|byte| *byte == b' ') {
            out.extend_from_slice(&bytes[offset..offset + space]);
            out.extend_from_slice(newline);
            offset += space + 1;
        } else if long_words {
            out.extend_from_slice(&bytes[offset..end]);
            out.extend_from_slice(newline);
            offset = end;
        } else {
            match bytes[end..].iter().position(|byte| *byte == b' ') {
                None => break,
                Some(space) => {
                    out.extend_from_slice(&bytes[offset..end + space]);
                    out.extend_from_slice(newline);
                    offset = end + space + 1;
                }
            }
        }
    }
    out.extend_from_slice(&bytes[offset..]);
    out
}
