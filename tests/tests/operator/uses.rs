//! `sidevault item uses` in a cluster: what depends on an item, as the API server lists it.

use serde_json::{Value, json};
use sidevault_tests::pair::wait_until;

use super::fixture::{METRICS, TestCluster, VERSION};
use super::migrate::sidevault;

const NAMESPACE: &str = "apps";

/// A workload whose container has the key `v` of a Secret in its environment.
fn workload(version: &str, kind: &str, name: &str, secret: &str) -> Value {
    let reference = json!({"name": secret, "key": "v"});
    let spec = json!({"restartPolicy": if kind == "CronJob" { "Never" } else { "Always" }, "containers": [
        {"name": "app", "image": "app", "env": [{"name": "V", "valueFrom": {"secretKeyRef": reference}}]}]});
    let labels = json!({"app": name});
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    let mut spec = match kind {
        "Pod" => spec,
        "CronJob" => json!({"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}}),
        _ => json!({"selector": {"matchLabels": labels}, "template": template}),
    };
    if kind == "StatefulSet" {
        spec["serviceName"] = json!("x");
    }
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
}

/// What uses the item `shifting` of the vault `apps`; a service account without rights learns why it sees nothing.
pub(super) fn check(test: &TestCluster) {
    let cluster = &test.cluster;
    test.external_secret("uses-direct", "store", "shifting", "a");
    test.external_secret("uses-other", "store", "simple", "a");
    let mut found = test.manifest("uses-found", "store", "x", "x");
    found["spec"]["data"] = json!([]);
    found["spec"]["dataFrom"] = json!([{"find": {"path": "shifting", "name": {"regexp": "^b$"}}}]);
    let mut missed = found.clone();
    missed["metadata"]["name"] = json!("uses-missed");
    missed["spec"]["dataFrom"][0]["find"]["name"]["regexp"] = json!("^nothing$");
    let mut many = json!({"apiVersion": VERSION, "kind": "ClusterExternalSecret", "metadata": {"name": "uses-many"},
        "spec": {"externalSecretName": "uses-of-many", "namespaces": [NAMESPACE]}});
    many["spec"]["externalSecretSpec"] = test.manifest("x", "x", "shifting", "b")["spec"].clone();
    many["spec"]["externalSecretSpec"]["secretStoreRef"] =
        json!({"kind": "ClusterSecretStore", "name": "cluster-store"});
    let mut stateful = workload("apps/v1", "StatefulSet", "uses-volume", "uses-of-many");
    let pods = &mut stateful["spec"]["template"]["spec"];
    pods["containers"][0] = json!({"name": "app", "image": "app", "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    pods["volumes"] = json!([{"name": "v", "projected": {"sources": [{"secret": {"name": "uses-of-many"}}]}}]);
    let store = json!([{"kind": "SecretStore", "name": "store"}]);
    let push = json!({"apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
        "metadata": {"name": "uses-push", "namespace": NAMESPACE},
        "spec": {"secretStoreRefs": store, "selector": {"secret": {"name": "existing"}}, "updatePolicy": "IfNotExists",
            "data": [{"match": {"secretKey": "v", "remoteRef": {"remoteKey": "shifting", "property": "a"}}}]}});
    let objects = [
        found,
        missed,
        many,
        stateful,
        workload("apps/v1", "DaemonSet", "uses-daemons", "uses-direct"),
        workload("apps/v1", "Deployment", "uses-web", "uses-direct"),
        workload("apps/v1", "Deployment", "uses-unrelated", "uses-other"),
        workload("batch/v1", "CronJob", "uses-nightly", "uses-direct"),
        workload("v1", "Pod", "uses-pod", "uses-direct"),
        push,
    ];
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
    test.wait_value("uses-direct", "1");
    test.wait_value("uses-of-many", "1");
    test.wait_ready("uses-found", "True");

    let admin = cluster.kubeconfig();
    let uses = |arguments: &[&str]| sidevault(test, &admin, &[&["item", "uses", "apps/shifting"], arguments].concat());
    // The log of requests is written once a second.
    let report = wait_until(|| {
        let output = uses(&["--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let readers = report["readers"].as_array()?.clone();
        let is_operator = |reader: &Value| {
            reader["client"]
                .as_str()
                .is_some_and(|client| client.contains("operator"))
        };
        readers.iter().any(is_operator).then_some(report)
    });
    let report = report.expect("the operator has read the item");
    let names = |part: &str| -> Vec<String> {
        let all = report["cluster"][part].as_array().expect("a list");
        let shown = |one: &Value| {
            format!(
                "{} {}",
                one["kind"].as_str().unwrap_or_default(),
                one["name"].as_str().expect("a name")
            )
        };
        all.iter().map(|one| shown(one).trim().to_owned()).collect()
    };
    assert_eq!(
        names("externalSecrets"),
        [
            "ClusterExternalSecret uses-many",
            "ExternalSecret uses-direct",
            "ExternalSecret uses-found",
            "ExternalSecret uses-of-many",
        ],
        "{report}"
    );
    assert_eq!(names("secrets"), ["uses-direct", "uses-found", "uses-of-many"]);
    assert_eq!(
        names("workloads"),
        [
            "CronJob uses-nightly",
            "DaemonSet uses-daemons",
            "Deployment uses-web",
            "Pod uses-pod",
            "StatefulSet uses-volume",
        ],
        "{report}"
    );
    assert_eq!(names("pushSecrets"), ["uses-push"]);
    assert_eq!(
        report["cluster"]["workloads"][4]["through"],
        json!(["volume at /v (container app)"])
    );

    // The operator says the same, and knows which of them it has read the item for.
    let metrics = format!("http://{}:{}", cluster.address(), METRICS);
    let token_of = |account: &str| {
        cluster.must(&["create", "serviceaccount", account, "-n", NAMESPACE]);
        let path = cluster.path(&format!("{account}.token"));
        std::fs::write(&path, cluster.must(&["create", "token", account, "-n", NAMESPACE])).expect("a file");
        path.to_string_lossy().into_owned()
    };
    let (reader, nobody) = (token_of("uses-reader"), token_of("nobody"));
    cluster.must(&[
        "create",
        "clusterrole",
        "uses",
        "--verb=list",
        "--resource=externalsecrets.external-secrets.io",
    ]);
    let subject = format!("--serviceaccount={NAMESPACE}:uses-reader");
    cluster.must(&["create", "clusterrolebinding", "uses", "--clusterrole=uses", &subject]);
    let ask = |address: &str, token: &str| uses(&["--json", "--operator", address, "--operator-token-file", token]);
    let asked: Value = serde_json::from_slice(&ask(&metrics, &reader).stdout).expect("JSON");
    let known: Vec<&Value> = asked["cluster"]["externalSecrets"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|reader| &reader["readByOperator"])
        .collect();
    // For `uses-found` it has searched the vault.
    assert_eq!(
        known,
        [&Value::Null, &json!(true), &json!(true), &json!(true)],
        "{asked}"
    );
    assert_eq!(ask("http://127.0.0.1:9", &reader).status.code(), Some(6));
    let refused = |token: &str, words: &str| {
        let output = ask(&metrics, token);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(4) && said.contains(words), "{said}");
    };
    refused(&nobody, "may not list ExternalSecrets");
    let wrong = cluster.path("wrong.token");
    std::fs::write(&wrong, "no token").expect("a file");
    refused(&wrong.to_string_lossy(), "does not accept the token");

    let text = String::from_utf8(uses(&["-n", NAMESPACE]).stdout).expect("UTF-8");
    assert!(text.contains("Deployment   apps/uses-web      uses-direct"), "{text}");
    let elsewhere = String::from_utf8(uses(&["-n", "default"]).stdout).expect("UTF-8");
    assert!(
        elsewhere.contains("Workloads that use these Secrets\n  none\n"),
        "{elsewhere}"
    );

    let nobody = cluster.kubeconfig_for(NAMESPACE, "nobody");
    let output = sidevault(test, &nobody, &["item", "uses", "apps/shifting"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("forbidden"), "{said}");
}
