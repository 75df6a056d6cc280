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
    let Some(stage) = TestCluster::set() else { return };
    let _operator = fixture::operator(&stage.cluster, &[]);
    for case in CASES {
        apply(&stage, case);
    }
    for (name, _, version) in CASES {
        match version {
            // The item has one version so far, so version 2 is missing.
            "2" => {
                let condition = stage.wait_ready(name, "False");
                assert_eq!(condition["reason"], "SecretSyncedError", "{name}");
                assert_eq!(
                    condition["message"], "could not get secret data from provider",
                    "{name}"
                );
                told(&stage, name, "version 2 of item");
                assert!(
                    stage.cluster.get(&fixture::secret(stage.namespace, name)).is_none(),
                    "{name}"
                );
            }
            _ => stage.wait_value(name, "one"),
        }
    }

    // The change triggers all of them, also those whose version is fixed.
    let before = CASES.map(|(name, ..)| reconciles(&stage, name));
    stage.set_field("versioned", "v", "two");
    for ((name, _, version), before) in CASES.into_iter().zip(before) {
        let looked = wait_until(|| (reconciles(&stage, name) > before).then_some(()));
        assert!(looked.is_some(), "{name} was not told");
        let expected = if version == "1" { "one" } else { "two" };
        stage.wait_value(name, expected);
        stage.wait_ready(name, "True");
    }

    stage.set_field("versioned", "v", "three");
    for (name, _, version) in CASES {
        forced(&stage, name);
        let expected = match version {
            "1" => "one",
            "2" => "two",
            _ => "three",
        };
        stage.wait_value(name, expected);
        assert_eq!(stage.wait_ready(name, "True")["reason"], "SecretSynced", "{name}");
    }
}

#[test]
fn an_invalid_version_is_an_error_and_deletes_nothing() {
    let Some(stage) = TestCluster::set() else { return };
    let _operator = fixture::operator(&stage.cluster, &[]);
    for (all, name) in [(false, "one"), (true, "all")] {
        apply(&stage, (name, all, "1"));
        stage.wait_value(name, "one");
        for (version, why) in [
            ("99", "version 99 of item"),
            ("0", "version 0 of item"),
            (
                "nonsense",
                "\"nonsense\": it must be empty, \"latest\", or the number of a version",
            ),
            ("-1", "\"-1\": it must be empty, \"latest\", or the number of a version"),
        ] {
            apply(&stage, (name, all, version));
            let condition = stage.wait_ready(name, "False");
            assert_eq!(
                condition["message"], "could not get secret data from provider",
                "{version}"
            );
            told(&stage, name, why);
            let secret = stage
                .cluster
                .get(&fixture::secret(stage.namespace, name))
                .expect("the Secret");
            assert_eq!(fixture::value(&secret, "v").as_deref(), Some("one"), "{version}");
            // Valid again, so that the next invalid version is a change.
            apply(&stage, (name, all, "1"));
            stage.wait_ready(name, "True");
        }
    }
}

/// 1Password's Connect ignores the version in a request and answers with the newest.
#[test]
fn a_server_without_history_serves_no_old_version() {
    let Some(stage) = TestCluster::set() else { return };
    let upstream = stage.world.pair.address();
    let plain = serve(move |request| {
        let request = String::from_utf8_lossy(request).replace("?version=", "?ignored=");
        forward(upstream, request.as_bytes())
    });
    stage.add_store("plain", plain);
    let _operator = fixture::operator(&stage.cluster, &[]);
    apply(&stage, ("first", false, "1"));
    stage.wait_value("first", "one");
    stage.set_field("versioned", "v", "two");
    for (name, version) in [("old", "1"), ("newest", "latest")] {
        let mut manifest = manifest(&stage, (name, false, version));
        manifest["spec"]["secretStoreRef"]["name"] = json!("plain");
        stage.cluster.apply(&manifest.to_string());
    }
    stage.wait_value("newest", "two");
    stage.wait_ready("old", "False");
    told(&stage, "old", "another version of the item than the requested one");
    assert!(stage.cluster.get(&fixture::secret(stage.namespace, "old")).is_none());
}

/// Applies an ExternalSecret that uses the item `versioned`, and creates the item if it does not exist.
fn apply(stage: &TestCluster, case: (&str, bool, &str)) {
    let world = &stage.world;
    if world.pair.item(&world.token, "apps", "versioned").is_none() {
        let item = r#"{"title":"versioned","category":"LOGIN","fields":[{"label":"v","value":"one"}]}"#;
        let made = world.pair.ask(&world.token, "POST", "/v1/vaults/apps/items", item);
        assert_eq!(made.expect("an answer").status, 200);
    }
    stage.cluster.apply(&manifest(stage, case).to_string());
}

fn manifest(stage: &TestCluster, (name, all, version): (&str, bool, &str)) -> Value {
    let mut manifest = stage.manifest(name, "store", "versioned", "v");
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
fn forced(stage: &TestCluster, name: &str) {
    let path = fixture::path(stage.namespace, "externalsecrets", name, VERSION);
    let synced = |object: &Value| object["status"]["syncedResourceVersion"].clone();
    let before = synced(&stage.get(name));
    let force = [
        "annotate",
        "externalsecret",
        name,
        "-n",
        stage.namespace,
        "force-sync=1",
    ];
    stage.cluster.must(&force);
    stage
        .cluster
        .wait_for(&path, |object| (synced(object) != before).then_some(()));
}

/// Waits for an event about an ExternalSecret whose message contains a text.
fn told(stage: &TestCluster, name: &str, words: &str) {
    let path = format!("/api/v1/namespaces/{}/events", stage.namespace);
    stage.cluster.wait_for(&path, |events| {
        let events = events["items"].as_array()?.iter();
        let mut of_it = events.filter(|event| event["involvedObject"]["name"] == name);
        of_it
            .find(|event| event["message"].as_str().is_some_and(|message| message.contains(words)))
            .map(drop)
    });
}

/// How often an ExternalSecret was reconciled.
fn reconciles(stage: &TestCluster, name: &str) -> f64 {
    let series = format!("externalsecret_sync_calls_total{{name=\"{name}\"");
    fixture::metric(&stage.cluster, METRICS, &series)
}
