//! JSON merge patches (RFC 7396).

use serde_json::{Map, Value};

/// Computes the patch that turns `before` into `after`. A member that only `before` has is `null` in the patch, which
/// removes it.
pub(crate) fn between(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return after.clone();
    };
    let mut patch = Map::new();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in after {
        match before.get(key) {
            Some(known) if known == value => {}
            Some(known) => drop(patch.insert(key.clone(), between(known, value))),
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn removed_members_are_null_and_equal_members_are_left_out() {
        let before = json!({"a": {"x": 1, "y": 2}, "b": [1], "c": true});
        let after = json!({"a": {"x": 1, "z": 3}, "b": [1, 2]});
        let patch = json!({"c": null, "a": {"y": null, "z": 3}, "b": [1, 2]});
        assert_eq!(between(&before, &after), patch);
        assert_eq!(between(&after, &after), json!({}));
    }
}
