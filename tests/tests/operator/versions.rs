//! `remoteRef.version`: the newest version, or a number from the item's history.

use serde_json::{Value, json};
use sidevault_tests::pair::wait_until;

use super::fixture::{self, METRICS, TestCluster, VERSION};
use super::front::{forward, serve};

/// ExternalSecrets that use the item: name, whether by `dataFrom.extract` rather than `data`, and version.
const CASES: [(&str, bool, &str); 8] = [
    ("newest", false, ""),
    ("latest", false, "latest"),
    ("first", false, "1"),
    ("second", false, "2"),
    ("all-newest", true, ""),
    ("all-latest", true, "latest"),
    ("all-first", true, "1"),
    ("all-second", true, "2"),
];

#[test]
fn a_version_number_is_fixed_and_latest_is_the_newest() {
    let Some(test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    for case in CASES {
        apply(&test, case);
    }
    for (name, _, version) in CASES {
        match version {
            // The item has one version so far, so version 2 is missing.
            "2" => {
                let condition = test.wait_ready(name, "False");
                assert_eq!(condition["reason"], "SecretSyncedError", "{name}");
                assert_eq!(
                    condition["message"], "could not get secret data from provider",
                    "{name}"
                );
                wait_for_failure_event(&test, name, "version 2 of item");
                assert!(
                    test.cluster.get(&fixture::secret(test.namespace, name)).is_none(),
                    "{name}"
                );
            }
            _ => test.wait_value(name, "one"),
        }
    }

    // The change triggers all of them, also those whose version is fixed.
    let before = CASES.map(|(name, ..)| reconciles(&test, name));
    test.set_field("versioned", "v", "two");
    for ((name, _, version), before) in CASES.into_iter().zip(before) {
        let reconciled = wait_until(|| (reconciles(&test, name) > before).then_some(()));
        assert!(reconciled.is_some(), "{name} was not reconciled");
        let expected = if version == "1" { "one" } else { "two" };
        test.wait_value(name, expected);
        test.wait_ready(name, "True");
    }

    test.set_field("versioned", "v", "three");
    for (name, _, version) in CASES {
        forced(&test, name);
        let expected = match version {
            "1" => "one",
            "2" => "two",
            _ => "three",
        };
        test.wait_value(name, expected);
        assert_eq!(test.wait_ready(name, "True")["reason"], "SecretSynced", "{name}");
    }
}

#[test]
fn an_invalid_version_is_an_error_and_deletes_nothing() {
    let Some(test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    for (all, name) in [(false, "one"), (true, "all")] {
        apply(&test, (name, all, "1"));
        test.wait_value(name, "one");
        for (version, why) in [
            ("99", "version 99 of item"),
            ("0", "version 0 of item"),
            (
                "nonsense",
                "\"nonsense\": it must be empty, \"latest\", or the number of a version",
            ),
            ("-1", "\"-1\": it must be empty, \"latest\", or the number of a version"),
        ] {
            apply(&test, (name, all, version));
            let condition = test.wait_ready(name, "False");
            assert_eq!(
                condition["message"], "could not get secret data from provider",
                "{version}"
            );
            wait_for_failure_event(&test, name, why);
            let secret = test
                .cluster
                .get(&fixture::secret(test.namespace, name))
                .expect("the Secret");
            assert_eq!(fixture::value(&secret, "v").as_deref(), Some("one"), "{version}");
            // Valid again, so that the next invalid version is a change.
            apply(&test, (name, all, "1"));
            test.wait_ready(name, "True");
        }
    }
}

/// 1Password's Connect ignores the version in a request and answers with the newest.
#[test]
fn a_server_without_history_serves_no_old_version() {
    let Some(test) = TestCluster::start() else { return };
    let upstream = test.server.pair.address();
    let plain = serve(move |request| {
        let request = String::from_utf8_lossy(request).replace("?version=", "?ignored=");
        forward(upstream, request.as_bytes())
    });
    test.add_store("plain", plain);
    let _operator = fixture::operator(&test.cluster, &[]);
    apply(&test, ("first", false, "1"));
    test.wait_value("first", "one");
    test.set_field("versioned", "v", "two");
    for (name, version) in [("old", "1"), ("newest", "latest")] {
        let mut manifest = manifest(&test, (name, false, version));
        manifest["spec"]["secretStoreRef"]["name"] = json!("plain");
        test.cluster.apply(&manifest.to_string());
    }
    test.wait_value("newest", "two");
    test.wait_ready("old", "False");
    wait_for_failure_event(&test, "old", "another version of the item than the requested one");
    assert!(test.cluster.get(&fixture::secret(test.namespace, "old")).is_none());
}

/// Applies an ExternalSecret that uses the item `versioned`, and creates the item if it does not exist.
fn apply(test: &TestCluster, case: (&str, bool, &str)) {
    let server = &test.server;
    if server.pair.item(&server.token, "apps", "versioned").is_none() {
        let item = r#"{"title":"versioned","category":"LOGIN","fields":[{"label":"v","value":"one"}]}"#;
        let made = server.pair.ask(&server.token, "POST", "/v1/vaults/apps/items", item);
        assert_eq!(made.expect("an answer").status, 200);
    }
    test.cluster.apply(&manifest(test, case).to_string());
}

fn manifest(test: &TestCluster, (name, all, version): (&str, bool, &str)) -> Value {
    let mut manifest = test.manifest(name, "store", "versioned", "v");
    // So long that no refresh comes from the interval.
    manifest["spec"]["refreshInterval"] = json!("24h");
    let reference = json!({"key": "versioned", "version": version});
    if all {
        manifest["spec"]["dataFrom"] = json!([{"extract": reference}]);
        manifest["spec"]["data"] = json!([]);
    } else {
        manifest["spec"]["data"][0]["remoteRef"] = reference;
        manifest["spec"]["data"][0]["remoteRef"]["property"] = json!("v");
    }
    manifest
}

/// Makes the operator refresh an ExternalSecret, and waits until it has done so.
fn forced(test: &TestCluster, name: &str) {
    let path = fixture::path(test.namespace, "externalsecrets", name, VERSION);
    let synced = |object: &Value| object["status"]["syncedResourceVersion"].clone();
    let before = synced(&test.get(name));
    let force = ["annotate", "externalsecret", name, "-n", test.namespace, "force-sync=1"];
    test.cluster.must(&force);
    test.cluster
        .wait_for(&path, |object| (synced(object) != before).then_some(()));
}

/// Waits for an event about an ExternalSecret whose message contains a text.
fn wait_for_failure_event(test: &TestCluster, name: &str, words: &str) {
    let path = format!("/api/v1/namespaces/{}/events", test.namespace);
    test.cluster.wait_for(&path, |events| {
        let events = events["items"].as_array()?.iter();
        let mut of_it = events.filter(|event| event["involvedObject"]["name"] == name);
        of_it
            .find(|event| event["message"].as_str().is_some_and(|message| message.contains(words)))
            .map(drop)
    });
}

/// How often an ExternalSecret was reconciled.
fn reconciles(test: &TestCluster, name: &str) -> f64 {
    let series = format!("externalsecret_sync_calls_total{{name=\"{name}\"");
    fixture::metric(&test.cluster, METRICS, &series)
}
