//! Parses YAML to a map of strings.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::load::{Stop, load};
use crate::funcs::{Context, Fault};
use crate::go::val::{Str, Val};
use crate::limits::Budget;

/// Why a text is not a YAML map of strings. Quotes nothing of the text, because its keys may be rendered from values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum YamlError {
    /// The text is not YAML.
    #[error("it is no YAML")]
    Syntax,
    /// The document is a string, a number or a list.
    #[error("it is no mapping")]
    NoMapping,
    /// A value is a list or a mapping. Holds the number of its entry, counted from 1 in the order of the keys.
    #[error("the value of its entry {0} is no string, number or boolean")]
    NoText(usize),
    /// One of [`crate::limits`] was exceeded.
    #[error("{0}")]
    Limit(&'static str),
}

/// Parses the first document of a YAML text as `sigs.k8s.io/yaml` parses it into Go's `map[string]string`. Numbers and
/// booleans become strings (`0x10` is `16`, `yes` is `true`, `1.50` is `1.5`, with the precision of a `float32`),
/// `null` becomes the empty string, and the last of two equal keys is kept. The limits of a rendering apply, see
/// [`crate::limits`].
///
/// # Errors
/// What is wrong, without a quote of the text.
pub fn yaml_string_map(source: &str) -> Result<BTreeMap<String, String>, YamlError> {
    let mut ctx = Context::new(SystemTime::UNIX_EPOCH, Budget::default());
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
    let entry = |(index, (key, value)): (usize, (&Str, &Val))| match value {
        Val::Str(value) => Ok((text(key), text(value))),
        Val::Nil => Ok((text(key), String::new())),
        _ => Err(YamlError::NoText(index + 1)),
    };
    items.iter().enumerate().map(entry).collect()
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

    /// The expected values are the output of sigs.k8s.io/yaml 1.6.
    #[test]
    fn scalars_become_the_same_strings_as_in_go() {
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

    /// The expected values are the output of sigs.k8s.io/yaml 1.6.
    #[test]
    fn documents_become_the_same_maps_as_in_go() {
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
    fn documents_that_go_refuses_are_refused() {
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
    fn errors_contain_no_value() {
        for (source, error) in [
            ("a: [s3cret]", YamlError::NoText(1)),
            ("s3cret", YamlError::NoMapping),
            ("a: @s3cret", YamlError::Syntax),
        ] {
            assert_eq!(yaml_string_map(source), Err(error.clone()));
            assert!(!error.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn parsing_is_bounded() {
        let deep = format!("a: {}", "[".repeat(200));
        assert!(matches!(yaml_string_map(&deep), Err(YamlError::Limit(_))));
        let long = "a: 1\n".repeat(5_000_000);
        assert!(matches!(yaml_string_map(&long), Err(YamlError::Limit(_))));
    }
}
