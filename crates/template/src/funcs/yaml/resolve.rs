//! Resolves plain YAML scalars by go-yaml v2's rules, which are mostly those of YAML 1.1.

use crate::go::float;
use crate::go::layout;
use crate::go::strconv::{parse_float, parse_int, parse_uint};

pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Merge,
}

/// Resolves a scalar. Returns `None` if the text does not have the form that its tag requires.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<(&str, &str)>) -> Option<Scalar> {
    let as_text = || Some(Scalar::Text(text.to_owned()));
    match tag {
        Some((handle, suffix)) if handle.starts_with("tag:yaml.org,2002:") || handle == "!!" => {
            match (suffix, implicit(text)) {
                ("str", _) => as_text(),
                ("binary", _) => {
                    let bytes = crate::go::base64::decode(text.as_bytes()).ok()?;
                    Some(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned()))
                }
                ("int", scalar @ Scalar::Int(_))
                | ("float", scalar @ Scalar::Float(_))
                | ("bool", scalar @ Scalar::Bool(_))
                | ("null", scalar @ Scalar::Null) => Some(scalar),
                ("float", Scalar::Int(value)) => Some(Scalar::Float(value as f64)),
                ("int" | "float" | "bool" | "null", _) => None,
                _ => as_text(),
            }
        }
        Some(_) => as_text(),
        None if plain => Some(implicit(text)),
        None => as_text(),
    }
}

fn implicit(text: &str) -> Scalar {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        "<<" => return Scalar::Merge,
        _ => {}
    }
    let text_scalar = || Scalar::Text(text.to_owned());
    match text.as_bytes().first() {
        Some(b'.') => parse_float(text).map_or_else(text_scalar, Scalar::Float),
        Some(b'+' | b'-' | b'0'..=b'9') => {
            // A timestamp stays a string.
            if is_timestamp(text) {
                return text_scalar();
            }
            let bare = text.replace('_', "");
            if let Some(int) = parse_int(&bare, 0) {
                return Scalar::Int(i128::from(int));
            }
            if let Some(int) = parse_uint(&bare, 0) {
                return Scalar::Int(i128::from(int));
            }
            if is_float(&bare)
                && let Some(value) = parse_float(&bare)
            {
                return Scalar::Float(value);
            }
            text_scalar()
        }
        _ => text_scalar(),
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    mantissa_fits && exponent_fits
}

fn is_timestamp(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits != 4 || text.as_bytes().get(4) != Some(&b'-') {
        return false;
    }
    let layouts: [&[u8]; 4] = [
        b"2006-1-2T15:4:5.999999999Z07:00",
        b"2006-1-2t15:4:5.999999999Z07:00",
        b"2006-1-2 15:4:5.999999999",
        b"2006-1-2",
    ];
    layouts
        .iter()
        .any(|layout| layout::parse(layout, text.as_bytes()).is_some())
}

/// Whether a plain scalar with this text is a string.
pub(super) fn is_text(text: &str) -> bool {
    (text == "<<" || matches!(implicit(text), Scalar::Text(_))) && !is_timestamp(text) && !is_base60(text)
}

/// `1:30` is a number in YAML 1.1, so go-yaml quotes it for older parsers.
fn is_base60(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (body, fraction) = body.split_once('.').unwrap_or((body, ""));
    let mut parts = body.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let numeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    first.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && numeric(first)
        && !rest.is_empty()
        && rest.iter().all(|part| match part.as_bytes() {
            [digit] => digit.is_ascii_digit(),
            [b'0'..=b'5', digit] => digit.is_ascii_digit(),
            _ => false,
        })
        && numeric(fraction)
}

pub(super) fn float_text(value: f64) -> String {
    special(float::format(value, 'g', None))
}

/// Converts a number that Go printed to YAML's notation.
pub(super) fn special(text: String) -> String {
    match text.as_str() {
        "+Inf" => ".inf".to_owned(),
        "-Inf" => "-.inf".to_owned(),
        "NaN" => ".nan".to_owned(),
        _ => text,
    }
}
