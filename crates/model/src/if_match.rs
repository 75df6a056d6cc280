//! Conditional writes: a client names the version that it has seen, by its entity tag (RFC 9110, 13.1.1).

use serde::{Deserialize, Serialize};

use crate::item::Item;
use crate::time::Timestamp;

/// The entity tag of a version of an item, with its quotes. The number alone is not enough: a store that is built again from its source
/// counts from 1 again.
pub fn entity_tag(version: u32, updated_at: Timestamp) -> String {
    format!("\"{version}-{:x}\"", updated_at.as_millis())
}

/// The versions that a write may change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IfMatch(Option<Vec<String>>);

impl IfMatch {
    /// The condition of the header's values. Without a value there is none. `*` allows every version: an item that does not exist is
    /// refused in any case.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut tags = None;
        for value in values {
            let text = String::from_utf8_lossy(value);
            let found = text.split(',').map(|tag| tag.trim().to_owned());
            tags.get_or_insert_with(Vec::new).extend(found);
        }
        Self(tags.filter(|tags| !tags.iter().any(|tag| tag == "*")))
    }

    /// Whether every version is allowed.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this version of the item is allowed. A weak tag never allows one.
    pub fn allows(&self, item: &Item) -> bool {
        let tag = entity_tag(item.version, item.updated_at);
        self.0.as_ref().is_none_or(|tags| tags.contains(&tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_allows_the_versions_that_it_names() {
        let json = serde_json::json!({"id": "a".repeat(26), "title": "t", "vault": {"id": "b".repeat(26)}, "version": 3,
            "category": "LOGIN", "updatedAt": "1970-01-01T00:00:16Z"});
        let item = Item::from_json(json.to_string().as_bytes()).unwrap();
        let allows = |values: &[&str]| IfMatch::of(values.iter().map(|value| value.as_bytes())).allows(&item);
        assert_eq!(entity_tag(item.version, item.updated_at), "\"3-3e80\"");
        for values in [
            &[][..],
            &["*"],
            &["\"3-3e80\""],
            &["\"2-1\", \"3-3e80\""],
            &["\"2-1\"", "\"3-3e80\""],
        ] {
            assert!(allows(values), "{values:?}");
        }
        for values in [
            &[""][..],
            &["\"2-3e80\""],
            &["\"3-3e81\""],
            &["W/\"3-3e80\""],
            &["3-3e80"],
        ] {
            assert!(!allows(values), "{values:?}");
        }
    }
}
