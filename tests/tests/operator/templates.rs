//! Templates in ConfigMaps and Secrets, and keys that rewrites lose.

use serde_json::{Value, json};
use sidevault_tests::pair::wait_until;

use super::fixture::{self, TestCluster};

#[test]
fn a_changed_template_is_used_at_once() {
    let Some(test) = TestCluster::start() else { return };
    let (cluster, namespace) = (&test.cluster, test.namespace);
    let Some(mut command) = fixture::installed(cluster, &[]) else {
        return;
    };
    let operator = cluster.run("operator", &mut command);
    let apply = |name: &str, kind: &str, source: &str| {
        cluster.apply(&templated(&test, name, kind, source).to_string());
    };
    let wait = |name: &str, conf: &str| wait_conf(&test, name, conf);
    for (name, kind) in [("of-config-map", "configMap"), ("of-secret", "secret")] {
        apply(name, kind, "templates");
        wait(name, "user=app");
    }
    cluster.must(&[
        "patch",
        "configmap",
        "templates",
        "-n",
        namespace,
        "-p",
        r#"{"data":{"conf":"map={{ .u }}"}}"#,
    ]);
    wait("of-config-map", "map=app");
    cluster.must(&[
        "patch",
        "secret",
        "templates",
        "-n",
        namespace,
        "-p",
        r#"{"stringData":{"conf":"secret={{ .u }}"}}"#,
    ]);
    wait("of-secret", "secret=app");

    // A ConfigMap that does not exist yet.
    apply("early", "configMap", "late");
    test.wait_event("early", "UpdateFailed", "configmaps \"late\" not found");
    let late = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late", "namespace": namespace},
        "data": {"conf": "late={{ .u }}"}});
    cluster.apply(&late.to_string());
    wait("early", "late=app");
    fixture::assert_nothing_forbidden(&operator);
}

/// With the rights of an older chart, which allow to read ConfigMaps but not to list and watch them.
#[test]
fn a_template_without_watch_rights_is_read_at_the_next_refresh() {
    let Some(test) = TestCluster::start() else { return };
    let (cluster, namespace) = (&test.cluster, test.namespace);
    let Some(mut command) = fixture::installed(cluster, &[]) else {
        return;
    };
    let name = "sidevault-external-secrets-controller";
    let role: Value = serde_json::from_str(&cluster.must(&["get", "clusterrole", name, "-o", "json"])).expect("JSON");
    let rules = role["rules"].as_array().expect("rules");
    let of_config_maps = rules.iter().position(|rule| rule["resources"] == json!(["configmaps"]));
    let path = format!("/rules/{}/verbs", of_config_maps.expect("a rule"));
    let patch = json!([{"op": "replace", "path": path, "value": ["get"]}]).to_string();
    cluster.must(&["patch", "clusterrole", name, "--type=json", "-p", &patch]);
    let operator = cluster.run("operator", &mut command);
    for name in ["one", "two"] {
        cluster.apply(&templated(&test, name, "configMap", "templates").to_string());
        wait_conf(&test, name, "user=app");
    }
    let warning = "a change of a template is noticed at the next refresh only";
    wait_until(|| operator.log().contains(warning).then_some(())).expect("the log says so");
    let change = r#"{"data":{"conf":"later={{ .u }}"}}"#;
    cluster.must(&["patch", "configmap", "templates", "-n", namespace, "-p", change]);
    for name in ["one", "two"] {
        test.force_sync(name);
        wait_conf(&test, name, "later=app");
    }
    assert_eq!(operator.log().matches(warning).count(), 1, "{}", operator.log());
    fixture::assert_nothing_forbidden(&operator);
}

/// An ExternalSecret whose template is in an object of this kind and name.
fn templated(test: &TestCluster, name: &str, kind: &str, source: &str) -> Value {
    let mut manifest = test.manifest(name, "store", "db", "username");
    manifest["spec"]["refreshInterval"] = json!("24h");
    manifest["spec"]["data"][0]["secretKey"] = json!("u");
    manifest["spec"]["target"] = json!({"template": {
        "templateFrom": [{kind: {"name": source, "items": [{"key": "conf"}]}}]}});
    manifest
}

fn wait_conf(test: &TestCluster, name: &str, conf: &str) {
    test.cluster.wait_for(&fixture::secret(test.namespace, name), |secret| {
        (fixture::value(secret, "conf").as_deref() == Some(conf)).then_some(())
    });
}

#[test]
fn lost_keys_of_a_rewrite_are_reported() {
    let Some(test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    let apply = |name: &str, source: &str, target: &str, policy: &str| {
        let mut manifest = test.manifest(name, "store", "simple", "a");
        let spec = manifest["spec"].as_object_mut().expect("a spec");
        spec.remove("data");
        spec.insert(
            "dataFrom".to_owned(),
            json!([{"extract": {"key": "simple"}, "rewrite": [{"regexp": {"source": source, "target": target}}]}]),
        );
        spec.insert("target".to_owned(), json!({"deletionPolicy": policy}));
        test.cluster.apply(&manifest.to_string());
    };
    apply("joined", "^[ab]$", "v", "Retain");
    let event = test.wait_event(
        "joined",
        "KeysLost",
        "spec.dataFrom[0].rewrite[0] turns the keys \"a\", \"b\" into the same key \"v\"",
    );
    assert_eq!(event["type"], "Warning");
    test.wait_value("joined", "2");
    // In Go's syntax `$1_key` names a group `1_key`, which does not exist and so is empty.
    apply("emptied", "(.*)", "$1_key", "Retain");
    test.wait_event(
        "emptied",
        "KeysLost",
        "turns the keys \"a\", \"b\", \"notesPlain\" into the empty key",
    );
    test.wait_ready("emptied", "True");
    // A mistake in a rewrite does not count as a deletion of the items.
    apply("kept", "^x$", "y", "Delete");
    let secret = fixture::secret(test.namespace, "kept");
    test.cluster.wait_for(&secret, |secret| fixture::value(secret, "a"));
    apply("kept", "(.*)", "$1_key", "Delete");
    test.wait_event("kept", "UpdateFailed", "the Secret is not deleted");
    assert!(test.cluster.get(&secret).is_some(), "the Secret is gone");
}
