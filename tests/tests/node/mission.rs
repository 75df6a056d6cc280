//! The home cluster "Anton": its manifests word for word but for the names of images, its ways to use Secrets
//! (`deploy/examples/anton/50-usage.yaml`), and its commands as they are written.

use std::process::Stdio;

use serde_json::{Value, json};
use sidevault_tests::cluster::Shell;
use sidevault_tests::cluster::node::Node;
use sidevault_tests::pair::wait_until;

use super::fixture::{
    APPLICATION, Client, EXTERNAL_SECRETS, Keys, assert_connects, prepare, repository, rolled_out, start_client,
    version,
};

const OPERATOR: &str = include_str!("../operator/anton/05-operator.yaml");
const STORES: &str = include_str!("../operator/anton/10-stores.yaml");
const SECRETS: &str = include_str!("../operator/anton/20-external-secrets.yaml");
const CONNECT: &str = include_str!("../operator/anton/30-connect.yaml");
const ACCESS: &str = include_str!("../operator/anton/40-access.yaml");

const NAMESPACES: [&str; 5] = ["external-secrets", "database", "monitoring", "network", "application"];
const VAULTS: [&str; 3] = ["secrets", "infrastructure", "applications"];

/// Vault, title, and fields.
type Item = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
const ITEMS: [Item; 7] = [
    (
        "infrastructure",
        "postgres-database",
        &[
            ("username", "anton"),
            ("password", "s3cret & more"),
            ("database", "app"),
            ("host", "postgres"),
        ],
    ),
    (
        "infrastructure",
        "internal-ca-certificate",
        &[
            (
                "certificate",
                "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
            ),
            (
                "private-key",
                "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
            ),
        ],
    ),
    ("applications", "cloudflare-credentials", &[("api-token", "cf")]),
    ("applications", "github-credentials", &[("personal-access-token", "gh")]),
    ("applications", "docker-credentials", &[("registry-token", "dk")]),
    ("applications", "service-api-credentials", &[("current-key", "key-1")]),
    (
        "applications",
        "web-application",
        &[("LOG_LEVEL", "info"), ("FEATURE_FLAGS", "blue,green")],
    ),
];

/// Replaces the image names by the project's.
fn with_our_images(manifests: &str) -> String {
    let version = version();
    let replaced = manifests
        .replace("1password/connect-api:1.7.2", &format!("sidevault-api:{version}"))
        .replace("1password/connect-sync:1.7.2", &format!("sidevault-sync:{version}"))
        .replace(
            "ghcr.io/external-secrets/external-secrets:v0.9.11",
            &format!("sidevault-operator:{version}"),
        )
        .replace("busybox:1.37", APPLICATION);
    assert_ne!(replaced, manifests, "the manifests name other images");
    replaced
}

#[test]
fn antons_stack_runs_in_pods() {
    let Some(node) = Node::shared() else { return };
    prepare(&node);
    let keys = Keys::new();
    let token = keys.token(&VAULTS);
    let mut shell = Shell::new(node.cluster());
    shell.set("YOUR_OP_CONNECT_TOKEN", &token);
    start_server(&node, &keys, &shell);
    let client = Client::new(&node, "external-secrets", &token);
    for (vault, title, fields) in ITEMS {
        let fields: Vec<Value> = fields
            .iter()
            .map(|(label, value)| json!({"label": label, "value": value}))
            .collect();
        let item = json!({"title": title, "category": "SECURE_NOTE", "fields": fields});
        client.create(vault, &item.to_string());
    }
    start_operator(&node, &shell, &token);

    let wait_ready = |namespace: &str, name: &str| {
        shell.run(&format!(
            "kubectl wait --for=condition=Ready externalsecret/{name} -n {namespace} --timeout=120s"
        ));
    };
    wait_ready("database", "postgres-credentials");
    wait_ready("monitoring", "monitoring-api-keys");
    wait_ready("network", "custom-tls-certificates");

    health_checks(&shell);
    troubleshooting(&shell);
    management(&shell);
    applications_see_the_values(&node, &shell);
    debugging(&shell);
    changes_reach_applications(&node, &shell, &client);
    external_secrets_works_beside_the_operator(&node, &shell, &token);
    the_policy_lets_in_its_own_namespace_only(&node, &shell);
}

fn start_server(node: &Node, keys: &Keys, shell: &Shell) {
    let cluster = node.cluster();
    for namespace in NAMESPACES {
        cluster.must(&["create", "namespace", namespace]);
    }
    // What the policy selects.
    cluster.must(&["label", "namespace", "external-secrets", "name=external-secrets"]);
    shell.run(&format!(
        "kubectl create secret generic onepassword-credentials -n external-secrets --from-file={}",
        keys.credentials().display()
    ));
    cluster.apply(&with_our_images(CONNECT));
    // The Service that the documentation's commands name.
    let ports = json!([{"name": "connect-api", "port": 8080, "targetPort": "api"}]);
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "onepassword-connect", "namespace": "external-secrets"},
        "spec": {"selector": {"app": "onepassword-connect"}, "ports": ports}});
    cluster.apply(&service.to_string());
    rolled_out(node, "external-secrets", "deployment/onepassword-connect");
    for vault in VAULTS {
        shell.run(&format!(
            "kubectl exec -n external-secrets deploy/onepassword-connect -c connect-sync -- \
             sidevault vault create {vault} --allow-ephemeral"
        ));
    }
}

fn start_operator(node: &Node, shell: &Shell, token: &str) {
    let cluster = node.cluster();
    let patch = json!({"stringData": {"token": token}});
    shell.run(&format!(
        "kubectl patch secret onepassword-token -n external-secrets -p '{patch}'"
    ));
    for manifests in [&with_our_images(OPERATOR), ACCESS, STORES, SECRETS] {
        cluster.apply(manifests);
    }
    // The documentation's Deployment names no account, so the operator has the default one of its namespace. Here it gets its
    // rights, with those that --restart-workloads needs.
    let role = repository("deploy/kustomize/base/cluster-rbac").display().to_string();
    let rights = cluster.must(&["kustomize", &role]);
    let rights = rights.replace("  name: external-secrets\n", "  name: default\n");
    cluster.apply(&rights);
    let rule = json!([{"op": "add", "path": "/rules/-", "value": {"apiGroups": ["apps"],
        "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": ["list", "patch"]}}]);
    shell.run(&format!(
        "kubectl patch clusterrole sidevault-external-secrets-controller --type=json -p '{rule}'"
    ));
    rolled_out(node, "external-secrets", "deployment/external-secrets");
}

fn health_checks(shell: &Shell) {
    let pods = shell.run("kubectl get pods -n external-secrets");
    let running = |name: &str| {
        pods.lines()
            .any(|line| line.starts_with(name) && line.contains("Running"))
    };
    assert!(
        running("external-secrets-") && running("onepassword-connect-"),
        "{pods}"
    );
    let all = shell.run("kubectl get externalsecrets -A");
    assert!(
        all.contains("postgres-credentials") && all.contains("SecretSynced"),
        "{all}"
    );
    // No ExternalSecret above waits for this store.
    let mut store = String::new();
    let validated = wait_until(|| {
        store = shell.run("kubectl describe secretstore onepassword-secret-store -n external-secrets");
        store.contains("store validated").then_some(())
    });
    assert!(validated.is_some(), "{store}");

    let forward = "exec kubectl port-forward -n external-secrets svc/onepassword-connect 8080:8080";
    let mut forward = shell
        .command(forward)
        .stdout(Stdio::null())
        .spawn()
        .expect("kubectl runs");
    let health = wait_until(|| {
        let output = shell.output("curl http://localhost:8080/health");
        serde_json::from_slice::<Value>(&output.stdout).ok()
    });
    let items = shell.run(
        "curl -H \"Authorization: Bearer $YOUR_OP_CONNECT_TOKEN\" \\\nhttp://localhost:8080/v1/vaults/secrets/items",
    );
    forward.kill().expect("it runs");
    forward.wait().expect("it ends");
    let health = health.expect("an answer");
    let parts = health["dependencies"].as_array().expect("dependencies");
    assert!(
        parts
            .iter()
            .any(|part| part["service"] == "sync" && part["status"] == "ACTIVE"),
        "{health}"
    );
    assert_eq!(items.trim(), "[]", "the vault exists and is empty");
}

fn troubleshooting(shell: &Shell) {
    let operator = shell.run("kubectl logs -n external-secrets -l app.kubernetes.io/name=external-secrets");
    assert!(operator.contains("\"level\":\"info\""), "{operator}");
    assert!(!operator.contains("s3cret"), "{operator}");
    let described = shell.run("kubectl describe externalsecret postgres-credentials -n database");
    assert!(described.contains("secret created"), "{described}");
    // The documentation asks for a SecretStore, but the object of this name is a ClusterSecretStore.
    let output = shell.output("kubectl get secretstore onepassword-cluster-store -o yaml");
    assert!(String::from_utf8_lossy(&output.stderr).contains("NotFound"));
    let api = shell.run("kubectl logs -n external-secrets -l app=onepassword-connect -c connect-api");
    assert!(api.contains("\"status\":200"), "{api}");
    let sync = shell.run("kubectl logs -n external-secrets -l app=onepassword-connect -c connect-sync");
    assert!(sync.contains("\"level\""), "{sync}");
}

fn management(shell: &Shell) {
    let printed = shell.run(
        "kubectl annotate externalsecret postgres-credentials -n database \\\nforce-sync=\"$(date +%s)\" --overwrite",
    );
    assert!(printed.contains("annotated"), "{printed}");
    let wide = shell.run("kubectl get externalsecrets -o wide");
    // This ExternalSecret names no store.
    assert!(wide.contains("rotating-api-key"), "{wide}");
    let secret = shell.run("kubectl get secret postgres-secret -n database -o yaml");
    assert!(secret.contains("username: YW50b24="), "{secret}");
    // The documentation's command sends no token.
    let vaults = "kubectl exec -n external-secrets deploy/onepassword-connect -c connect-api -- \\\n\
                  curl -s http://localhost:8080/v1/vaults";
    let refused: Value = serde_json::from_str(&shell.run(vaults)).expect("JSON");
    assert_eq!(refused["status"], 401, "{refused}");
    let vaults = vaults.replace("curl -s", "curl -s -H \"Authorization: Bearer $YOUR_OP_CONNECT_TOKEN\"");
    let vaults: Value = serde_json::from_str(&shell.run(&vaults)).expect("JSON");
    assert_eq!(vaults.as_array().map(Vec::len), Some(VAULTS.len()), "{vaults}");
}

fn debugging(shell: &Shell) {
    let events = shell.run("kubectl get events -n database --field-selector reason=Created");
    assert!(events.contains("externalsecret/postgres-credentials"), "{events}");
    let name = shell.run("kubectl get secret postgres-secret -n database -o jsonpath='{.data.username}' | base64 -d");
    assert_eq!(name, "anton");
    let seen =
        shell.run("kubectl exec -n database deployment/postgres-app -- \\\nenv | grep -E \"(PASSWORD|TOKEN|KEY)\"");
    assert_eq!(seen, "PGPASSWORD=s3cret & more\n");
}

/// Variables, `envFrom`, files with modes, and an init container, in namespaces with Pod security `restricted`.
fn applications_see_the_values(node: &Node, shell: &Shell) {
    for namespace in ["application", "database"] {
        shell.run(&format!(
            "kubectl label namespace {namespace} pod-security.kubernetes.io/enforce=restricted"
        ));
    }
    let usage = repository("deploy/examples/anton/50-usage.yaml");
    let usage = std::fs::read_to_string(usage).expect("the example");
    node.cluster().apply(&with_our_images(&usage));
    rolled_out(node, "application", "deployment/web-application");
    rolled_out(node, "database", "deployment/postgres-app");
    let pod = "kubectl exec -n application deployment/web-application -c app --";
    let variables = shell.run(&format!("{pod} env"));
    for line in [
        "DATABASE_URL=postgresql://anton:s3cret & more@postgres/app",
        "API_KEY=key-1",
        "LOG_LEVEL=info",
        "FEATURE_FLAGS=blue,green",
    ] {
        assert!(variables.lines().any(|found| found == line), "no {line} in {variables}");
    }
    // kubelet adds the right to read for the Pod's fsGroup to 0600.
    let modes = shell.run(&format!(
        "{pod} stat -L -c '%a %g' /etc/ssl/certs/tls.key /etc/config/application.yaml"
    ));
    assert_eq!(modes, "640 1000\n644 1000\n");
    let file = shell.run(&format!("{pod} cat /etc/config/application.yaml"));
    assert_eq!(file, "log: info\nfeatures: blue,green\n");
}

/// A changed item reaches a mounted file, and with `--restart-workloads` the variables of a Deployment that asks for it.
fn changes_reach_applications(node: &Node, shell: &Shell, client: &Client) {
    let pod = "kubectl exec -n application deployment/web-application -c app --";
    client.change("applications", "web-application", "LOG_LEVEL", "debug");
    let mut last = String::new();
    let changed = wait_until(|| {
        last = shell.run(&format!("{pod} cat /etc/config/application.yaml"));
        last.contains("log: debug").then_some(())
    });
    assert!(changed.is_some(), "{last}");

    let argument =
        json!([{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--restart-workloads"}]);
    shell.run(&format!(
        "kubectl patch deployment external-secrets -n external-secrets --type=json -p '{argument}'"
    ));
    rolled_out(node, "external-secrets", "deployment/external-secrets");
    shell.run("kubectl annotate deployment web-application -n application operator.1password.io/auto-restart=true");
    client.change("applications", "service-api-credentials", "current-key", "key-2");
    let changed = wait_until(|| {
        let output = shell.output(&format!("{pod} env"));
        last = String::from_utf8_lossy(&output.stdout).into_owned();
        last.contains("API_KEY=key-2").then_some(())
    });
    assert!(changed.is_some(), "{last}");
    rolled_out(node, "application", "deployment/web-application");
}

/// The api's port is open to the Pods of the namespace that the policy selects, and no other port is.
fn the_policy_lets_in_its_own_namespace_only(node: &Node, shell: &Shell) {
    start_client(node, "external-secrets", "client", &json!({}));
    start_client(
        node,
        "database",
        "client",
        &json!({"app.kubernetes.io/name": "external-secrets"}),
    );
    let server = "http://onepassword-connect.external-secrets:8080/heartbeat";
    assert_connects(shell, "external-secrets", "client", server, true);
    assert_connects(shell, "database", "client", server, false);
    let address = shell
        .run("kubectl get pods -n external-secrets -l app=onepassword-connect -o jsonpath='{.items[0].status.podIP}'");
    for (port, expected) in [(8080, true), (8081, false), (11220, false)] {
        let url = format!("http://{address}:{port}/heartbeat");
        assert_connects(shell, "external-secrets", "client", &url, expected);
    }
    // It is the policy that keeps the others out.
    shell.run("kubectl delete networkpolicy onepassword-connect-access -n external-secrets");
    assert_connects(shell, "database", "client", server, true);
}

/// The real controller, for stores of its own class.
fn external_secrets_works_beside_the_operator(node: &Node, shell: &Shell, token: &str) {
    let labels = json!({"app": "theirs"});
    let container = json!({"name": "controller", "image": EXTERNAL_SECRETS,
        "args": ["--concurrent=1", "--metrics-addr=:8080", "--namespace=beside", "--controller-class=theirs",
            "--enable-cluster-store-reconciler=false", "--enable-cluster-external-secret-reconciler=false",
            "--enable-push-secret-reconciler=false"]});
    let subject = json!([{"kind": "ServiceAccount", "name": "theirs", "namespace": "external-secrets"}]);
    let all = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    let secret_reference = json!({"connectTokenSecretRef": {"name": "token", "key": "token"}});
    let provider = json!({"onepassword": {"connectHost": "http://onepassword-connect.external-secrets:8080",
        "vaults": {"infrastructure": 1}, "auth": {"secretRef": secret_reference}}});
    let metadata = |name: &str, namespace: &str| json!({"name": name, "namespace": namespace});
    let data = json!([{"secretKey": "password", "remoteRef": {"key": "postgres-database", "property": "password"}}]);
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "beside"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata("theirs", "external-secrets")},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "theirs"},
            "subjects": subject, "roleRef": all},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("theirs", "external-secrets"),
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"serviceAccountName": "theirs", "containers": [container]}}}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata("token", "beside"), "stringData": {"token": token}},
        {"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": metadata("store", "beside"),
            "spec": {"controller": "theirs", "provider": provider}},
        {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": metadata("postgres", "beside"),
            "spec": {"secretStoreRef": {"name": "store"}, "data": data}},
    ]});
    node.cluster().apply(&objects.to_string());
    rolled_out(node, "external-secrets", "deployment/theirs");
    shell.run("kubectl wait --for=condition=Ready externalsecret/postgres -n beside --timeout=120s");
    let password = shell.run("kubectl get secret postgres -n beside -o jsonpath='{.data.password}' | base64 -d");
    assert_eq!(password, "s3cret & more");
}
