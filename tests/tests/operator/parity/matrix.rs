//! Generated cases: all combinations of the policies, and manual changes of the Secrets of some.

use serde_json::{Value, json};

const CREATION: [&str; 5] = ["Owner", "Orphan", "Merge", "None", "CreateOrMerge"];
const DELETION: [&str; 3] = ["Delete", "Merge", "Retain"];

/// Manual changes of a Secret in the second phase, as merge patches. `null` deletes the Secret.
pub(super) fn drifts() -> Vec<(&'static str, Value)> {
    let own = |name: &str| format!("reconcile.external-secrets.io/{name}");
    vec![
        ("gone", Value::Null),
        ("edited", json!({"data": {"a": "YnkgaGFuZA=="}})),
        ("key-added", json!({"data": {"by-hand": "MQ=="}})),
        ("key-removed", json!({"data": {"a": null}})),
        ("unmanaged", json!({"metadata": {"labels": {own("managed"): null}}})),
        ("unlabelled", json!({"metadata": {"labels": null}})),
        (
            "unhashed",
            json!({"metadata": {"annotations": {own("data-hash"): null}}}),
        ),
        ("disowned", json!({"metadata": {"ownerReferences": null}})),
        (
            "decorated",
            json!({"metadata": {"labels": {"by": "hand"}, "annotations": {"by": "hand"}}}),
        ),
    ]
}

/// The ExternalSecrets, by the beginning of their names:
///
/// - `change-`: every creation policy with every deletion policy; one value changes and another is deleted.
/// - `vanish-`: the same; all values are deleted.
/// - `immutable-`: immutable Secrets.
/// - `drift-`: three creation policies with every manual change.
/// - `refresh-`: every refresh policy, with and without a manual change, and without `force-sync` (`-alone`).
///
/// A case that merges into a Secret is preceded by this Secret.
pub(super) fn cases(version: &str) -> Vec<Value> {
    let changing = || json!([{"extract": {"key": "shifting"}}]);
    let vanishing = || json!([{"find": {"path": "fleeting"}}]);
    let both = || json!([{"extract": {"key": "shifting"}}, {"find": {"path": "fleeting"}}]);
    let mut cases = Vec::new();
    let mut add = |name: String, creation: &str, data_from: Value, more: Value| {
        let name = name.to_lowercase();
        if creation.contains("Merge") {
            cases.push(
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": {"mine": "yes"}},
                "stringData": {"kept": "kept", "a": "old"}}),
            );
        }
        let mut spec = json!({"refreshInterval": "1h", "secretStoreRef": {"name": "store", "kind": "SecretStore"},
            "target": {"creationPolicy": creation}, "dataFrom": data_from});
        merge(&mut spec, more);
        cases.push(json!({"apiVersion": version, "kind": "ExternalSecret", "metadata": {"name": name}, "spec": spec}));
    };
    for creation in CREATION {
        for deletion in DELETION {
            let policy = || json!({"target": {"deletionPolicy": deletion}});
            add(format!("change-{creation}-{deletion}"), creation, changing(), policy());
            add(format!("vanish-{creation}-{deletion}"), creation, vanishing(), policy());
        }
        let immutable = |deletion: &str| json!({"target": {"immutable": true, "deletionPolicy": deletion}});
        add(
            format!("immutable-{creation}"),
            creation,
            changing(),
            immutable("Retain"),
        );
        add(
            format!("immutable-vanish-{creation}"),
            creation,
            vanishing(),
            immutable("Delete"),
        );
    }
    for creation in ["Owner", "Orphan", "Merge"] {
        for (drift, _) in drifts() {
            add(format!("drift-{creation}-{drift}"), creation, changing(), json!({}));
        }
        for (policy, interval) in [("Periodic", "0s"), ("OnChange", "1h"), ("CreatedOnce", "1h")] {
            for drift in ["force-synced", "gone", "edited", "alone", "alone-gone"] {
                let refresh = json!({"refreshPolicy": policy, "refreshInterval": interval});
                add(
                    format!("refresh-{policy}-{creation}-{drift}"),
                    creation,
                    both(),
                    refresh,
                );
            }
        }
    }
    cases
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}
