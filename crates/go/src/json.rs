//! Go's `encoding/json`.

use serde_json::Value;

use crate::float;
use crate::unicode::{Rune, map, push, runes};

/// `json.Unmarshal` into an `interface{}`; `None` if the text is not JSON. Go reads every number as a `float64`;
/// [`marshal`] converts numbers in that way. Invalid UTF-8 is replaced by U+FFFD.
pub fn unmarshal(json: &[u8]) -> Option<Value> {
    if std::str::from_utf8(json).is_ok() {
        return serde_json::from_slice(json).ok();
    }
    serde_json::from_slice(&map(json, |c| c)).ok()
}

/// `json.Marshal` of a value that `json.Unmarshal` returned: numbers are `float64`, and keys are sorted. With
/// `escape_html`, Go's default, `<`, `>` and `&` are escaped.
pub fn marshal(value: &Value, escape_html: bool) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, value, escape_html);
    out
}

fn write(out: &mut Vec<u8>, value: &Value, escape_html: bool) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(value) => out.extend_from_slice(number(value.as_f64().unwrap_or_default()).as_bytes()),
        Value::String(text) => string(out, text.as_bytes(), escape_html),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(out, item, escape_html);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            out.push(b'{');
            for (i, (key, value)) in fields.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                string(out, key.as_bytes(), escape_html);
                out.push(b':');
                write(out, value, escape_html);
            }
            out.push(b'}');
        }
    }
}

/// A number as JSON. As in ES6, numbers outside of 1e-6 to 1e21 have an exponent.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = float::format(value, 'e', None);
        return text.replace("e-0", "e-");
    }
    float::format(value, 'f', None)
}

/// Appends a string as JSON. Invalid UTF-8 is replaced by U+FFFD.
pub fn string(out: &mut Vec<u8>, text: &[u8], escape_html: bool) {
    out.push(b'"');
    for rune in runes(text) {
        let Rune::Char(c) = rune else {
            out.extend_from_slice(b"\\ufffd");
            continue;
        };
        match c {
            '"' | '\\' => {
                out.push(b'\\');
                push(out, c);
            }
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if c < ' ' || matches!(c, '\u{2028}' | '\u{2029}') || escape_html && matches!(c, '<' | '>' | '&') => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
            }
            c => push(out, c),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are the output of Go 1.26.
    #[test]
    fn values_are_written_as_go_writes_them() {
        for (text, json) in [
            ("1.0", "1"),
            ("1e3", "1000"),
            ("12345678901234567890", "12345678901234567000"),
            ("123456789012345678901234567890", "1.2345678901234568e+29"),
            ("0.1", "0.1"),
            ("1e21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("1e-7", "1e-7"),
            ("1e-400", "0"),
            ("-0", "-0"),
            ("[null,true,false,{},[]]", "[null,true,false,{},[]]"),
            (
                r#"{"b":1.0,"a":[1e21,"<&>\u2028é\u007f\b"]}"#,
                "{\"a\":[1e+21,\"\\u003c\\u0026\\u003e\\u2028é\u{7f}\\b\"],\"b\":1}",
            ),
        ] {
            let value = unmarshal(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(marshal(&value, true)).unwrap(), json);
        }
        assert_eq!(marshal(&Value::from("<&>\u{2029}"), false), br#""<&>\u2029""#);
        assert_eq!(
            unmarshal(b"\"\xff\xe2\x82\""),
            Some(Value::from("\u{fffd}\u{fffd}\u{fffd}"))
        );
        assert_eq!(unmarshal(b"1e400"), None);
    }
}
