//! What a changed item causes: new Secrets by this operator, new Secrets by a stock External Secrets with `force-sync`, and
//! restarts of the workloads that use the Secret.

use std::fs;

use serde_json::{Value, json};
use sidevault_tests::cluster::{controllers, definitions};
use sidevault_tests::pair::{Process, wait_until};

use super::fixture::{self, METRICS, TestCluster, VERSION};

const RESTARTED: &str = "operator.1password.io/last-restarted";

#[test]
fn force_sync_makes_a_stock_external_secrets_react_at_once() {
    let Some(controllers) = controllers() else { return };
    for controller in &controllers {
        let Some(test) = TestCluster::with(&definitions(controller)) else {
            return;
        };
        let theirs = test.cluster.run_external_secrets(controller, &[]);
        // Before the store is ready External Secrets fails, and its backoff grows each time.
        test.server.wait_stores(&test.cluster, test.namespace);
        // Times in a status have no fraction of a second, and clocks may differ: an item that was changed just before it was
        // read counts as changed after it. So let some seconds pass.
        let made = std::time::Instant::now();
        wait_until(|| (made.elapsed().as_secs() >= 4).then_some(())).expect("four seconds have passed");
        for (name, item, field) in [("used", "simple", "a"), ("other", "simple2", "c")] {
            test.external_secret(name, "store", item, field);
            test.wait_ready(name, "True");
        }
        // With the chart's rights, which do not include writing Secrets or statuses. A try would be logged as forbidden.
        let values = ["operator.pokeOnly=true", "operator.log.level=debug"];
        let Some(mut command) = fixture::installed(&test.cluster, &values) else {
            return;
        };
        let ours = test.cluster.run("operator", &mut command);
        learned(&test, 2.0);
        let before = test.get("other");

        // The second change follows at once, and must not be lost because it has the same second as the first.
        for value in ["first", "second"] {
            test.set_field("simple", "a", value);
            test.wait_value("used", value);
        }
        let used = test.get("used");
        assert!(used["metadata"]["annotations"]["force-sync"].is_string(), "{used:#}");
        assert_eq!(
            test.get("other"),
            before,
            "an ExternalSecret that does not use the item was touched"
        );
        assert!(
            fixture::managers(&used, "status")
                .iter()
                .all(|manager| !manager.contains("sidevault")),
            "{used:#}"
        );
        fixture::assert_nothing_forbidden(&ours);

        // The deletion of an item sets the annotation once, and not with every failure after it.
        let id = test
            .server
            .pair
            .item(&test.server.token, "apps", "simple")
            .expect("the item")["id"]
            .clone();
        let target = format!("/v1/vaults/apps/items/{}", id.as_str().expect("an id"));
        let gone = test
            .server
            .pair
            .ask(&test.server.token, "DELETE", &target, "")
            .expect("an answer");
        assert_eq!(gone.status, 204);
        test.wait_ready("used", "False");
        // Three failures take six seconds. By then an operator that sets the annotation for each failure would have done so.
        let failures = || theirs.log().matches("key not found in 1Password Vaults").count();
        let tried = wait_until(|| (failures() >= 3).then_some(()));
        assert!(tried.is_some(), "{}", theirs.log());
        let pokes = ours.log().matches("set the annotation force-sync").count();
        assert_eq!(pokes, 3, "{}", ours.log());

        // After a restart the operator sets the annotation for items that have changed meanwhile, and for no others.
        drop(ours);
        test.set_field("simple2", "c", "meanwhile");
        let ours = test.cluster.run("operator", &mut command);
        test.wait_value("other", "meanwhile");
        drop(ours);
        let again = test.get("other")["metadata"]["annotations"]["force-sync"].clone();
        let _ours = test.cluster.run("operator", &mut command);
        learned(&test, 1.0);
        assert_eq!(test.get("other")["metadata"]["annotations"]["force-sync"], again);
    }
}

#[test]
fn a_change_requeues_only_the_external_secrets_that_use_the_item() {
    let Some(test) = TestCluster::start() else { return };
    for (name, item, field) in [
        ("one", "simple", "a"),
        ("two", "simple2", "c"),
        ("three", "simple", "b"),
    ] {
        test.external_secret(name, "store", item, field);
    }
    let _operator = fixture::operator(&test.cluster, &[]);
    for name in ["one", "two", "three"] {
        test.wait_ready(name, "True");
    }
    let calls = |name: &str| {
        let series = format!("externalsecret_sync_calls_total{{name=\"{name}\"");
        fixture::metric(&test.cluster, METRICS, &series)
    };
    // The operator's own writes come back as watch events and may cause another reconcile: wait until there are none.
    let still = wait_until(|| {
        let before = calls("two");
        test.cluster
            .must(&["get", "externalsecret", "two", "-n", test.namespace]);
        (before > 0.0 && calls("two") == before).then_some(before)
    });
    let before = test.get("two");

    test.set_field("simple", "a", "new");
    test.wait_value("one", "new");
    let reached = wait_until(|| (lags(&test) >= 2.0).then_some(()));
    assert!(reached.is_some(), "both that use the item are read again");
    assert_eq!(
        Some(calls("two")),
        still,
        "one that does not use the item was looked at"
    );
    assert_eq!(test.get("two"), before);
    test.wait_value("three", "2");
}

#[test]
fn a_missing_item_is_used_when_it_is_created() {
    let Some(test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    test.external_secret("there", "store", "simple", "a");
    test.wait_value("there", "1");
    test.external_secret("absent", "store", "to-come", "password");
    assert_eq!(
        test.wait_ready("absent", "False")["message"],
        "could not get secret data from provider"
    );

    let before = lags(&test);
    let item = r#"{"title":"to-come","category":"LOGIN","fields":[{"label":"password","value":"here"}]}"#;
    let made = test
        .server
        .pair
        .ask(&test.server.token, "POST", "/v1/vaults/apps/items", item)
        .expect("an answer");
    assert_eq!(made.status, 200);
    test.wait_value("absent", "here");
    test.wait_ready("absent", "True");
    let caught_up = wait_until(|| (lags(&test) > before).then_some(()));
    assert!(caught_up.is_some(), "the item was found by a retry, not by an event");
}

#[test]
fn changes_during_a_connection_loss_are_caught_up() {
    let Some(mut test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    test.external_secret("rotating", "store", "rotating", "current-key");
    test.wait_value("rotating", "rk-1");
    let file = test.server.file("rotating.yaml");

    // Only the api is restarted, while sync goes on: the api replays the changes that the operator has missed.
    test.server.pair.kill(Process::Api);
    fs::write(&file, "current-key: rk-2\n").expect("a file");
    test.server.pair.run(Process::Api);
    test.wait_value("rotating", "rk-2");

    // Both processes are restarted.
    test.server.pair.kill(Process::Api);
    test.server.pair.kill(Process::Sync);
    fs::write(&file, "current-key: rk-3\n").expect("a file");
    test.server.pair.run(Process::Sync);
    test.server.pair.run(Process::Api);
    test.wait_value("rotating", "rk-3");

    // The event stream works again.
    fs::write(&file, "current-key: rk-4\n").expect("a file");
    test.wait_value("rotating", "rk-4");
}

/// A lost emptyDir takes the store and its change numbers with it. The rebuilt store may have more changes than the old one,
/// and the change under test is not among its last.
#[test]
fn changes_while_the_store_was_rebuilt_are_caught_up() {
    let Some(mut test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    let mut manifest = test.manifest("rotating", "store", "rotating", "current-key");
    manifest["spec"]["refreshInterval"] = json!("24h");
    test.cluster.apply(&manifest.to_string());
    test.wait_value("rotating", "rk-1");
    for (round, value) in ["rk-2", "rk-3"].into_iter().enumerate() {
        let pair = &mut test.server.pair;
        pair.kill(Process::Api);
        pair.kill(Process::Sync);
        pair.empty_disk();
        fs::write(test.server.file("rotating.yaml"), format!("current-key: {value}\n")).expect("a file");
        for number in 0..40 {
            let name = format!("z-{round}-{number}.yaml");
            fs::write(test.server.file(&name), "who: nobody\n").expect("a file");
        }
        test.server.pair.run(Process::Sync);
        test.server.pair.run(Process::Api);
        test.wait_value("rotating", value);
    }
    // The event stream works again.
    fs::write(test.server.file("rotating.yaml"), "current-key: rk-4\n").expect("a file");
    test.wait_value("rotating", "rk-4");
}

#[test]
fn annotated_workloads_are_restarted_when_their_secret_changes() {
    let Some(test) = TestCluster::start() else { return };
    let (cluster, namespace) = (&test.cluster, test.namespace);
    let _operator = fixture::operator(cluster, &["--restart-workloads"]);
    let ask = "operator.1password.io/auto-restart";
    let mut restarting = test.manifest("restarting", "store", "simple2", "b");
    restarting["metadata"]["annotations"] = json!({ask: "true"});
    cluster.apply(&restarting.to_string());
    test.external_secret("plain", "store", "simple", "a");
    test.wait_value("plain", "1");
    test.wait_value("restarting", "3");
    let workload = |kind: &str, name: &str, secret: &str, asks: Option<&str>| {
        let annotations = asks.map_or(json!({}), |asks| json!({ask: asks}));
        let labels = json!({"app": name});
        let container = json!({"name": "app", "image": "app", "envFrom": [{"secretRef": {"name": secret}}]});
        let object = json!({"apiVersion": "apps/v1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
            "spec": {"selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}});
        cluster.apply(&object.to_string());
    };
    workload("Deployment", "asks", "plain", Some("true"));
    workload("StatefulSet", "asks-too", "plain", Some("true"));
    workload("DaemonSet", "says-nothing", "plain", None);
    workload("Deployment", "uses-another", "existing", Some("true"));
    workload("Deployment", "asked-for", "restarting", None);
    let all = [
        ("deployments", "asks"),
        ("statefulsets", "asks-too"),
        ("daemonsets", "says-nothing"),
        ("deployments", "uses-another"),
        ("deployments", "asked-for"),
    ];
    let path = |plural: &str, name: &str| format!("/apis/apps/v1/namespaces/{namespace}/{plural}/{name}");
    let restarted = || {
        all.map(|(plural, name)| {
            let workload = cluster.get(&path(plural, name)).expect("the workload");
            workload["spec"]["template"]["metadata"]["annotations"][RESTARTED].clone()
        })
    };

    // A change of labels restarts no workload.
    let synced = test.get("plain")["status"]["syncedResourceVersion"].clone();
    cluster.must(&["label", "externalsecret", "plain", "-n", namespace, "team=a"]);
    cluster.wait_for(&fixture::secret(namespace, "plain"), |secret| {
        (secret["metadata"]["labels"]["team"] == "a").then_some(())
    });
    // The status is written at the end of a reconcile.
    cluster.wait_for(
        &fixture::path(namespace, "externalsecrets", "plain", VERSION),
        |plain| (plain["status"]["syncedResourceVersion"] != synced).then_some(()),
    );
    assert!(
        restarted().iter().all(Value::is_null),
        "restarted, though no value changed"
    );
    test.set_field("simple", "a", "new");
    cluster.wait_for(&path("statefulsets", "asks-too"), restarted_at);
    let [asks, asks_too, says_nothing, uses_another, asked_for] = restarted();
    assert!(asks.is_string() && asks_too.is_string(), "{asks} {asks_too}");
    assert!(says_nothing.is_null() && uses_another.is_null() && asked_for.is_null());

    // The namespace turns restarts on for all, a workload turns them off for itself, and the ExternalSecret overrides both.
    cluster.must(&["annotate", "namespace", namespace, &format!("{ask}=true")]);
    cluster.must(&[
        "annotate",
        "deployment",
        "asks",
        "-n",
        namespace,
        &format!("{ask}=false"),
        "--overwrite",
    ]);
    let heard = wait_until(|| {
        test.set_field("simple", "a", &format!("{}", rand::random::<u32>()));
        cluster
            .get(&path("daemonsets", "says-nothing"))
            .as_ref()
            .and_then(restarted_at)
    });
    assert!(heard.is_some(), "the namespace's word counts");
    assert_eq!(restarted()[0], asks, "a workload that says no was restarted");

    test.set_field("simple2", "b", "new");
    cluster.wait_for(&path("deployments", "asked-for"), restarted_at);
    assert!(restarted()[3].is_null());
}

/// When a workload was restarted.
fn restarted_at(workload: &Value) -> Option<String> {
    workload["spec"]["template"]["metadata"]["annotations"][RESTARTED]
        .as_str()
        .map(str::to_owned)
}

/// How many reconciles the server's events have caused.
fn lags(test: &TestCluster) -> f64 {
    fixture::metric(&test.cluster, METRICS, "sidevault_operator_event_lag_seconds_count")
}

/// Waits until the operator has read this many items.
fn learned(test: &TestCluster, count: f64) {
    let series =
        "externalsecret_provider_api_calls_count{provider=\"1Password/Connect\",call=\"GetItem\",status=\"success\"}";
    let known = wait_until(|| (fixture::metric(&test.cluster, METRICS, series) >= count).then_some(()));
    assert!(
        known.is_some(),
        "the operator has not read the items of the ExternalSecrets"
    );
}
