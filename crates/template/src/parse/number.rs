//! Parses number literals: Go's untyped constants.

use crate::ast::Number;
use crate::go::strconv::{parse_float, parse_int, parse_uint, quote_text, unquote_char};
use crate::lex::Kind;

pub(super) fn parse(text: &str, kind: Kind) -> Result<Number, String> {
    let mut number = Number {
        text: text.to_owned(),
        int: None,
        uint: None,
        float: None,
    };
    match kind {
        Kind::CharConstant => {
            let Some((code, rest)) = unquote_char(&text[1..], '\'') else {
                return Err("invalid syntax".to_owned());
            };
            if rest != "'" {
                return Err(format!("malformed character constant: {text}"));
            }
            number.int = Some(i64::from(code));
            number.uint = Some(u64::from(code));
            number.float = Some(f64::from(code));
            return Ok(number);
        }
        Kind::Complex => return Err(format!("complex numbers are not supported: {}", quote_text(text))),
        _ => {}
    }
    if text.ends_with('i') {
        return Err(format!("complex numbers are not supported: {}", quote_text(text)));
    }
    number.uint = parse_uint(text, 0);
    number.int = parse_int(text, 0);
    if number.int == Some(0) {
        number.uint = Some(0);
    }
    if let Some(int) = number.int {
        number.float = Some(int as f64);
    } else if let Some(uint) = number.uint {
        number.float = Some(uint as f64);
    } else if let Some(float) = parse_float(text).filter(|float| float.is_finite()) {
        if !text.contains(['.', 'e', 'E', 'p', 'P']) {
            return Err(format!("integer overflow: {}", quote_text(text)));
        }
        number.float = Some(float);
        if float.fract() == 0.0 && float.abs() < 9.2e18 {
            number.int = Some(float as i64);
        }
        if float.fract() == 0.0 && (0.0..1.8e19).contains(&float) {
            number.uint = Some(float as u64);
        }
    }
    if number.int.is_none() && number.uint.is_none() && number.float.is_none() {
        return Err(format!("illegal number syntax: {}", quote_text(text)));
    }
    Ok(number)
}
