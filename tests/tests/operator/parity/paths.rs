//! The key of a `remoteRef` may be the path of a file in a tree: for the real controller as for ours.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sidevault_tests::cluster::{controllers, definitions};

use super::phases::TestOperator;

/// Each key, and the value of the item's field `token`.
const KEYS: [(&str, &str); 5] = [
    ("media/plex/secret", "plex"),
    ("media/plex/secret.sops.yaml", "plex"),
    ("plex/secret", "plex"),
    ("media/radarr/db", "radarr"),
    ("media/radarr/tls", "manifest"),
];

#[test]
fn a_path_in_the_tree_is_a_key_for_both_controllers() {
    let Some(controllers) = controllers() else { return };
    for controller in controllers {
        let definitions = definitions(&controller);
        let theirs = TestOperator::start(&definitions, |cluster| super::original(cluster, &controller));
        let Some(theirs) = theirs else { return };
        check(&theirs);
        drop(theirs);
        let Some(ours) = TestOperator::start(&definitions, super::ours) else {
            return;
        };
        check(&ours);
    }
}

fn check(test: &TestOperator) {
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: radarr-tls}, stringData: {token: manifest}}\n";
    for (file, text) in [
        ("media/plex/secret.sops.yaml", "token: plex\n"),
        ("media/radarr/db.yaml", "token: radarr\n"),
        ("media/radarr/tls.yaml", secret),
    ] {
        let path = test.server.file(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    let token = test.server.pair.token("tree", &["media=read"]);
    test.server.pair.vault(&token, "media");
    let mut store = test.server.store(
        &test.version,
        "SecretStore",
        "tree",
        Some("parity"),
        "parity",
        "tree-token",
    );
    store["spec"]["provider"]["onepassword"]["vaults"] = json!({"media": 1});
    let named = |name: &str| json!({"name": name, "namespace": "parity"});
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": named("tree-token"), "stringData": {"token": token}}),
        store,
    ];
    for (n, (key, _)) in KEYS.iter().enumerate() {
        objects.push(
            json!({"apiVersion": test.version, "kind": "ExternalSecret", "metadata": named(&format!("path-{n}")), "spec": {
            "refreshInterval": "5s",
            "secretStoreRef": {"name": "tree", "kind": "SecretStore"},
            "data": [{"secretKey": "one", "remoteRef": {"key": key, "property": "token"}}],
            "dataFrom": [{"extract": {"key": key}}],
        }}),
        );
    }
    test.cluster
        .apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
    for (n, (key, value)) in KEYS.iter().enumerate() {
        let path = format!("/api/v1/namespaces/parity/secrets/path-{n}");
        let data = test
            .cluster
            .wait_for(&path, |secret| Some(secret["data"].clone()).filter(Value::is_object));
        let wanted = STANDARD.encode(value);
        assert_eq!(
            (&data["one"], &data["token"]),
            (&json!(wanted), &json!(wanted)),
            "{key}"
        );
    }
}
