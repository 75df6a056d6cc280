//! The contents of `deploy/`: definitions, chart, kustomizations and examples are applied to a real API server and rendered
//! with the real Helm; the commands of the documentation about them are run.

mod anton;
mod backup;
mod carried;
mod chart;
mod containers;
mod definitions;
mod documented;
mod examples;
mod installed;
mod many_pods;
mod rights;
mod series;
mod variables;
mod webhook;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::{Value, json};
use sidevault_tests::cluster::Cluster;
use sidevault_tests::tools::find_in_cluster;

/// A path below `deploy/`.
fn deploy(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(below)
}

/// The path of a file in `tests/deploy/`.
fn values(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    path.display().to_string()
}

/// The shared cluster, with Sidevault's definitions, stubs of the Prometheus operator's, and namespaces that enforce and warn
/// of Pod security `restricted`.
fn cluster() -> Option<&'static Cluster> {
    static READY: OnceLock<()> = OnceLock::new();
    let cluster = Cluster::shared()?;
    READY.get_or_init(|| {
        cluster.must(&["apply", "-k", &deploy("crds").display().to_string()]);
        cluster.must(&["apply", "-f", &values("monitoring-stubs.yaml")]);
        let names = ["external-secrets", "database", "monitoring", "network", "application"];
        let namespaces: Vec<_> = names
            .iter()
            .map(|name| {
                let labels = json!({
                    "pod-security.kubernetes.io/enforce": "restricted",
                    "pod-security.kubernetes.io/warn": "restricted",
                });
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
            })
            .collect();
        let path = cluster.path("namespaces.json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": namespaces});
        fs::write(&path, list.to_string()).unwrap();
        cluster.must(&["apply", "-f", &path.display().to_string()]);
        cluster.must(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
    });
    Some(cluster)
}

/// Runs the Helm that `tests/cluster/build.sh` builds. `None` if it was not built: the test is skipped.
fn helm(arguments: &[&str]) -> Option<Output> {
    let helm = find_in_cluster(&["helm"])?.join("helm");
    Some(Command::new(helm).args(arguments).output().unwrap())
}

/// Renders the chart, as it would be installed in the namespace external-secrets.
fn template(more: &[&str]) -> Option<Output> {
    template_of(&deploy("helm/sidevault").display().to_string(), more)
}

/// Renders a chart's directory or archive in the same way.
fn template_of(chart: &str, more: &[&str]) -> Option<Output> {
    let mut arguments = vec![
        "template",
        "sidevault",
        chart,
        "--namespace=external-secrets",
        "--kube-version=1.34.0",
    ];
    arguments.extend(more);
    helm(&arguments)
}

/// Renders the chart with these arguments, which must succeed.
fn rendered(more: &[&str]) -> Option<String> {
    let output = template(more)?;
    assert!(
        output.status.success(),
        "{more:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The YAML documents of a text, without empty ones.
fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    all.into_iter().filter(|document| !document.is_null()).collect()
}

/// The documents of a kind.
fn kinds<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

/// Asserts that the API server accepts all objects and gives no warning.
fn accepted(cluster: &Cluster, what: &str, manifests: &str) {
    // The namespaces exist already; to apply them again would warn about labels.
    let objects: Vec<_> = documents(manifests)
        .into_iter()
        .filter(|object| object["kind"] != "Namespace")
        .collect();
    assert!(!objects.is_empty(), "{what}: nothing");
    // A list in one file: the definitions in it exist already.
    let path = cluster.path(&format!("{}.json", what.replace(['/', ' ', '='], "-")));
    fs::write(
        &path,
        json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string(),
    )
    .unwrap();
    let path = path.display().to_string();
    let output = cluster.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", &path]);
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {messages}");
    // Kubernetes 1.34 warns of its own default for every headless Service.
    let warnings: Vec<_> = messages
        .lines()
        .filter(|line| *line != "Warning: spec.SessionAffinity is ignored for headless services")
        .collect();
    assert!(warnings.is_empty(), "{what}: {messages}");
}

/// Asserts that the API server accepts every Pod of the manifests. Pod security is enforced for Pods, and only warned of for
/// Deployments.
fn pods_pass_restricted(cluster: &Cluster, what: &str, manifests: &str) {
    // The controller manager makes this account, and without it the API server accepts no Pod.
    let account = "/api/v1/namespaces/external-secrets/serviceaccounts/default";
    cluster.wait_for(account, |account| account["metadata"]["uid"].is_string().then_some(()));
    for (number, object) in documents(manifests).iter().enumerate() {
        let spec = match object["kind"].as_str() {
            Some("Deployment" | "StatefulSet") => &object["spec"]["template"]["spec"],
            Some("Pod") => &object["spec"],
            _ => continue,
        };
        // The service accounts do not exist here.
        let mut spec = spec.clone();
        spec.as_object_mut().unwrap().remove("serviceAccountName");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": format!("pod-{number}"), "namespace": "external-secrets"}});
        let path = cluster.path(&format!("pod-{number}.json"));
        fs::write(&path, pod.to_string()).unwrap();
        let output = cluster.kubectl(&["create", "--dry-run=server", "-f", &path.display().to_string()]);
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && messages.is_empty(), "{what}: {messages}");
    }
}
