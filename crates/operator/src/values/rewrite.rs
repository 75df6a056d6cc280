//! `dataFrom[].rewrite`: renames keys and merges JSON values.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use sidevault_go::regex::Regex;
use sidevault_go::{float, json};
use sidevault_template as template;

use super::{Values, ValuesError};
use crate::types::{
    MergeConflictPolicy, MergePriorityPolicy, MergeStrategy, Rewrite, RewriteMerge, RewriteRegexp, RewriteTransform,
};

/// How many keys one sentence of [`Rewritten::lost`] names.
const NAMED: usize = 5;
/// How many bytes of a key a sentence shows.
const SHOWN: usize = 100;

/// The result of a rewrite.
#[derive(Default)]
pub(crate) struct Rewritten {
    /// The values by their new keys.
    pub(crate) values: Values,
    /// One sentence for each new key that is empty or is shared by several values, because all but one of these values
    /// are lost. The sentences name keys and no values. External Secrets loses the values silently.
    pub(crate) lost: Vec<String>,
}

/// Applies the operations in order.
///
/// # Errors
/// Says which operation failed, and why.
pub(crate) fn rewrite(operations: &[Rewrite], values: Values) -> Result<Rewritten, ValuesError> {
    let (mut values, mut lost) = (values, Vec::new());
    // The sentence about the empty key. A later operation may rename the empty key, so the sentence is added at the
    // end.
    let mut emptied = None;
    for (index, operation) in operations.iter().enumerate() {
        let failed = |error| ValuesError::new(format!("failed rewrite operation[{index}]: {error}"));
        let renamed = match operation {
            Rewrite { merge: Some(with), .. } => {
                values = merge(with, values).map_err(failed)?;
                continue;
            }
            Rewrite { regexp: Some(with), .. } => regexp(with, values),
            Rewrite {
                transform: Some(with), ..
            } => transform(with, values),
            _ => continue,
        };
        let Renamed { values: after, from } = renamed.map_err(failed)?;
        values = after;
        for (key, from) in from {
            // A field without a label had an empty key before the operation.
            let named: Vec<&String> = from.iter().filter(|from| !from.is_empty()).collect();
            let names = listed(&named);
            match (key.as_str(), from.as_slice()) {
                ("", _) if !named.is_empty() => {
                    emptied = Some(format!(
                        "rewrite[{index}] turns the keys {names} into the empty key: a Secret can't have an empty key, so \
                         these values are left out"
                    ));
                }
                (_, [_, .., last]) => lost.push(format!(
                    "rewrite[{index}] turns the keys {names} into the same key {}: only the value of {} is kept",
                    shown(&key),
                    shown(last)
                )),
                _ => {}
            }
        }
    }
    if values.contains_key("") {
        lost.extend(emptied);
    }
    Ok(Rewritten { values, lost })
}

/// The first [`NAMED`] keys, quoted, and how many more there are.
fn listed(keys: &[&String]) -> String {
    let named: Vec<String> = keys.iter().take(NAMED).map(|key| shown(key)).collect();
    let more = keys.len().saturating_sub(NAMED);
    let named = named.join(", ");
    if more > 0 {
        format!("{named} and {more} more")
    } else {
        named
    }
}

/// A key, quoted and cut to [`SHOWN`] bytes.
fn shown(key: &str) -> String {
    let cut = key.floor_char_boundary(SHOWN);
    if cut < key.len() {
        format!("{:?}…", &key[..cut])
    } else {
        format!("{key:?}")
    }
}

/// The result of one operation that renames keys.
#[derive(Debug, Default)]
pub(crate) struct Renamed {
    /// The values by their new keys. If several keys are renamed to the same key, the value of the last of them, in the
    /// order of the old keys, is kept.
    pub(crate) values: Values,
    /// The old keys by the new key, in order.
    from: BTreeMap<String, Vec<String>>,
}

impl Renamed {
    fn put(&mut self, key: String, from: String, value: Vec<u8>) {
        self.values.insert(key.clone(), value);
        self.from.entry(key).or_default().push(from);
    }
}

/// Replaces every match of the pattern in every key.
pub(crate) fn regexp(with: &RewriteRegexp, values: Values) -> Result<Renamed, ValuesError> {
    let source = &with.source;
    let pattern = Regex::new(source).map_err(|error| {
        let why = error.quoting(source);
        ValuesError::new(format!("regexp failed with failed to compile: {why}"))
    })?;
    let mut renamed = Renamed::default();
    for (key, value) in values {
        renamed.put(pattern.replace_all(&key, &with.target), key, value);
    }
    Ok(renamed)
}

/// Replaces every key by the output of the template, which sees the key as `.value`.
pub(crate) fn transform(with: &RewriteTransform, values: Values) -> Result<Renamed, ValuesError> {
    let template = template::Template::parse("transform", &with.template)
        .map_err(|error| ValuesError::new(format!("transform failed with failed to parse template: {error}")))?;
    let mut renamed = Renamed::default();
    for (key, value) in values {
        let input = template::Values::from([("value".to_owned(), template::Value::from(key.as_str()))]);
        let new = template.render(&input).map_err(|error| {
            ValuesError::new(format!(
                "transform failed with failed to execute template for key {key:?}: {error}"
            ))
        })?;
        renamed.put(String::from_utf8_lossy(&new).into_owned(), key, value);
    }
    Ok(renamed)
}

/// Merges values that are JSON objects. A member of a later object replaces the same member of an earlier one; the
/// objects of `priority` come last.
fn merge(with: &RewriteMerge, values: Values) -> Result<Values, ValuesError> {
    let failed = |what: String| ValuesError::new(format!("merge failed with {what}"));
    let others = values.keys().filter(|key| !with.priority.contains(key));
    let mut merged = serde_json::Map::new();
    let mut conflicts = Vec::new();
    for key in others.chain(&with.priority) {
        let Some(value) = values.get(key) else {
            if with.priority_policy == MergePriorityPolicy::IgnoreNotFound {
                continue;
            }
            return Err(failed(format!("key {key:?} not found in input map")));
        };
        let object = match json::unmarshal(value) {
            Some(Json::Object(object)) => object,
            Some(Json::Null) => continue,
            other => {
                return Err(failed(format!(
                    "failed to unmarshal JSON: {}",
                    not_an_object(key, value, other.as_ref())
                )));
            }
        };
        for (name, value) in object {
            if merged.insert(name.clone(), value).is_some() {
                conflicts.push(name);
            }
        }
    }
    if with.conflict_policy == MergeConflictPolicy::Error && !conflicts.is_empty() {
        return Err(failed(format!("conflicts: {}", conflicts.join(", "))));
    }
    match with.strategy {
        MergeStrategy::Extract => Ok(merged.into_iter().map(|(key, value)| (key, bytes(value))).collect()),
        MergeStrategy::Json if with.into.is_empty() => Err(failed("missing 'into' field".to_owned())),
        MergeStrategy::Json => {
            let mut out = values;
            out.insert(with.into.clone(), json::marshal(&Json::Object(merged), false));
            Ok(out)
        }
    }
}

/// Why a value is not a JSON object, in Go's words. For a syntax error Go quotes the offending character of the value;
/// this names the key instead.
fn not_an_object(key: &str, value: &[u8], json: Option<&Json>) -> String {
    let kind = match json {
        Some(Json::String(_)) => "string",
        Some(Json::Number(_)) => "number",
        Some(Json::Bool(_)) => "bool",
        Some(_) => "array",
        None if value.trim_ascii().is_empty() => return "unexpected end of JSON input".to_owned(),
        None => return format!("the value of {key:?} is not JSON"),
    };
    format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
}

/// A JSON value as the value of a Secret: strings without quotes, numbers in decimal notation, everything else as JSON.
fn bytes(value: Json) -> Vec<u8> {
    match value {
        Json::Null => Vec::new(),
        Json::String(text) => text.into_bytes(),
        Json::Number(number) => float::format(number.as_f64().unwrap_or_default(), 'f', None).into_bytes(),
        value => json::marshal(&value, true),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn regexp_renames_keys_with_groups() {
        let with = RewriteRegexp {
            source: "^db-(.*)$".into(),
            target: "DB_$1".into(),
        };
        let out = regexp(&with, values(&[("db-user", "a"), ("other", "b")]))
            .unwrap()
            .values;
        assert_eq!(out, values(&[("DB_user", "a"), ("other", "b")]));
    }

    #[test]
    fn regexp_has_gos_syntax() {
        let rename = |source: &str, target: &str| {
            let with = RewriteRegexp {
                source: source.into(),
                target: target.into(),
            };
            regexp(&with, values(&[("Schlüssel [1]", "a")])).unwrap().values
        };
        assert_eq!(rename(r"\W", "_"), values(&[("Schl_ssel__1_", "a")]));
        assert_eq!(rename("[[]", "("), values(&[("Schlüssel (1]", "a")]));
        assert_eq!(rename("(Schl).*", "$1x"), values(&[("", "a")]));
    }

    fn lost(operations: serde_json::Value, keys: &[&str]) -> Vec<String> {
        let operations: Vec<Rewrite> = serde_json::from_value(operations).unwrap();
        let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (*key, "s3cret")).collect();
        rewrite(&operations, values(&pairs)).unwrap().lost
    }

    #[test]
    fn keys_that_become_equal_or_empty_are_named() {
        let joins = json!([{ "regexp": { "source": "[0-9]", "target": "" } }]);
        assert!(lost(joins.clone(), &["a1", "b2", "c"]).is_empty());
        assert_eq!(
            lost(joins, &["a1", "a2", "b"]),
            ["rewrite[0] turns the keys \"a1\", \"a2\" into the same key \"a\": only the value of \"a2\" is kept"]
        );
        let empties = json!([{ "transform": { "template": "{{ .value | upper }}" } },
            { "regexp": { "source": "A.*", "target": "" } }]);
        assert_eq!(
            lost(empties.clone(), &["a", "ab", "b"]),
            [
                "rewrite[1] turns the keys \"A\", \"AB\" into the empty key: a Secret can't have an empty key, so these values are \
              left out"
            ]
        );
        // The key of a field without a label was empty before the rewrite.
        assert!(lost(empties.clone(), &["", "b"]).is_empty());
        let mut named_anew = empties.as_array().unwrap().clone();
        named_anew.push(json!({ "regexp": { "source": "^$", "target": "x" } }));
        assert!(lost(json!(named_anew), &["a", "b"]).is_empty());
    }

    #[test]
    fn a_sentence_about_many_long_keys_is_short() {
        let keys: Vec<String> = (0..100).map(|n| format!("{n:03}{}", "k".repeat(500))).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let lost = lost(json!([{ "transform": { "template": "x" } }]), &keys);
        assert_eq!(lost.len(), 1);
        assert!(lost[0].len() < 1000 && lost[0].contains("and 95 more"), "{lost:?}");
    }

    #[test]
    fn an_invalid_regexp_is_refused() {
        let with = RewriteRegexp {
            source: "(".into(),
            target: String::new(),
        };
        let error = regexp(&with, Values::new()).unwrap_err().to_string();
        assert_eq!(
            error,
            "regexp failed with failed to compile: error parsing regexp: missing closing ): `(`"
        );
    }

    /// The expected values are the output of Go 1.26.
    #[test]
    fn merged_numbers_are_printed_as_in_go() {
        let object = r#"{"a":1.0,"b":1e3,"c":12345678901234567890,"d":1e21,"e":1e-7,"f":true,"g":null,
            "h":{"z":1.0,"y":"<\u2028>"},"i":[1e21,1e-7]}"#;
        let mut with = RewriteMerge::default();
        let expected = values(&[
            ("a", "1"),
            ("b", "1000"),
            ("c", "12345678901234567000"),
            ("d", "1000000000000000000000"),
            ("e", "0.0000001"),
            ("f", "true"),
            ("g", ""),
            ("h", r#"{"y":"\u003c\u2028\u003e","z":1}"#),
            ("i", "[1e+21,1e-7]"),
        ]);
        assert_eq!(merge(&with, values(&[("k", object)])).unwrap(), expected);
        with.strategy = MergeStrategy::Json;
        with.into = "all".into();
        let out = merge(&with, values(&[("k", object)])).unwrap();
        assert_eq!(
            String::from_utf8(out["all"].clone()).unwrap(),
            r#"{"a":1,"b":1000,"c":12345678901234567000,"d":1e+21,"e":1e-7,"f":true,"g":null,"h":{"y":"<\u2028>","z":1},"i":[1e+21,1e-7]}"#
        );
    }

    #[test]
    fn merge_prefers_priority_and_reports_conflicts() {
        let input = values(&[("a", r#"{"x":"1","y":2}"#), ("b", r#"{"x":"3"}"#)]);
        let mut with = RewriteMerge {
            priority: vec!["a".into()],
            ..RewriteMerge::default()
        };
        assert!(
            merge(&with, input.clone())
                .unwrap_err()
                .to_string()
                .ends_with("conflicts: x")
        );
        with.conflict_policy = MergeConflictPolicy::Ignore;
        assert_eq!(merge(&with, input.clone()).unwrap(), values(&[("x", "1"), ("y", "2")]));
        with.strategy = MergeStrategy::Json;
        with.into = "all".into();
        let out = merge(&with, input).unwrap();
        assert_eq!(out["all"], br#"{"x":"1","y":2}"#);
        assert_eq!(out.len(), 3);
    }

    #[test]
    fn merge_refuses_other_values_without_quoting_them() {
        for (value, why) in [
            ("", "unexpected end of JSON input"),
            (
                "\"s3cret\"",
                "json: cannot unmarshal string into Go value of type map[string]interface {}",
            ),
            (
                "[1]",
                "json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
            ("s3cret", "the value of \"k\" is not JSON"),
        ] {
            let error = merge(&RewriteMerge::default(), values(&[("k", value)])).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("merge failed with failed to unmarshal JSON: {why}")
            );
        }
    }

    #[test]
    fn a_missing_priority_key_is_an_error_unless_ignored() {
        let mut with = RewriteMerge {
            priority: vec!["gone".into()],
            ..RewriteMerge::default()
        };
        assert!(merge(&with, Values::new()).is_err());
        with.priority_policy = MergePriorityPolicy::IgnoreNotFound;
        assert_eq!(merge(&with, Values::new()).unwrap(), Values::new());
    }
}
