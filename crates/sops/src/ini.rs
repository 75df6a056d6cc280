//! Parses INI in the dialect of sops.
//!
//! A section has lines of `name = value` or `name: value`. A value in `"""` or backquotes may have several lines. One pair of
//! plain quotes around a value is removed. A backslash at the end of a line continues the value on the next line. An
//! unquoted `#` or `;` starts a comment.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::limits::Budget;
use crate::{Format, SopsError, Value, text};

/// The section of names before the first header.
const DEFAULT_SECTION: &str = "DEFAULT";

/// Parses an INI file into one mapping of sections, each a mapping of strings.
///
/// Names before the first header are in a section `DEFAULT`, which is left out if it is empty. If a name occurs twice in a
/// section, its last value counts, as in sops. If a section occurs twice, it is in the mapping twice, as in sops, which
/// encrypts both; [`crate::read`] joins them.
///
/// # Errors
/// [`SopsError::Syntax`] with the line, or a limit.
pub fn parse(bytes: &[u8]) -> Result<Vec<Value>, SopsError> {
    let text = text::decode(bytes, Format::Ini)?;
    let mut parser = Parser {
        lines: text.split_inclusive('\n'),
        line: 0,
    };
    let mut sections = vec![Section::named(DEFAULT_SECTION)];
    let mut budget = Budget::default();
    while let Some(line) = parser.next_line() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        budget.spend(2)?;
        if let Some(header) = line.strip_prefix('[') {
            // The last bracket of the line ends the name.
            let name = header.rfind(']').map(|end| &header[..end]).unwrap_or_default();
            if name.is_empty() {
                return Err(parser.error("expected a section as [name]"));
            }
            sections.push(Section::named(name));
        } else if let Some(section) = sections.last_mut() {
            let (name, rest) = parser.name(line)?;
            let value = parser.value(rest)?;
            section.set(name, value);
        }
    }
    let kept = sections
        .into_iter()
        .enumerate()
        .filter(|(index, section)| *index > 0 || !section.entries.is_empty());
    let tree = kept.map(|(_, section)| (section.name, Value::Mapping(section.entries)));
    Ok(vec![Value::Mapping(tree.collect())])
}

/// Joins sections of one name, which most INI parsers take for one section.
///
/// A section with a name that the joined section already has is kept separate, as `NAME#2`, `NAME#3` and so on: a WireGuard
/// file has one `[Peer]` for each peer, and none of them may be lost.
pub(crate) fn join_sections(document: &mut Value) {
    let Value::Mapping(sections) = document else {
        return;
    };
    let mut joined: Vec<(String, Value)> = Vec::with_capacity(sections.len());
    let mut latest: HashMap<String, Latest> = HashMap::new();
    let mut taken: HashSet<String> = sections.iter().map(|(name, _)| name.clone()).collect();
    for (name, mut section) in std::mem::take(sections) {
        let Value::Mapping(entries) = &mut section else {
            joined.push((name, section));
            continue;
        };
        let names = || entries.iter().map(|(key, _)| key.clone());
        match latest.entry(name.clone()) {
            Entry::Vacant(first) => {
                first.insert(Latest {
                    at: joined.len(),
                    names: names().collect(),
                    number: 1,
                });
                joined.push((name, section));
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if entries.iter().all(|(key, _)| !known.names.contains(key)) {
                    known.names.extend(names());
                    if let Some((_, Value::Mapping(earlier))) = joined.get_mut(known.at) {
                        earlier.append(entries);
                    }
                    continue;
                }
                known.at = joined.len();
                known.names = names().collect();
                let apart = loop {
                    known.number += 1;
                    let apart = format!("{name}#{}", known.number);
                    if taken.insert(apart.clone()) {
                        break apart;
                    }
                };
                joined.push((apart, section));
            }
        }
    }
    *sections = joined;
}

/// The section that the next section of the same name is joined to.
struct Latest {
    /// Its position in the list of joined sections.
    at: usize,
    /// The names that it has.
    names: HashSet<String>,
    /// The number at the end of its name; 1 for the first section, whose name has none.
    number: usize,
}

struct Section {
    name: String,
    entries: Vec<(String, Value)>,
    positions: HashMap<String, usize>,
    /// How many names were `-`. sops numbers them: `#1`, `#2` and so on.
    unnamed: usize,
}

impl Section {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            entries: Vec::new(),
            positions: Default::default(),
            unnamed: 0,
        }
    }

    fn set(&mut self, name: &str, value: String) {
        let name = if name == "-" {
            self.unnamed += 1;
            format!("#{}", self.unnamed)
        } else {
            name.to_owned()
        };
        match self.positions.get(&name).and_then(|at| self.entries.get_mut(*at)) {
            Some((_, earlier)) => *earlier = Value::String(value),
            None => {
                self.positions.insert(name.clone(), self.entries.len());
                self.entries.push((name, Value::String(value)));
            }
        }
    }
}

struct Parser<'a> {
    lines: std::str::SplitInclusive<'a, char>,
    line: usize,
}

impl<'a> Parser<'a> {
    /// The next line with its line break, if it has one.
    fn next_line(&mut self) -> Option<&'a str> {
        let line = self.lines.next()?;
        self.line += 1;
        Some(line)
    }

    fn error(&self, problem: &str) -> SopsError {
        SopsError::Syntax {
            format: Format::Ini,
            line: self.line,
            problem: problem.to_owned(),
        }
    }

    /// Splits `line` into the name and the text after the delimiter.
    fn name<'l>(&self, line: &'l str) -> Result<(&'l str, &'l str), SopsError> {
        let quote = ["\"\"\"", "\"", "`"].into_iter().find(|quote| line.starts_with(quote));
        let (name, rest) = match quote {
            Some(quote) => line[quote.len()..]
                .split_once(quote)
                .ok_or_else(|| self.error("the quote around the name does not end"))?,
            None => line.split_at(line.find(['=', ':']).unwrap_or(line.len())),
        };
        let at = rest
            .find(['=', ':'])
            .ok_or_else(|| self.error("expected name = value"))?;
        match name.trim() {
            "" => Err(self.error("the name before the = is empty")),
            name => Ok((name, &rest[at + 1..])),
        }
    }

    fn value(&mut self, rest: &str) -> Result<String, SopsError> {
        let rest = rest.trim_start();
        for quote in ["\"\"\"", "`"] {
            if let Some(inner) = rest.strip_prefix(quote) {
                // The last quote of the line ends the value, so the value may contain others.
                return match inner.rfind(quote) {
                    Some(end) => Ok(inner[..end].to_owned()),
                    None => self.quoted_lines(inner, quote),
                };
            }
        }
        let rest = rest.trim_end();
        if let Some(start) = rest.strip_suffix('\\') {
            return Ok(self.continued_lines(start));
        }
        let rest = rest.split(['#', ';']).next().unwrap_or_default().trim();
        Ok(without_quotes(rest).to_owned())
    }

    fn quoted_lines(&mut self, first: &str, quote: &str) -> Result<String, SopsError> {
        let mut value = first.to_owned();
        while let Some(line) = self.next_line() {
            match line.rfind(quote) {
                // A quote with a backslash after it does not end the value.
                Some(end) if !line[end + quote.len()..].trim_end().ends_with('\\') => {
                    value.push_str(&line[..end]);
                    return Ok(value);
                }
                _ => value.push_str(line),
            }
        }
        Err(self.error("a quoted value does not end"))
    }

    fn continued_lines(&mut self, first: &str) -> String {
        let mut value = first.to_owned();
        while let Some(line) = self.next_line().map(str::trim).filter(|line| !line.is_empty()) {
            match line.strip_suffix('\\') {
                Some(start) => value.push_str(start),
                None => {
                    value.push_str(line);
                    break;
                }
            }
        }
        value
    }
}

/// Removes one pair of quotes, unless the text between has the same quote.
fn without_quotes(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| {
            text.strip_prefix(quote)?
                .strip_suffix(quote)
                .filter(|inner| !inner.contains(quote))
        })
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;
    use crate::scalar_text;

    fn read(text: &str) -> String {
        scalar_text(&parse(text.as_bytes()).unwrap()[0])
    }

    #[test]
    fn sections_and_values_keep_their_order() {
        assert_eq!(
            read(
                "top = 1\n; note\n[db]\nuser: admin ; who\npass = \"a b\"\nempty=\nuser = root\n[]x]\n- = one\n- = two\n"
            ),
            r##"{"DEFAULT":{"top":"1"},"db":{"user":"root","pass":"a b","empty":""},"]x":{"#1":"one","#2":"two"}}"##
        );
    }

    #[test]
    fn quoted_and_continued_values_span_lines() {
        assert_eq!(
            read("[a]\nb = \"\"\"one\ntwo # in\n\"\"\" # out\nc = one \\\n  two\\\n three\n\nd = `x;y`\n`e=f` = 'g'\n"),
            r##"{"a":{"b":"one\ntwo # in\n","c":"one twothree","d":"x;y","e=f":"g"}}"##
        );
    }

    #[test]
    fn broken_lines_are_refused_without_showing_them() {
        for text in [
            "[a]\nhunter2",
            "[a]\n[hunter2",
            "[a]\n=hunter2",
            "[a]\n\"hunter2=1",
            "[a]\nb=`hunter2",
            "[a]\n[]",
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, SopsError::Syntax { line: 2, .. }), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn sections_of_one_name_are_joined_unless_they_have_a_name_in_common() {
        let joined = |text: &str| {
            let mut documents = parse(text.as_bytes()).unwrap();
            join_sections(&mut documents[0]);
            scalar_text(&documents[0])
        };
        assert_eq!(
            joined("[a]\nx=1\n[b]\nx=2\n[a]\ny=3\n[DEFAULT]\nz=4\n"),
            r#"{"a":{"x":"1","y":"3"},"b":{"x":"2"},"DEFAULT":{"z":"4"}}"#
        );
        assert_eq!(
            joined("[peer]\nkey=1\n[peer]\nkey=2\n[peer#2]\nown=3\n[peer]\nkey=4\n[peer]\nip=5\n"),
            r##"{"peer":{"key":"1"},"peer#3":{"key":"2"},"peer#2":{"own":"3"},"peer#4":{"key":"4","ip":"5"}}"##
        );
        assert_eq!(
            joined("top=1\n[DEFAULT]\nlast=2\n"),
            r#"{"DEFAULT":{"top":"1","last":"2"}}"#
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn near_ini_never_panics(text in "[\\[\\]a=:#;\"'`\\\\é \n\r-]{0,60}") {
            let _ = parse(text.as_bytes());
        }
    }
}
