//! The stack this project was asked for: its manifests as written, and its commands as written.

mod commands;
mod proxy;
mod stack;

use std::path::Path;

use serde_json::json;
use sidevault_tests::cluster::{controllers, definitions};

use self::proxy::NAMES;
use self::stack::{Stack, condition};
use super::fixture::{self, VERSION};

const OPERATOR: &str = include_str!("seed/05-operator.yaml");
const STORES: &str = include_str!("seed/10-stores.yaml");
const EXTERNAL_SECRETS: &str = include_str!("seed/20-external-secrets.yaml");
const CONNECT: &str = include_str!("seed/30-connect.yaml");
const ACCESS: &str = include_str!("seed/40-access.yaml");

/// The store that one of the manifests leaves out.
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

/// The Secrets that come of it: namespace, name, type, and values by key.
type Made = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);
const MADE: [Made; 4] = [
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
fn the_seed_manifests_become_secrets() {
    let Some(stack) = Stack::set(&fixture::definitions()) else {
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
        stack.taken(name, manifests);
    }
    let connect = cluster
        .get("/apis/apps/v1/namespaces/external-secrets/deployments/onepassword-connect")
        .expect("it");
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

    // The token is still the one of the manifest, which is none.
    let operator = stack.operator(&[DEFAULT_STORE]);
    let cluster_store = "/apis/external-secrets.io/v1/clustersecretstores/onepassword-cluster-store".to_owned();
    let store = fixture::path("external-secrets", "secretstores", "onepassword-secret-store", VERSION);
    for path in [&cluster_store, &store] {
        assert_eq!(condition(cluster, path, "False")["reason"], "InvalidProviderConfig");
    }
    stack.taken("external-secrets", EXTERNAL_SECRETS);
    let secret = fixture::path("database", "externalsecrets", "postgres-credentials", VERSION);
    assert_eq!(condition(cluster, &secret, "False")["reason"], "SecretSyncedError");

    stack.put_token();
    for path in [&cluster_store, &store] {
        assert_eq!(condition(cluster, path, "True")["message"], "store validated");
    }
    for made in MADE {
        stack.made(&made);
    }
    // The reader's Role is all of the application namespace's, and nothing made there.
    let log = operator.log();
    for (_, _, _, values) in MADE {
        assert!(
            values.iter().all(|(_, value)| value.len() < 4 || !log.contains(value)),
            "{log}"
        );
    }
    assert_eq!(stack.proxy.asked(), NAMES.map(str::to_owned).into());

    // A new value of the rotating key is there long before the hour is over.
    stack.change("applications", "service-api-credentials", "key-2");
    stack.made(&("default", "api-key-secret", "Opaque", &[("api-key", "key-2")]));
    // And "clean up when the ExternalSecret is deleted".
    cluster.must(&["delete", "externalsecret", "rotating-api-key", "--timeout=60s"]);
    cluster.wait_gone(&fixture::secret("default", "api-key-secret"));
}

/// kubectl's own way, the API server's, and both only to see whether it would go.
#[test]
fn the_seed_manifests_are_accepted_by_every_way_to_apply_them() {
    let Some(stack) = Stack::set(&fixture::definitions()) else {
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
        std::fs::write(stack.home.path().join(format!("{name}.yaml")), manifests).expect("a file");
    }
    let apply = |way: &str, but: &str| {
        for (name, manifests) in all.into_iter().filter(|(name, _)| *name != but) {
            let line = format!("kubectl apply --validate=strict {way} -f {name}.yaml");
            let output = stack.output(&line);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{line}: {said}");
            let objects = manifests.lines().filter(|line| line.starts_with("kind:")).count();
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(printed.lines().count(), objects, "{line}: {printed}");
            let dry = way.contains("--dry-run");
            assert!(
                printed.lines().all(|line| line.ends_with("(server dry run)") == dry),
                "{printed}"
            );
        }
    };
    let there = || stack.run("kubectl get externalsecrets,secretstores,clustersecretstores,deployments -A -o name");
    for way in ["--dry-run=server", "--dry-run=server --server-side"] {
        apply(way, "");
        assert_eq!(there(), "", "{way}");
    }
    apply("--server-side", "");
    // What was taken is what was written, with nothing left out.
    for (name, _) in all {
        stack.run(&format!("kubectl diff --server-side -f {name}.yaml"));
    }
    let _operator = stack.operator(&[DEFAULT_STORE]);
    stack.put_token();
    for made in MADE {
        stack.made(&made);
    }
    // What the operator writes is not in the way of who applies them again. The token is another than the manifest's.
    for way in ["--dry-run=server --server-side", "--server-side"] {
        apply(way, "connect");
    }
    for made in MADE {
        stack.made(&made);
    }

    for name in ["external-secrets", "stores", "access", "connect", "operator"] {
        stack.run(&format!("kubectl delete --timeout=60s -f {name}.yaml"));
    }
    assert_eq!(there(), "");
    apply("", "");
}

#[test]
fn an_external_secret_without_a_store_reports_that() {
    let Some(stack) = Stack::set(&fixture::definitions()) else {
        return;
    };
    stack.taken("connect", CONNECT);
    stack.taken("stores", STORES);
    stack.put_token();
    let _operator = stack.operator(&[]);
    stack.taken("external-secrets", EXTERNAL_SECRETS);
    stack.made(&MADE[0]);
    let path = fixture::path("default", "externalsecrets", "rotating-api-key", VERSION);
    let condition = condition(&stack.cluster, &path, "False");
    assert_eq!(condition["reason"], "SecretSyncedError");
    let told = stack.run("kubectl describe externalsecret rotating-api-key");
    assert!(
        told.contains("set spec.secretStoreRef, or run the operator with --default-store"),
        "{told}"
    );
}

/// What the real External Secrets makes of the same manifests, as far as its definitions take them.
#[test]
fn the_real_controller_makes_the_same_secrets_of_the_seed() {
    let Some(controllers) = controllers() else { return };
    let Some(stack) = Stack::set(&definitions(&controllers[0])) else {
        return;
    };
    let cluster = &stack.cluster;
    for (name, manifests) in [("operator", OPERATOR), ("connect", CONNECT)] {
        stack.taken(name, manifests);
    }
    // Neither spelling is one of its own.
    let said = stack.refused("stores", STORES);
    assert!(
        said.contains("connectTokenSecretRef: Required value") || said.contains("unknown field"),
        "{said}"
    );
    let said = stack.refused("external-secrets", EXTERNAL_SECRETS);
    assert!(said.contains("unknown field \"spec.target.type\""), "{said}");
    let there = cluster
        .get("/apis/external-secrets.io/v1/externalsecrets")
        .expect("a list");
    let names: Vec<&str> = there["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect();
    assert!(
        names.contains(&"postgres-credentials") && names.contains(&"monitoring-api-keys"),
        "{names:?}"
    );

    stack.taken(
        "stores-respelled",
        &STORES.replace("connectToken:", "connectTokenSecretRef:"),
    );
    stack.put_token();
    let theirs = stack.controller(&controllers[0]);
    stack.made(&MADE[0]);
    stack.made(&MADE[1]);
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
    let before = MADE[..2].iter().map(|made| shown(made.1, made.0)).collect::<Vec<_>>();
    drop(theirs);
    cluster.must(&["delete", "secret", "postgres-secret", "-n", "database"]);
    cluster.must(&["delete", "secret", "monitoring-secrets", "-n", "monitoring"]);
    // Ours makes the same anew, from the same objects.
    let _operator = stack.operator(&[]);
    stack.made(&MADE[0]);
    stack.made(&MADE[1]);
    assert_eq!(
        MADE[..2].iter().map(|made| shown(made.1, made.0)).collect::<Vec<_>>(),
        before
    );
}
