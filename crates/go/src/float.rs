//! `strconv.FormatFloat`.

use std::fmt::{Display, LowerExp};

/// Formats with the verb `e`, `f` or `g`. Without `precision` the text has the fewest digits that identify the number.
pub fn format(value: f64, verb: char, precision: Option<usize>) -> String {
    if !value.is_finite() {
        return no_number(value);
    }
    match verb {
        'e' => exponent(value, precision),
        'f' => match precision {
            Some(precision) => format!("{value:.precision$}"),
            None => format!("{value}"),
        },
        _ => general(value, precision),
    }
}

/// `FormatFloat(value, 'g', -1, 32)`: the fewest digits that identify the number as a `float32`.
pub fn format32(value: f64) -> String {
    let value = value as f32;
    if !value.is_finite() {
        return no_number(f64::from(value));
    }
    general(value, None)
}

fn no_number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf",
        f64::NEG_INFINITY => "-Inf",
        _ => "NaN",
    }
    .to_owned()
}

/// `%x`: the fraction in hexadecimal, without trailing zeros.
pub fn hexadecimal(value: f64) -> String {
    if !value.is_finite() {
        return format(value, 'g', None);
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value == 0.0 {
        return format!("{sign}0x0p+00");
    }
    let bits = value.to_bits();
    let mut fraction = bits & 0xf_ffff_ffff_ffff;
    let mut power = (bits >> 52 & 0x7ff) as i32 - 1023;
    if power == -1023 {
        // Go prints a subnormal number like a normal one.
        let shift = fraction.leading_zeros() - 11;
        fraction = fraction << shift & 0xf_ffff_ffff_ffff;
        power = -1022 - shift as i32;
    }
    let digits = format!("{fraction:013x}");
    let digits = digits.trim_end_matches('0');
    let point = if digits.is_empty() { "" } else { "." };
    let power_sign = if power < 0 { '-' } else { '+' };
    format!("{sign}0x1{point}{digits}p{power_sign}{:02}", power.abs())
}

fn exponent(value: f64, precision: Option<usize>) -> String {
    let text = match precision {
        Some(precision) => format!("{value:.precision$e}"),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn general<F: Display + LowerExp>(value: F, precision: Option<usize>) -> String {
    let shortest = precision.is_none();
    let precision = precision.map(|precision| precision.max(1));
    let text = match precision {
        Some(precision) => format!("{value:.*e}", precision - 1),
        None => format!("{value:e}"),
    };
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i64 = power.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    let count = digits.len().max(1) as i64;
    // Without a precision the threshold for an exponent is that of the default precision.
    let mut limit = precision.map_or(6, |precision| precision as i64);
    if !shortest && limit > count && count > power {
        limit = count;
    }
    if power < -4 || power >= limit {
        let mantissa = if digits.len() > 1 {
            format!("{}.{}", &digits[..1], &digits[1..])
        } else {
            format!("{digits:0>1}")
        };
        let sign = if power < 0 { '-' } else { '+' };
        let minus = if text.starts_with('-') { "-" } else { "" };
        return format!("{minus}{mantissa}e{sign}{:02}", power.abs());
    }
    let decimals = (count - 1 - power).max(0) as usize;
    format!("{value:.decimals$}")
}
