//! Merges YAML merge keys (`<<`). The MAC covers the document as it was written, so this is done after it was checked.

use std::collections::HashSet;

use crate::Value;

/// Replaces each merge key by the entries under it. A key of the mapping itself takes precedence, and of several merged
/// mappings the first that has a key.
pub(crate) fn resolve(value: &mut Value) {
    match value {
        Value::Sequence(items) => items.iter_mut().for_each(resolve),
        Value::Merge(merged) => resolve(merged),
        Value::Mapping(entries) => {
            let mut merges = false;
            for (_, entry) in entries.iter_mut() {
                resolve(entry);
                merges |= matches!(entry, Value::Merge(_));
            }
            if merges {
                *entries = merged(std::mem::take(entries));
            }
        }
        _ => {}
    }
}

fn merged(entries: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let own = entries.iter().filter(|(_, entry)| !matches!(entry, Value::Merge(_)));
    let mut seen: HashSet<String> = own.map(|(key, _)| key.clone()).collect();
    let mut out = Vec::with_capacity(entries.len());
    for (key, mut entry) in entries {
        let Value::Merge(sources) = &mut entry else {
            out.push((key, entry));
            continue;
        };
        let added = match &mut **sources {
            Value::Mapping(source) => std::mem::take(source),
            Value::Sequence(sources) => sources.iter_mut().flat_map(take_entries).collect(),
            _ => Vec::new(),
        };
        out.extend(added.into_iter().filter(|(key, _)| seen.insert(key.clone())));
    }
    out
}

fn take_entries(mapping: &mut Value) -> Vec<(String, Value)> {
    match mapping {
        Value::Mapping(entries) => std::mem::take(entries),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::{scalar_text, yaml};

    fn served(text: &str) -> String {
        let mut documents = yaml::parse(text.as_bytes()).unwrap();
        resolve(&mut documents[0]);
        scalar_text(&documents[0])
    }

    #[test]
    fn own_keys_take_precedence_and_then_the_first_merged_mapping() {
        assert_eq!(
            served("base: &b {a: 1, b: 1}\nx: {z: 0, <<: *b, b: 2}\n"),
            r#"{"base":{"a":1,"b":1},"x":{"z":0,"a":1,"b":2}}"#
        );
        assert_eq!(
            served("<<: [{a: 1, b: 1}, {b: 2, c: 2}]\nc: 3\n"),
            r#"{"a":1,"b":1,"c":3}"#
        );
    }

    #[test]
    fn merge_keys_may_be_nested_and_in_lists() {
        assert_eq!(
            served("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: [{<<: *b}]\n"),
            r#"{"a":{"x":1},"b":{"x":1,"y":2},"c":[{"x":1,"y":2}]}"#
        );
        assert_eq!(served("'<<': {x: 1}\n"), r#"{"<<":{"x":1}}"#);
    }
}
