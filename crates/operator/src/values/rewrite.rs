//! Rewrites of keys: `dataFrom[].rewrite`.

use serde_json::Value as Json;
use sidevault_go::regex::Regex;
use sidevault_go::{float, json};
use sidevault_template as template;

use super::{Values, ValuesError};
use crate::types::{
    MergeConflictPolicy, MergePriorityPolicy, MergeStrategy, Rewrite, RewriteMerge, RewriteRegexp, RewriteTransform,
};

/// Applies the operations in order.
///
/// # Errors
/// Says which operation failed, and why.
pub(crate) fn rewrite(operations: &[Rewrite], mut values: Values) -> Result<Values, ValuesError> {
    for (index, operation) in operations.iter().enumerate() {
        values = one(operation, values)
            .map_err(|error| ValuesError::new(format!("failed rewrite operation[{index}]: {error}")))?;
    }
    Ok(values)
}

fn one(operation: &Rewrite, values: Values) -> Result<Values, ValuesError> {
    match operation {
        Rewrite { merge: Some(with), .. } => merge(with, values),
        Rewrite { regexp: Some(with), .. } => regexp(with, values),
        Rewrite {
            transform: Some(with), ..
        } => transform(with, values),
        _ => Ok(values),
    }
}

/// Replaces every match of the pattern in every key.
pub(crate) fn regexp(with: &RewriteRegexp, values: Values) -> Result<Values, ValuesError> {
    let source = &with.source;
    let pattern = Regex::new(source).map_err(|error| {
        let why = error.quoting(source);
        ValuesError::new(format!("regexp failed with failed to compile: {why}"))
    })?;
    Ok(values
        .into_iter()
        .map(|(key, value)| (pattern.replace_all(&key, &with.target), value))
        .collect())
}

/// Puts every key through the template.
pub(crate) fn transform(with: &RewriteTransform, values: Values) -> Result<Values, ValuesError> {
    let template = template::Template::parse("transform", &with.template)
        .map_err(|error| ValuesError::new(format!("transform failed with failed to parse template: {error}")))?;
    let mut out = Values::new();
    for (key, value) in values {
        let input = template::Values::from([("value".to_owned(), template::Value::from(key.as_str()))]);
        let key = template.render(&input).map_err(|error| {
            ValuesError::new(format!(
                "transform failed with failed to execute template for key {key:?}: {error}"
            ))
        })?;
        out.insert(String::from_utf8_lossy(&key).into_owned(), value);
    }
    Ok(out)
}

/// Merges values that are JSON objects; later ones win, and those of `priority` are the last.
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
                    no_object(key, value, other.as_ref())
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

/// Why a value is no object, as Go says it; but where Go shows the letter that it stumbled over, the key is named.
fn no_object(key: &str, value: &[u8], json: Option<&Json>) -> String {
    let kind = match json {
        Some(Json::String(_)) => "string",
        Some(Json::Number(_)) => "number",
        Some(Json::Bool(_)) => "bool",
        Some(_) => "array",
        None if value.trim_ascii().is_empty() => return "unexpected end of JSON input".to_owned(),
        None => return format!("the value of {key:?} is no JSON"),
    };
    format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
}

/// A JSON value as a Secret's value: text and numbers as they are, the rest as JSON.
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
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn a_pattern_with_groups_renames_keys() {
        let with = RewriteRegexp {
            source: "^db-(.*)$".into(),
            target: "DB_$1".into(),
        };
        let out = regexp(&with, values(&[("db-user", "a"), ("other", "b")])).unwrap();
        assert_eq!(out, values(&[("DB_user", "a"), ("other", "b")]));
    }

    #[test]
    fn a_pattern_means_what_it_means_in_go() {
        let rename = |source: &str, target: &str| {
            let with = RewriteRegexp {
                source: source.into(),
                target: target.into(),
            };
            regexp(&with, values(&[("Schlüssel [1]", "a")])).unwrap()
        };
        assert_eq!(rename(r"\W", "_"), values(&[("Schl_ssel__1_", "a")]));
        assert_eq!(rename("[[]", "("), values(&[("Schlüssel (1]", "a")]));
        assert_eq!(rename("(Schl).*", "$1x"), values(&[("", "a")]));
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
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

    /// What Go 1.26 said.
    #[test]
    fn merged_numbers_are_those_of_go() {
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
    fn merge_lets_the_priority_win_and_counts_conflicts() {
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
    fn a_value_that_is_no_object_is_refused_and_not_shown() {
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
            ("s3cret", "the value of \"k\" is no JSON"),
        ] {
            let error = merge(&RewriteMerge::default(), values(&[("k", value)])).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("merge failed with failed to unmarshal JSON: {why}")
            );
        }
    }

    #[test]
    fn a_missing_priority_key_is_an_error_unless_told_otherwise() {
        let mut with = RewriteMerge {
            priority: vec!["gone".into()],
            ..RewriteMerge::default()
        };
        assert!(merge(&with, Values::new()).is_err());
        with.priority_policy = MergePriorityPolicy::IgnoreNotFound;
        assert_eq!(merge(&with, Values::new()).unwrap(), Values::new());
    }
}
