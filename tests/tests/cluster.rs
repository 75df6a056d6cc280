//! The control plane that the operator's tests use, and the real External Secrets controller on it with this server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, controllers, definitions};
use sidevault_tests::pair::{ServerPair, wait_until};

const ITEM: &str = r#"{"title":"database","category":"LOGIN","fields":[
    {"id":"password","label":"password","purpose":"PASSWORD","value":"grün & 'quoted'\n"}]}"#;

/// The store and the external secret of a namespace, as a user of the `onepassword` provider writes them.
fn manifests(version: &str, namespace: &str, host: &str, token: &str) -> [String; 2] {
    let objects = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "connect-token", "namespace": namespace},
            "stringData": {"token": token}}),
        json!({"apiVersion": version, "kind": "SecretStore", "metadata": {"name": "sidevault", "namespace": namespace},
        "spec": {"provider": {"onepassword": {
            "connectHost": host,
            "vaults": {"apps": 1},
            "auth": {"secretRef": {"connectTokenSecretRef": {"name": "connect-token", "key": "token"}}},
        }}}}),
    ];
    let external_secret = json!({"apiVersion": version, "kind": "ExternalSecret", "metadata": {"name": "database", "namespace": namespace},
    "spec": {
        "refreshInterval": "1h",
        "secretStoreRef": {"kind": "SecretStore", "name": "sidevault"},
        "target": {"name": "database", "creationPolicy": "Owner"},
        "data": [{"secretKey": "PASSWORD", "remoteRef": {"key": "database", "property": "password"}}],
    }});
    let store = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    [store.to_string(), external_secret.to_string()]
}

/// The newest version of `ExternalSecret` that the cluster serves.
fn version(cluster: &Cluster) -> String {
    let group = cluster
        .get("/apis/external-secrets.io")
        .expect("the definitions are served");
    let served = group["preferredVersion"]["groupVersion"].as_str().expect("a version");
    served.to_owned()
}

#[test]
fn each_external_secrets_controller_creates_and_deletes_a_secret_with_this_server() {
    let Some(controllers) = controllers() else { return };
    let pair = ServerPair::start(&["--vault", "apps"], &[]);
    let token = pair.token("operator", &["apps=read,write"]);
    let posted = pair
        .ask(&token, "POST", "/v1/vaults/apps/items", ITEM)
        .expect("an answer");
    assert_eq!(posted.status, 200);

    for controller in controllers {
        // Releases bring definitions of their own, so each has a cluster of its own.
        let Some(cluster) = Cluster::start() else { return };
        cluster.install_definitions(&definitions(&controller));
        let running = cluster.run_external_secrets(&controller, &[]);
        let namespace = cluster.namespace("external-secrets");
        let version = version(&cluster);
        let host = format!("http://{}", pair.address());
        let [store, external_secret] = manifests(&version, &namespace, &host, &token);
        cluster.apply(&store);
        // While its store is not ready, the controller retries with a growing backoff.
        let path = format!("/apis/{version}/namespaces/{namespace}/secretstores/sidevault");
        cluster.wait_for(&path, |store| {
            (store["status"]["conditions"][0]["status"] == "True").then_some(())
        });
        cluster.apply(&external_secret);

        let path = format!("/api/v1/namespaces/{namespace}/secrets/database");
        let secret = wait_until(|| cluster.get(&path));
        let secret = secret.unwrap_or_else(|| panic!("{}: no Secret\n{}", controller.display(), running.log()));
        let value = secret["data"]["PASSWORD"].as_str().expect("a value");
        assert_eq!(STANDARD.decode(value).expect("base64"), "grün & 'quoted'\n".as_bytes());
        assert_eq!(secret["metadata"]["ownerReferences"][0]["kind"], "ExternalSecret");

        cluster.must(&["delete", "externalsecret", "database", "-n", &namespace, "--wait=false"]);
        cluster.wait_gone(&path);
    }
}

#[test]
fn deleting_an_owner_deletes_its_dependents() {
    let Some(cluster) = Cluster::shared() else { return };
    let namespace = cluster.namespace("owner");
    let map = |name: &str, owners: &Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace, "ownerReferences": owners}})
        .to_string()
    };
    cluster.apply(&map("owner", &json!([])));
    let owner = format!("/api/v1/namespaces/{namespace}/configmaps/owner");
    let uid = cluster.wait_for(&owner, |found| found["metadata"]["uid"].as_str().map(str::to_owned));
    let owners = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]);
    cluster.apply(&map("owned", &owners));
    cluster.apply(&map("free", &json!([])));

    cluster.must(&["delete", "configmap", "owner", "-n", &namespace]);
    cluster.wait_gone(&format!("/api/v1/namespaces/{namespace}/configmaps/owned"));
    let free = cluster.get(&format!("/api/v1/namespaces/{namespace}/configmaps/free"));
    assert!(free.is_some(), "what it did not own stays");
}

#[test]
fn a_service_account_has_the_rights_of_its_role_only() {
    let Some(cluster) = Cluster::shared() else { return };
    let namespace = cluster.namespace("least");
    cluster.must(&["create", "serviceaccount", "reader", "-n", &namespace]);
    let role = ["create", "role", "reader", "--verb=get", "--resource=configmaps"];
    cluster.must(&[&role[..], &["-n", &namespace]].concat());
    let account = format!("--serviceaccount={namespace}:reader");
    let binding = ["create", "rolebinding", "reader", "--role=reader", &account];
    cluster.must(&[&binding[..], &["-n", &namespace]].concat());
    cluster.must(&["create", "configmap", "visible", "-n", &namespace]);
    cluster.must(&["create", "secret", "generic", "hidden", "-n", &namespace]);

    let reader = cluster.kubeconfig_for(&namespace, "reader");
    // The API server knows a new role a moment after it was made.
    let seen = wait_until(|| {
        let output = cluster.kubectl_as(&reader, &["get", "configmap", "visible"]);
        output.status.success().then_some(())
    });
    assert!(seen.is_some(), "the role is not honoured");
    for refused in [
        &["get", "secret", "hidden"][..],
        &["delete", "configmap", "visible"],
        &["get", "configmap", "-n", "default"],
    ] {
        let output = cluster.kubectl_as(&reader, refused);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains("(Forbidden)"),
            "{refused:?}: {errors}"
        );
    }
}

#[test]
fn a_restarted_api_server_has_its_objects() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.must(&["create", "configmap", "kept"]);
    cluster.stop_apiserver();
    let path = "/api/v1/namespaces/default/configmaps/kept";
    assert!(cluster.get(path).is_none(), "nothing answers");
    cluster.start_apiserver();
    assert!(cluster.get(path).is_some(), "etcd kept it");
}
