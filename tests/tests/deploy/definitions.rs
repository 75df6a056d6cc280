//! The CustomResourceDefinitions on a real API server: how they are applied, their columns, defaults and validation.

use std::fs;

use serde_json::{Value, json};

use super::{cluster, deploy};

#[test]
fn the_definitions_can_be_applied_on_client_and_server_side() {
    let Some(cluster) = cluster() else { return };
    let definitions = deploy("crds").display().to_string();
    cluster.must(&["apply", "-k", &definitions]);
    cluster.must(&["apply", "--server-side", "--force-conflicts", "-k", &definitions]);
    for version in ["v1", "v1beta1"] {
        let listed = cluster.must(&["get", &format!("externalsecrets.{version}.external-secrets.io"), "-A"]);
        assert!(!listed.contains("error"), "{listed}");
    }
}

#[test]
fn short_names_and_columns_are_those_of_external_secrets() {
    let Some(cluster) = cluster() else { return };
    let namespace = cluster.namespace("columns");
    let object = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {"name": "a", "namespace": namespace},
        "spec": {"refreshInterval": "6h", "secretStoreRef": {"name": "s", "kind": "ClusterSecretStore"}}});
    cluster.apply(&object.to_string());
    let listed = cluster.must(&["get", "es", "-n", &namespace]);
    let columns = "NAME STORETYPE STORE REFRESH INTERVAL STATUS READY LAST SYNC";
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines = listed.lines();
    assert_eq!(words(lines.next().unwrap()), columns);
    assert_eq!(words(lines.next().unwrap()), "a ClusterSecretStore s 6h");
    let selected = [
        "get",
        "es",
        "-A",
        "--field-selector=spec.secretStoreRef.name=s",
        "-o",
        "name",
    ];
    assert_eq!(cluster.must(&selected).trim(), "externalsecret.external-secrets.io/a");
}

#[test]
fn defaults_are_those_of_external_secrets() {
    let Some(cluster) = cluster() else { return };
    let namespace = cluster.namespace("defaults");
    let object = json!({"apiVersion": "external-secrets.io/v1beta1", "kind": "ExternalSecret",
        "metadata": {"name": "a", "namespace": namespace}, "spec": {}});
    cluster.apply(&object.to_string());
    let path = format!("/apis/external-secrets.io/v1/namespaces/{namespace}/externalsecrets/a");
    let stored = cluster.wait_for(&path, |found| found["spec"].is_object().then(|| found["spec"].clone()));
    let target = json!({"creationPolicy": "Owner", "deletionPolicy": "Retain"});
    assert_eq!(stored, json!({"refreshInterval": "1h0m0s", "target": target}));
}

#[test]
fn invalid_objects_are_refused_with_a_reason() {
    let Some(cluster) = cluster() else { return };
    let token = json!({"name": "t", "key": "token"});
    let store = |provider: Value| json!({"kind": "SecretStore", "spec": {"provider": provider}});
    let connect = |secret_ref: Value| {
        store(
            json!({"onepassword": {"connectHost": "http://c", "vaults": {"v": 1}, "auth": {"secretRef": secret_ref}}}),
        )
    };
    let secret = |spec: Value| json!({"kind": "ExternalSecret", "spec": spec});
    let key = |key: &str| secret(json!({"data": [{"secretKey": key, "remoteRef": {"key": "i"}}]}));
    let cases = [
        (connect(json!({"connectToken": token})), ""),
        (connect(json!({"connectTokenSecretRef": token})), ""),
        (connect(json!({})), "name the Secret with the token once"),
        (
            connect(json!({"connectToken": token, "connectTokenSecretRef": token})),
            "name the Secret with the token once",
        ),
        (store(json!({"vault": {"server": "http://v", "auth": {"a": [1]}}})), ""),
        (store(json!({})), "should have at least 1 properties"),
        (store(json!({"vault": {}, "aws": {}})), "must have at most 1 item"),
        (
            store(json!({"onepasword": {}})),
            "unknown field \"spec.provider.onepasword\"",
        ),
        (secret(json!({"target": {"type": "kubernetes.io/tls"}})), ""),
        (
            secret(json!({"target": {"creationPolicy": "Mine"}})),
            "Unsupported value: \"Mine\"",
        ),
        (secret(json!({"refreshInterval": 60})), "must be of type string"),
        (
            secret(json!({"dataFrom": [{"rewrite": [{}]}]})),
            "at least 1 properties",
        ),
        (key("a/b"), "should match '^[-._a-zA-Z0-9]+$'"),
        (key("a.b"), ""),
        (
            secret(json!({"data": [{"secretKey": "a", "remoteRef": {"key": "i", "version": 3}}]})),
            "must be of type string",
        ),
        (
            json!({"kind": "PushSecret", "spec": {"secretStoreRefs": [{"name": "s"}], "selector": {}}}),
            "should have at least 1 properties",
        ),
    ];
    for (number, (mut object, reason)) in cases.into_iter().enumerate() {
        let version = if object["kind"] == "PushSecret" {
            "v1alpha1"
        } else {
            "v1"
        };
        object["apiVersion"] = json!(format!("external-secrets.io/{version}"));
        object["metadata"] = json!({"name": format!("case-{number}"), "namespace": "default"});
        let path = cluster.path(&format!("case-{number}.json"));
        fs::write(&path, object.to_string()).unwrap();
        let output = cluster.kubectl(&["apply", "--dry-run=server", "-f", &path.display().to_string()]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), reason.is_empty(), "{object}: {error}");
        assert!(error.contains(reason), "{object}: {error}, not {reason}");
    }
}
