//! Metadata in dotenv and INI files, which have no nesting: `age__list_0__map_enc` stands for `age[0].enc`.

use std::collections::BTreeMap;

use crate::text::shown;
use crate::{SopsError, Value};

const MAP: &str = "__map_";
const LIST: &str = "__list_";

/// The most steps of a name. The deepest name that sops writes has six:
/// `key_groups__list_0__map_kms__list_0__map_context__map_x`.
const MAX_STEPS: usize = 16;

#[derive(Default)]
struct Node {
    leaf: Option<Value>,
    keys: BTreeMap<String, Node>,
    items: BTreeMap<usize, Node>,
}

/// Rebuilds nested metadata from flat names and their values.
pub(crate) fn unflatten(entries: Vec<(String, Value)>) -> Result<Value, SopsError> {
    let mut root = Node::default();
    for (name, value) in entries {
        let node = descend(&mut root, &name)?;
        if node.leaf.replace(value).is_some() {
            return Err(unusable(&name, "given twice"));
        }
    }
    build(root, "sops")
}

fn descend<'a>(root: &'a mut Node, name: &str) -> Result<&'a mut Node, SopsError> {
    let mut node = root;
    let mut rest = name;
    let mut in_list = false;
    for _ in 0..MAX_STEPS {
        let end = [rest.find(MAP), rest.find(LIST)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(rest.len());
        let step = &rest[..end];
        node = if in_list {
            let index = step.parse().map_err(|_| unusable(name, "has no list position"))?;
            node.items.entry(index).or_default()
        } else {
            node.keys.entry(step.to_owned()).or_default()
        };
        rest = &rest[end..];
        if let Some(tail) = rest.strip_prefix(LIST) {
            (rest, in_list) = (tail, true);
        } else if let Some(tail) = rest.strip_prefix(MAP) {
            (rest, in_list) = (tail, false);
        } else {
            return Ok(node);
        }
    }
    Err(unusable(name, "nested too deeply"))
}

fn build(node: Node, name: &str) -> Result<Value, SopsError> {
    match (node.leaf, node.keys.is_empty(), node.items.is_empty()) {
        (Some(value), true, true) => Ok(value),
        (None, _, true) => {
            let entries = node
                .keys
                .into_iter()
                .map(|(key, child)| Ok((key.clone(), build(child, &key)?)));
            Ok(Value::Mapping(entries.collect::<Result<_, SopsError>>()?))
        }
        (None, true, false) => {
            // The positions must be 0, 1, 2 and so on without a gap, as in sops.
            if node
                .items
                .keys()
                .enumerate()
                .any(|(position, index)| position != *index)
            {
                return Err(unusable(name, "an incomplete list"));
            }
            let items = node.items.into_values().map(|child| build(child, name));
            Ok(Value::Sequence(items.collect::<Result<_, SopsError>>()?))
        }
        _ => Err(unusable(name, "of two kinds at once")),
    }
}

fn unusable(name: &str, why: &str) -> SopsError {
    SopsError::Metadata {
        problem: format!("the entry {} is {why}", shown(name)),
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::scalar_text;

    fn text(names: &[&str]) -> Result<String, SopsError> {
        let entries = names
            .iter()
            .map(|name| ((*name).to_owned(), Value::String("x".into())))
            .collect();
        Ok(scalar_text(&unflatten(entries)?))
    }

    #[test]
    fn flat_names_become_nested_metadata() {
        assert_eq!(
            text(&[
                "mac",
                "age__list_1__map_enc",
                "age__list_0__map_enc",
                "age__list_0__map_recipient"
            ])
            .unwrap(),
            r#"{"age":[{"enc":"x","recipient":"x"},{"enc":"x"}],"mac":"x"}"#
        );
    }

    #[test]
    fn gaps_and_contradictions_are_refused() {
        let deep = format!("a{}", "__map_a".repeat(100));
        for names in [
            &["age__list_1__map_enc"][..],
            &["mac", "mac"],
            &["mac", "mac__map_x"],
            &["a__list_0", "a__map_x"],
            &["a__list_x"],
            &["a__list_99999999999999999999999"],
            &[&deep],
        ] {
            assert!(text(names).is_err(), "{names:?}");
        }
    }
}
