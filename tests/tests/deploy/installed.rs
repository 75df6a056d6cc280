//! Installs the chart with Helm, upgrades and removes it, and starts the operator with the Deployment's arguments and rights.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, Running};
use sidevault_tests::pair::{ServerPair, binary, wait_until};

use super::{deploy, documents, helm, kinds, rendered, values};

const HOME: &str = "external-secrets";

/// The operator's arguments in the chart's Deployment.
fn arguments(more: &[&str]) -> Option<Vec<String>> {
    let manifests = documents(&rendered(&[&["--set=operator.create=true"][..], more].concat())?);
    let deployment = kinds(&manifests, "Deployment")
        .into_iter()
        .find(|object| object["metadata"]["labels"]["app.kubernetes.io/component"] == "operator")
        .unwrap();
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    Some(serde_json::from_value(arguments).unwrap())
}

#[test]
fn helm_installs_upgrades_and_uninstalls_and_keeps_definitions_and_claim() {
    if helm(&["version"]).is_none() {
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    cluster.must(&["create", "namespace", HOME]);
    let chart = deploy("helm/sidevault").display().to_string();
    let kubeconfig = format!("--kubeconfig={}", cluster.kubeconfig().display());
    let run = |arguments: &[&str]| {
        let output = helm(&[arguments, &[&kubeconfig, "--namespace", HOME]].concat()).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    };
    let everything = values("values-all.yaml");
    // The cluster has no Prometheus operator.
    let plain = [
        "--set=connect.api.serviceMonitor.enabled=false,operator.serviceMonitor.enabled=false,prometheusRule.enabled=false",
    ];
    let notes = run(&[&["install", "sv", &chart, "-f", &everything][..], &plain].concat());
    let next = "kubectl create secret generic op-credentials -n external-secrets \
                --from-file=1password-credentials.json=keys/1password-credentials.json";
    assert!(notes.contains(next), "{notes}");
    assert!(!notes.contains("OnePasswordItem"), "{notes}");

    define_one_password_item(&cluster);
    let changed = "--set=operator.concurrent=9,operator.token.value=";
    let notes = run(&[&["upgrade", "sv", &chart, "-f", &everything, changed][..], &plain].concat());
    let next = "sidevault token create operator --vault VAULT=read --expires 90d --issuer keys/issuer.json";
    assert!(notes.contains(next), "{notes}");
    assert!(notes.contains("kubectl get onepassworditems -A"), "{notes}");
    let path = format!("/apis/apps/v1/namespaces/{HOME}/deployments/external-secrets");
    let deployment = cluster.get(&path).unwrap();
    assert!(deployment.to_string().contains("--concurrent=9"));

    run(&["uninstall", "sv"]);
    cluster.wait_gone(&path);
    for kept in [
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/externalsecrets.external-secrets.io",
        "/api/v1/namespaces/external-secrets/persistentvolumeclaims/onepassword-connect",
    ] {
        assert!(cluster.get(kept).is_some(), "{kept} is gone");
    }
}

/// Installs a definition of the kind that 1Password's operator reads.
pub(super) fn define_one_password_item(cluster: &Cluster) {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "onepassworditems.onepassword.com"},
        "spec": {
            "group": "onepassword.com",
            "scope": "Namespaced",
            "names": {"kind": "OnePasswordItem", "plural": "onepassworditems", "singular": "onepassworditem"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    let path = cluster.path("onepassworditems.json");
    fs::write(&path, definition.to_string()).unwrap();
    cluster.install_definitions(&path);
}

/// Helm refuses to take over objects that it or another release did not create.
#[test]
fn helm_installs_a_poke_only_release_beside_external_secrets() {
    if helm(&["version"]).is_none() {
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    cluster.must(&["create", "namespace", HOME]);
    cluster.must(&["apply", "-k", &deploy("crds").display().to_string()]);
    let object = |version: &str, kind: &str, name: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": HOME}});
    let roles = "rbac.authorization.k8s.io/v1";
    let mut theirs: Vec<_> = ["controller", "view", "edit", "servicebindings"]
        .map(|role| object(roles, "ClusterRole", &format!("external-secrets-{role}")))
        .into();
    theirs.push(object(roles, "Role", "external-secrets-leaderelection"));
    theirs.push(object("v1", "ServiceAccount", "external-secrets"));
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": theirs}).to_string());
    cluster.must(&["create", "deployment", "external-secrets", "--image=theirs", "-n", HOME]);
    cluster.must(&[
        "create",
        "service",
        "clusterip",
        "external-secrets-metrics",
        "--tcp=8080",
        "-n",
        HOME,
    ]);

    let chart = deploy("helm/sidevault").display().to_string();
    let kubeconfig = format!("--kubeconfig={}", cluster.kubeconfig().display());
    let install = |more: &[&str]| {
        let arguments = ["install", "sv", &chart, &kubeconfig, "--namespace", HOME];
        let output = helm(&[&arguments, more].concat()).unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    // An operator that makes Secrets brings the definitions, and those are External Secrets' here.
    let beside = "--set=operator.create=true,operator.fullnameOverride=second,connect.create=false";
    let (done, error) = install(&[beside]);
    assert!(!done && error.contains("invalid ownership metadata"), "{error}");
    // As docs/kubernetes.md says, "Beside External Secrets".
    let (done, error) = install(&["--set=operator.create=true,operator.pokeOnly=true"]);
    assert!(done, "{error}");
    let servers = cluster.must(&["get", "deployments,services", "-n", HOME, "-o", "name"]);
    assert!(!servers.contains("onepassword-connect"), "{servers}");
}

#[test]
fn the_operator_knows_every_flag_that_the_chart_passes() {
    let theirs = values("values-external-secrets.yaml");
    let everything = values("values-all.yaml");
    let (own, more_own) = (values("values-1password.yaml"), values("values-1password-more.yaml"));
    // These values repeat a flag that the chart sets, and set a flag for another provider.
    let more_theirs = values("values-external-secrets-more.yaml");
    for more in [
        &[][..],
        &["-f", &own],
        &["-f", &own, "-f", &more_own],
        &["-f", &theirs],
        &["-f", &theirs, "-f", &more_theirs],
        &["-f", &everything],
        &["--set=operator.scopedRBAC=true"],
        &["--set=operator.pokeOnly=true"],
    ] {
        let Some(arguments) = arguments(more) else { return };
        let output = Command::new(binary())
            .arg("operator")
            .args(&arguments)
            .env("KUBECONFIG", "/nowhere")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        // Exit code 2 would mean that a flag is unknown; without a cluster the operator fails later.
        assert!(
            !output.status.success() && output.status.code() != Some(2),
            "{arguments:?}: {error}"
        );
    }
}

/// A server with one item, `db`, and the operator as the chart starts it, with the rights that the chart gives it.
struct TestServer {
    cluster: Cluster,
    _directory: tempfile::TempDir,
    operator: Running,
    _pair: ServerPair,
}

impl TestServer {
    fn start(values: &[&str]) -> Option<Self> {
        let arguments = arguments(values)?;
        let cluster = Cluster::start()?;
        cluster.must(&["apply", "-k", &deploy("crds").display().to_string()]);
        cluster.must(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
        cluster.must(&["create", "namespace", HOME]);
        let granted = [
            "ServiceAccount",
            "Role",
            "RoleBinding",
            "ClusterRole",
            "ClusterRoleBinding",
        ];
        let manifests = rendered(&[&["--set=operator.create=true"][..], values].concat())?;
        let objects: Vec<_> = documents(&manifests)
            .into_iter()
            .filter(|object| granted.iter().any(|kind| object["kind"] == *kind))
            .collect();
        cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());

        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("db.yaml"), "password: old\n").unwrap();
        let pair = ServerPair::start(&["--dir", &directory.path().display().to_string()], &[]);
        cluster.apply(&manifests_of(&pair, &directory));
        let arguments = arguments
            .iter()
            .map(|argument| argument.replace("=:", &format!("={}:", cluster.address())));
        let mut command = Command::new(binary());
        command.arg("operator").args(arguments).env("POD_NAMESPACE", HOME);
        command.env("KUBECONFIG", cluster.kubeconfig_for(HOME, "external-secrets"));
        let operator = cluster.run("operator", &mut command);
        Some(Self {
            cluster,
            _directory: directory,
            operator,
            _pair: pair,
        })
    }

    fn was_never_refused(&self) {
        let log = self.operator.log();
        assert!(!log.to_lowercase().contains("forbidden"), "{log}");
    }
}

/// A token, a store and an ExternalSecret, all of one namespace.
fn manifests_of(pair: &ServerPair, directory: &tempfile::TempDir) -> String {
    let vault = directory.path().file_name().unwrap().to_str().unwrap();
    let token = pair.token("operator", &[&format!("{vault}=read")]);
    assert!(wait_until(|| pair.item(&token, vault, "db")).is_some(), "no item");
    let object = |version: &str, kind: &str, name: &str, rest: Value| {
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": HOME}});
        object
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        object
    };
    let group = "external-secrets.io/v1";
    let reference = json!({"secretRef": {"connectTokenSecretRef": {"name": "token", "key": "token"}}});
    let connect = json!({"connectHost": format!("http://{}", pair.address()), "vaults": {vault: 1}, "auth": reference});
    let data = json!([{"secretKey": "password", "remoteRef": {"key": "db", "property": "password"}}]);
    let items = [
        object("v1", "Secret", "token", json!({"stringData": {"token": token}})),
        object(
            group,
            "SecretStore",
            "s",
            json!({"spec": {"provider": {"onepassword": connect}}}),
        ),
        object(
            group,
            "ExternalSecret",
            "db",
            json!({"spec": {"secretStoreRef": {"name": "s"}, "data": data}}),
        ),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

#[test]
fn a_scoped_operator_works_with_the_rights_of_its_namespace() {
    let Some(server) = TestServer::start(&["--set=operator.scopedRBAC=true", "--set=operator.leaderElect=true"]) else {
        return;
    };
    let path = format!("/api/v1/namespaces/{HOME}/secrets/db");
    server
        .cluster
        .wait_for(&path, |secret| secret["data"]["password"].as_str().map(str::to_owned));
    server.was_never_refused();
}
