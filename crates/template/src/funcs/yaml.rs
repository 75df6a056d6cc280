//! External Secrets: YAML, as `sigs.k8s.io/yaml` has it: JSON's values in YAML 1.1's syntax.

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::yaml_emit::{self, Yaml};
use super::yaml_resolve::{self, Scalar};
use super::{Ctx, Fault, Func, Ran, Ty, any, f, utf8};
use crate::go::json::{self, Style};
use crate::go::val::{Items, Val};
use crate::limits::MAX_VALUE_DEPTH;

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
    ctx.work(source.len() as u64 / 4)?;
    // The parser lets a tab stand where go-yaml wants a space.
    let tab_first = source.trim_start_matches(['\n', '\r', ' ']).starts_with('\t');
    let mut loader = Loader {
        ctx,
        parser: Parser::new_from_str(source),
        anchors: Vec::new(),
        unended: open_end(source),
        end: 0,
    };
    let document = if tab_first {
        Err(Stop::Syntax)
    } else {
        loader.document()
    };
    let message = match document {
        Ok(Some(Node::Value(Val::Map(map)))) => return Ok(Val::Map(map)),
        Ok(None | Some(Node::Value(Val::Nil))) => return Ok(ctx.map(Items::new())),
        Ok(Some(Node::Value(other))) => {
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
        Ok(Some(Node::Merge)) | Err(Stop::Syntax) => {
            "error converting YAML to JSON: yaml: the text is not valid".to_owned()
        }
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
                        Scalar::Int(value) => Some(value.to_string()),
                        Scalar::Float(value) => Some(yaml_resolve::float_text(f64::from(value as f32))),
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
