//! External Secrets: YAML, as `sigs.k8s.io/yaml` has it: JSON's values in YAML 1.1's syntax.

use std::collections::BTreeMap;
use std::time::SystemTime;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::yaml_emit::{self, Yaml};
use super::yaml_resolve::{self, Scalar};
use super::{Ctx, Fault, Func, Ran, Ty, any, f, utf8};
use crate::go::float;
use crate::go::json::{self, Style};
use crate::go::val::{Items, Str, Val};
use crate::limits::{Budget, MAX_VALUE_DEPTH};

pub(super) const TABLE: &[Func] = &[
    f("toYaml", &[Ty::Any], to_yaml),
    f("fromYaml", &[Ty::Str], |ctx, args| from_yaml(ctx, &utf8(args, 0))),
];

/// What cannot be shown is the empty text, as the engine has it.
fn to_yaml(ctx: &mut Ctx, args: &[Val]) -> Ran {
    let style = Style {
        escape_html: true,
        pretty: false,
    };
    // By way of JSON, which settles how numbers and odd strings look.
    let Some(encoded) = json::encode(ctx, &any(args, 0), style)? else {
        return Ok(Val::str(""));
    };
    let encoded = String::from_utf8_lossy(&encoded);
    // Control characters that JSON does not escape are none of YAML's.
    if encoded
        .chars()
        .any(|c| matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}'))
    {
        return Ok(Val::str(""));
    }
    let Ok(value) = serde_json::from_str::<serde_json::Value>(&encoded) else {
        return Err(Fault::Limit("a value is nested too deeply"));
    };
    ctx.work(encoded.len() as u64 / 16)?;
    let mut out = yaml_emit::emit(&normal(value));
    if out.ends_with('\n') {
        out.pop();
    }
    ctx.text(out)
}

fn normal(value: serde_json::Value) -> Yaml {
    match value {
        serde_json::Value::Null => Yaml::Plain("null".to_owned()),
        serde_json::Value::Bool(value) => Yaml::Plain(value.to_string()),
        serde_json::Value::Number(number) => Yaml::Plain(match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => int.to_string(),
            (None, Some(int)) => int.to_string(),
            // `-0` is an integer to YAML.
            _ if number.as_f64() == Some(0.0) => "0".to_owned(),
            _ => yaml_resolve::float_text(number.as_f64().unwrap_or_default()),
        }),
        serde_json::Value::String(text) => Yaml::Text(text),
        serde_json::Value::Array(items) => Yaml::List(items.into_iter().map(normal).collect()),
        serde_json::Value::Object(fields) => {
            Yaml::Map(fields.into_iter().map(|(key, value)| (key, normal(value))).collect())
        }
    }
}

/// A map; of what is none, a map that holds the fault under `Error`.
fn from_yaml(ctx: &mut Ctx, source: &str) -> Ran {
    let message = match load(ctx, source, false) {
        Ok(Val::Map(map)) => return Ok(Val::Map(map)),
        Ok(Val::Nil) => return Ok(ctx.map(Items::new())),
        Ok(other) => {
            let kind = match other {
                Val::Str(_) => "string",
                Val::Bool(_) => "bool",
                Val::List(_) => "array",
                _ => "number",
            };
            format!(
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
            )
        }
        Err(Stop::Fault(fault)) => return Err(fault),
        Err(Stop::Syntax) => "error converting YAML to JSON: yaml: the text is not valid".to_owned(),
    };
    let mut items = Items::new();
    items.insert(b"Error".as_slice().into(), Val::str(message));
    Ok(ctx.map(items))
}

/// Where the source ends, if not in a newline, and whether there is text in its last line.
fn open_end(source: &str) -> Option<(usize, bool)> {
    let last = source.rsplit('\n').next().filter(|last| !last.is_empty())?;
    Some((source.chars().count(), !last.trim().is_empty()))
}

/// Why YAML is no map of strings. Shows a key at most.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum YamlError {
    /// It is no YAML.
    #[error("it is no YAML")]
    Syntax,
    /// A text, a number or a list.
    #[error("it is no mapping")]
    NoMapping,
    /// A value is a list or a mapping.
    #[error("the value of {0} is no string, number or boolean")]
    NoText(String),
    /// One of [`crate::limits`] was met.
    #[error("{0}")]
    Limit(&'static str),
}

/// Reads YAML as `sigs.k8s.io/yaml` reads it into Go's `map[string]string`: of its first document, numbers and booleans
/// become their text (`0x10` is `16`, `yes` is `true`, `1.50` is `1.5` and a `float32` at that), `null` is empty, and of
/// two with one key the last stays. What it may cost is bounded as a rendering is, by [`crate::limits`].
///
/// # Errors
/// Says what is wrong without quoting a value.
pub fn yaml_string_map(source: &str) -> Result<BTreeMap<String, String>, YamlError> {
    let mut ctx = Ctx::new(SystemTime::UNIX_EPOCH, Budget::default());
    let map = match load(&mut ctx, source, true) {
        Ok(Val::Map(map)) => map,
        Ok(Val::Nil) => return Ok(BTreeMap::new()),
        Ok(_) => return Err(YamlError::NoMapping),
        Err(Stop::Syntax) => return Err(YamlError::Syntax),
        Err(Stop::Fault(Fault::Limit(which))) => return Err(YamlError::Limit(which)),
        Err(Stop::Fault(Fault::Error(_) | Fault::Uncallable(_))) => return Err(YamlError::Syntax),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let items = map.items.borrow();
    let entry = |(key, value): (&Str, &Val)| match value {
        Val::Str(value) => Ok((text(key), text(value))),
        Val::Nil => Ok((text(key), String::new())),
        _ => Err(YamlError::NoText(text(key))),
    };
    items.iter().map(entry).collect()
}

/// The first document; the engine looks at no other. With `as_text`, numbers and booleans become what a `string` of Go's
/// gets of them.
fn load(ctx: &mut Ctx, source: &str, as_text: bool) -> Result<Val, Stop> {
    ctx.work(source.len() as u64 / 4)?;
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    // The parser lets these stand: a tab where go-yaml wants a space, and characters that go-yaml does not read.
    if source.trim_start_matches(['\n', '\r', ' ']).starts_with('\t') || !source.chars().all(is_read) {
        return Err(Stop::Syntax);
    }
    let mut loader = Loader {
        ctx,
        parser: Parser::new_from_str(source),
        anchors: Vec::new(),
        unended: open_end(source),
        end: 0,
        as_text,
    };
    match loader.document()? {
        Some(Node::Value(value)) => Ok(value),
        Some(Node::Merge) => Err(Stop::Syntax),
        None => Ok(Val::Nil),
    }
}

/// What YAML 1.1 calls printable.
fn is_read(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..) && c != '\u{feff}'
}

enum Stop {
    Syntax,
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

#[derive(Clone)]
enum Node {
    Value(Val),
    /// The key `<<`.
    Merge,
}

struct Loader<'c, 's> {
    ctx: &'c mut Ctx,
    parser: Parser<'s, saphyr_parser::StrInput<'s>>,
    anchors: Vec<(usize, Val)>,
    unended: Option<(usize, bool)>,
    /// Where the last event ended.
    end: usize,
    /// Numbers and booleans become text.
    as_text: bool,
}

impl<'s> Loader<'_, 's> {
    fn next(&mut self) -> Result<Event<'s>, Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.end = span.end.index();
                Ok(event)
            }
            _ => Err(Stop::Syntax),
        }
    }

    /// A block scalar that ends with a source that ends in no newline: the parser adds one.
    fn newline_too_many(&self, text: &str) -> bool {
        let (Some((end, in_text)), Some(before)) = (self.unended, text.strip_suffix('\n')) else {
            return false;
        };
        // None for a last line of spaces that are fewer than the block's.
        self.end >= end && (in_text || before.ends_with(['\n', ' ']))
    }

    /// The first document; the engine looks at no other.
    fn document(&mut self) -> Result<Option<Node>, Stop> {
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(None),
                Event::DocumentStart(_) => {
                    let event = self.next()?;
                    return self.node(event, 0).map(Some);
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, event: Event<'s>, depth: usize) -> Result<Node, Stop> {
        self.ctx.work(1)?;
        if depth > MAX_VALUE_DEPTH {
            return Err(Stop::Fault(Fault::Limit("a value is nested too deeply")));
        }
        let (anchor, value) = match event {
            Event::Alias(anchor) => {
                let known = self.anchors.iter().rev().find(|(id, _)| *id == anchor);
                return known.map(|(_, value)| Node::Value(value.clone())).ok_or(Stop::Syntax);
            }
            Event::Scalar(mut text, style, anchor, tag) => {
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) && self.newline_too_many(&text) {
                    text.to_mut().pop();
                }
                let tag = tag.as_ref().map(|tag| (tag.handle.as_str(), tag.suffix.as_str()));
                let plain = style == ScalarStyle::Plain;
                let value = match yaml_resolve::resolve(&text, plain, tag).ok_or(Stop::Syntax)? {
                    Scalar::Null => Val::Nil,
                    Scalar::Bool(value) if self.as_text => Val::str(value.to_string()),
                    Scalar::Int(value) if self.as_text => Val::str(value.to_string()),
                    Scalar::Float(value) if self.as_text => Val::str(float::format32(value)),
                    Scalar::Bool(value) => Val::Bool(value),
                    Scalar::Int(value) => Val::Float(value as f64),
                    Scalar::Float(value) => Val::Float(value),
                    Scalar::Text(text) => Val::str(text),
                    Scalar::Merge => return Ok(Node::Merge),
                };
                (anchor, value)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => items.push(match self.node(event, depth + 1)? {
                            Node::Value(value) => value,
                            Node::Merge => Val::str("<<"),
                        }),
                    }
                }
                (anchor, Val::list(items))
            }
            Event::MappingStart(anchor, _) => {
                let items = self.mapping(depth)?;
                (anchor, self.ctx.map(items))
            }
            _ => return Err(Stop::Syntax),
        };
        if anchor != 0 {
            self.anchors.push((anchor, value.clone()));
        }
        // JSON has neither of these.
        if matches!(value, Val::Float(value) if !value.is_finite()) {
            return Err(Stop::Syntax);
        }
        Ok(Node::Value(value))
    }

    fn mapping(&mut self, depth: usize) -> Result<Items, Stop> {
        let mut items = Items::new();
        let mut merged = Items::new();
        loop {
            let event = self.next()?;
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, _, tag) => {
                    let tag = tag.as_ref().map(|tag| (tag.handle.as_str(), tag.suffix.as_str()));
                    let plain = style == ScalarStyle::Plain;
                    match yaml_resolve::resolve(&text, plain, tag).ok_or(Stop::Syntax)? {
                        Scalar::Merge => None,
                        Scalar::Null => return Err(Stop::Syntax),
                        Scalar::Bool(value) => Some(value.to_string()),
                        // Go has no key for what is no `int`.
                        Scalar::Int(value) if value > i128::from(i64::MAX) => return Err(Stop::Syntax),
                        Scalar::Int(value) => Some(value.to_string()),
                        Scalar::Float(value) => Some(yaml_resolve::special(float::format32(value))),
                        Scalar::Text(text) => Some(text),
                    }
                }
                Event::Alias(_) => match self.node(event, depth + 1)? {
                    Node::Value(Val::Str(text)) => Some(String::from_utf8_lossy(&text).into_owned()),
                    _ => return Err(Stop::Syntax),
                },
                // A map is no key of JSON's.
                _ => return Err(Stop::Syntax),
            };
            let event = self.next()?;
            let value = match self.node(event, depth + 1)? {
                Node::Value(value) => value,
                Node::Merge => Val::str("<<"),
            };
            match key {
                Some(key) => {
                    items.insert(key.into_bytes().into(), value);
                }
                None => self.merge(&mut merged, &value)?,
            }
        }
        for (key, value) in merged {
            items.entry(key).or_insert(value);
        }
        Ok(items)
    }

    /// `<<: *a` or `<<: [*a, *b]`, where the first has the last word.
    fn merge(&mut self, into: &mut Items, from: &Val) -> Result<(), Stop> {
        match from {
            Val::Map(map) => {
                for (key, value) in map.items.borrow().iter() {
                    self.ctx.work(1)?;
                    into.entry(key.clone()).or_insert_with(|| value.clone());
                }
                Ok(())
            }
            Val::List(list) => list.items.iter().try_for_each(|item| match item {
                Val::Map(_) => self.merge(into, item),
                _ => Err(Stop::Syntax),
            }),
            _ => Err(Stop::Syntax),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Option<Vec<(String, String)>> {
        yaml_string_map(source).ok().map(|map| map.into_iter().collect())
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// What sigs.k8s.io/yaml 1.6 said.
    #[test]
    fn a_scalar_becomes_the_text_that_go_makes_of_it() {
        for (scalar, text) in [
            ("5432", "5432"),
            ("true", "true"),
            ("yes", "true"),
            ("y", "true"),
            ("n", "false"),
            ("Off", "false"),
            ("1.50", "1.5"),
            ("0123", "83"),
            ("0o17", "15"),
            ("0x10", "16"),
            ("0b11", "3"),
            ("-0x1f", "-31"),
            ("+5", "5"),
            ("1_000", "1000"),
            ("123456789.123", "1.2345679e+08"),
            ("0.1", "0.1"),
            ("1e3", "1000"),
            ("1E400", "1E400"),
            ("1e39", "+Inf"),
            ("-0", "0"),
            ("-0.0", "-0"),
            ("1.0", "1"),
            (".5", "0.5"),
            ("5.", "5"),
            ("12345678901234567890", "12345678901234567890"),
            ("99999999999999999999", "1e+20"),
            ("9223372036854775808", "9223372036854775808"),
            ("-9223372036854775809", "-9.223372e+18"),
            (".inf", "+Inf"),
            ("-.inf", "-Inf"),
            (".nan", "NaN"),
            ("~", ""),
            ("null", ""),
            ("''", ""),
            ("\"\"", ""),
            ("'5'", "5"),
            ("2024-01-02", "2024-01-02"),
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
            ("12:30", "12:30"),
            ("1:30:45", "1:30:45"),
            ("089", "89"),
            ("08", "8"),
            ("0.0000001", "1e-07"),
            ("1000000.0", "1e+06"),
            ("123456.0", "123456"),
            ("1234567.0", "1.234567e+06"),
            ("16777217.0", "1.6777216e+07"),
            ("3.4028236e38", "+Inf"),
            ("!!str 5", "5"),
            ("!!int '5'", "5"),
            ("!!float 5", "5"),
            ("!!float 1.5", "1.5"),
            ("!!float .inf", "+Inf"),
            ("!!bool yes", "true"),
            ("!!bool 'yes'", "true"),
            ("!!null ''", ""),
            ("!!binary aGVsbG8=", "hello"),
            ("!!binary /w==", "\u{fffd}"),
            ("!custom 5", "5"),
            ("!!foo 5", "5"),
            ("!!timestamp 2024-01-02", "2024-01-02"),
            ("<<", "<<"),
            ("'it''s'", "it's"),
            ("\"x\\ty\"", "x\ty"),
            ("\"\\x41\"", "A"),
            ("x # c", "x"),
            ("x#c", "x#c"),
            ("ü", "ü"),
            ("<b>&", "<b>&"),
            ("+.5", "0.5"),
            ("-.5", "-0.5"),
            ("0x1p-2", "0x1p-2"),
            ("0x", "0x"),
            ("0b2", "0b2"),
            ("1__0", "10"),
            ("_1", "_1"),
            ("1_", "1"),
            ("1e_3", "1000"),
            ("0_7", "7"),
            ("0x_1", "1"),
            ("-1_000.5", "-1000.5"),
            ("0.1e-45", "0"),
            ("infinity", "infinity"),
            ("Inf", "Inf"),
            ("NaN", "NaN"),
            ("TRUE", "true"),
            ("tRUE", "tRUE"),
            ("NULL", ""),
            ("Null", ""),
            ("nUll", "nUll"),
            ("+0x10", "16"),
            ("-0b11", "-3"),
            ("1e+3", "1000"),
            ("190:20:30", "190:20:30"),
            ("+", "+"),
            (".", "."),
            ("...", "..."),
            ("=", "="),
            ("!!str", ""),
            ("!!str ~", "~"),
            ("! 5", "5"),
            ("!<tag:yaml.org,2002:int> 5", "5"),
            ("!!int 0x10", "16"),
            ("!!float 0x10", "16"),
            ("2024-1-2", "2024-1-2"),
            ("2024-01-02 03:04:05", "2024-01-02 03:04:05"),
            ("20240102", "20240102"),
        ] {
            assert_eq!(read(&format!("a: {scalar}")), Some(pairs(&[("a", text)])), "{scalar:?}");
        }
    }

    /// What sigs.k8s.io/yaml 1.6 said.
    #[test]
    fn a_document_becomes_the_map_that_go_makes_of_it() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("a:", &[("a", "")]),
            ("a: |\n  x\n  y\n", &[("a", "x\ny\n")]),
            ("a: >-\n  x\n  y\n", &[("a", "x y")]),
            ("a: 1\na: 2", &[("a", "2")]),
            ("a: 1\n\"a\": x", &[("a", "x")]),
            ("1: x", &[("1", "x")]),
            ("1.5: x", &[("1.5", "x")]),
            ("0.1: x", &[("0.1", "x")]),
            ("true: x", &[("true", "x")]),
            ("yes: x", &[("true", "x")]),
            ("'': x", &[("", "x")]),
            ("0x10: x", &[("16", "x")]),
            ("1e3: x", &[("1000", "x")]),
            (".inf: x", &[(".inf", "x")]),
            ("123456789.123: x", &[("1.2345679e+08", "x")]),
            ("2024-01-02: x", &[("2024-01-02", "x")]),
            ("? a\n: b", &[("a", "b")]),
            ("", &[]),
            (" ", &[]),
            ("\n", &[]),
            ("---\n", &[]),
            ("--- \na: 1", &[("a", "1")]),
            ("a: 1\n---\nb: 2", &[("a", "1")]),
            ("---\na: 1\n...\n", &[("a", "1")]),
            ("# only", &[]),
            ("null", &[]),
            ("~", &[]),
            ("{}", &[]),
            ("{a: 1, b: two}", &[("a", "1"), ("b", "two")]),
            ("{\"a\": 1}", &[("a", "1")]),
            ("a: &x 5\nb: *x", &[("a", "5"), ("b", "5")]),
            ("<<: {a: 1}\nb: 2", &[("a", "1"), ("b", "2")]),
            ("<<: {a: 1}\na: 2", &[("a", "2")]),
            ("<<: [{a: 1},{a: 2, b: 3}]", &[("a", "1"), ("b", "3")]),
            ("%YAML 1.1\n---\na: 1", &[("a", "1")]),
            ("\u{feff}a: 1", &[("a", "1")]),
            ("a: 1\r\nb: 2\r\n", &[("a", "1"), ("b", "2")]),
            ("a: {b: 1}\na: 2", &[("a", "2")]),
            ("a: 1.\nb: 1.e3", &[("a", "1"), ("b", "1000")]),
            ("2024: x\n2024: y", &[("2024", "true")]),
        ];
        let wrong = table
            .iter()
            .filter(|(source, expected)| read(source) != Some(pairs(expected)));
        assert_eq!(wrong.collect::<Vec<_>>(), Vec::<&(&str, &[(&str, &str)])>::new());
    }

    #[test]
    fn what_go_refuses_is_refused() {
        let sources = [
            "a: !!binary aGVsbG8",
            "a: [1]",
            "a: {b: 1}",
            "a: []",
            "a: {}",
            "~: x",
            "null: x",
            ": x",
            "12345678901234567890: x",
            "[a]: x",
            "{a: 1}: x",
            "5",
            "text",
            "[a]",
            "[]",
            "a: &x {k: 1}\n<<: *x",
            "<<: x",
            "a: *x",
            "a: b: c",
            "\ta: b",
            "a: @x",
            "a: `x`",
            "a: %x",
            "a: \u{0}",
            "a: \u{7}",
            "a: true\nb: [1, {c: 2}]",
            "b: 1\na: [",
            "a",
            "a: 1\n b: 2",
            "- a\n- b",
            "a: -",
            "a: !!int 5.5",
            "a: !!float abc",
        ];
        let read: Vec<_> = sources.into_iter().filter(|source| read(source).is_some()).collect();
        assert_eq!(read, Vec::<&str>::new());
    }

    #[test]
    fn errors_show_no_value() {
        for (source, error) in [
            ("a: [s3cret]", YamlError::NoText("a".to_owned())),
            ("s3cret", YamlError::NoMapping),
            ("a: @s3cret", YamlError::Syntax),
        ] {
            assert_eq!(yaml_string_map(source), Err(error.clone()));
            assert!(!error.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn what_yaml_may_cost_is_bounded() {
        let deep = format!("a: {}", "[".repeat(200));
        assert!(matches!(yaml_string_map(&deep), Err(YamlError::Limit(_))));
        let long = "a: 1\n".repeat(5_000_000);
        assert!(matches!(yaml_string_map(&long), Err(YamlError::Limit(_))));
    }
}
