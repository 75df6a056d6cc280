//! `sidevault status`, also as a plugin of kubectl: the state of the objects as the API server has it.

use std::process::Command;

use serde_json::Value;
use sidevault_tests::pair::binary;
use sidevault_tests::tools::find_in_cluster;

use super::fixture::TestCluster;
use super::migrate::sidevault;

const NAMESPACE: &str = "apps";

/// What is ready and what is not, of a cluster in which an operator runs and `uses-direct` is ready.
pub(super) fn check(test: &TestCluster) {
    let cluster = &test.cluster;
    test.external_secret("status-bad", "store", "no-such-item", "a");
    test.wait_ready("status-bad", "False");
    let admin = cluster.kubeconfig();
    let output = sidevault(test, &admin, &["status", "-n", NAMESPACE, "-o", "json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7), "{said}");
    let states: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let state = |kind: &str, name: &str| {
        let found = states
            .iter()
            .find(|state| state["kind"] == kind && state["name"] == name);
        found.unwrap_or_else(|| panic!("{kind} {name}: {states:?}"))
    };
    let good = state("ExternalSecret", "uses-direct");
    assert!(
        good["ready"] == true && good["lastSync"].is_string() && good["namespace"] == NAMESPACE,
        "{good}"
    );
    let bad = state("ExternalSecret", "status-bad");
    assert!(bad["ready"] == false && bad["reason"] == "SecretSyncedError", "{bad}");
    assert_eq!(state("SecretStore", "store")["ready"], true);
    assert_eq!(state("ClusterSecretStore", "cluster-store")["ready"], true);
    assert!(states.iter().any(|state| state["kind"] == "PushSecret"), "{states:?}");

    // As a plugin, in all namespaces, for people.
    let tools = find_in_cluster(&["kubectl"]).expect("kubectl");
    let plugins = cluster.path("plugins");
    std::fs::create_dir_all(&plugins).expect("a directory");
    std::os::unix::fs::symlink(binary(), plugins.join("kubectl-sidevault")).expect("a link");
    let path = format!(
        "{}:{}:{}",
        plugins.display(),
        tools.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let plugin = Command::new(tools.join("kubectl"))
        .args(["sidevault", "status", "-A"])
        .env("PATH", path)
        .env("KUBECONFIG", &admin)
        .output()
        .expect("kubectl");
    let (text, said) = (
        String::from_utf8_lossy(&plugin.stdout).into_owned(),
        String::from_utf8_lossy(&plugin.stderr).into_owned(),
    );
    assert_eq!(plugin.status.code(), Some(7), "{text}{said}");
    let row = text
        .lines()
        .find(|line| line.contains("status-bad"))
        .unwrap_or_default();
    assert!(row.contains("NO") && row.contains("SecretSyncedError"), "{text}");
    assert!(text.contains("ExternalSecret apps/status-bad: "), "{text}");
    assert!(said.contains("are not ready"), "{said}");

    let nobody = cluster.kubeconfig_for(NAMESPACE, "nobody");
    let refused = sidevault(test, &nobody, &["status", "-n", NAMESPACE]);
    assert_eq!(
        refused.status.code(),
        Some(4),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
}
