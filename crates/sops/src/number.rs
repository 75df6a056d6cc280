//! Floats in the two notations that sops uses.
//!
//! Like Go and Rust, both have the fewest digits that give the same float again. In ciphertexts and in the MAC there is never
//! an exponent; in JSON there is one for very large and very small numbers.

use crate::Value;

/// The float as a value, in JSON's notation.
pub(crate) fn float_value(number: f64) -> Value {
    Value::Float(json_spelling(number))
}

/// The notation of Go's `encoding/json`: without an exponent from 1e-6 up to 1e21, otherwise with a signed exponent.
fn json_spelling(number: f64) -> String {
    let size = number.abs();
    if number.is_nan() {
        ".nan".to_owned()
    } else if size.is_infinite() {
        if number > 0.0 { ".inf" } else { "-.inf" }.to_owned()
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            _ => text,
        }
    } else {
        number.to_string()
    }
}

/// Converts a float in JSON's notation to that of the MAC: without an exponent, or `+Inf`, `-Inf`, `NaN`.
pub(crate) fn plain_spelling(json: &str) -> String {
    match json {
        ".nan" => "NaN".to_owned(),
        ".inf" => "+Inf".to_owned(),
        "-.inf" => "-Inf".to_owned(),
        digits => match digits.parse::<f64>() {
            Ok(number) => number.to_string(),
            Err(_) => digits.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_in_go() {
        for (number, json, plain) in [
            (0.1, "0.1", "0.1"),
            (1.0, "1", "1"),
            (-0.0, "-0", "-0"),
            (1e20, "100000000000000000000", "100000000000000000000"),
            (1e21, "1e+21", "1000000000000000000000"),
            (1.5e-7, "1.5e-7", "0.00000015"),
            (0.000001, "0.000001", "0.000001"),
            (1234.56789, "1234.56789", "1234.56789"),
            (f64::INFINITY, ".inf", "+Inf"),
            (f64::NEG_INFINITY, "-.inf", "-Inf"),
            (f64::NAN, ".nan", "NaN"),
        ] {
            let Value::Float(text) = &float_value(number) else {
                panic!("not a float")
            };
            assert_eq!(text, json);
            assert_eq!(plain_spelling(text), plain);
        }
    }
}
