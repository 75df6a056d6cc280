use serde_json::json;

use super::*;

fn push_secret(interval: &str, status: serde_json::Value) -> PushSecret {
    let mut push_secret: PushSecret = serde_json::from_value(json!({
        "apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
        "metadata": { "name": "p", "namespace": "n", "generation": 1 },
        "spec": { "refreshInterval": interval }, "status": status,
    }))
    .unwrap();
    let current = hash::resource_version(&push_secret.metadata);
    let synced = push_secret
        .status
        .as_mut()
        .and_then(|status| status.synced_resource_version.as_mut());
    if let Some(synced) = synced.filter(|synced| *synced == "current") {
        *synced = current;
    }
    push_secret
}

fn due(interval: &str, status: serde_json::Value) -> bool {
    needs_push(&push_secret(interval, status), "2026-01-01T01:00:00Z".parse().unwrap())
}

fn synced(at: &str, version: &str) -> serde_json::Value {
    json!({ "refreshTime": format!("2026-01-01T{at}Z"), "syncedResourceVersion": version })
}

#[test]
fn values_are_pushed_after_the_interval_a_change_or_a_failure() {
    assert!(due("1h", json!({})));
    assert!(due("1h", synced("00:00:00", "current")));
    assert!(!due("1h", synced("00:59:00", "current")));
    assert!(due("1h", synced("00:59:00", "0-other")));
    let mut failed = synced("00:59:00", "current");
    failed["conditions"] = json!([{ "type": "Ready", "status": "False", "reason": ERRORED }]);
    assert!(due("1h", failed));
}

#[test]
fn an_interval_of_zero_pushes_after_changes_only() {
    assert!(due("0s", json!({})));
    assert!(!due("0s", synced("00:00:00", "current")));
    assert!(due("0s", synced("00:00:00", "0-other")));
    assert_eq!(next_push(&push_secret("0s", json!({})), None), Requeue::OnChange);
}
