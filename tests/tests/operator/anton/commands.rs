//! The commands of Anton's documentation, word for word.
//!
//! `tests/node/mission.rs` runs them with Pods on a real node, all as they are written. That needs root, and here the cluster has no
//! nodes. The commands that need a Pod are replaced here:
//!
//! | command | replaced by |
//! |---|---|
//! | `kubectl get pods` | the same; the test creates Pods from the Deployments' templates, which never run |
//! | `kubectl logs -l …` | `kubectl get pods` with the same selector, and the log of the process |
//! | `kubectl port-forward …` | curl's `connect-to`, which sends `localhost:8080` to the server's address |
//! | `kubectl exec … -- curl …` | the same curl on this machine |
//! | `kubectl exec … -- env \| grep …` | `env` with the Deployment's variables, taken from the Secret |
//!
//! Services have no endpoints either, so `HTTP_PROXY` names a proxy that forwards the two names of the Connect server.

use std::env;
use std::fs;

use serde_json::{Value, json};
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
    stack.create_pod("external-secrets");
    stack.create_pod("onepassword-connect");
    let pods = stack.run("kubectl get pods -n external-secrets");
    assert!(
        row(&pods, "external-secrets-0").is_some() && row(&pods, "onepassword-connect-0").is_some(),
        "{pods}"
    );

    let all = stack.run("kubectl get externalsecrets -A");
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

    let store = stack.run("kubectl describe secretstore onepassword-secret-store -n external-secrets");
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

    let health: Value = serde_json::from_str(&stack.run("curl http://localhost:8080/health")).expect("JSON");
    let parts = health["dependencies"].as_array().expect("dependencies");
    assert!(
        parts
            .iter()
            .any(|part| part["service"] == "sync" && part["status"] == "ACTIVE"),
        "{health}"
    );
}

fn troubleshooting(stack: &Stack, operator: &Running) {
    let select = |labels: &str| stack.run(&format!("kubectl get pods -n external-secrets -l {labels} -o name"));
    assert_eq!(
        select("app.kubernetes.io/name=external-secrets").trim(),
        "pod/external-secrets-0"
    );
    assert_eq!(select("app=onepassword-connect").trim(), "pod/onepassword-connect-0");
    assert!(operator.log().contains("reconciled secret"), "{}", operator.log());

    let described = stack.run("kubectl describe externalsecret postgres-credentials -n database");
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
    let output = stack.output("kubectl get secretstore onepassword-cluster-store -o yaml");
    assert!(String::from_utf8_lossy(&output.stderr).contains("NotFound"));
    let store = stack.run("kubectl get clustersecretstore onepassword-cluster-store -o yaml");
    for word in ["reason: Valid", "capabilities: ReadWrite", "connectToken:"] {
        assert!(store.contains(word), "no {word} in {store}");
    }
    let store = stack.run("kubectl get secretstore onepassword-secret-store -n external-secrets -o yaml");
    assert!(store.contains("message: store validated"), "{store}");
}

fn management(stack: &Stack) {
    let path = fixture::path("database", "externalsecrets", "postgres-credentials", VERSION);
    let external_secret = stack.cluster.get(&path).expect("the ExternalSecret");
    let before = external_secret["status"]["syncedResourceVersion"].clone();
    let printed = stack.run(
        "kubectl annotate externalsecret postgres-credentials -n database \\\nforce-sync=\"$(date +%s)\" --overwrite",
    );
    assert!(printed.contains("annotated"), "{printed}");
    stack.cluster.wait_for(&path, |object| {
        (object["status"]["syncedResourceVersion"] != before).then_some(())
    });

    let wide = stack.run("kubectl get externalsecrets -o wide");
    assert!(
        row(&wide, "rotating-api-key").is_some_and(|row| row.contains("SecretSynced")),
        "{wide}"
    );
    let secret = stack.run("kubectl get secret postgres-secret -n database -o yaml");
    for word in [
        "username: YW50b24=",
        "kind: ExternalSecret",
        "reconcile.external-secrets.io/managed: \"true\"",
        "type: Opaque",
    ] {
        assert!(secret.contains(word), "no {word} in {secret}");
    }

    // The documentation's command sends no token.
    let refused: Value = serde_json::from_str(&stack.run("curl -s http://localhost:8080/v1/vaults")).expect("JSON");
    assert_eq!(refused["status"], 401, "{refused}");
    let items = stack.run(
        "curl -H \"Authorization: Bearer $YOUR_OP_CONNECT_TOKEN\" \\\nhttp://localhost:8080/v1/vaults/secrets/items",
    );
    let items: Value = serde_json::from_str(&items).expect("JSON");
    assert_eq!(items, json!([]), "the vault exists and is empty");
    let items = stack.run(
        "curl -H \"Authorization: Bearer $YOUR_OP_CONNECT_TOKEN\" http://localhost:8080/v1/vaults/applications/items",
    );
    assert!(items.contains("service-api-credentials"), "{items}");
}

fn debugging(stack: &Stack) {
    let events = stack.run("kubectl get events -n database --field-selector reason=Created");
    assert!(
        row(&events, "externalsecret/postgres-credentials").is_some(),
        "{events}"
    );
    let name = stack.run("kubectl get secret postgres-secret -n database -o jsonpath='{.data.username}' | base64 -d");
    assert_eq!(name, "anton");

    let variable = |name: &str, key: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": "postgres-secret", "key": key}}});
    let variables = [variable("PGUSER", "username"), variable("PGPASSWORD", "password")];
    let labels = json!({"app": "postgres-app"});
    stack.cluster.apply(
        &json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "postgres-app", "namespace": "database"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "app", "image": "app", "env": variables}]}}}})
        .to_string(),
    );
    let secret = stack
        .cluster
        .get(&fixture::secret("database", "postgres-secret"))
        .expect("the Secret");
    let mut shell = stack.shell("env | grep -E \"(PASSWORD|TOKEN|KEY)\"");
    shell.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    for variable in &variables {
        let key = variable["valueFrom"]["secretKeyRef"]["key"].as_str().expect("a key");
        shell.env(
            variable["name"].as_str().expect("a name"),
            fixture::value(&secret, key).expect("a value"),
        );
    }
    let output = shell.output().expect("sh runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "PGPASSWORD=s3cret & more\n");
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
    fs::write(stack.home.path().join("legacy-secret.sops.yaml"), encrypted).expect("a file");
    let mut shell = stack.shell("sops -d legacy-secret.sops.yaml > decrypted-secret.yaml");
    let output = shell.env("SOPS_AGE_KEY", &key.secret).output().expect("sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        fs::read_to_string(stack.home.path().join("decrypted-secret.yaml")).expect("a file"),
        plain
    );

    // The ExternalSecret takes over the existing Secret, with the same content, so workloads are not interrupted.
    stack.run("kubectl apply -f decrypted-secret.yaml");
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
