//! Parses dotenv in the dialect of sops: lines of `NAME=value` without quotes, in which `\n` is a line break.

use crate::limits::{Budget, repeated_key};
use crate::metadata::FLAT_PREFIX;
use crate::text::{self, BYTE_ORDER_MARK};
use crate::{Format, SopsError, Value};

/// Parses a dotenv file into one mapping of strings.
///
/// As in sops, the value is everything after the first `=`, with quotes and spaces, and `\n` in it is a line break. Lines
/// that start with `#` are comments.
///
/// sops encrypts and authenticates a byte order mark as a part of the first name, and the carriage returns of Windows line
/// ends as parts of the values. So they stay here, and [`crate::read`] removes them after the MAC was checked.
///
/// # Errors
/// [`SopsError::Syntax`] with the line, [`SopsError::DuplicateKey`] (sops would keep both), or a
/// limit.
pub fn parse(bytes: &[u8]) -> Result<Vec<Value>, SopsError> {
    let text = text::decode_with_mark(bytes, Format::Dotenv)?;
    // sops ends its own lines with a line feed only. If they have Windows line ends, the whole file was converted after it
    // was encrypted, so the carriage returns are in no encrypted value.
    let converted = text
        .split('\n')
        .any(|line| line.starts_with(FLAT_PREFIX) && line.ends_with('\r'));
    let mut budget = Budget::default();
    let mut entries = Vec::new();
    let mut lines = 0;
    for line in text.split('\n') {
        lines += 1;
        let line = if converted { without_return(line) } else { line };
        let start = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        if start.trim().is_empty() || start.starts_with('#') {
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
    // The first name is served without its byte order mark, so it must be unique without it.
    let marked = entries.first().and_then(|(name, _)| name.strip_prefix(BYTE_ORDER_MARK));
    let repeats_marked = marked.filter(|marked| entries.iter().any(|(name, _)| name == marked));
    match repeated_key(&entries).or(repeats_marked) {
        Some(key) => Err(SopsError::DuplicateKey {
            format: Format::Dotenv,
            line: lines,
            key: text::shown(key),
        }),
        None => Ok(vec![Value::Mapping(entries)]),
    }
}

/// Removes the byte order mark from the first name and carriage returns from the ends of the values.
pub(crate) fn drop_marks(document: &mut Value) {
    let Value::Mapping(entries) = document else {
        return;
    };
    if let Some((name, _)) = entries.first_mut()
        && name.starts_with(BYTE_ORDER_MARK)
    {
        name.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    for (_, value) in entries {
        if let Value::String(text) = value
            && text.ends_with('\r')
        {
            text.pop();
        }
    }
}

fn without_return(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;
    use crate::scalar_text;

    #[test]
    fn values_are_taken_literally() {
        let parsed = parse(b"# note\nA=1\n\nB=\"quoted\" # kept\nC=x=y\nD=one\\ntwo\nE=\n").unwrap();
        assert_eq!(
            scalar_text(&parsed[0]),
            r##"{"A":"1","B":"\"quoted\" # kept","C":"x=y","D":"one\ntwo","E":""}"##
        );
    }

    #[test]
    fn windows_line_ends_and_byte_order_marks_are_removed() {
        let served = |text: &str| {
            let mut parsed = parse(text.as_bytes()).unwrap();
            drop_marks(&mut parsed[0]);
            scalar_text(&parsed[0])
        };
        assert_eq!(
            served("\u{feff}A=1\r\n\r\n# note\r\nB=\r\nC=x\n"),
            r#"{"A":"1","B":"","C":"x"}"#
        );
        assert_eq!(served("\u{feff}# note\nA=1"), r#"{"A":"1"}"#);
        assert_eq!(
            served("A=1\r\nB=two\\r\r\nsops_mac=m\r\n"),
            r#"{"A":"1","B":"two\\r","sops_mac":"m"}"#
        );
        let utf16: Vec<u8> = "\u{feff}A=é\r\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let mut parsed = parse(&utf16).unwrap();
        drop_marks(&mut parsed[0]);
        assert_eq!(scalar_text(&parsed[0]), r#"{"A":"é"}"#);
    }

    #[test]
    fn a_line_without_a_name_is_refused_without_showing_it() {
        let error = parse(b"A=1\nhunter2\n").unwrap_err();
        assert!(matches!(error, SopsError::Syntax { line: 2, .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_repeated_name_is_refused() {
        for text in ["A=1\nA=2", "\u{feff}A=1\nA=2"] {
            assert!(
                matches!(parse(text.as_bytes()), Err(SopsError::DuplicateKey { .. })),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
