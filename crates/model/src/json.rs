//! Reads JSON from clients.
//!
//! Two equal keys in an object are an error here, while `serde_json` takes the last one. Error messages say where the fault is and
//! what was expected, while those of `serde_json` may quote the input.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::Invalid;
use crate::limits;

/// Parses a whole body.
///
/// # Errors
/// If the body is not UTF-8, not JSON, cut short, nested deeper than the parser's 128 levels, has a key twice in an object, or has
/// more values than [`limits::JSON_VALUES`].
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Invalid> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Invalid::new(format!("the body is not UTF-8 at line {line} column {column}"))
    })?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = strict(&mut deserializer).map_err(|error| describe(&error))?;
    deserializer.end().map_err(|error| describe(&error))?;
    Ok(value)
}

/// The error for a body that can't be parsed. The parser's messages for these errors do not quote the input.
fn describe(error: &serde_json::Error) -> Invalid {
    match error.classify() {
        serde_json::error::Category::Eof => Invalid::new(format!(
            "the body is cut short: its JSON ends at line {} column {}",
            error.line(),
            error.column()
        )),
        serde_json::error::Category::Data => Invalid::new(format!("the body is refused: {error}")),
        _ => Invalid::new(format!("the body is not valid JSON: {error}")),
    }
}

/// The position of an error, for errors whose message could quote a value.
pub(crate) fn position(error: &serde_json::Error) -> String {
    format!("line {} column {}", error.line(), error.column())
}

/// Deserialises a [`Value`]. Equal keys in an object and too many values are errors.
pub(crate) fn strict<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Strict(&Cell::new(limits::JSON_VALUES)).deserialize(deserializer)
}

/// Deserialises a [`Value`]; the cell holds how many more values are allowed.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a Cell<usize>);

impl Strict<'_> {
    fn count<E: serde::de::Error>(self, values: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(values);
        self.0.set(left.ok_or_else(|| E::custom("it has too many values"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            self.count(limits::JSON_ELEMENT)?;
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.count(limits::JSON_OBJECT)?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom("a key appears twice in one object"));
            }
            map.insert(key, entries.next_value_seed(self)?);
        }
        Ok(Value::Object(map))
    }
}

/// Where in a body a value is, for messages: `fields[2].section`.
#[derive(Clone, Copy)]
pub(crate) enum JsonPath<'a> {
    /// The whole body (an empty text), or the name of the whole.
    Root(&'a str),
    /// A member of an object.
    Member(&'a JsonPath<'a>, &'static str),
    /// An element of a list.
    Element(&'a JsonPath<'a>, usize),
}

impl fmt::Display for JsonPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Member(JsonPath::Root(""), name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl JsonPath<'_> {
    /// An error with the message "{place} {reason}".
    pub(crate) fn invalid(&self, reason: &str) -> Invalid {
        match self {
            Self::Root("") => Invalid::new(format!("the body {reason}")),
            place => Invalid::new(format!("{place} {reason}")),
        }
    }
}

/// An object whose members are taken out one by one. Members that are not taken are ignored. `null` is the same as absent.
pub(crate) struct Object<'a> {
    members: Map<String, Value>,
    place: &'a JsonPath<'a>,
}

impl<'a> Object<'a> {
    /// The value as an object, or an error.
    pub(crate) fn new(value: Value, place: &'a JsonPath<'a>) -> Result<Self, Invalid> {
        match value {
            Value::Object(members) => Ok(Self { members, place }),
            _ => Err(place.invalid("must be a JSON object")),
        }
    }

    /// The place of a member of this object.
    pub(crate) fn at(&self, name: &'static str) -> JsonPath<'a> {
        JsonPath::Member(self.place, name)
    }

    /// Takes a member out. The member may be written in snake case, too.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let value = self
            .members
            .remove(name)
            .or_else(|| self.members.remove(&snake_case(name)));
        value.filter(|value| !value.is_null())
    }

    /// Takes out a member that must be a string.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Invalid> {
        self.take(name).map(|value| text(value, &self.at(name))).transpose()
    }

    /// Takes out a member that must be `true` or `false`.
    pub(crate) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Invalid> {
        self.take(name).map(|value| flag(value, &self.at(name))).transpose()
    }

    /// Takes out a member that must be a list, and reads each element with `read`.
    pub(crate) fn list<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(Value, &JsonPath<'_>) -> Result<T, Invalid>,
    ) -> Result<Option<Vec<T>>, Invalid> {
        self.take(name)
            .map(|value| list(value, &self.at(name), read))
            .transpose()
    }
}

/// The value as a string, or an error. Numbers are not converted: `0123` and 30 digits would change.
pub(crate) fn text(value: Value, place: &JsonPath<'_>) -> Result<String, Invalid> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(place.invalid("must be a string")),
    }
}

/// The value as `true` or `false`, or an error.
pub(crate) fn flag(value: Value, place: &JsonPath<'_>) -> Result<bool, Invalid> {
    value.as_bool().ok_or_else(|| place.invalid("must be true or false"))
}

/// The value as a list, or an error.
pub(crate) fn list<T>(
    value: Value,
    place: &JsonPath<'_>,
    read: impl Fn(Value, &JsonPath<'_>) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    let Value::Array(elements) = value else {
        return Err(place.invalid("must be a list"));
    };
    let read_one = |(index, element)| read(element, &JsonPath::Element(place, index));
    elements.into_iter().enumerate().map(read_one).collect()
}

/// `characterSets` → `character_sets`, which Connect 1.5 accepts, too.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 2);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(bytes: &[u8]) -> String {
        parse(bytes).unwrap_err().to_string()
    }

    // Checks 117, 123 and 126.
    #[test]
    fn invalid_json_is_refused_with_its_position() {
        assert_eq!(
            message(b"{\"a\":\n \"hunter2\""),
            "the body is cut short: its JSON ends at line 2 column 10"
        );
        assert_eq!(
            message(b"{\"a\":\n\"\xff\"}"),
            "the body is not UTF-8 at line 2 column 2"
        );
        assert!(message(b"").starts_with("the body is cut short"));
        assert!(message(b"{} {}").contains("line 1 column 4"));
        assert!(message(br#"{"a": hunter2}"#).contains("line 1 column 7"));
        let deep = "[".repeat(10_000);
        assert!(message(deep.as_bytes()).contains("recursion limit exceeded"));
    }

    #[test]
    fn equal_keys_are_refused_at_any_depth() {
        for body in [r#"{"a":1,"a":2}"#, r#"{"x":[{"a":"hunter2","\u0061":"hunter3"}]}"#] {
            let message = message(body.as_bytes());
            assert!(message.contains("twice") && message.contains("line 1"), "{message}");
            assert!(!message.contains("hunter"));
        }
    }

    /// The largest item is accepted, and a tenth more values than the limit are refused.
    #[test]
    fn too_many_values_are_refused_and_the_largest_item_is_not() {
        let field = r#"{"id":"","type":"","purpose":"","label":"","value":"","entropy":1,"totp":"","reference":"",
            "section":{"id":"","label":""},"generate":true,"recipe":{"length":1,"characterSets":["","",""]},
            "passwordDetails":{"strength":"","entropy":1,"history":["","","","","","","","","",""]}}"#;
        let list = |one: &str, times: usize| format!("[{}]", vec![one; times].join(","));
        let largest = format!(
            r#"{{"fields":{},"sections":{},"urls":{},"tags":{}}}"#,
            list(field, limits::FIELDS),
            list(r#"{"id":"","label":""}"#, limits::SECTIONS),
            list(r#"{"href":"","label":"","primary":true}"#, limits::URLS),
            list("\"\"", limits::TAGS),
        );
        assert!(parse(largest.as_bytes()).is_ok());
        for (one, each) in [("{}", limits::JSON_OBJECT), ("[]", 1), ("0", 1)] {
            let many = list(one, limits::JSON_VALUES / each / 10 * 11);
            assert!(message(many.as_bytes()).contains("too many values"), "{one}");
        }
    }

    #[test]
    fn places_are_displayed_as_paths() {
        let root = JsonPath::Root("");
        let fields = JsonPath::Member(&root, "fields");
        let field = JsonPath::Element(&fields, 2);
        assert_eq!(JsonPath::Member(&field, "value").to_string(), "fields[2].value");
        assert_eq!(root.invalid("must be x").to_string(), "the body must be x");
    }

    proptest! {
        #[test]
        fn parse_never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn agrees_with_serde_json(text in "[\\[\\]{}\",:0-9a-c. ]{0,20}") {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
