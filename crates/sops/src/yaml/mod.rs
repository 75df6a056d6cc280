//! Parses YAML like sops: keys keep their order, aliases are expanded, and scalars have the types that go-yaml v3 gives them.
//!
//! `saphyr-parser` parses the syntax, and this module builds the values. Comments are dropped. sops encrypts the entries under
//! a merge key (`<<`) in their place, so they are kept there as [`Value::Merge`], and [`crate::read`] merges them after the
//! MAC was checked.

mod literal;
mod scalar;
pub(crate) mod timestamp;

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use crate::limits::{Budget, repeated_key};
use crate::{Format, SopsError, Value, text};

/// Parses every document of a YAML stream.
///
/// # Errors
/// [`SopsError::Syntax`] with the line, [`SopsError::DuplicateKey`], or [`SopsError::Limit`] for too deep nesting, too many
/// values, or too much text that is repeated by aliases.
pub fn parse(bytes: &[u8]) -> Result<Vec<Value>, SopsError> {
    let text = literal::quote(text::decode(bytes, Format::Yaml)?);
    let mut builder = Builder {
        parser: Parser::new_from_str(&text),
        anchors: HashMap::new(),
        budget: Budget::default(),
        line: 1,
    };
    let mut documents = Vec::new();
    loop {
        match builder.next()? {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(_) => {
                // Anchors are valid in their own document only. The map is replaced because clearing it takes time in
                // proportion to its capacity: a document with many anchors would slow down all following documents.
                builder.anchors = HashMap::new();
                let event = builder.next()?;
                documents.push(builder.node(event, 0)?);
            }
            _ => {}
        }
    }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// The anchored nodes that are complete. A node is added after its end, so it can't contain itself.
    anchors: HashMap<usize, Value>,
    budget: Budget,
    /// The line at which the latest event started, counted from 1.
    line: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<Event<'a>, SopsError> {
        match self.parser.next_event() {
            Some(Ok((event, Span { start, .. }))) => {
                self.line = start.line();
                Ok(event)
            }
            Some(Err(error)) => Err(scan_error(&error)),
            None => Ok(Event::StreamEnd),
        }
    }

    fn error(&self, problem: &str) -> SopsError {
        SopsError::Syntax {
            format: Format::Yaml,
            line: self.line,
            problem: problem.to_owned(),
        }
    }

    /// Builds the node that `event` starts.
    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Value, SopsError> {
        self.budget.spend(depth)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar::resolve(text, style, tag.as_deref()).map_err(|problem| self.error(problem))?;
                (value, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(anchor) => return self.alias(anchor, depth),
            _ => return Err(self.error("expected a value")),
        };
        if anchor > 0 {
            let copy = self.budget.copy(&value, depth)?;
            self.anchors.insert(anchor, copy);
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, SopsError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::Sequence(items)),
                event => items.push(self.node(event, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, SopsError> {
        let mut entries = Vec::new();
        loop {
            let event = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let merges = is_merge_key(&event);
            let key = self.key(event)?;
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            let value = if merges { self.merged(value)? } else { value };
            entries.push((key, value));
        }
        match repeated_key(&entries) {
            Some(key) => Err(SopsError::DuplicateKey {
                format: Format::Yaml,
                line: self.line,
                key: text::shown(key),
            }),
            None => Ok(Value::Mapping(entries)),
        }
    }

    /// Checks the value of a merge key.
    fn merged(&self, value: Value) -> Result<Value, SopsError> {
        let is_mapping = |value: &Value| matches!(value, Value::Mapping(_));
        let fits = match &value {
            Value::Sequence(items) => items.iter().all(is_mapping),
            single => is_mapping(single),
        };
        if fits {
            Ok(Value::Merge(Box::new(value)))
        } else {
            Err(self.error("the merge key << takes a mapping or a list of mappings; put << in quotes if it is a name"))
        }
    }

    /// A key. A number, boolean or time is taken as the text that is written in the file.
    fn key(&mut self, event: Event<'a>) -> Result<String, SopsError> {
        let refused = "a key must be text; put it in quotes";
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value =
                    scalar::resolve(text.clone(), style, tag.as_deref()).map_err(|problem| self.error(problem))?;
                if matches!(value, Value::Null) {
                    return Err(self.error(refused));
                }
                if anchor > 0 {
                    let copy = self.budget.copy(&value, 0)?;
                    self.anchors.insert(anchor, copy);
                }
                Ok(scalar::unfold(text, style).into_owned())
            }
            Event::Alias(anchor) => match self.alias(anchor, 0)? {
                Value::Null | Value::Sequence(_) | Value::Mapping(_) => Err(self.error(refused)),
                scalar => Ok(crate::scalar_text(&scalar)),
            },
            _ => Err(self.error(refused)),
        }
    }

    fn alias(&mut self, anchor: usize, depth: usize) -> Result<Value, SopsError> {
        match self.anchors.get(&anchor) {
            Some(value) => self.budget.copy(value, depth),
            None => Err(self
                .error("an alias (*) stands inside the node that it names, or its anchor (&) is in another document")),
        }
    }
}

/// Whether a key is a merge key, by the rules of go-yaml: `<<` without quotes, or with the tag `!!merge`, which sops writes.
fn is_merge_key(event: &Event<'_>) -> bool {
    match event {
        Event::Scalar(text, style, _, tag) if text == "<<" => {
            tag.as_deref().map_or(*style == ScalarStyle::Plain, |tag| {
                scalar::is_merge_tag(tag) || (*style == ScalarStyle::Plain && scalar::is_lone_tag(tag))
            })
        }
        _ => false,
    }
}

fn scan_error(error: &ScanError) -> SopsError {
    // The parser's texts are fixed, except one that quotes its input in backquotes: that part is cut off.
    let problem = error
        .info()
        .split('`')
        .next()
        .unwrap_or_default()
        .trim_end_matches([':', ' ']);
    SopsError::Syntax {
        format: Format::Yaml,
        line: error.marker().line(),
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;
    use crate::scalar_text;

    fn read(text: &str) -> String {
        let documents = parse(text.as_bytes()).unwrap();
        documents.iter().map(scalar_text).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn order_nesting_and_documents_are_kept() {
        assert_eq!(
            read("b:\n  - 1\n  - {z: x, y: [ ]}\na: |\n  one\n  two\n---\nc: ~\n"),
            "{\"b\":[1,{\"z\":\"x\",\"y\":[]}],\"a\":\"one\\ntwo\\n\"}\n{\"c\":null}"
        );
    }

    #[test]
    fn aliases_are_expanded_and_merge_keys_are_kept() {
        assert_eq!(
            read(
                "base: &b {k: 1}\n<<: *b\nlist: [*b, *b]\n&n name: x\n*n : y\n"
                    .replace("*n : y", "again: *n")
                    .as_str()
            ),
            r#"{"base":{"k":1},"<<":{"k":1},"list":[{"k":1},{"k":1}],"name":"x","again":"name"}"#
        );
    }

    #[test]
    fn merge_keys_are_those_of_go_yaml() {
        let merges = |text: &str| {
            let documents = parse(text.as_bytes()).unwrap();
            let entries = documents[0].as_mapping().unwrap();
            matches!(entries.last(), Some((key, Value::Merge(_))) if key == "<<")
        };
        for text in [
            "<<: {a: 1}",
            "!!merge <<: {a: 1}",
            "!!merge '<<': [{a: 1}]",
            "! <<: {a: 1}",
        ] {
            assert!(merges(text), "{text}");
        }
        for text in ["'<<': {a: 1}", "!!str <<: {a: 1}", "\"<<\": text"] {
            assert!(!merges(text), "{text}");
        }
        for text in ["<<: text", "<<:", "<<: [a]", "!!merge <<: ENC"] {
            assert!(
                matches!(parse(text.as_bytes()), Err(SopsError::Syntax { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn an_anchor_is_valid_in_its_own_document_only() {
        assert!(matches!(
            parse(b"a: &x 1\n---\nb: *x\n"),
            Err(SopsError::Syntax { line: 3, .. })
        ));
    }

    #[test]
    fn keys_are_taken_literally() {
        assert_eq!(read("1: a\ntrue: b\n0x1F: c\n"), r#"{"1":"a","true":"b","0x1F":"c"}"#);
        for text in ["~: a", "[a]: b", "{a: b}: c", "? \n: a"] {
            assert!(
                matches!(parse(text.as_bytes()), Err(SopsError::Syntax { line: 1 | 2, .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn a_repeated_key_is_refused() {
        assert!(matches!(
            parse(b"a:\n  b: 1\n  b: 2\n"),
            Err(SopsError::DuplicateKey { .. })
        ));
    }

    #[test]
    fn errors_name_the_line_and_no_content() {
        for text in [
            "a: 1\nb: \"hunter2",
            "a: 1\nb: [hunter2",
            "a: 1\nb: @hunter2",
            "a: 1\nhunter2",
            "a: 1\nb: *hunter2",
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, SopsError::Syntax { line: 2 | 3, .. }), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn alias_bombs_self_reference_and_deep_nesting_are_refused() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let inner = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [inner.as_str(); 10].join(",")));
        }
        assert!(matches!(parse(bomb.as_bytes()), Err(SopsError::Limit { .. })));

        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), ["*a"; 1000].join(","));
        assert!(matches!(parse(long.as_bytes()), Err(SopsError::Limit { .. })));

        assert!(matches!(parse(b"a: &a [*a]\n"), Err(SopsError::Syntax { .. })));
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(parse(format!("a: {}", "- ".repeat(5_000)).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn near_yaml_never_panics(text in "[a1\\-:?,\\[\\]{}#&*!|>'\"%@`~.\\\\ \n\t]{0,80}") {
            let _ = parse(text.as_bytes());
        }
    }
}
