//! The commands of Anton's documentation, word for word.
//!
//! Here the cluster has no nodes. The commands that need a Pod are in `tests/node/mission.rs`: `get pods`, `logs`, `port-forward` with
//! the `curl` commands, and `exec`. Services have no endpoints here either, so `HTTP_PROXY` names a proxy that forwards the two names of
//! the Connect server.

use std::fs;

use serde_json::json;
use sidevault_tests::cluster::Running;
use sidevault_tests::sops::Sops;

use super::super::fixture::{self, VERSION};
use super::stack::{Stack, condition, row};
use super::{CONNECT, DEFAULT_STORE, EXPECTED_SECRETS, EXTERNAL_SECRETS, OPERATOR, STORES};

#[test]
fn antons_commands_work() {
    let Some(stack) = Stack::start(&fixture::definitions()) else {
        return;
    };
    for (name, manifests) in [("operator", OPERATOR), ("connect", CONNECT), ("stores", STORES)] {
        stack.apply_strictly(name, manifests);
    }
    stack.set_token();
    let operator = stack.operator(&[DEFAULT_STORE]);
    stack.apply_strictly("external-secrets", EXTERNAL_SECRETS);
    for expected in EXPECTED_SECRETS {
        stack.wait_for_secret(&expected);
    }
    for (namespace, name) in [("database", "postgres-credentials"), ("default", "rotating-api-key")] {
        condition(
            &stack.cluster,
            &fixture::path(namespace, "externalsecrets", name, VERSION),
            "True",
        );
    }
    health_checks(&stack);
    troubleshooting(&stack, &operator);
    management(&stack);
    debugging(&stack);
}

fn health_checks(stack: &Stack) {
    let all = stack.shell.run("kubectl get externalsecrets -A");
    let columns = [
        "NAMESPACE",
        "NAME",
        "STORETYPE",
        "STORE",
        "REFRESH INTERVAL",
        "STATUS",
        "READY",
    ];
    assert!(
        columns
            .iter()
            .all(|column| all.lines().next().is_some_and(|head| head.contains(column))),
        "{all}"
    );
    for name in [
        "postgres-credentials",
        "monitoring-api-keys",
        "custom-tls-certificates",
        "rotating-api-key",
    ] {
        let row = row(&all, name).unwrap_or_else(|| panic!("{all}"));
        assert!(row.contains("SecretSynced") && row.contains("True"), "{row}");
    }
    let hour = row(&all, "postgres-credentials").unwrap_or_default();
    assert!(
        hour.contains("ClusterSecretStore") && hour.contains("onepassword-cluster-store") && hour.contains("1h"),
        "{hour}"
    );

    let store = stack
        .shell
        .run("kubectl describe secretstore onepassword-secret-store -n external-secrets");
    for word in [
        "Ready",
        "store validated",
        "Valid",
        "http://onepassword-connect:8080",
        "Capabilities:  ReadWrite",
    ] {
        assert!(store.contains(word), "no {word} in {store}");
    }
    assert!(store.contains("Events:") && !store.contains(&stack.token), "{store}");
}

fn troubleshooting(stack: &Stack, operator: &Running) {
    assert!(operator.log().contains("reconciled secret"), "{}", operator.log());

    let described = stack
        .shell
        .run("kubectl describe externalsecret postgres-credentials -n database");
    let events = described.split("Events:").nth(1).unwrap_or_default();
    assert!(
        events.contains("Created") && events.contains("external-secrets") && events.contains("secret created"),
        "{described}"
    );
    assert!(
        described.contains("secret synced") && !described.contains("s3cret"),
        "{described}"
    );

    // The documentation asks for a SecretStore, but the object of this name is a ClusterSecretStore.
    let output = stack
        .shell
        .output("kubectl get secretstore onepassword-cluster-store -o yaml");
    assert!(String::from_utf8_lossy(&output.stderr).contains("NotFound"));
    let store = stack
        .shell
        .run("kubectl get clustersecretstore onepassword-cluster-store -o yaml");
    for word in ["reason: Valid", "capabilities: ReadWrite", "connectToken:"] {
        assert!(store.contains(word), "no {word} in {store}");
    }
    let store = stack
        .shell
        .run("kubectl get secretstore onepassword-secret-store -n external-secrets -o yaml");
    assert!(store.contains("message: store validated"), "{store}");
}

fn management(stack: &Stack) {
    let path = fixture::path("database", "externalsecrets", "postgres-credentials", VERSION);
    let external_secret = stack.cluster.get(&path).expect("the ExternalSecret");
    let before = external_secret["status"]["syncedResourceVersion"].clone();
    let printed = stack.shell.run(
        "kubectl annotate externalsecret postgres-credentials -n database \\\nforce-sync=\"$(date +%s)\" --overwrite",
    );
    assert!(printed.contains("annotated"), "{printed}");
    stack.cluster.wait_for(&path, |object| {
        (object["status"]["syncedResourceVersion"] != before).then_some(())
    });

    let wide = stack.shell.run("kubectl get externalsecrets -o wide");
    assert!(
        row(&wide, "rotating-api-key").is_some_and(|row| row.contains("SecretSynced")),
        "{wide}"
    );
    let secret = stack
        .shell
        .run("kubectl get secret postgres-secret -n database -o yaml");
    for word in [
        "username: YW50b24=",
        "kind: ExternalSecret",
        "reconcile.external-secrets.io/managed: \"true\"",
        "type: Opaque",
    ] {
        assert!(secret.contains(word), "no {word} in {secret}");
    }
}

fn debugging(stack: &Stack) {
    let events = stack
        .shell
        .run("kubectl get events -n database --field-selector reason=Created");
    assert!(
        row(&events, "externalsecret/postgres-credentials").is_some(),
        "{events}"
    );
    let name = stack
        .shell
        .run("kubectl get secret postgres-secret -n database -o jsonpath='{.data.username}' | base64 -d");
    assert_eq!(name, "anton");
}

#[test]
fn a_legacy_sops_secret_is_migrated() {
    let Some(sops) = Sops::find() else { return };
    let Some(stack) = Stack::start(&fixture::definitions()) else {
        return;
    };
    stack.apply_strictly("connect", CONNECT);
    stack.apply_strictly("stores", STORES);
    stack.set_token();
    let _operator = stack.operator(&[]);
    let key = sops.key();
    let plain = "apiVersion: v1\nkind: Secret\nmetadata:\n    name: legacy-sops-secret\n    namespace: application\n\
                 type: Opaque\ndata:\n    password: b2xkIGJ1dCBnb2xk\n";
    let encrypted = sops.encrypt(&key, "legacy-secret.sops.yaml", plain, &["--encrypted-regex", "^data$"]);
    assert!(String::from_utf8_lossy(&encrypted).contains("password: ENC[AES256_GCM,data:"));
    fs::write(stack.shell.home().join("legacy-secret.sops.yaml"), encrypted).expect("a file");
    let mut shell = stack
        .shell
        .command("sops -d legacy-secret.sops.yaml > decrypted-secret.yaml");
    let output = shell.env("SOPS_AGE_KEY", &key.secret).output().expect("sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        fs::read_to_string(stack.shell.home().join("decrypted-secret.yaml")).expect("a file"),
        plain
    );

    // The ExternalSecret takes over the existing Secret, with the same content, so workloads are not interrupted.
    stack.shell.run("kubectl apply -f decrypted-secret.yaml");
    let item = r#"{"title":"legacy","category":"PASSWORD","fields":[{"label":"password","value":"old but gold"}]}"#;
    stack.post("applications", item);
    let external_secret = json!({"apiVersion": VERSION, "kind": "ExternalSecret",
        "metadata": {"name": "legacy-sops-secret", "namespace": "application"},
        "spec": {"secretStoreRef": {"kind": "ClusterSecretStore", "name": "onepassword-cluster-store"},
            "data": [{"secretKey": "password", "remoteRef": {"key": "legacy", "property": "password"}}]}});
    stack.cluster.apply(&external_secret.to_string());
    condition(
        &stack.cluster,
        &fixture::path("application", "externalsecrets", "legacy-sops-secret", VERSION),
        "True",
    );
    let secret = stack
        .cluster
        .get(&fixture::secret("application", "legacy-sops-secret"))
        .expect("the Secret");
    assert_eq!(fixture::value(&secret, "password").as_deref(), Some("old but gold"));
    assert_eq!(secret["metadata"]["ownerReferences"][0]["kind"], "ExternalSecret");
}
