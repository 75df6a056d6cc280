//! `sidevault migrate k8s`: Secrets become items, and External Secrets' controller and ours make the same Secrets of them again.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use sidevault_tests::cluster::{controllers, definitions};
use sidevault_tests::pair::binary;
use sidevault_tests::sops::Sops;
use sidevault_tests::tools::find_in_cluster;

use super::fixture::{self, TestCluster};

const LEGACY: &str = r#"
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Secret
    metadata: {name: plain, namespace: legacy, annotations: {note: "{{ not a template }}"}}
    stringData: {user: app, password: "p'ä\"ss\n", empty: ""}
  - apiVersion: v1
    kind: Secret
    metadata: {name: keystore, namespace: legacy, labels: {app: shop}}
    type: example.com/keystore
    data: {store.jks: /u3+7QAA/w==, alias: c2hvcA==}
  - apiVersion: v1
    kind: Secret
    metadata: {name: login, namespace: legacy}
    type: kubernetes.io/basic-auth
    stringData: {username: admin, password: t0p}
  - apiVersion: v1
    kind: Secret
    metadata: {name: sh.helm.release.v1.shop.v1, namespace: legacy}
    type: helm.sh/release.v1
    stringData: {release: x}
"#;

const NAMES: [&str; 3] = ["plain", "keystore", "login"];

fn migrate(test: &TestCluster, arguments: &[&str]) -> Output {
    let common = [
        "migrate",
        "k8s",
        "--vault=apps",
        "--store=store",
        "--store-kind=SecretStore",
    ];
    sidevault(test, &test.cluster.kubeconfig(), &[&common[..], arguments].concat())
}

/// Runs a command with the test's server, and with a kubectl and this kubeconfig for the cluster.
pub(super) fn sidevault(test: &TestCluster, kubeconfig: &Path, arguments: &[&str]) -> Output {
    let tools = find_in_cluster(&["kubectl"]).expect("kubectl");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    Command::new(binary())
        .args(arguments)
        .env("PATH", path)
        .env("KUBECONFIG", kubeconfig)
        .env("OP_CONNECT_HOST", test.server.host())
        .env("OP_CONNECT_TOKEN", &test.server.token)
        .output()
        .expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Prints of a migration that must succeed.
fn migrated(test: &TestCluster, arguments: &[&str]) -> (String, String) {
    let output = migrate(test, arguments);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    (stdout, stderr)
}

fn secret(test: &TestCluster, name: &str) -> Value {
    let path = fixture::secret("legacy", name);
    test.cluster.get(&path).expect("the Secret")
}

/// Migrates the Secrets of a namespace, deletes them, and waits until they are made again.
fn check(test: &TestCluster) {
    test.server.prepare(&test.cluster, &test.version, "legacy");
    for name in [
        "existing",
        "existing-too",
        "existing-three",
        "existing-four",
        "existing-five",
        "existing-six",
        "existing-seven",
    ] {
        test.cluster.delete(&fixture::secret("legacy", name));
    }
    test.cluster.apply(LEGACY);
    let before = NAMES.map(|name| secret(test, name));
    let arguments = ["-n", "legacy", "--name=plain", "--name=keystore", "--name=login"];
    let (planned, said) = migrated(test, &[&arguments[..], &["--plan"]].concat());
    assert_eq!(planned, "");
    assert!(said.contains("Secret plain: an item with 3 fields"), "{said}");
    let (manifests, said) = migrated(test, &arguments);
    assert!(said.contains("Secret keystore: store.jks is not UTF-8"), "{said}");
    assert!(!manifests.contains("t0p") && !said.contains("t0p"), "{manifests}{said}");
    // A second run makes nothing, and prints the same.
    let (again, said) = migrated(test, &arguments);
    assert_eq!(again, manifests);
    assert!(
        said.contains("Secret login: the vault has its item") && !said.contains("made"),
        "{said}"
    );
    for name in NAMES {
        test.cluster.delete(&fixture::secret("legacy", name));
    }
    test.cluster.apply(&manifests);
    for (name, before) in NAMES.iter().zip(before) {
        let path = fixture::secret("legacy", name);
        let made = test
            .cluster
            .wait_for(&path, |secret| secret["data"].is_object().then(|| secret.clone()));
        assert_eq!(
            (&made["data"], &made["type"]),
            (&before["data"], &before["type"]),
            "{name}"
        );
        for (what, entries) in [
            ("labels", &before["metadata"]["labels"]),
            ("annotations", &before["metadata"]["annotations"]),
        ] {
            for (key, value) in entries.as_object().into_iter().flatten() {
                if !key.starts_with("kubectl.kubernetes.io/") {
                    assert_eq!(&made["metadata"][what][key], value, "{name}: {key}");
                }
            }
        }
    }
    // What a store owns is left out.
    let output = migrate(test, &["-n", "legacy", "--name=plain"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    // Another Secret of the same name is no reason to overwrite an item.
    let other = test.cluster.path("other.yaml");
    fs::write(
        &other,
        "{apiVersion: v1, kind: Secret, metadata: {name: login}, stringData: {password: other}}",
    )
    .expect("a file");
    let output = migrate(test, &["-f", other.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("t0p"));
}

#[test]
fn secrets_of_a_namespace_are_made_again_by_the_operator() {
    let Some(test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    check(&test);
    sops_secret(&test);
    super::uses::check(&test);
    super::status::check(&test);
}

#[test]
fn secrets_of_a_namespace_are_made_again_by_external_secrets() {
    let Some(controller) = controllers().and_then(|all| all.into_iter().next()) else {
        return;
    };
    let Some(test) = TestCluster::with(&definitions(&controller)) else {
        return;
    };
    let _controller = test.cluster.run_external_secrets(&controller, &[]);
    check(&test);
}

/// A Secret that SOPS encrypted becomes an item, and an ExternalSecret makes it.
fn sops_secret(test: &TestCluster) {
    let Some(sops) = Sops::find() else { return };
    let key = sops.key();
    let manifest = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "legacy-sops-secret", "namespace": "legacy"},
        "type": "Opaque", "data": {"password": "czNjcmV0"}});
    // JSON is YAML.
    let regex = ["--encrypted-regex", "^(data|stringData)$"];
    let sealed = sops.encrypt(&key, "legacy-secret.sops.yaml", manifest.to_string(), &regex);
    assert!(!text(&sealed).contains("czNjcmV0"));
    let [file, keys] = ["legacy-secret.sops.yaml", "age-key.txt"].map(|name| test.cluster.path(name));
    fs::write(&file, sealed).expect("a file");
    fs::write(&keys, &key.secret).expect("a file");
    let [file, keys] = [&file, &keys].map(|path| path.to_str().expect("UTF-8"));
    let output = migrate(test, &["-f", file]);
    assert_eq!(output.status.code(), Some(1), "without a key");
    let (manifests, _) = migrated(test, &["-f", file, "--age-key-file", keys]);
    test.cluster.apply(&manifests);
    let made = test
        .cluster
        .wait_for(&fixture::secret("legacy", "legacy-sops-secret"), |secret| {
            secret["data"].is_object().then(|| secret.clone())
        });
    assert_eq!(made["data"], json!({"password": "czNjcmV0"}));
}
