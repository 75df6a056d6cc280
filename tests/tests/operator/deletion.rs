//! The deletion policy decides what happens to the values of a deleted item. An item that is only unavailable changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::fixture::{self, TestCluster};
use super::front::{forward, serve};

/// An ExternalSecret with a deletion policy and one value.
fn apply(test: &TestCluster, name: &str, store: &str, policy: &str, item: &str) {
    let mut manifest = test.manifest(name, store, item, "a");
    manifest["spec"]["target"] = json!({"deletionPolicy": policy});
    test.cluster.apply(&manifest.to_string());
}

fn wait_reason(test: &TestCluster, name: &str, reason: &str) {
    let path = fixture::path(test.namespace, "externalsecrets", name, &test.version);
    test.cluster.wait_for(&path, |object| {
        (object["status"]["conditions"][0]["reason"] == reason).then_some(())
    });
}

#[test]
fn the_deletion_policy_is_honoured_when_the_item_is_deleted() {
    let Some(test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    let secret = |name: &str| fixture::secret(test.namespace, name);
    for policy in ["Delete", "Merge", "Retain"] {
        apply(&test, &policy.to_lowercase(), "store", policy, "fleeting");
        test.wait_value(&policy.to_lowercase(), "f");
    }
    // One of two items is deleted, and with it one of two keys.
    let mut two = test.manifest("one-of-two", "store", "fleeting", "a");
    two["spec"]["dataFrom"] = json!([{"extract": {"key": "simple"}}]);
    two["spec"]["target"] = json!({"deletionPolicy": "Delete"});
    test.cluster.apply(&two.to_string());
    test.wait_value("one-of-two", "f");

    test.server.remove("fleeting");
    test.cluster.wait_gone(&secret("delete"));
    wait_reason(&test, "delete", "SecretDeleted");
    test.wait_event("delete", "MissingProviderSecret", "key: fleeting");
    test.cluster
        .wait_for(&secret("merge"), |secret| secret["data"]["v"].is_null().then_some(()));
    wait_reason(&test, "merge", "SecretSynced");
    test.cluster.wait_for(&secret("one-of-two"), |secret| {
        assert_eq!(fixture::value(secret, "b").as_deref(), Some("2"));
        secret["data"]["v"].is_null().then_some(())
    });
    test.wait_ready("one-of-two", "True");
    assert_eq!(test.wait_ready("retain", "False")["reason"], "SecretSyncedError");
    test.wait_value("retain", "f");

    test.server
        .add(r#"{"title":"fleeting","category":"LOGIN","fields":[{"label":"a","value":"again"}]}"#);
    for name in ["delete", "merge", "retain", "one-of-two"] {
        test.wait_value(name, "again");
        test.wait_ready(name, "True");
    }
}

/// Faults of a server that look as if an item was deleted, and what the operator says about each.
const FAULTS: [(&str, &str); 7] = [
    ("it has not read its sources", "\"infra\" is \"INITIALIZED\""),
    ("it gives no health report", "error reading the server's health"),
    ("it misreads the filter", "the server did not find it by that name"),
    ("it has the title twice", "got 2"),
    ("it refuses the token for the items", "403"),
    ("it does not have the vault", "vault not found"),
    ("it fails", "500"),
];

#[test]
fn an_unavailable_item_is_no_deleted_item() {
    let Some(test) = TestCluster::start() else { return };
    let upstream = test.server.pair.address();
    let fault = Arc::new(AtomicUsize::new(FAULTS.len()));
    let current = fault.clone();
    let front = serve(move |request| {
        let line = String::from_utf8_lossy(request)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        let is_item = line.contains("/items?");
        let (status, body) = match FAULTS.get(current.load(Ordering::SeqCst)).map(|(fault, _)| *fault) {
            Some("it has not read its sources") if line.contains("/health") => (
                200,
                r#"{"name":"x","version":"1","dependencies":[{"service":"infra","status":"INITIALIZED"}]}"#,
            ),
            Some("it gives no health report") if line.contains("/health") => (404, "<html>"),
            Some("it has the title twice") if is_item => (200, TWINS),
            Some("it refuses the token for the items") if is_item => (403, r#"{"status":403,"message":"no"}"#),
            Some("it does not have the vault") if line.contains("/v1/vaults?") => (200, "[]"),
            Some("it fails") if is_item => (500, "{}"),
            Some("it has not read its sources" | "it gives no health report" | "it misreads the filter") if is_item => {
                (200, "[]")
            }
            _ => return forward(upstream, request),
        };
        let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n");
        Some(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    });
    test.add_store("faulty", front);
    let operator = fixture::operator(&test.cluster, &["--enable-flood-gate=false"]);
    for policy in ["Delete", "Merge"] {
        apply(&test, &policy.to_lowercase(), "faulty", policy, "simple");
        test.wait_value(&policy.to_lowercase(), "1");
    }
    let uids = || {
        ["delete", "merge"].map(|name| {
            let secret = test
                .cluster
                .get(&fixture::secret(test.namespace, name))
                .expect("the Secret stays");
            secret["metadata"]["uid"].clone()
        })
    };
    let before = uids();
    for (index, (what, why)) in FAULTS.into_iter().enumerate() {
        fault.store(index, Ordering::SeqCst);
        for name in ["delete", "merge"] {
            test.force_sync(name);
            let condition = test.wait_ready(name, "False");
            assert_eq!(condition["reason"], "SecretSyncedError", "{what}");
            test.wait_event(name, "UpdateFailed", why);
            test.wait_value(name, "1");
        }
        fault.store(FAULTS.len(), Ordering::SeqCst);
        for name in ["delete", "merge"] {
            test.force_sync(name);
            test.wait_ready(name, "True");
        }
        assert_eq!(uids(), before, "{what}\n{}", operator.log());
    }
}

const TWINS: &str = r#"[{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","title":"simple","category":"LOGIN","vault":{"id":"vvvvvvvvvvvvvvvvvvvvvvvvvv"}},
    {"id":"bbbbbbbbbbbbbbbbbbbbbbbbbb","title":"simple","category":"LOGIN","vault":{"id":"vvvvvvvvvvvvvvvvvvvvvvvvvv"}}]"#;
