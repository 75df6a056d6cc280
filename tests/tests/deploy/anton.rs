//! Runs `examples/anton`: the real server serves its vaults, a real API server has its objects, and the operator runs with the
//! arguments and the rights that the example gives it.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, Running};
use sidevault_tests::pair::{Process, ServerPair, binary, files_below, wait_until};
use sidevault_tests::wire::{Request, exchange};

use super::documented::blocks;
use super::installed::define_one_password_item;
use super::series::OPERATOR_METRICS;
use super::{deploy, documents, kinds};

struct TestServer {
    cluster: Cluster,
    pair: ServerPair,
    operator: Running,
    objects: Vec<Value>,
}

/// Starts api and sync with the example's vaults, as in the example's Pod, but with other paths.
fn pair() -> ServerPair {
    let example = deploy("examples/anton");
    let mut pair = ServerPair::prepare(&[], &[]);
    // A copy, because a test adds files to it.
    for (path, content) in files_below(&example.join("vaults")) {
        let copy = pair
            .path("vaults")
            .join(path.strip_prefix(example.join("vaults")).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, content).unwrap();
    }
    let vaults = pair.path("vaults").display().to_string();
    let key = example.join("age-key.txt").display().to_string();
    let sources = fs::read_to_string(example.join("sources.yaml")).unwrap();
    let sources = sources.replace("/vaults", &vaults).replace("/age/age-key.txt", &key);
    fs::write(pair.path("sources.yaml"), sources).unwrap();
    pair.set(
        "SIDEVAULT_SYNC_CONFIG",
        &pair.path("sources.yaml").display().to_string(),
    );
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    pair
}

impl TestServer {
    fn start() -> Option<Self> {
        let cluster = Cluster::start()?;
        let pair = pair();
        cluster.must(&["apply", "-k", &deploy("crds").display().to_string()]);
        cluster.must(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
        let objects = documents(&cluster.must(&["kustomize", &deploy("examples/anton").display().to_string()]));
        // There is no DNS for Services here, so the stores get the server's address.
        let address = format!("http://{}", pair.address());
        let there = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let there = there
            .replace("http://onepassword-connect.external-secrets:8080", &address)
            .replace("http://onepassword-connect:8080", &address);
        cluster.apply(&there);
        let grants = ["infrastructure=read", "applications=read", "secrets=read"];
        let literal = format!("--from-literal=token={}", pair.token("operator", &grants));
        let names = [
            "create",
            "secret",
            "generic",
            "onepassword-token",
            "-n",
            "external-secrets",
        ];
        cluster.must(&[&names[..], &[&literal]].concat());
        let operator = run_operator(&cluster, &objects);
        Some(Self {
            cluster,
            pair,
            operator,
            objects,
        })
    }

    fn ready(&self, kind: &str, object: &Value) {
        let (namespace, name) = (
            object["metadata"]["namespace"].as_str(),
            object["metadata"]["name"].as_str().unwrap(),
        );
        let within = namespace
            .map(|namespace| format!("namespaces/{namespace}/"))
            .unwrap_or_default();
        let path = format!("/apis/external-secrets.io/v1/{within}{kind}/{name}");
        let mut last = Value::Null;
        let ready = wait_until(|| {
            last = self.cluster.get(&path)?;
            let conditions = last["status"]["conditions"].as_array()?;
            conditions
                .iter()
                .any(|one| one["type"] == "Ready" && one["status"] == "True")
                .then_some(())
        });
        let logs = self.operator.log() + &self.pair.log(Process::Sync);
        assert!(ready.is_some(), "{path}: {}\n{logs}", last["status"]);
    }

    fn secret(&self, namespace: &str, name: &str) -> Value {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        self.cluster
            .get(&path)
            .unwrap_or_else(|| panic!("no Secret {namespace}/{name}"))
    }
}

/// Starts the operator with the arguments and the service account of the example's Deployment.
fn run_operator(cluster: &Cluster, objects: &[Value]) -> Running {
    let deployment = kinds(objects, "Deployment")
        .into_iter()
        .find(|object| object["metadata"]["name"] == "external-secrets")
        .unwrap();
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    let arguments: Vec<String> = serde_json::from_value(arguments).unwrap();
    // The same ports, on this cluster's own address.
    let arguments = arguments
        .iter()
        .map(|argument| argument.replace("=:", &format!("={}:", cluster.address())));
    let mut command = Command::new(binary());
    command.arg("operator").args(arguments);
    command.env(
        "KUBECONFIG",
        cluster.kubeconfig_for("external-secrets", "external-secrets"),
    );
    cluster.run("operator", &mut command)
}

fn value(secret: &Value, key: &str) -> String {
    let encoded = secret["data"][key].as_str().unwrap_or_else(|| panic!("no {key}"));
    String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
}

#[test]
fn anton_runs_with_the_rights_that_it_grants() {
    let Some(server) = TestServer::start() else { return };
    for (kind, plural) in [
        ("SecretStore", "secretstores"),
        ("ClusterSecretStore", "clustersecretstores"),
        ("ExternalSecret", "externalsecrets"),
    ] {
        let objects = kinds(&server.objects, kind);
        assert!(!objects.is_empty(), "no {kind}");
        for object in objects {
            server.ready(plural, object);
        }
    }
    assert_eq!(
        value(&server.secret("database", "postgres-secret"), "password"),
        "correct-horse-battery"
    );
    let tokens = server.secret("monitoring", "monitoring-secrets");
    assert_eq!(value(&tokens, "cloudflare-api-token"), "cf-example-token");
    assert_eq!(value(&tokens, "docker-registry-token"), "docker-example-token");
    let certificate = server.secret("network", "custom-tls-secret");
    assert_eq!(certificate["type"], "kubernetes.io/tls");
    assert!(value(&certificate, "tls.crt").starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(
        value(&server.secret("application", "api-key-secret"), "api-key"),
        "service-example-key"
    );
    let url = value(&server.secret("application", "postgres-secret"), "database-url");
    assert_eq!(
        url,
        "postgresql://anton:correct-horse-battery@postgres.database.svc/homelab"
    );
    assert_eq!(
        value(&server.secret("application", "app-config-secret"), "config.yaml"),
        "log: info\nfeatures: blue,green\n"
    );
    let events = "/api/v1/namespaces/database/events?fieldSelector=reason=Created";
    let about = server.cluster.wait_for(events, |found| {
        found["items"][0]["involvedObject"]["name"].as_str().map(str::to_owned)
    });
    assert_eq!(about, "postgres-credentials");
    // The API server refused no request of the operator.
    let log = server.operator.log();
    assert!(!log.to_lowercase().contains("forbidden"), "{log}");
}

#[test]
fn the_secrets_have_every_key_that_the_examples_workloads_use() {
    let Some(server) = TestServer::start() else { return };
    for object in kinds(&server.objects, "ExternalSecret") {
        server.ready("externalsecrets", object);
    }
    let mut used = 0;
    for deployment in kinds(&server.objects, "Deployment") {
        let namespace = deployment["metadata"]["namespace"].as_str().unwrap();
        if namespace == "external-secrets" {
            continue;
        }
        let pod = &deployment["spec"]["template"]["spec"];
        let list = |within: &Value, name: &str| within[name].as_array().cloned().unwrap_or_default();
        for container in list(pod, "containers").into_iter().chain(list(pod, "initContainers")) {
            for variable in list(&container, "env") {
                let reference = &variable["valueFrom"]["secretKeyRef"];
                let secret = server.secret(namespace, reference["name"].as_str().unwrap());
                assert!(!value(&secret, reference["key"].as_str().unwrap()).is_empty());
                used += 1;
            }
            for source in list(&container, "envFrom") {
                server.secret(namespace, source["secretRef"]["name"].as_str().unwrap());
                used += 1;
            }
        }
        for volume in list(pod, "volumes") {
            let secret = server.secret(namespace, volume["secret"]["secretName"].as_str().unwrap());
            for item in list(&volume["secret"], "items") {
                value(&secret, item["key"].as_str().unwrap());
            }
            used += 1;
        }
    }
    assert!(used >= 8, "{used}");
}

#[test]
fn an_external_secret_takes_over_a_secret_that_was_kept_with_sops() {
    let Some(server) = TestServer::start() else { return };
    let old = "--from-literal=password=legacy-example-password";
    server.cluster.must(&[
        "create",
        "secret",
        "generic",
        "legacy-sops-secret",
        "-n",
        "application",
        old,
    ]);
    let uid = server.secret("application", "legacy-sops-secret")["metadata"]["uid"].clone();
    let legacy = deploy("examples/anton/legacy");
    let moved = server.pair.path("vaults/applications/legacy-secret.sops.yaml");
    fs::copy(legacy.join("legacy-secret.sops.yaml"), moved).unwrap();
    server.cluster.must(&[
        "apply",
        "-f",
        &legacy.join("external-secret.yaml").display().to_string(),
    ]);
    let manifest = documents(&fs::read_to_string(legacy.join("external-secret.yaml")).unwrap());
    server.ready("externalsecrets", &manifest[0]);
    let secret = server.secret("application", "legacy-sops-secret");
    assert_eq!(value(&secret, "password"), "legacy-example-password");
    assert_eq!(secret["metadata"]["uid"], uid, "the Secret was deleted and made again");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["kind"], "ExternalSecret");
}

/// The steps of docs/kubernetes.md, "OnePasswordItem".
#[test]
fn an_external_secret_takes_over_the_secret_of_a_one_password_item() {
    let Some(server) = TestServer::start() else { return };
    define_one_password_item(&server.cluster);
    let metadata = json!({"name": "database", "namespace": "application"});
    let mut item = json!({"apiVersion": "onepassword.com/v1", "kind": "OnePasswordItem", "metadata": metadata});
    item["metadata"]["finalizers"] = json!(["onepassword.com/finalizer.secret"]);
    server.cluster.apply(&item.to_string());
    let path = "/apis/onepassword.com/v1/namespaces/application/onepassworditems/database";
    let item_uid = server
        .cluster
        .wait_for(path, |item| item["metadata"]["uid"].as_str().map(str::to_owned));
    let owner =
        json!({"apiVersion": "onepassword.com/v1", "kind": "OnePasswordItem", "name": "database", "uid": item_uid});
    let mut secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"username": "old"}});
    secret["metadata"]["ownerReferences"] = json!([owner]);
    server.cluster.apply(&secret.to_string());
    let uid = server.secret("application", "database")["metadata"]["uid"].clone();

    let reference = json!({"name": "onepassword-cluster-store", "kind": "ClusterSecretStore"});
    let spec = json!({"secretStoreRef": reference, "dataFrom": [{"extract": {"key": "postgres-database"}}]});
    let object =
        json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": metadata, "spec": spec});
    server.cluster.apply(&object.to_string());
    server.ready("externalsecrets", &object);
    for line in blocks("docs/kubernetes.md", "OnePasswordItem").concat().lines() {
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("kubectl"));
        let words: Vec<&str> = words.map(|word| word.trim_matches('\'')).collect();
        server.cluster.must(&words);
    }
    // The garbage collector removes the reference to the owner that is gone, and would delete a Secret without another.
    let owners = server
        .cluster
        .wait_for("/api/v1/namespaces/application/secrets/database", |secret| {
            let owners = secret["metadata"]["ownerReferences"].as_array()?;
            (owners.len() == 1).then(|| owners.clone())
        });
    assert_eq!(owners[0]["kind"], "ExternalSecret");
    let secret = server.secret("application", "database");
    assert_eq!(secret["metadata"]["uid"], uid, "the Secret was deleted and made again");
    assert_eq!(value(&secret, "username"), "anton");
}

#[test]
fn the_operator_exports_every_metric_of_the_alerts_and_dashboards() {
    let Some(server) = TestServer::start() else { return };
    let reference = json!({"name": "onepassword-cluster-store", "kind": "ClusterSecretStore"});
    let data = json!([{"secretKey": "a", "remoteRef": {"key": "no such item"}}]);
    let object = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {"name": "broken", "namespace": "application"},
        "spec": {"secretStoreRef": reference, "data": data}});
    server.cluster.apply(&object.to_string());
    let missing = |shown: &str| {
        let missing = OPERATOR_METRICS.iter().find(|series| {
            let sample = |line: &str| {
                line.strip_prefix(**series)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            !shown.lines().any(sample)
        });
        missing.copied()
    };
    let mut last = String::new();
    let all = wait_until(|| {
        let reply = exchange(
            (server.cluster.address(), 8080).into(),
            &Request::new("GET", "/metrics").bytes(),
        )
        .ok()?;
        last = String::from_utf8(reply.body).ok()?;
        missing(&last).is_none().then_some(())
    });
    assert!(all.is_some(), "no {:?} in\n{last}", missing(&last));
}
