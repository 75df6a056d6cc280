//! dotenv, in the plain dialect of sops: `NAME=value` lines, nothing quoted, `\n` for a line break.

use crate::limits::{Budget, repeated_key};
use crate::{Format, SopsError, Value, text};

/// Parses a dotenv file into one mapping of strings.
///
/// As in sops, everything after the first `=` belongs to the value, quotes and spaces too, and
/// `\n` within it is a line break. Lines that start with `#` are comments.
///
/// # Errors
/// [`SopsError::Syntax`] with the line, [`SopsError::DuplicateKey`] (sops would keep both), or a
/// limit.
pub fn parse(bytes: &[u8]) -> Result<Vec<Value>, SopsError> {
    let text = text::utf8(bytes, Format::Dotenv)?;
    let mut budget = Budget::default();
    let mut entries = Vec::new();
    let mut lines = 0;
    for line in text.split('\n') {
        lines += 1;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| SopsError::Syntax {
            format: Format::Dotenv,
            line: lines,
            problem: "expected NAME=value or a # comment".to_owned(),
        })?;
        budget.spend(1)?;
        entries.push((name.to_owned(), Value::String(value.replace("\\n", "\n"))));
    }
    match repeated_key(&entries) {
        Some(key) => Err(SopsError::DuplicateKey {
            format: Format::Dotenv,
            line: lines,
            key: text::shown(key),
        }),
        None => Ok(vec![Value::Mapping(entries)]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::scalar_text;

    #[test]
    fn values_are_taken_as_they_stand() {
        let parsed = parse(b"# note\nA=1\n\nB=\"quoted\" # kept\nC=x=y\nD=one\\ntwo\nE=\n").unwrap();
        assert_eq!(
            scalar_text(&parsed[0]),
            r##"{"A":"1","B":"\"quoted\" # kept","C":"x=y","D":"one\ntwo","E":""}"##
        );
    }

    #[test]
    fn a_line_without_a_name_is_refused_without_showing_it() {
        let error = parse(b"A=1\nhunter2\n").unwrap_err();
        assert!(matches!(error, SopsError::Syntax { line: 2, .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_repeated_name_is_refused() {
        assert!(matches!(parse(b"A=1\nA=2"), Err(SopsError::DuplicateKey { .. })));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
