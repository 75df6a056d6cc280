//! Parses YAML to values.

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::resolve::{self, Scalar};
use crate::funcs::{Context, Fault};
use crate::go::float;
use crate::go::val::{Items, Val};
use crate::limits::MAX_VALUE_DEPTH;

/// Parses the first document; External Secrets ignores the others. With `as_text`, numbers and booleans become the
/// strings that Go stores in a field of type `string`.
pub(super) fn load(ctx: &mut Context, source: &str, as_text: bool) -> Result<Val, Stop> {
    ctx.work(source.len() as u64 / 4)?;
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    // The parser accepts two things that go-yaml refuses: a tab instead of a space, and unprintable characters.
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

/// Whether YAML 1.1 calls the character printable.
fn is_read(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..) && c != '\u{feff}'
}

/// Why a text could not be parsed.
pub(super) enum Stop {
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
    /// The merge key `<<`.
    Merge,
}

struct Loader<'c, 's> {
    ctx: &'c mut Context,
    parser: Parser<'s, saphyr_parser::StrInput<'s>>,
    anchors: Vec<(usize, Val)>,
    unended: Option<(usize, bool)>,
    /// The position at which the last event ended.
    end: usize,
    /// Whether numbers and booleans become strings.
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

    /// Corrects a block scalar at the end of a source without a final line feed, to which the parser adds one.
    fn newline_too_many(&self, text: &str) -> bool {
        let (Some((end, in_text)), Some(before)) = (self.unended, text.strip_suffix('\n')) else {
            return false;
        };
        // No line feed is added if the last line consists of fewer spaces than the block's indentation.
        self.end >= end && (in_text || before.ends_with(['\n', ' ']))
    }

    /// Parses the first document; External Secrets ignores the others.
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
                let value = match resolve::resolve(&text, plain, tag).ok_or(Stop::Syntax)? {
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
        // JSON can't express these values.
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
                    match resolve::resolve(&text, plain, tag).ok_or(Stop::Syntax)? {
                        Scalar::Merge => None,
                        Scalar::Null => return Err(Stop::Syntax),
                        Scalar::Bool(value) => Some(value.to_string()),
                        // Go accepts only numbers of type `int` as keys.
                        Scalar::Int(value) if value > i128::from(i64::MAX) => return Err(Stop::Syntax),
                        Scalar::Int(value) => Some(value.to_string()),
                        Scalar::Float(value) => Some(resolve::special(float::format32(value))),
                        Scalar::Text(text) => Some(text),
                    }
                }
                Event::Alias(_) => match self.node(event, depth + 1)? {
                    Node::Value(Val::Str(text)) => Some(String::from_utf8_lossy(&text).into_owned()),
                    _ => return Err(Stop::Syntax),
                },
                // JSON can't have a map as a key.
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

    /// Merges `<<: *a`, or `<<: [*a, *b]`, where a key of `*a` replaces the same key of `*b`.
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

/// The end of a source without a final line feed, and whether its last line has other characters than spaces.
fn open_end(source: &str) -> Option<(usize, bool)> {
    let last = source.rsplit('\n').next().filter(|last| !last.is_empty())?;
    Some((source.chars().count(), !last.trim().is_empty()))
}
