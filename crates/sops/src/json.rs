//! Parses JSON. Keys keep their order, and numbers are converted as in sops.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::limits::{Budget, repeated_key};
use crate::text::{self, shown};
use crate::{Format, SopsError, Value, number};

/// Parses one JSON text.
///
/// Integers that fit into 64 bits with a sign stay integers. All other numbers become floats, as in sops.
///
/// # Errors
/// [`SopsError::Syntax`] with the line, [`SopsError::DuplicateKey`] (sops would keep both), or a
/// limit.
pub fn parse(bytes: &[u8]) -> Result<Vec<Value>, SopsError> {
    let text = text::decode(bytes, Format::Json)?;
    let mut state = State::default();
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let parsed = Seed {
        state: &mut state,
        depth: 0,
    }
    .deserialize(&mut deserializer);
    match parsed.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(value) => Ok(vec![value]),
        Err(error) => Err(state.told(&error)),
    }
}

#[derive(Default)]
struct State {
    budget: Budget,
    /// Why parsing was stopped, if not for a syntax error: serde's error can't carry it.
    refusal: Option<ParseRefusal>,
}

enum ParseRefusal {
    Limit(SopsError),
    DuplicateKey(String),
}

impl State {
    fn refuse<E: serde::de::Error>(&mut self, refusal: ParseRefusal) -> E {
        self.refusal = Some(refusal);
        E::custom("refused")
    }

    fn told(self, error: &serde_json::Error) -> SopsError {
        let line = error.line();
        match self.refusal {
            Some(ParseRefusal::Limit(limit)) => limit,
            Some(ParseRefusal::DuplicateKey(key)) => SopsError::DuplicateKey {
                format: Format::Json,
                line,
                key,
            },
            None => {
                // The texts of serde_json's syntax errors are fixed, and quote nothing of the input.
                let text = error.to_string();
                let problem = text.split(" at line ").next().unwrap_or_default().to_owned();
                SopsError::Syntax {
                    format: Format::Json,
                    line,
                    problem,
                }
            }
        }
    }
}

struct Seed<'a> {
    state: &'a mut State,
    depth: usize,
}

impl Seed<'_> {
    fn inner(&mut self) -> Seed<'_> {
        Seed {
            state: &mut *self.state,
            depth: self.depth + 1,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if let Err(limit) = self.state.budget.spend(self.depth) {
            return Err(self.state.refuse(ParseRefusal::Limit(limit)));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(match i64::try_from(number) {
            Ok(number) => Value::Int(number.to_string()),
            Err(_) => number::float_value(number as f64),
        })
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        // `-0` is an integer in sops and a float in serde_json.
        if number == 0.0 {
            return Ok(Value::Int("0".to_owned()));
        }
        Ok(number::float_value(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner())? {
            list.push(item);
        }
        Ok(Value::Sequence(list))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            list.push((key, entries.next_value_seed(self.inner())?));
        }
        if let Some(key) = repeated_key(&list) {
            return Err(self.state.refuse(ParseRefusal::DuplicateKey(shown(key))));
        }
        Ok(Value::Mapping(list))
    }
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;
    use crate::scalar_text;

    fn round_trip(text: &str) -> String {
        scalar_text(&parse(text.as_bytes()).unwrap()[0])
    }

    #[test]
    fn order_and_types_are_kept() {
        let text = r#"{"b":[1,-2,true,null,"x",{}],"a":{"z":0.5,"y":[]}}"#;
        assert_eq!(round_trip(text), text);
    }

    #[test]
    fn numbers_are_converted_as_in_sops() {
        for (text, read) in [
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "9223372036854776000"),
            ("123456789012345678901234567890", "1.2345678901234568e+29"),
            ("1.0", "1"),
            ("-0", "0"),
            ("1e3", "1000"),
            ("0.1", "0.1"),
            ("5.0e-324", "5e-324"),
        ] {
            assert_eq!(round_trip(&format!("[{text}]")), format!("[{read}]"));
        }
    }

    #[test]
    fn errors_name_the_line_and_no_content() {
        for text in [
            "{\n\"a\": hunter2}",
            "{\n\"a\": \"hunter2\" \"",
            "{\n\"a\": \"hunter2",
            "{}\n{}",
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, SopsError::Syntax { line: 2, .. }), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_byte_order_mark_and_utf_16_are_read() {
        assert_eq!(round_trip("\u{feff}{\"a\":1}"), r#"{"a":1}"#);
        let utf16: Vec<u8> = "\u{feff}{\"a\":\"é\"}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(scalar_text(&parse(&utf16).unwrap()[0]), r#"{"a":"é"}"#);
    }

    #[test]
    fn a_repeated_key_is_refused() {
        let error = parse(b"{\"a\": 1,\n\"a\": 2}").unwrap_err();
        assert_eq!(
            error,
            SopsError::DuplicateKey {
                format: Format::Json,
                line: 2,
                key: "a".into()
            }
        );
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
        let text = format!("{}{}", "[".repeat(110), "]".repeat(110));
        assert!(matches!(parse(text.as_bytes()), Err(SopsError::Limit { .. })));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn near_json_never_panics(text in r#"[\[\]{}:,"\\0-9eE.+a-z \n-]{0,60}"#) {
            let _ = parse(text.as_bytes());
        }
    }
}
