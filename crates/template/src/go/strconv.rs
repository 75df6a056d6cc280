//! Go's `strconv`: quoting and numbers.

use super::unicode::{Rune, is_print, push, runes};

/// `strconv.Quote`.
pub(crate) fn quote(bytes: &[u8]) -> Vec<u8> {
    quote_with(bytes, b'"', false)
}

/// [`quote`] for a string that is valid UTF-8.
pub(crate) fn quote_text(text: &str) -> String {
    String::from_utf8_lossy(&quote(text.as_bytes())).into_owned()
}

pub(crate) fn quote_with(bytes: &[u8], mark: u8, ascii: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    out.push(mark);
    for rune in runes(bytes) {
        quote_rune(&mut out, rune, mark, ascii);
    }
    out.push(mark);
    out
}

pub(crate) fn quote_rune(out: &mut Vec<u8>, rune: Rune, mark: u8, ascii: bool) {
    let c = match rune {
        Rune::Bad(byte) => {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            return;
        }
        Rune::Char(c) => c,
    };
    if c == char::from(mark) || c == '\\' {
        out.push(b'\\');
        push(out, c);
        return;
    }
    if is_print(c) && (c.is_ascii() || !ascii) {
        push(out, c);
        return;
    }
    let escaped = match c {
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        c if c < ' ' || c == '\u{7f}' => format!("\\x{:02x}", u32::from(c)),
        c if u32::from(c) < 0x1_0000 => format!("\\u{:04x}", u32::from(c)),
        c => format!("\\U{:08x}", u32::from(c)),
    };
    out.extend_from_slice(escaped.as_bytes());
}

/// `strconv.Unquote`, for `"…"` and `` `…` ``.
pub(crate) fn unquote(literal: &str) -> Option<Vec<u8>> {
    if let Some(raw) = literal.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        return Some(raw.replace('\r', "").into_bytes());
    }
    let mut rest = literal.strip_prefix('"')?;
    let mut out = Vec::with_capacity(rest.len());
    while rest != "\"" {
        if rest.starts_with('\\') && matches!(rest.as_bytes().get(1), Some(b'x' | b'0'..=b'7')) {
            // This escape stands for a byte, not for a rune.
            let (code, after) = unquote_char(rest, '"')?;
            out.push(u8::try_from(code).ok()?);
            rest = after;
            continue;
        }
        let (code, after) = unquote_char(rest, '"')?;
        push(&mut out, char::from_u32(code)?);
        rest = after;
    }
    Some(out)
}

/// `strconv.UnquoteChar`: the code point of the first character of `text`, and the rest of the text.
pub(crate) fn unquote_char(text: &str, mark: char) -> Option<(u32, &str)> {
    let mut chars = text.chars();
    let first = chars.next()?;
    if first == mark || first == '\n' {
        return None;
    }
    if first != '\\' {
        return Some((u32::from(first), chars.as_str()));
    }
    let digits = |rest: &'_ str, count: usize, radix: u32| {
        let digits = rest.get(..count)?;
        if !digits.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        u32::from_str_radix(digits, radix).ok()
    };
    let kind = chars.next()?;
    let rest = chars.as_str();
    let simple = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => 10,
        'r' => 13,
        't' => 9,
        'v' => 11,
        '\\' => 92,
        '\'' | '"' if kind == mark => u32::from(kind),
        'x' => return Some((digits(rest, 2, 16)?, &rest[2..])),
        'u' => {
            let code = digits(rest, 4, 16)?;
            char::from_u32(code)?;
            return Some((code, &rest[4..]));
        }
        'U' => {
            let code = digits(rest, 8, 16)?;
            char::from_u32(code)?;
            return Some((code, &rest[8..]));
        }
        '0'..='7' => {
            let all = &text[1..];
            let code = digits(all, 3, 8)?;
            return (code <= 255).then(|| (code, &all[3..]));
        }
        _ => return None,
    };
    Some((simple, rest))
}

/// `strconv.ParseUint(text, base, 64)`; `None` if Go returns an error.
pub(crate) fn parse_uint(text: &str, base: u32) -> Option<u64> {
    let (digits, radix) = prefixed(text, base)?;
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(&digits, radix).ok()
}

/// `strconv.ParseInt(text, base, 64)`; `None` if Go returns an error.
pub(crate) fn parse_int(text: &str, base: u32) -> Option<i64> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = i128::from(parse_uint(body, base)?);
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// The digits and their base. With base 0 a prefix gives the base, and underscores are allowed between digits.
fn prefixed(text: &str, base: u32) -> Option<(String, u32)> {
    if base != 0 {
        return Some((text.to_owned(), base));
    }
    let lower = text.to_ascii_lowercase();
    let (radix, body) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if !body.contains('_') {
        return Some((body.to_owned(), radix));
    }
    let prefix = text.len() > body.len();
    let bytes = body.as_bytes();
    let fine = bytes.iter().enumerate().all(|(i, byte)| {
        *byte != b'_'
            || ((i > 0 && bytes[i - 1] != b'_' || i == 0 && prefix)
                && bytes.get(i + 1).is_some_and(|next| *next != b'_'))
    });
    fine.then(|| (body.replace('_', ""), radix))
}

/// `strconv.ParseFloat(text, 64)`; `None` if Go returns an error.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = body.to_ascii_lowercase();
    if matches!(lower.as_str(), "inf" | "infinity" | "nan") {
        return text.parse().ok();
    }
    if let Some(hex) = lower.strip_prefix("0x") {
        return hex_float(hex).map(|float| if text.starts_with('-') { -float } else { float });
    }
    // Rust accepts the same syntax, except names such as `infinity` (see above) and underscores (which Go accepts in
    // base 0 only).
    if !body
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
    {
        return None;
    }
    text.parse::<f64>().ok().filter(|float| float.is_finite())
}

/// Parses a hexadecimal float such as `1.8p3`. More than 13 digits, which an `f64` can't hold, are refused.
fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 13 {
        return None;
    }
    let value = u64::from_str_radix(&digits, 16).ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    let scale = exponent.checked_sub(i32::try_from(fraction.len()).ok()? * 4)?;
    let float = value as f64 * 2_f64.powi(scale);
    float.is_finite().then_some(float)
}
