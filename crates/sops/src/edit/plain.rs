//! Changes values of a file that is not encrypted, and leaves all other bytes as they are.
//!
//! The place of a value is found by its key and its present value, and is tried out: the changed text is parsed, and counts only if
//! it holds exactly the values that it should. So a form that this module does not know is refused, not damaged.

mod token;

use super::text::{Text, json_text};
use super::{ABSENT, Change, Edit, FORM, SCALARS_ONLY, Step, at, find, not_editable, take_out};
use crate::cipher::Problem;
use crate::{Format, MAX_FILE_BYTES, SopsError, Value, parse, recognize, scalar_text};
use token::{Token, tokens};

/// How often the whole file is parsed to find the place of one value. A file may have the same key and value in many places.
const MAX_TRIALS: usize = 64;

/// Returns the file with these changes, made one after the other. If no value changes, the same bytes are returned.
///
/// # Errors
/// Those of [`crate::read`], and [`SopsError::NotEditable`] for what can't be changed: lists and mappings as a whole, new entries of
/// a mapping that has no plain value yet, binary files, files that are not UTF-8, and forms of YAML and INI such as plain text over
/// several lines.
pub fn edit_plaintext(format: Format, bytes: &[u8], edits: &[Edit]) -> Result<Vec<u8>, SopsError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(SopsError::Limit {
            what: "bytes",
            limit: MAX_FILE_BYTES,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| not_editable(&[], "the file is not UTF-8; save it as UTF-8"))?;
    let format = recognize::format(format, bytes)?;
    if format == Format::Binary {
        return Err(not_editable(&[], "it is no YAML, JSON, dotenv or INI"));
    }
    let mut editor = PlainEditor {
        format,
        text: text.to_owned(),
        documents: parse(format, bytes)?,
    };
    for edit in edits {
        let made = match &edit.change {
            Change::Set(value) => editor.set(edit.document, &edit.path, value),
            Change::Remove => editor.remove(edit.document, &edit.path),
        };
        made.map_err(|problem| not_editable(&edit.path, problem))?;
    }
    if editor.text.len() > MAX_FILE_BYTES {
        return Err(SopsError::Limit {
            what: "bytes",
            limit: MAX_FILE_BYTES,
        });
    }
    Ok(editor.text.into_bytes())
}

struct PlainEditor {
    format: Format,
    text: String,
    documents: Vec<Value>,
}

impl PlainEditor {
    fn set(&mut self, document: usize, path: &[Step], value: &Value) -> Result<(), Problem> {
        let value = match (self.format, value) {
            (_, Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Merge(_) | Value::Bytes(_)) => {
                return Err(SCALARS_ONLY);
            }
            (Format::Dotenv | Format::Ini, value) => Value::String(scalar_text(value)),
            (_, value) => value.clone(),
        };
        let Some(old) = self.value(document, path) else {
            return self.add(document, path, value);
        };
        if *old == value {
            return Ok(());
        }
        let old = old.clone();
        let wanted = self.with(document, path, &value)?;
        let mut trials = 0;
        for token in self.candidates(path, &old)? {
            for spelling in token.spellings(self.format, &value) {
                trials += 1;
                let text = token.replaced(&self.text, &spelling);
                if self.holds(&text, &wanted) {
                    (self.text, self.documents) = (text, wanted);
                    return Ok(());
                }
                if trials >= MAX_TRIALS {
                    return Err(FORM_OF_PLAINTEXT);
                }
            }
        }
        Err(FORM_OF_PLAINTEXT)
    }

    fn add(&mut self, document: usize, path: &[Step], value: Value) -> Result<(), Problem> {
        let (key, parent) = (last_key(path)?, &path[..path.len() - 1]);
        let Some(Value::Mapping(entries)) = self.value(document, parent) else {
            return Err("there is no mapping at this place; change the file itself");
        };
        let is_plain = |value: &Value| !matches!(value, Value::Sequence(_) | Value::Mapping(_) | Value::Merge(_));
        let last = entries
            .iter()
            .rposition(|(_, value)| is_plain(value))
            .ok_or("the mapping has no plain value to put it behind; change the file itself")?;
        let mut sibling = parent.to_vec();
        sibling.push(Step::Key(entries[last].0.clone()));
        let mut wanted = self.documents.clone();
        let place = find(&self.documents[document], parent).ok_or(ABSENT)?;
        match at(&mut wanted[document], &place, |place| place.plain) {
            Some(Value::Mapping(entries)) => entries.insert(last + 1, (key.to_owned(), value.clone())),
            _ => return Err(ABSENT),
        }
        let token = self.locate(document, &sibling)?;
        let spellings = match self.format {
            Format::Json => {
                let quoted = json_text(&scalar_text(&value));
                vec![quoted[1..quoted.len() - 1].to_owned()]
            }
            _ => Token::default().spellings(self.format, &value),
        };
        for spelling in spellings {
            let text = self.at_mark(&token, |text, mark| text.insert_behind(mark, key, &spelling))?;
            if self.holds(&text, &wanted) {
                (self.text, self.documents) = (text, wanted);
                return Ok(());
            }
        }
        Err(FORM_OF_PLAINTEXT)
    }

    fn remove(&mut self, document: usize, path: &[Step]) -> Result<(), Problem> {
        let mut place = find(self.documents.get(document).ok_or(ABSENT)?, path).ok_or(ABSENT)?;
        let token = self.locate(document, path)?;
        let mut wanted = self.documents.clone();
        let last = place.pop().ok_or(ABSENT)?;
        take_out(at(&mut wanted[document], &place, |place| place.plain), last.plain);
        let text = self.at_mark(&token, |text, mark| text.remove(mark))?;
        if !self.holds(&text, &wanted) {
            return Err(FORM_OF_PLAINTEXT);
        }
        (self.text, self.documents) = (text, wanted);
        Ok(())
    }

    /// Finds the text of a value, by putting another value in its place.
    fn locate(&self, document: usize, path: &[Step]) -> Result<Token, Problem> {
        let old = self.value(document, path).ok_or(ABSENT)?;
        let mark = self.mark();
        let wanted = self.with(document, path, &Value::String(mark.clone()))?;
        let found = self
            .candidates(path, old)?
            .into_iter()
            .take(MAX_TRIALS)
            .find(|token| self.holds(&token.replaced(&self.text, &self.quoted(&mark)), &wanted));
        found.ok_or(FORM_OF_PLAINTEXT)
    }

    /// The places that may have the value `old` of the key at the end of `path`.
    fn candidates(&self, path: &[Step], old: &Value) -> Result<Vec<Token>, Problem> {
        let mut found = tokens(self.format, &self.text, last_key(path)?);
        found.retain(|token| token.may_be(self.format, &self.text, old));
        Ok(found)
    }

    /// Changes the text around a value, which a mark stands for meanwhile.
    fn at_mark(
        &self,
        token: &Token,
        change: impl FnOnce(&mut Text, &str) -> Result<(), Problem>,
    ) -> Result<String, Problem> {
        let mark = self.mark();
        let mut text = Text::new(self.format, &token.replaced(&self.text, &self.quoted(&mark)));
        change(&mut text, &mark)?;
        Ok(text
            .as_str()
            .replacen(&self.quoted(&mark), &self.text[token.range.clone()], 1))
    }

    /// A word that the text does not have.
    fn mark(&self) -> String {
        let mark = |n: usize| format!("sidevaultmark{n}x");
        let n = (0..).find(|n| !self.text.contains(&mark(*n))).unwrap_or_default();
        mark(n)
    }

    fn quoted(&self, mark: &str) -> String {
        match self.format {
            Format::Json => format!("\"{mark}\""),
            _ => mark.to_owned(),
        }
    }

    fn value(&self, document: usize, path: &[Step]) -> Option<&Value> {
        path.iter()
            .try_fold(self.documents.get(document)?, |value, step| match (step, value) {
                (Step::Key(key), Value::Mapping(_)) => value.get(key),
                (Step::Item(index), Value::Sequence(items)) => items.get(*index),
                _ => None,
            })
    }

    /// The documents with another value at this path.
    fn with(&self, document: usize, path: &[Step], value: &Value) -> Result<Vec<Value>, Problem> {
        let mut wanted = self.documents.clone();
        let place = find(self.documents.get(document).ok_or(ABSENT)?, path).ok_or(ABSENT)?;
        *at(&mut wanted[document], &place, |place| place.plain).ok_or(ABSENT)? = value.clone();
        Ok(wanted)
    }

    fn holds(&self, text: &str, wanted: &[Value]) -> bool {
        parse(self.format, text.as_bytes()).is_ok_and(|documents| documents == wanted)
    }
}

const FORM_OF_PLAINTEXT: Problem = FORM;

fn last_key(path: &[Step]) -> Result<&str, Problem> {
    match path.last() {
        Some(Step::Key(key)) => Ok(key),
        _ => Err("an item of a list can't be changed alone; change the file itself"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Document, Identities, read};

    const YAML: &str = "# top\nuser: ada  # who\n\"port\": 1\nempty:\npem: |\n    one\n    two\n\nflow: {a: x, b: 'it''s'}\nlist:\n  - name: x\n    value: y\n---\nuser: ada\n";
    const JSON: &str = "{\n  \"user\": \"ada\",\n  \"port\": 1, \"more\": {\"user\": \"ada\"}\n}\n";
    const DOTENV: &str = "# c\nUSER=ada\nPORT=1\n";
    const INI: &str = "; c\n[db]\nuser = ada ; who\nport: \"1\"\n[two]\nuser = ada\n";

    fn steps(path: &str) -> Vec<Step> {
        let step = |step: &str| match step.parse() {
            Ok(index) => Step::Item(index),
            Err(_) => Step::Key(step.to_owned()),
        };
        path.split('.').map(step).collect()
    }

    fn made(format: Format, file: &str, document: usize, path: &str, change: Change) -> Result<String, SopsError> {
        let path = steps(path);
        let edit = Edit { document, path, change };
        edit_plaintext(format, file.as_bytes(), &[edit]).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn text(text: &str) -> Change {
        Change::Set(Value::String(text.to_owned()))
    }

    /// The lines that differ, before and after.
    fn difference<'a>(before: &'a str, after: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
        let only = |these: &'a str, those: &'a str| -> Vec<&'a str> {
            these
                .lines()
                .filter(|line| !those.lines().any(|other| other == *line))
                .collect()
        };
        (only(before, after), only(after, before))
    }

    #[test]
    fn a_changed_value_changes_its_own_text_only() {
        for (format, file, document, path, change, gone, come) in [
            (
                Format::Yaml,
                YAML,
                0,
                "user",
                text("bob"),
                &["user: ada  # who"][..],
                &["user: bob  # who"][..],
            ),
            (
                Format::Yaml,
                YAML,
                0,
                "port",
                Change::Set(Value::Int("2".to_owned())),
                &["\"port\": 1"],
                &["\"port\": 2"],
            ),
            (Format::Yaml, YAML, 0, "empty", text("x"), &["empty:"], &["empty: x"]),
            (
                Format::Yaml,
                YAML,
                0,
                "pem",
                text("three\n"),
                &["    one", "    two"],
                &["  three"],
            ),
            (
                Format::Yaml,
                YAML,
                0,
                "flow.b",
                text("c"),
                &["flow: {a: x, b: 'it''s'}"],
                &["flow: {a: x, b: \"c\"}"],
            ),
            (
                Format::Yaml,
                YAML,
                0,
                "list.0.value",
                text("true"),
                &["    value: y"],
                &["    value: \"true\""],
            ),
            (
                Format::Json,
                JSON,
                0,
                "more.user",
                text("b\"b"),
                &["  \"port\": 1, \"more\": {\"user\": \"ada\"}"],
                &["  \"port\": 1, \"more\": {\"user\": \"b\\\"b\"}"],
            ),
            (
                Format::Dotenv,
                DOTENV,
                0,
                "USER",
                text("a\nb"),
                &["USER=ada"],
                &["USER=a\\nb"],
            ),
            (
                Format::Ini,
                INI,
                0,
                "db.user",
                text("bob"),
                &["user = ada ; who"],
                &["user = bob ; who"],
            ),
            (
                Format::Ini,
                INI,
                0,
                "db.port",
                text("2"),
                &["port: \"1\""],
                &["port: \"2\""],
            ),
            (
                Format::Yaml,
                YAML,
                0,
                "flow.c",
                text("z"),
                &["flow: {a: x, b: 'it''s'}"],
                &[],
            ),
            (Format::Yaml, YAML, 0, "new", text("z"), &[], &["new: z"]),
            (Format::Ini, INI, 0, "db.new", text("z"), &[], &["new = z"]),
            (
                Format::Json,
                JSON,
                0,
                "more.new",
                text("z"),
                &["  \"port\": 1, \"more\": {\"user\": \"ada\"}"],
                &["  \"port\": 1, \"more\": {\"user\": \"ada\",", "  \"new\": \"z\"}"],
            ),
            (
                Format::Yaml,
                YAML,
                0,
                "pem",
                Change::Remove,
                &["pem: |", "    one", "    two"],
                &[],
            ),
            (
                Format::Json,
                JSON,
                0,
                "user",
                Change::Remove,
                &["  \"user\": \"ada\","],
                &[],
            ),
            (Format::Dotenv, DOTENV, 0, "PORT", Change::Remove, &["PORT=1"], &[]),
        ] {
            match made(format, file, document, path, change) {
                Ok(after) => assert_eq!(
                    difference(file, &after),
                    (gone.to_vec(), come.to_vec()),
                    "{path}\n{after}"
                ),
                // A mapping in braces gets no line of its own.
                Err(error) => assert!(path == "flow.c", "{path}: {error}"),
            }
        }
    }

    #[test]
    fn equal_keys_and_values_are_told_apart() {
        let after = made(Format::Yaml, YAML, 1, "user", text("bob")).unwrap();
        assert!(
            after.contains("user: ada  # who") && after.ends_with("---\nuser: bob\n"),
            "{after}"
        );
        let after = made(Format::Ini, INI, 0, "two.user", text("bob")).unwrap();
        assert!(after.ends_with("[two]\nuser = bob\n"), "{after}");
    }

    #[test]
    fn what_can_not_be_changed_is_refused() {
        for (format, file, path, change) in [
            (Format::Yaml, YAML, "list", text("x")),
            (Format::Yaml, YAML, "absent.key", text("x")),
            (Format::Yaml, YAML, "list.0", text("x")),
            (Format::Yaml, "a: one\n  two\n", "a", text("x")),
            (Format::Yaml, YAML, "absent", Change::Remove),
            (Format::Dotenv, DOTENV, "A=B", text("x")),
            (Format::Binary, "bytes", "a", text("x")),
        ] {
            let error = made(format, file, 0, path, change).unwrap_err();
            assert!(matches!(error, SopsError::NotEditable { .. }), "{path}: {error}");
        }
        assert!(edit_plaintext(Format::Yaml, b"\xff\xfea\0", &[]).is_err());
    }

    /// A file in which a key has very many places is refused after a bounded number of attempts.
    #[test]
    fn many_equal_lines_end_the_search() {
        let entry = "- {a: 1, b: 2}\n";
        let file = format!("x:\n{}", entry.repeat(500));
        let error = made(
            Format::Yaml,
            &file,
            0,
            "x.400.a",
            Change::Set(Value::Int("3".to_owned())),
        )
        .unwrap_err();
        assert!(matches!(error, SopsError::NotEditable { .. }), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_name_and_text_are_stored_or_refused(
            file in 0..4_usize,
            key in r#"(\PC|[\x00-\x20\\"'#:=,\[\]{}&*!|>%@`-]|[a-z0-9_.]){1,6}"#,
            known: bool,
            text in r#"(\PC|[\x00-\x20\\"'#:=]|[a-z0-9]|\n){0,12}"#,
        ) {
            let (format, file, section, old) = [
                (Format::Yaml, YAML, None, "pem"),
                (Format::Json, JSON, None, "user"),
                (Format::Dotenv, DOTENV, None, "USER"),
                (Format::Ini, INI, Some("db"), "user"),
            ][file];
            let key = if known { old.to_owned() } else { key };
            let path: Vec<Step> = section.into_iter().chain([&key[..]]).map(|key| Step::Key(key.to_owned())).collect();
            let edit = Edit { document: 0, path, change: Change::Set(Value::String(text.clone())) };
            match edit_plaintext(format, file.as_bytes(), &[edit]) {
                Ok(after) => {
                    let Document::Tree(documents) = read(format, &after, &Identities::default()).unwrap().document else {
                        panic!("a tree was expected")
                    };
                    let mapping = section.map_or(&documents[0], |section| documents[0].get(section).unwrap());
                    let served = mapping.get(&key).and_then(Value::as_str).unwrap();
                    // Dotenv values lose a carriage return at their end when they are served.
                    prop_assert!(served == text || (format == Format::Dotenv && text.strip_suffix('\r') == Some(served)));
                }
                Err(error) => prop_assert!(matches!(error, SopsError::NotEditable { .. }), "{error}"),
            }
        }
    }
}
