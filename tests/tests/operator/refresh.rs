//! When values are read again: after the interval if the server has no events, and when the ExternalSecret changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sidevault_tests::pair::wait_until;

use super::fixture::{self, TestCluster, VERSION};
use super::front::{forward, serve};

/// Adds a store for the same server without its event stream, like 1Password's Connect. Returns a counter of the requests for
/// the stream.
fn plain(test: &TestCluster) -> Arc<AtomicUsize> {
    let upstream = test.server.pair.address();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let plain = serve(move |request| {
        if request.starts_with(b"GET /v1/events") {
            count.fetch_add(1, Ordering::SeqCst);
        }
        forward(upstream, request)
    });
    test.add_store("plain", plain);
    asked
}

fn apply(test: &TestCluster, name: &str, field: &str, spec: &Value) {
    let mut manifest = test.manifest(name, "plain", "simple", field);
    for (key, value) in spec.as_object().into_iter().flatten() {
        manifest["spec"][key] = value.clone();
    }
    test.cluster.apply(&manifest.to_string());
}

#[test]
fn a_server_without_events_is_polled() {
    let Some(test) = TestCluster::start() else { return };
    let asked = plain(&test);
    let _operator = fixture::operator(&test.cluster, &[]);
    apply(&test, "polled", "a", &json!({"refreshInterval": "2s"}));
    test.wait_value("polled", "1");
    for value in ["second", "third"] {
        test.set_field("simple", "a", value);
        test.wait_value("polled", value);
    }
    assert!(asked.load(Ordering::SeqCst) > 0, "the stream was not asked for");

    // A server without an event stream is no error.
    let path = fixture::path(test.namespace, "secretstores", "plain", VERSION);
    let store = test.cluster.get(&path).expect("the store");
    for object in [&store, &test.get("polled")] {
        let conditions = object["status"]["conditions"].as_array().expect("conditions");
        let shown: Vec<_> = conditions.iter().map(|one| (&one["type"], &one["status"])).collect();
        assert_eq!(shown, [(&json!("Ready"), &json!("True"))], "{object:#}");
    }
    let events = test
        .cluster
        .get(&format!("/api/v1/namespaces/{}/events", test.namespace))
        .expect("events");
    let events = events["items"].as_array().expect("items").iter();
    let warnings: Vec<_> = events
        .filter(|event| event["type"] == "Warning")
        .filter(|event| {
            ["plain", "polled"]
                .map(Value::from)
                .contains(&event["involvedObject"]["name"])
        })
        .collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}

#[test]
fn a_changed_annotation_or_label_refreshes_an_external_secret() {
    let Some(test) = TestCluster::start() else { return };
    // Without events and with long intervals, only the edits below can cause a refresh.
    plain(&test);
    let _operator = fixture::operator(&test.cluster, &[]);
    apply(&test, "periodic", "a", &json!({"refreshInterval": "24h"}));
    apply(&test, "on-change", "a", &json!({"refreshPolicy": "OnChange"}));
    apply(&test, "once", "a", &json!({"refreshPolicy": "CreatedOnce"}));
    let names = ["once", "on-change", "periodic"];
    for name in names {
        test.wait_ready(name, "True");
        test.wait_value(name, "1");
    }
    for (value, verb, what) in [
        ("2", "annotate", "example.com/why=because"),
        ("3", "annotate", "example.com/why=other"),
        ("4", "annotate", "example.com/why-"),
        ("5", "label", "team=a"),
        ("6", "label", "team=b"),
        ("7", "label", "team-"),
    ] {
        test.set_field("simple", "a", value);
        // One after the other, so that none is refreshed by the read for another.
        for name in names {
            test.cluster
                .must(&[verb, "externalsecret", name, "-n", test.namespace, what, "--overwrite"]);
            if name != "once" {
                test.wait_value(name, value);
            }
        }
        // It was annotated before the others, so it had time to be read.
        test.wait_value("once", "1");
    }
}

#[test]
fn dependents_of_a_store_that_becomes_ready_are_requeued() {
    let Some(test) = TestCluster::start() else { return };
    plain(&test);
    let operator = fixture::operator(&test.cluster, &[]);
    apply(&test, "waiting", "a", &json!({}));
    test.wait_value("waiting", "1");

    let path = fixture::path(test.namespace, "secretstores", "plain", VERSION);
    let add_vault = |order: Value| {
        let vaults = json!({"spec": {"provider": {"onepassword": {"vaults": {"nowhere": order}}}}});
        test.cluster.patch(&path, &vaults);
    };
    let metric = |words: &str| fixture::metric(&test.cluster, fixture::METRICS, words);
    let woken = || metric("sidevault_operator_event_lag_seconds_count");
    for _ in 0..2 {
        add_vault(json!(3));
        test.cluster.wait_for(&path, |store| {
            (store["status"]["conditions"][0]["status"] == "False").then_some(())
        });
        test.force_sync("waiting");
        test.wait_ready("waiting", "False");
        // After some failures the backoff is seconds long.
        let failures = || metric("externalsecret_sync_calls_error{name=\"waiting\"");
        let before = failures();
        wait_until(|| (failures() >= before + 2.0).then_some(())).expect("it is tried again");

        let before = woken();
        add_vault(Value::Null);
        test.wait_ready("waiting", "True");
        wait_until(|| (woken() > before).then_some(())).unwrap_or_else(|| panic!("not woken\n{}", operator.log()));
    }
}
