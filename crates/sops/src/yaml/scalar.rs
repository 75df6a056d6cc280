//! The types of YAML scalars, by the rules of go-yaml v3, which sops uses.
//!
//! They are the core schema of YAML 1.2 with some rules of 1.1: `0777` and `0o777` are octal, `0b1` is binary, digits may have
//! underscores between them, and dates are times. `yes`, `on` and `1:30` are text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use saphyr_parser::{ScalarStyle, Tag};

use super::literal::LINE_ENDS;
use super::timestamp;
use crate::{Value, number};

/// Folds the lines of a plain or single-quoted scalar by the rules of YAML 1.1, in which U+0085, U+2028 and U+2029 are line
/// breaks. sops writes keys with these characters in single quotes.
///
/// White space around a line break is removed. A single U+0085 becomes a space, like a single line feed. U+2028 and U+2029
/// are kept.
pub(super) fn unfold(text: Cow<'_, str>, style: ScalarStyle) -> Cow<'_, str> {
    const BLANKS: [char; 2] = [' ', '\t'];
    if !matches!(style, ScalarStyle::Plain | ScalarStyle::SingleQuoted) || !text.contains(LINE_ENDS) {
        return text;
    }
    let mut unfolded = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find(LINE_ENDS) {
        unfolded.push_str(rest[..at].trim_end_matches(BLANKS));
        let after = rest[at..].trim_start_matches(|c| LINE_ENDS.contains(&c) || BLANKS.contains(&c));
        let mut ends = rest[at..rest.len() - after.len()]
            .chars()
            .filter(|c| LINE_ENDS.contains(c))
            .map(|c| if c == '\u{85}' { '\n' } else { c })
            .peekable();
        match ends.next() {
            // Of several line feeds, YAML removes the first.
            Some('\n') if ends.peek().is_none() => unfolded.push(' '),
            Some('\n') | None => {}
            Some(separator) => unfolded.push(separator),
        }
        unfolded.extend(ends);
        rest = after;
    }
    unfolded.push_str(rest);
    Cow::Owned(unfolded)
}

/// The value of a scalar.
pub(super) fn resolve(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, &'static str> {
    let text = unfold(text, style);
    let quoted = style != ScalarStyle::Plain;
    let tag = tag.map_or(Tagged::None, Tagged::from_tag);
    match tag {
        Tagged::Text => Ok(Value::String(text.into_owned())),
        Tagged::None if quoted => Ok(Value::String(text.into_owned())),
        Tagged::None => Ok(untagged(&text, true).unwrap_or_else(|| Value::String(text.into_owned()))),
        Tagged::Binary => {
            let packed: String = text.split_whitespace().collect();
            let bytes = STANDARD
                .decode(packed)
                .map_err(|_| "what follows !!binary is not base64")?;
            Ok(Value::from_bytes(bytes))
        }
        Tagged::Typed(kind) => typed(&text, kind).ok_or("the value does not fit the tag before it"),
        // A scalar with an unknown tag is text.
        Tagged::Other => Ok(Value::String(text.into_owned())),
    }
}

/// Whether `tag` is a single `!`, which names no type.
pub(super) fn is_lone_tag(tag: &Tag) -> bool {
    (tag.handle.is_empty() && tag.suffix == "!") || (tag.handle == "!" && tag.suffix.is_empty())
}

/// Whether `tag` is `!!merge`.
pub(super) fn is_merge_tag(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == "merge"
}

enum Tagged {
    None,
    Text,
    Binary,
    Typed(Kind),
    Other,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Null,
    Bool,
    Int,
    Float,
    Timestamp,
}

impl Tagged {
    fn from_tag(tag: &Tag) -> Self {
        if !tag.is_yaml_core_schema() {
            return if is_lone_tag(tag) { Self::None } else { Self::Other };
        }
        match tag.suffix.as_str() {
            "str" => Self::Text,
            "binary" => Self::Binary,
            "null" => Self::Typed(Kind::Null),
            "bool" => Self::Typed(Kind::Bool),
            "int" => Self::Typed(Kind::Int),
            "float" => Self::Typed(Kind::Float),
            "timestamp" => Self::Typed(Kind::Timestamp),
            _ => Self::Other,
        }
    }
}

fn typed(text: &str, kind: Kind) -> Option<Value> {
    let value = untagged(text, kind == Kind::Timestamp)?;
    match (kind, &value) {
        (Kind::Null, Value::Null)
        | (Kind::Bool, Value::Bool(_))
        | (Kind::Int, Value::Int(_))
        | (Kind::Float, Value::Float(_))
        | (Kind::Timestamp, Value::Time(_)) => Some(value),
        (Kind::Float, Value::Int(digits)) => digits.parse().ok().map(number::float_value),
        _ => None,
    }
}

/// The value of a plain scalar without a tag; `None` for text.
fn untagged(text: &str, dates: bool) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => number::float_value(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => number::float_value(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => number::float_value(f64::NEG_INFINITY),
        _ => match text.as_bytes().first()? {
            b'.' => float(text)?,
            b'0'..=b'9' | b'+' | b'-' => {
                if dates && let Some(time) = timestamp::parse(text) {
                    return Some(Value::Time(time));
                }
                let digits = text.replace('_', "");
                match integer(&digits) {
                    Some(integer) => Value::Int(integer),
                    None => float(&digits)?,
                }
            }
            _ => return None,
        },
    })
}

/// An integer in decimal digits; `None` if it does not fit into 64 bits, with a sign or, if none is written, without.
fn integer(text: &str) -> Option<String> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    // `from_str_radix` accepts a sign, and here it would be the second one.
    if !digits.as_bytes().first()?.is_ascii_alphanumeric() {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        0i64.checked_sub_unsigned(size).map(|number| number.to_string())
    } else if unsigned.len() == text.len() || i64::try_from(size).is_ok() {
        Some(size.to_string())
    } else {
        None
    }
}

/// A float with digits, and optionally a point and an exponent.
fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) || !exponent_fits {
        return None;
    }
    // Go's parser fails for a number out of range, and go-yaml then takes it for text.
    text.parse::<f64>()
        .ok()
        .filter(|number| number.is_finite())
        .map(number::float_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Value {
        resolve(Cow::Borrowed(text), ScalarStyle::Plain, None).unwrap_or_default()
    }

    #[test]
    fn integers_of_every_base_become_decimal() {
        for (text, decimal) in [
            ("0", "0"),
            ("-0", "0"),
            ("+12", "12"),
            ("1_000", "1000"),
            ("0x1F", "31"),
            ("-0x1f", "-31"),
            ("0o17", "15"),
            ("017", "15"),
            ("0b101", "5"),
            ("-0b101", "-5"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert!(plain(text) == Value::Int(decimal.into()), "{text}");
        }
    }

    #[test]
    fn floats_follow_the_core_schema() {
        for (text, json) in [
            ("0.1", "0.1"),
            ("1.", "1"),
            (".5", "0.5"),
            ("-.5e1", "-5"),
            ("1e10", "10000000000"),
            ("1e+21", "1e+21"),
            ("09", "9"),
            ("1_0.5", "10.5"),
            ("18446744073709551616", "18446744073709552000"),
            ("-9223372036854775809", "-9223372036854776000"),
            ("-.INF", "-.inf"),
        ] {
            assert!(plain(text) == Value::Float(json.into()), "{text}");
        }
    }

    #[test]
    fn line_breaks_of_yaml_1_1_are_folded() {
        let read = |text: &'static str, style| unfold(Cow::Borrowed(text), style).into_owned();
        for style in [ScalarStyle::Plain, ScalarStyle::SingleQuoted] {
            assert_eq!(read("a \u{2028}\t b", style), "a\u{2028}b");
            assert_eq!(read("a\u{2028}  \u{2029}  b", style), "a\u{2028}\u{2029}b");
            assert_eq!(read(" a\u{2029}", style), " a\u{2029}");
            assert_eq!(read("a \u{85} b\u{85}\u{85}c\u{2028}\u{85}", style), "a b\nc\u{2028}\n");
        }
        assert_eq!(read("a \u{2028} b", ScalarStyle::DoubleQuoted), "a \u{2028} b");
    }

    #[test]
    fn text_that_is_almost_a_number_is_text() {
        for text in [
            "1e400", "0x", "0xg", "--1", "+-1", "1.2.3", "1e", "e1", ".", "-", "+", "1:30", "yes", "on", "0b2", "12ab",
            ".e1",
        ] {
            assert!(plain(text) == Value::String(text.into()), "{text}");
        }
    }

    #[test]
    fn tags_and_quotes_take_precedence_over_the_form() {
        let core = |suffix: &str| Tag {
            handle: "tag:yaml.org,2002:".into(),
            suffix: suffix.into(),
        };
        let tagged =
            |text: &'static str, suffix: &str| resolve(Cow::Borrowed(text), ScalarStyle::Plain, Some(&core(suffix)));
        assert_eq!(
            resolve(Cow::Borrowed("1"), ScalarStyle::DoubleQuoted, None),
            Ok(Value::String("1".into()))
        );
        assert_eq!(tagged("1", "str"), Ok(Value::String("1".into())));
        assert_eq!(tagged("1", "float"), Ok(Value::Float("1".into())));
        assert_eq!(tagged("aGk=", "binary"), Ok(Value::String("hi".into())));
        assert_eq!(tagged("/w==", "binary"), Ok(Value::Bytes(vec![0xff])));
        assert!(tagged("x", "int").is_err() && tagged("!", "binary").is_err());
        let custom = Tag {
            handle: "!".into(),
            suffix: "vault".into(),
        };
        assert_eq!(
            resolve(Cow::Borrowed("1"), ScalarStyle::Plain, Some(&custom)),
            Ok(Value::String("1".into()))
        );
    }
}
