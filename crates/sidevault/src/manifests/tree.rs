//! YAML as a tree whose nodes know their lines, so that a finding can name one.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScanError, Span, StrInput};

/// How many nodes the documents of one file have at most, with those that aliases repeat.
const NODES: usize = 200_000;
/// How deep nodes may be nested.
const DEPTH: usize = 100;

/// The key whose value is merged into its mapping.
const MERGE: &str = "<<";

/// A node and where it starts.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Counted from 1.
    pub(crate) line: usize,
    /// Counted from 0, in characters.
    pub(crate) column: usize,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A scalar as it is written, without quotes. A missing value is empty.
    Scalar(String),
    Sequence(Vec<Node>),
    /// Keys, which are scalars, and values.
    Mapping(Vec<(Node, Node)>),
}

/// Why a file is no YAML that manifests consist of.
#[derive(Debug, PartialEq)]
pub(crate) struct Flaw {
    pub(crate) line: usize,
    pub(crate) problem: String,
}

impl Node {
    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of a sequence; none of another node.
    pub(crate) fn elements(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(elements) => elements,
            _ => &[],
        }
    }

    /// The entries of a mapping; none of another node.
    pub(crate) fn entries(&self) -> &[(Node, Node)] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The entry with this key.
    pub(crate) fn entry(&self, key: &str) -> Option<&(Node, Node)> {
        self.entries().iter().find(|(known, _)| known.text() == Some(key))
    }

    /// The node below these keys, one after the other: `spec.provider`.
    pub(crate) fn at(&self, path: &str) -> Option<&Node> {
        path.split('.')
            .try_fold(self, |node, key| node.entry(key).map(|(_, value)| value))
    }

    /// The elements of the sequence below these keys.
    pub(crate) fn all(&self, path: &str) -> &[Node] {
        self.at(path).map_or(&[], Node::elements)
    }

    /// The text of the scalar below these keys, unless it is missing or empty.
    pub(crate) fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path).and_then(Node::text).filter(|text| !text.is_empty())
    }

    /// The tree of a JSON value, without lines.
    pub(crate) fn from_json(value: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let scalar = |text: String| Self {
            line: 0,
            column: 0,
            value: Value::Scalar(text),
        };
        match value {
            Json::Null => scalar(String::new()),
            Json::Bool(value) => scalar(value.to_string()),
            Json::Number(value) => scalar(value.to_string()),
            Json::String(text) => scalar(text),
            Json::Array(elements) => Self {
                line: 0,
                column: 0,
                value: Value::Sequence(elements.into_iter().map(Self::from_json).collect()),
            },
            Json::Object(entries) => Self {
                line: 0,
                column: 0,
                value: Value::Mapping(
                    entries
                        .into_iter()
                        .map(|(key, value)| (scalar(key), Self::from_json(value)))
                        .collect(),
                ),
            },
        }
    }

    fn is_empty(&self) -> bool {
        matches!(&self.value, Value::Scalar(text) if text.is_empty() || text == "~" || text == "null")
    }
}

/// Reads all documents of a file. Documents without content are left out.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, Flaw> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        line: 1,
        column: 0,
    };
    let mut documents = Vec::new();
    loop {
        match builder.next()? {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(_) => {
                builder.anchors.clear();
                let event = builder.next()?;
                let document = builder.node(event, 0)?;
                if !document.is_empty() {
                    documents.push(document);
                }
            }
            _ => {}
        }
    }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    line: usize,
    column: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<Event<'a>, Flaw> {
        match self.parser.next_event() {
            Some(Ok((event, Span { start, .. }))) => {
                (self.line, self.column) = (start.line(), start.col());
                Ok(event)
            }
            Some(Err(error)) => Err(flaw(&error)),
            None => Ok(Event::StreamEnd),
        }
    }

    fn error(&self, problem: &str) -> Flaw {
        Flaw {
            line: self.line,
            problem: problem.to_owned(),
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node, Flaw> {
        self.nodes += 1;
        if self.nodes > NODES || depth > DEPTH {
            return Err(self.error("the file has too many values, or they are nested too deep"));
        }
        let (line, column) = (self.line, self.column);
        let (value, anchor) = match event {
            Event::Scalar(text, _, anchor, _) => (Value::Scalar(text.into_owned()), anchor),
            Event::SequenceStart(anchor, _) => {
                let mut elements = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => elements.push(self.node(event, depth + 1)?),
                    }
                }
                (Value::Sequence(elements), anchor)
            }
            Event::MappingStart(anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.error("an alias has no anchor"));
                };
                self.nodes += size(&node);
                return Ok(node);
            }
            _ => return Err(self.error("a value is missing")),
        };
        let node = Node { line, column, value };
        if anchor > 0 {
            // The copy counts too, so that anchors within anchors stay bounded.
            self.nodes += size(&node);
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Flaw> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        loop {
            let event = self.next()?;
            if event == Event::MappingEnd {
                return merged(entries).map(Value::Mapping);
            }
            let key = self.node(event, depth + 1)?;
            if key.text().is_none() {
                return Err(self.error("a key is not a text"));
            }
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            entries.push((key, value));
        }
    }
}

/// Puts what `<<` names into the mapping, as the YAML 1.1 that kubectl reads does: a key of the mapping itself wins over a merged
/// one, and of several mappings the first wins.
fn merged(entries: Vec<(Node, Node)>) -> Result<Vec<(Node, Node)>, Flaw> {
    let is_merge = |(key, _): &(Node, Node)| key.text() == Some(MERGE);
    if !entries.iter().any(is_merge) {
        return Ok(entries);
    }
    let (merges, mut merged): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_merge);
    let mut known: HashSet<String> = merged
        .iter()
        .filter_map(|(key, _)| key.text().map(str::to_owned))
        .collect();
    for (key, value) in merges {
        let mappings = match value.value {
            Value::Sequence(elements) => elements,
            _ => vec![value],
        };
        for mapping in mappings {
            let Value::Mapping(others) = mapping.value else {
                return Err(Flaw {
                    line: key.line,
                    problem: format!("{MERGE} needs a mapping, or a list of them"),
                });
            };
            merged.extend(
                others
                    .into_iter()
                    .filter(|(key, _)| key.text().is_some_and(|key| known.insert(key.to_owned()))),
            );
        }
    }
    Ok(merged)
}

fn size(node: &Node) -> usize {
    let below: usize = match &node.value {
        Value::Scalar(_) => 0,
        Value::Sequence(elements) => elements.iter().map(size).sum(),
        Value::Mapping(entries) => entries.iter().map(|(_, value)| 1 + size(value)).sum(),
    };
    1 + below
}

fn flaw(error: &ScanError) -> Flaw {
    // A message may quote the file behind a backquote, and the file may hold a secret.
    let problem = error.info().split('`').next().unwrap_or_default();
    Flaw {
        line: error.marker().line(),
        problem: problem.trim_end_matches([':', ' ']).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text in "[ a-z:\\-&*\\[\\]{}\n#|>'\"]{0,200}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn nodes_know_their_lines() {
        let documents = parse("# none\n---\na:\n  b: [x, y]\n---\nc: &c d\ne: *c\n").unwrap();
        assert_eq!(documents.len(), 2);
        let list = documents[0].at("a.b").unwrap();
        assert_eq!((list.line, list.elements().len()), (4, 2));
        assert_eq!(documents[1].text_at("e"), Some("d"));
        assert_eq!(documents[1].entry("e").unwrap().0.line, 7);
    }

    #[test]
    fn merge_keys_add_what_a_mapping_lacks() {
        let text = "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\none:\n  <<: *base\n  a: own\ntwo: {<<: [*more, *base]}\n";
        let documents = parse(text).unwrap();
        let at = |path: &str| documents[0].text_at(path).map(str::to_owned);
        let one = ["one.a", "one.b", "one.c"].map(at);
        assert_eq!(one, [Some("own".to_owned()), Some("2".to_owned()), None]);
        assert_eq!(["two.a", "two.b", "two.c"].map(at).map(Option::unwrap), ["1", "3", "4"]);
        // The line is that of the anchor, which is where a correction belongs.
        assert_eq!(documents[0].at("one").unwrap().entry("b").unwrap().0.line, 1);
        let flaw = parse("a:\n  <<: text\n").unwrap_err();
        assert_eq!(
            (flaw.line, flaw.problem.as_str()),
            (2, "<< needs a mapping, or a list of them")
        );
    }

    #[test]
    fn aliases_can_t_multiply_without_end() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let before = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        assert!(parse(&text).unwrap_err().problem.contains("too many values"));
        assert!(parse(&"[".repeat(5000)).is_err());
    }
}
