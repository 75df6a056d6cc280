//! The manifests and commands of the home cluster "Anton" (`deploy/examples/anton`), word for word as its documentation has
//! them: the API server accepts the manifests, and server and operator make the Secrets from them.

mod commands;
mod proxy;
mod stack;

use std::path::Path;

use serde_json::json;
use sidevault_tests::cluster::{controllers, definitions};

use self::proxy::NAMES;
use self::stack::{Stack, condition};
use super::fixture::{self, VERSION};

const OPERATOR: &str = include_str!("anton/05-operator.yaml");
const STORES: &str = include_str!("anton/10-stores.yaml");
const EXTERNAL_SECRETS: &str = include_str!("anton/20-external-secrets.yaml");
const CONNECT: &str = include_str!("anton/30-connect.yaml");
const ACCESS: &str = include_str!("anton/40-access.yaml");

/// The flag for the ExternalSecret that names no store.
const DEFAULT_STORE: &str = "--default-store=ClusterSecretStore/onepassword-cluster-store";

const ITEMS: [(&str, &str); 6] = [
    (
        "infrastructure",
        r#"{"title":"postgres-database","category":"DATABASE","fields":[{"label":"username","value":"anton"},
        {"label":"password","value":"s3cret & more"},{"label":"database","value":"app"}]}"#,
    ),
    (
        "infrastructure",
        r#"{"title":"internal-ca-certificate","category":"SECURE_NOTE","fields":[
        {"label":"certificate","value":"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"},
        {"label":"private-key","value":"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"}]}"#,
    ),
    (
        "applications",
        r#"{"title":"cloudflare-credentials","category":"API_CREDENTIAL","fields":[{"label":"api-token","value":"cf"}]}"#,
    ),
    (
        "applications",
        r#"{"title":"github-credentials","category":"API_CREDENTIAL","fields":[
        {"label":"personal-access-token","value":"gh"}]}"#,
    ),
    (
        "applications",
        r#"{"title":"docker-credentials","category":"API_CREDENTIAL","fields":[{"label":"registry-token","value":"dk"}]}"#,
    ),
    (
        "applications",
        r#"{"title":"service-api-credentials","category":"API_CREDENTIAL","fields":[
        {"label":"current-key","value":"key-1"}]}"#,
    ),
];

/// An expected Secret: namespace, name, type, and values by key.
type ExpectedSecret = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);
const EXPECTED_SECRETS: [ExpectedSecret; 4] = [
    (
        "database",
        "postgres-secret",
        "Opaque",
        &[
            ("username", "anton"),
            ("password", "s3cret & more"),
            ("database", "app"),
        ],
    ),
    (
        "monitoring",
        "monitoring-secrets",
        "Opaque",
        &[
            ("cloudflare-api-token", "cf"),
            ("github-token", "gh"),
            ("docker-registry-token", "dk"),
        ],
    ),
    (
        "network",
        "custom-tls-secret",
        "kubernetes.io/tls",
        &[
            (
                "tls.crt",
                "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
            ),
            (
                "tls.key",
                "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
            ),
        ],
    ),
    ("default", "api-key-secret", "Opaque", &[("api-key", "key-1")]),
];

#[test]
fn antons_manifests_become_secrets() {
    let Some(stack) = Stack::start(&fixture::definitions()) else {
        return;
    };
    let cluster = &stack.cluster;
    let monitoring = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring-stubs.yaml");
    cluster.install_definitions(Path::new(monitoring));
    for (name, manifests) in [
        ("operator", OPERATOR),
        ("connect", CONNECT),
        ("access", ACCESS),
        ("stores", STORES),
    ] {
        stack.apply_strictly(name, manifests);
    }
    let connect = cluster
        .get("/apis/apps/v1/namespaces/external-secrets/deployments/onepassword-connect")
        .expect("the Deployment");
    let pod = &connect["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["env"][0],
        json!({"name": "OP_BUS_PORT", "value": "11220"})
    );
    assert_eq!(
        pod["containers"][1]["env"][1],
        json!({"name": "OP_HTTP_PORT", "value": "8081"})
    );
    for (container, ports) in [(0, vec![8080, 11220]), (1, vec![8081])] {
        let container = &pod["containers"][container];
        let named: Vec<i64> = container["ports"]
            .as_array()
            .expect("ports")
            .iter()
            .filter_map(|port| port["containerPort"].as_i64())
            .collect();
        assert_eq!(named, ports);
        assert_eq!(
            container["volumeMounts"],
            json!([{"name": "shared-data", "mountPath": "/home/opuser/.op/data"}])
        );
    }
    assert_eq!(pod["volumes"], json!([{"name": "shared-data", "emptyDir": {}}]));

    // The manifest's token is a placeholder, so the stores are not valid yet.
    let operator = stack.operator(&[DEFAULT_STORE]);
    let cluster_store = "/apis/external-secrets.io/v1/clustersecretstores/onepassword-cluster-store".to_owned();
    let store = fixture::path("external-secrets", "secretstores", "onepassword-secret-store", VERSION);
    for path in [&cluster_store, &store] {
        assert_eq!(condition(cluster, path, "False")["reason"], "InvalidProviderConfig");
    }
    stack.apply_strictly("external-secrets", EXTERNAL_SECRETS);
    let secret = fixture::path("database", "externalsecrets", "postgres-credentials", VERSION);
    assert_eq!(condition(cluster, &secret, "False")["reason"], "SecretSyncedError");

    stack.set_token();
    for path in [&cluster_store, &store] {
        assert_eq!(condition(cluster, path, "True")["message"], "store validated");
    }
    for expected in EXPECTED_SECRETS {
        stack.wait_for_secret(&expected);
    }
    let log = operator.log();
    for (_, _, _, values) in EXPECTED_SECRETS {
        assert!(
            values.iter().all(|(_, value)| value.len() < 4 || !log.contains(value)),
            "{log}"
        );
    }
    assert_eq!(stack.proxy.requested_hosts(), NAMES.map(str::to_owned).into());

    // A changed value is written without waiting for the refresh interval of an hour.
    stack.change("applications", "service-api-credentials", "key-2");
    stack.wait_for_secret(&("default", "api-key-secret", "Opaque", &[("api-key", "key-2")]));
    // The Secret is deleted with its ExternalSecret, as the manifest's comment says.
    cluster.must(&["delete", "externalsecret", "rotating-api-key", "--timeout=60s"]);
    cluster.wait_gone(&fixture::secret("default", "api-key-secret"));
}

/// Client-side, server-side, and as a dry run of each.
#[test]
fn antons_manifests_are_accepted_by_every_kind_of_apply() {
    let Some(stack) = Stack::start(&fixture::definitions()) else {
        return;
    };
    let monitoring = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring-stubs.yaml");
    stack.cluster.install_definitions(Path::new(monitoring));
    let all = [
        ("operator", OPERATOR),
        ("connect", CONNECT),
        ("access", ACCESS),
        ("stores", STORES),
        ("external-secrets", EXTERNAL_SECRETS),
    ];
    for (name, manifests) in all {
        std::fs::write(stack.shell.home().join(format!("{name}.yaml")), manifests).expect("a file");
    }
    let apply = |flags: &str, except: &str| {
        for (name, manifests) in all.into_iter().filter(|(name, _)| *name != except) {
            let line = format!("kubectl apply --validate=strict {flags} -f {name}.yaml");
            let output = stack.shell.output(&line);
            let messages = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && messages.is_empty(), "{line}: {messages}");
            let objects = manifests.lines().filter(|line| line.starts_with("kind:")).count();
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(printed.lines().count(), objects, "{line}: {printed}");
            let dry = flags.contains("--dry-run");
            assert!(
                printed.lines().all(|line| line.ends_with("(server dry run)") == dry),
                "{printed}"
            );
        }
    };
    let objects = || {
        stack
            .shell
            .run("kubectl get externalsecrets,secretstores,clustersecretstores,deployments -A -o name")
    };
    for flags in ["--dry-run=server", "--dry-run=server --server-side"] {
        apply(flags, "");
        assert_eq!(objects(), "", "{flags}");
    }
    apply("--server-side", "");
    // The API server dropped no field.
    for (name, _) in all {
        stack.shell.run(&format!("kubectl diff --server-side -f {name}.yaml"));
    }
    let _operator = stack.operator(&[DEFAULT_STORE]);
    stack.set_token();
    for expected in EXPECTED_SECRETS {
        stack.wait_for_secret(&expected);
    }
    // The manifests can be applied again without a conflict with fields that the operator wrote. `connect` is left out,
    // because it would set the token back to the placeholder.
    for flags in ["--dry-run=server --server-side", "--server-side"] {
        apply(flags, "connect");
    }
    for expected in EXPECTED_SECRETS {
        stack.wait_for_secret(&expected);
    }

    for name in ["external-secrets", "stores", "access", "connect", "operator"] {
        stack.shell.run(&format!("kubectl delete --timeout=60s -f {name}.yaml"));
    }
    assert_eq!(objects(), "");
    apply("", "");
}

#[test]
fn an_external_secret_without_a_store_reports_that() {
    let Some(stack) = Stack::start(&fixture::definitions()) else {
        return;
    };
    stack.apply_strictly("connect", CONNECT);
    stack.apply_strictly("stores", STORES);
    stack.set_token();
    let _operator = stack.operator(&[]);
    stack.apply_strictly("external-secrets", EXTERNAL_SECRETS);
    stack.wait_for_secret(&EXPECTED_SECRETS[0]);
    let path = fixture::path("default", "externalsecrets", "rotating-api-key", VERSION);
    let condition = condition(&stack.cluster, &path, "False");
    assert_eq!(condition["reason"], "SecretSyncedError");
    let description = stack.shell.run("kubectl describe externalsecret rotating-api-key");
    assert!(
        description.contains("set spec.secretStoreRef, or run the operator with --default-store"),
        "{description}"
    );
}

/// Of the manifests that External Secrets' own definitions accept.
#[test]
fn the_real_controller_makes_the_same_secrets_of_antons_manifests() {
    let Some(controllers) = controllers() else { return };
    let Some(stack) = Stack::start(&definitions(&controllers[0])) else {
        return;
    };
    let cluster = &stack.cluster;
    for (name, manifests) in [("operator", OPERATOR), ("connect", CONNECT)] {
        stack.apply_strictly(name, manifests);
    }
    // External Secrets has neither `connectToken` nor `target.type`.
    let error = stack.apply_refused("stores", STORES);
    assert!(
        error.contains("connectTokenSecretRef: Required value") || error.contains("unknown field"),
        "{error}"
    );
    let error = stack.apply_refused("external-secrets", EXTERNAL_SECRETS);
    assert!(error.contains("unknown field \"spec.target.type\""), "{error}");
    let accepted = cluster
        .get("/apis/external-secrets.io/v1/externalsecrets")
        .expect("a list");
    let names: Vec<&str> = accepted["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect();
    assert!(
        names.contains(&"postgres-credentials") && names.contains(&"monitoring-api-keys"),
        "{names:?}"
    );

    stack.apply_strictly(
        "stores-respelled",
        &STORES.replace("connectToken:", "connectTokenSecretRef:"),
    );
    stack.set_token();
    let theirs = stack.controller(&controllers[0]);
    stack.wait_for_secret(&EXPECTED_SECRETS[0]);
    stack.wait_for_secret(&EXPECTED_SECRETS[1]);
    if names.contains(&"rotating-api-key") {
        let path = fixture::path("default", "externalsecrets", "rotating-api-key", VERSION);
        assert_eq!(
            condition(cluster, &path, "False")["reason"],
            "SecretSyncedError",
            "{}",
            theirs.log()
        );
    }
    let shown = |name: &str, namespace: &str| {
        let secret = cluster.get(&fixture::secret(namespace, name)).expect("the Secret");
        [
            &secret["data"],
            &secret["type"],
            &secret["metadata"]["labels"],
            &secret["metadata"]["annotations"],
        ]
        .map(Clone::clone)
    };
    let shown_secrets = || {
        EXPECTED_SECRETS[..2]
            .iter()
            .map(|(namespace, name, ..)| shown(name, namespace))
            .collect::<Vec<_>>()
    };
    let before = shown_secrets();
    drop(theirs);
    cluster.must(&["delete", "secret", "postgres-secret", "-n", "database"]);
    cluster.must(&["delete", "secret", "monitoring-secrets", "-n", "monitoring"]);
    // Sidevault's operator creates the same Secrets again.
    let _operator = stack.operator(&[]);
    stack.wait_for_secret(&EXPECTED_SECRETS[0]);
    stack.wait_for_secret(&EXPECTED_SECRETS[1]);
    assert_eq!(shown_secrets(), before);
}
