//! Floats in the two spellings SOPS uses.
//!
//! Both are Go's: the shortest digits that read back as the same float (so are Rust's), written
//! plainly inside ciphertexts and the MAC, and with an exponent where JSON output is concerned.

use crate::Value;

/// The float as a value, in its JSON spelling.
pub(crate) fn float_value(number: f64) -> Value {
    Value::Float(json_spelling(number))
}

/// Go's `encoding/json`: plain between 1e-6 and 1e21, else with a signed exponent.
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

/// What the MAC covers for a float given in its JSON spelling: no exponent, `+Inf`, `-Inf`, `NaN`.
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
    fn floats_are_spelled_as_go_spells_them() {
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
