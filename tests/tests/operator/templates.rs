//! Templates in ConfigMaps and Secrets, and the keys that templates and patterns make.

use serde_json::json;

use super::world::{self, Stage};

#[test]
fn a_template_that_changes_is_used_at_once() {
    let Some(stage) = Stage::set() else { return };
    let (cluster, namespace) = (&stage.cluster, stage.namespace);
    let Some(mut command) = world::installed(cluster, &[]) else {
        return;
    };
    let operator = cluster.run("operator", &mut command);
    let apply = |name: &str, kind: &str, source: &str| {
        let mut manifest = stage.manifest(name, "store", "db", "username");
        manifest["spec"]["refreshInterval"] = json!("24h");
        manifest["spec"]["data"][0]["secretKey"] = json!("u");
        manifest["spec"]["target"] = json!({"template": {
            "templateFrom": [{kind: {"name": source, "items": [{"key": "conf"}]}}]}});
        cluster.apply(&manifest.to_string());
    };
    let wait = |name: &str, conf: &str| {
        cluster.wait_for(&world::secret(namespace, name), |secret| {
            (world::value(secret, "conf").as_deref() == Some(conf)).then_some(())
        });
    };
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

    // One that is yet to come.
    apply("early", "configMap", "late");
    stage.wait_event("early", "UpdateFailed", "configmaps \"late\" not found");
    let late = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late", "namespace": namespace},
        "data": {"conf": "late={{ .u }}"}});
    cluster.apply(&late.to_string());
    wait("early", "late=app");
    world::assert_nothing_forbidden(&operator);
}

#[test]
fn keys_that_a_rewrite_empties_or_joins_are_told() {
    let Some(stage) = Stage::set() else { return };
    let _operator = world::operator(&stage.cluster, &[]);
    let apply = |name: &str, source: &str, target: &str, policy: &str| {
        let mut manifest = stage.manifest(name, "store", "simple", "a");
        let spec = manifest["spec"].as_object_mut().expect("a spec");
        spec.remove("data");
        spec.insert(
            "dataFrom".to_owned(),
            json!([{"extract": {"key": "simple"}, "rewrite": [{"regexp": {"source": source, "target": target}}]}]),
        );
        spec.insert("target".to_owned(), json!({"deletionPolicy": policy}));
        stage.cluster.apply(&manifest.to_string());
    };
    apply("joined", "^[ab]$", "v", "Retain");
    let told = stage.wait_event(
        "joined",
        "KeysLost",
        "spec.dataFrom[0].rewrite[0] makes one key \"v\" of \"a\", \"b\"",
    );
    assert_eq!(told["type"], "Warning");
    stage.wait_value("joined", "2");
    // Go's trap: $1 and the letters after it are the name of a group that there is not.
    apply("emptied", "(.*)", "$1_key", "Retain");
    stage.wait_event("emptied", "KeysLost", "makes the key empty of \"a\", \"b\"");
    stage.wait_ready("emptied", "True");
    // A mistake in the manifest does not count as items that were deleted.
    apply("kept", "^x$", "y", "Delete");
    let secret = world::secret(stage.namespace, "kept");
    stage.cluster.wait_for(&secret, |secret| world::value(secret, "a"));
    apply("kept", "(.*)", "$1_key", "Delete");
    stage.wait_event("kept", "UpdateFailed", "the Secret is not deleted");
    assert!(stage.cluster.get(&secret).is_some(), "the Secret is gone");
}
