//! Rewrites of keys: `dataFrom[].rewrite`.

use regex::Regex;
use serde_json::Value as Json;
use sidevault_template as template;

use super::{Values, ValuesError};
use crate::types::{Rewrite, RewriteMerge, RewriteRegexp, RewriteTransform};

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
    let pattern = Regex::new(&with.source)
        .map_err(|error| ValuesError::new(format!("regexp failed with failed to compile: {error}")))?;
    let replaced = |key: String| pattern.replace_all(&key, with.target.as_str()).into_owned();
    Ok(values.into_iter().map(|(key, value)| (replaced(key), value)).collect())
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
            if with.priority_policy == "IgnoreNotFound" {
                continue;
            }
            return Err(failed(format!("key {key:?} not found in input map")));
        };
        let object: Option<serde_json::Map<String, Json>> = serde_json::from_slice(value).map_err(|_| {
            failed(format!(
                "failed to unmarshal JSON: the value of {key:?} is no JSON object"
            ))
        })?;
        for (name, value) in object.unwrap_or_default() {
            if merged.insert(name.clone(), value).is_some() {
                conflicts.push(name);
            }
        }
    }
    if with.conflict_policy != "Ignore" && !conflicts.is_empty() {
        return Err(failed(format!("conflicts: {}", conflicts.join(", "))));
    }
    // Go writes the keys of a map in their order.
    merged.sort_keys();
    match with.strategy.as_str() {
        "JSON" if with.into.is_empty() => Err(failed("missing 'into' field".to_owned())),
        "JSON" => {
            let mut out = values;
            out.insert(with.into.clone(), go_json(&Json::Object(merged)));
            Ok(out)
        }
        _ => Ok(merged.into_iter().map(|(key, value)| (key, bytes(value))).collect()),
    }
}

/// A JSON value as a Secret's value: text as it is, the rest as JSON.
fn bytes(value: Json) -> Vec<u8> {
    match value {
        Json::Null => Vec::new(),
        Json::String(text) => text.into_bytes(),
        Json::Number(number) => number.to_string().into_bytes(),
        value => escaped_for_html(go_json(&value)),
    }
}

fn go_json(value: &Json) -> Vec<u8> {
    let mut value = value.clone();
    value.sort_all_objects();
    value.to_string().into_bytes()
}

/// Go's `json.Marshal` escapes these, so that JSON can stand in HTML.
fn escaped_for_html(json: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&json)
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026");
    text.into_bytes()
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
        with.conflict_policy = "Ignore".into();
        assert_eq!(merge(&with, input.clone()).unwrap(), values(&[("x", "1"), ("y", "2")]));
        with.strategy = "JSON".into();
        with.into = "all".into();
        let out = merge(&with, input).unwrap();
        assert_eq!(out["all"], br#"{"x":"1","y":2}"#);
        assert_eq!(out.len(), 3);
    }

    #[test]
    fn a_missing_priority_key_is_an_error_unless_told_otherwise() {
        let mut with = RewriteMerge {
            priority: vec!["gone".into()],
            ..RewriteMerge::default()
        };
        assert!(merge(&with, Values::new()).is_err());
        with.priority_policy = "IgnoreNotFound".into();
        assert_eq!(merge(&with, Values::new()).unwrap(), Values::new());
    }
}
