//! The stack this project was asked for: its manifests as written, and its commands as written.
//!
//! There is no kubelet here, so no Pod runs. What stands in for the commands that need one:
//!
//! | command | stands in |
//! |---|---|
//! | `kubectl get pods` | Pods made by hand from the Deployments' templates: listed, never run |
//! | `kubectl logs -l …` | the same selector finds the Pod; the log read is that of the process |
//! | `kubectl port-forward …` | curl's `connect-to`: `localhost:8080` is the server's own address |
//! | `kubectl exec … -- curl …` | the same curl, beside the server |
//! | `kubectl exec … -- env \| grep …` | `env` with the variables that the Deployment names, out of the Secret |
//!
//! Services route nowhere either: `HTTP_PROXY` names a proxy that knows the two names of the Connect server.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, Running, controllers, definitions, find_tools};
use sidevault_tests::pair::Pair;
use sidevault_tests::sops::Sops;

use super::world::{self, VERSION};

const OPERATOR: &str = include_str!("seed/05-operator.yaml");
const STORES: &str = include_str!("seed/10-stores.yaml");
const EXTERNAL_SECRETS: &str = include_str!("seed/20-external-secrets.yaml");
const CONNECT: &str = include_str!("seed/30-connect.yaml");
const ACCESS: &str = include_str!("seed/40-access.yaml");

const NAMESPACES: [&str; 5] = ["external-secrets", "database", "monitoring", "network", "application"];
/// The Connect server's names in the manifests.
const NAMES: [&str; 2] = ["onepassword-connect:8080", "onepassword-connect.external-secrets:8080"];
/// What the operator's Deployment says, and the store that one of the manifests leaves out.
const FLAGS: [&str; 2] = ["--concurrent=1", "--log-level=info"];
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
fn the_manifests_as_written_become_secrets() {
    let Some(stack) = Stack::set(&world::definitions()) else {
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
    let store = world::path("external-secrets", "secretstores", "onepassword-secret-store", VERSION);
    for path in [&cluster_store, &store] {
        assert_eq!(condition(cluster, path, "False")["reason"], "InvalidProviderConfig");
    }
    stack.taken("external-secrets", EXTERNAL_SECRETS);
    let secret = world::path("database", "externalsecrets", "postgres-credentials", VERSION);
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
    cluster.wait_gone(&world::secret("default", "api-key-secret"));
}

#[test]
fn the_one_that_names_no_store_says_so() {
    let Some(stack) = Stack::set(&world::definitions()) else {
        return;
    };
    stack.taken("connect", CONNECT);
    stack.taken("stores", STORES);
    stack.put_token();
    let _operator = stack.operator(&[]);
    stack.taken("external-secrets", EXTERNAL_SECRETS);
    stack.made(&MADE[0]);
    let path = world::path("default", "externalsecrets", "rotating-api-key", VERSION);
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
fn the_real_controller_makes_the_same_of_what_it_takes() {
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
        let path = world::path("default", "externalsecrets", "rotating-api-key", VERSION);
        assert_eq!(
            condition(cluster, &path, "False")["reason"],
            "SecretSyncedError",
            "{}",
            theirs.log()
        );
    }
    let shown = |name: &str, namespace: &str| {
        let secret = cluster.get(&world::secret(namespace, name)).expect("the Secret");
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

#[test]
fn the_commands_as_written_show_what_they_should() {
    let Some(stack) = Stack::set(&world::definitions()) else {
        return;
    };
    for (name, manifests) in [("operator", OPERATOR), ("connect", CONNECT), ("stores", STORES)] {
        stack.taken(name, manifests);
    }
    stack.put_token();
    let operator = stack.operator(&[DEFAULT_STORE]);
    stack.taken("external-secrets", EXTERNAL_SECRETS);
    for made in MADE {
        stack.made(&made);
    }
    for (namespace, name) in [("database", "postgres-credentials"), ("default", "rotating-api-key")] {
        condition(
            &stack.cluster,
            &world::path(namespace, "externalsecrets", name, VERSION),
            "True",
        );
    }
    health_checks(&stack);
    troubleshooting(&stack, &operator);
    management(&stack);
    debugging(&stack);
}

fn health_checks(stack: &Stack) {
    stack.pod("external-secrets");
    stack.pod("onepassword-connect");
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

    // As written it asks for a SecretStore, and the one of this name is a ClusterSecretStore.
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
    let path = world::path("database", "externalsecrets", "postgres-credentials", VERSION);
    let before = stack.cluster.get(&path).expect("it")["status"]["syncedResourceVersion"].clone();
    let said = stack.run(
        "kubectl annotate externalsecret postgres-credentials -n database \\\nforce-sync=\"$(date +%s)\" --overwrite",
    );
    assert!(said.contains("annotated"), "{said}");
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

    // Without a token, as written: the server says what is missing, and nothing else.
    let refused: Value = serde_json::from_str(&stack.run("curl -s http://localhost:8080/v1/vaults")).expect("JSON");
    assert_eq!(refused["status"], 401, "{refused}");
    let items = stack.run(
        "curl -H \"Authorization: Bearer $YOUR_OP_CONNECT_TOKEN\" \\\nhttp://localhost:8080/v1/vaults/secrets/items",
    );
    let items: Value = serde_json::from_str(&items).expect("JSON");
    assert_eq!(items, json!([]), "the vault is there, and empty");
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
        .get(&world::secret("database", "postgres-secret"))
        .expect("the Secret");
    let mut shell = stack.shell("env | grep -E \"(PASSWORD|TOKEN|KEY)\"");
    shell.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    for variable in &variables {
        let key = variable["valueFrom"]["secretKeyRef"]["key"].as_str().expect("a key");
        shell.env(
            variable["name"].as_str().expect("a name"),
            world::value(&secret, key).expect("a value"),
        );
    }
    let output = shell.output().expect("sh runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "PGPASSWORD=s3cret & more\n");
}

#[test]
fn a_legacy_sops_secret_is_migrated() {
    let Some(sops) = Sops::find() else { return };
    let Some(stack) = Stack::set(&world::definitions()) else {
        return;
    };
    stack.taken("connect", CONNECT);
    stack.taken("stores", STORES);
    stack.put_token();
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

    // The workload goes on with the Secret while it moves, and has one of the same content afterwards.
    stack.run("kubectl apply -f decrypted-secret.yaml");
    let item = r#"{"title":"legacy","category":"PASSWORD","fields":[{"label":"password","value":"old but gold"}]}"#;
    stack.post("applications", item);
    let moved = json!({"apiVersion": VERSION, "kind": "ExternalSecret",
        "metadata": {"name": "legacy-sops-secret", "namespace": "application"},
        "spec": {"secretStoreRef": {"kind": "ClusterSecretStore", "name": "onepassword-cluster-store"},
            "data": [{"secretKey": "password", "remoteRef": {"key": "legacy", "property": "password"}}]}});
    stack.cluster.apply(&moved.to_string());
    condition(
        &stack.cluster,
        &world::path("application", "externalsecrets", "legacy-sops-secret", VERSION),
        "True",
    );
    let secret = stack
        .cluster
        .get(&world::secret("application", "legacy-sops-secret"))
        .expect("the Secret");
    assert_eq!(world::value(&secret, "password").as_deref(), Some("old but gold"));
    assert_eq!(secret["metadata"]["ownerReferences"][0]["kind"], "ExternalSecret");
}

/// The cluster with the namespaces, and the Connect server by its names.
struct Stack {
    cluster: Cluster,
    pair: Pair,
    token: String,
    proxy: Proxy,
    tools: String,
    /// Where commands run: with a `.curlrc`.
    home: tempfile::TempDir,
}

impl Stack {
    fn set(definitions: &Path) -> Option<Self> {
        let tools = find_tools(&["kubectl"])?;
        let cluster = Cluster::start()?;
        cluster.install_definitions(definitions);
        for namespace in NAMESPACES {
            cluster.must(&["create", "namespace", namespace]);
        }
        let pair = Pair::start(
            &[
                "--vault",
                "secrets",
                "--vault",
                "infrastructure",
                "--vault",
                "applications",
            ],
            &[],
        );
        let grants = [
            "secrets=read,write",
            "infrastructure=read,write",
            "applications=read,write",
        ];
        let token = pair.token("operator", &grants);
        let home = tempfile::tempdir().expect("a directory");
        let curl = format!("connect-to = \"localhost:8080:{}\"\nsilent\n", pair.address());
        fs::write(home.path().join(".curlrc"), curl).expect("a file");
        let beside = tools.parent().expect("a directory above").display();
        let stack = Self {
            proxy: Proxy::start(pair.address()),
            tools: format!("{}:{beside}", tools.display()),
            cluster,
            pair,
            token,
            home,
        };
        for (vault, item) in ITEMS {
            stack.post(vault, item);
        }
        Some(stack)
    }

    fn post(&self, vault: &str, item: &str) {
        let target = format!("/v1/vaults/{vault}/items");
        let answer = self.pair.ask(&self.token, "POST", &target, item).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Gives an item's first field another value.
    fn change(&self, vault: &str, title: &str, value: &str) {
        let mut item = self.pair.item(&self.token, vault, title).expect("the item");
        item["fields"][0]["value"] = json!(value);
        let target = format!("/v1/vaults/{vault}/items/{}", item["id"].as_str().expect("an id"));
        let answer = self
            .pair
            .ask(&self.token, "PUT", &target, &item.to_string())
            .expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    fn apply(&self, name: &str, manifests: &str) -> Output {
        let path = self.cluster.path(&format!("{name}.yaml"));
        fs::write(&path, manifests).expect("a file");
        self.cluster
            .kubectl(&["apply", "--validate=strict", "-f", &path.to_string_lossy()])
    }

    /// The API server takes every word.
    fn taken(&self, name: &str, manifests: &str) {
        let output = self.apply(name, manifests);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
    }

    fn refused(&self, name: &str, manifests: &str) -> String {
        let output = self.apply(name, manifests);
        assert!(!output.status.success(), "{name} is taken");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Puts a real token where the manifest has a word for it.
    fn put_token(&self) {
        let patch = json!({"stringData": {"token": self.token}}).to_string();
        self.cluster.must(&[
            "patch",
            "secret",
            "onepassword-token",
            "-n",
            "external-secrets",
            "-p",
            &patch,
        ]);
    }

    fn operator(&self, more: &[&str]) -> Running {
        let flags: Vec<&str> = FLAGS.iter().chain(more).copied().collect();
        let mut command = world::command(&self.cluster, 8080, &flags);
        self.cluster
            .run("operator", command.env("HTTP_PROXY", self.proxy.url()))
    }

    /// The real controller, with what its own Deployment says that this release knows.
    fn controller(&self, controller: &Path) -> Running {
        let address = self.cluster.address();
        let mut command = Command::new(controller);
        command.args([&format!("--metrics-addr={address}:8080"), "--concurrent=1"]);
        self.cluster
            .run("external-secrets", command.env("HTTP_PROXY", self.proxy.url()))
    }

    /// Waits until a Secret has exactly these values.
    fn made(&self, (namespace, name, type_, values): &Made) {
        let wanted = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect::<serde_json::Map<_, _>>();
        self.cluster.wait_for(&world::secret(namespace, name), |secret| {
            let data = secret["data"].as_object()?;
            let data = data.keys().map(|key| (key.clone(), json!(world::value(secret, key))));
            (data.collect::<serde_json::Map<_, _>>() == wanted && secret["type"] == *type_).then_some(())
        });
    }

    /// A Pod as the Deployment's controllers would make it.
    fn pod(&self, deployment: &str) {
        let path = format!("/apis/apps/v1/namespaces/external-secrets/deployments/{deployment}");
        let mut pod = self.cluster.get(&path).expect("the Deployment")["spec"]["template"].take();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!(format!("{deployment}-0"));
        pod["metadata"]["namespace"] = json!("external-secrets");
        self.cluster.apply(&pod.to_string());
    }

    /// A command line for the shell.
    fn shell(&self, line: &str) -> Command {
        let path = env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.home.path());
        shell.env("PATH", format!("{}:{path}", self.tools));
        shell
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("HOME", self.home.path());
        shell.env("YOUR_OP_CONNECT_TOKEN", &self.token);
        shell
    }

    fn output(&self, line: &str) -> Output {
        self.shell(line).output().expect("sh runs")
    }

    /// Runs a command line, which must succeed, and gives what it printed.
    fn run(&self, line: &str) -> String {
        let output = self.output(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Waits until an object's condition has a status, and gives it.
fn condition(cluster: &Cluster, path: &str, status: &str) -> Value {
    cluster.wait_for(path, |object| {
        let condition = &object["status"]["conditions"][0];
        (condition["status"] == status).then(|| condition.clone())
    })
}

/// The line of a table that has this word.
fn row(table: &str, word: &str) -> Option<String> {
    table
        .lines()
        .find(|line| line.split_whitespace().any(|found| found == word))
        .map(str::to_owned)
}

/// An HTTP proxy that knows the Connect server's names, and nothing else.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Proxy {
    fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let proxy = Self {
            address: listener.local_addr().expect("an address"),
            asked: Arc::default(),
        };
        let asked = proxy.asked.clone();
        // Ends with the test process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let asked = asked.clone();
                thread::spawn(move || pass(client, server, &asked));
            }
        });
        proxy
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The hosts that were asked for.
    fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Passes a connection on. A client asks for one host on it: proxies are asked by whole URLs, and servers take those.
fn pass(mut client: TcpStream, server: SocketAddr, asked: &Mutex<BTreeSet<String>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(2).any(|pair| pair == b"\r\n") {
        let mut block = [0; 4096];
        match client.read(&mut block)? {
            0 => return Ok(()),
            read => head.extend_from_slice(&block[..read]),
        }
    }
    let text = String::from_utf8_lossy(&head);
    let host = text
        .split(' ')
        .nth(1)
        .and_then(|url| url.strip_prefix("http://"))
        .and_then(|url| url.split('/').next());
    let host = host.unwrap_or_default().to_owned();
    if !NAMES.contains(&host.as_str()) {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    asked.lock().unwrap_or_else(PoisonError::into_inner).insert(host);
    let mut upstream = TcpStream::connect(server)?;
    upstream.write_all(&head)?;
    let (mut from_server, mut to_client) = (upstream.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let copied = io::copy(&mut from_server, &mut to_client);
        // Whoever waits for more shall know that there is none.
        let _gone = to_client.shutdown(std::net::Shutdown::Both);
        copied
    });
    io::copy(&mut client, &mut upstream)?;
    upstream.shutdown(std::net::Shutdown::Write)?;
    let _ended = back.join();
    Ok(())
}
