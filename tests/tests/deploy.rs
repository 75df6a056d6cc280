//! All that `deploy/` holds, put before a real API server: definitions, chart, kustomizations, examples; and what their
//! rights allow, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::{Value, json};
use sidevault_tests::cluster::Cluster;
use sidevault_tests::pair::{Half, Pair, binary, wait_until};
use sidevault_tests::wire::{Request, exchange};

const OVERLAYS: [&str; 5] = [
    "base",
    "overlays/pvc",
    "overlays/emptydir-git",
    "overlays/operator-only",
    "overlays/namespaced",
];

fn deploy(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(below)
}

fn values(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    path.display().to_string()
}

/// A cluster with our definitions, stand-ins for the Prometheus operator's, and a namespace that warns of all that Pod
/// security `restricted` would refuse.
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

/// Helm, as `tests/cluster/build.sh` builds it; `None`, said loudly, without it.
fn helm(arguments: &[&str]) -> Option<Output> {
    let beside = binary().parent()?.parent()?.join("tools");
    let tools = std::env::var_os("SIDEVAULT_TOOLS").map_or(beside, PathBuf::from);
    let helm = tools.join("cluster/helm");
    if !helm.is_file() {
        let said = format!("SKIPPED: no helm in {}; run tests/cluster/build.sh", tools.display());
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{said}");
        // Past the test harness, which would swallow it.
        let _unheard = writeln!(std::io::stderr(), "{said}");
        return None;
    }
    Some(Command::new(helm).args(arguments).output().unwrap())
}

/// Renders the chart, as it would be installed in the namespace external-secrets.
fn template(more: &[&str]) -> Option<Output> {
    let chart = deploy("helm/sidevault").display().to_string();
    let mut arguments = vec![
        "template",
        "sidevault",
        &chart,
        "--namespace=external-secrets",
        "--kube-version=1.34.0",
    ];
    arguments.extend(more);
    helm(&arguments)
}

fn rendered(more: &[&str]) -> Option<String> {
    let output = template(more)?;
    assert!(
        output.status.success(),
        "{more:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    all.into_iter().filter(|document| !document.is_null()).collect()
}

fn kinds<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

/// The API server takes all of it, and has no warning to give.
fn accepted(cluster: &Cluster, what: &str, manifests: &str) {
    // Those are there already, with labels that a dry run does not see.
    let objects: Vec<_> = documents(manifests)
        .into_iter()
        .filter(|object| object["kind"] != "Namespace")
        .collect();
    assert!(!objects.is_empty(), "{what}: nothing");
    // A real apply would find the definitions there.
    let path = cluster.path(&format!("{}.json", what.replace(['/', ' ', '='], "-")));
    fs::write(
        &path,
        json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string(),
    )
    .unwrap();
    let path = path.display().to_string();
    let output = cluster.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", &path]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
    assert!(said.is_empty(), "{what}: {said}");
}

/// Each Pod that a manifest would have made, made: what admission refuses only then.
fn pods_pass_restricted(cluster: &Cluster, what: &str, manifests: &str) {
    for (number, object) in documents(manifests).iter().enumerate() {
        let spec = match object["kind"].as_str() {
            Some("Deployment") => &object["spec"]["template"]["spec"],
            Some("Pod") => &object["spec"],
            _ => continue,
        };
        // Nobody made the accounts: this is about the Pod's security alone.
        let mut spec = spec.clone();
        spec.as_object_mut().unwrap().remove("serviceAccountName");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": format!("pod-{number}"), "namespace": "external-secrets"}});
        let path = cluster.path(&format!("pod-{number}.json"));
        fs::write(&path, pod.to_string()).unwrap();
        let output = cluster.kubectl(&["create", "--dry-run=server", "-f", &path.display().to_string()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{what}: {said}");
    }
}

#[test]
fn the_definitions_apply_on_either_side() {
    let Some(cluster) = cluster() else { return };
    let definitions = deploy("crds").display().to_string();
    cluster.must(&["apply", "-k", &definitions]);
    cluster.must(&["apply", "--server-side", "--force-conflicts", "-k", &definitions]);
    for version in ["v1", "v1beta1"] {
        let listed = cluster.must(&["get", &format!("externalsecrets.{version}.external-secrets.io"), "-A"]);
        assert!(!listed.contains("error"), "{listed}");
    }
}

#[test]
fn the_short_names_and_columns_are_external_secrets_own() {
    let Some(cluster) = cluster() else { return };
    let namespace = cluster.namespace("columns");
    let object = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {"name": "a", "namespace": namespace},
        "spec": {"refreshInterval": "6h", "secretStoreRef": {"name": "s", "kind": "ClusterSecretStore"}}});
    cluster.apply(&object.to_string());
    let listed = cluster.must(&["get", "es", "-n", &namespace]);
    let columns = "NAME STORETYPE STORE REFRESH INTERVAL STATUS READY LAST SYNC";
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines = listed.lines();
    assert_eq!(words(lines.next().unwrap()), columns);
    assert_eq!(words(lines.next().unwrap()), "a ClusterSecretStore s 6h");
    let selected = [
        "get",
        "es",
        "-A",
        "--field-selector=spec.secretStoreRef.name=s",
        "-o",
        "name",
    ];
    assert_eq!(cluster.must(&selected).trim(), "externalsecret.external-secrets.io/a");
}

#[test]
fn defaults_are_external_secrets_own() {
    let Some(cluster) = cluster() else { return };
    let namespace = cluster.namespace("defaults");
    let object = json!({"apiVersion": "external-secrets.io/v1beta1", "kind": "ExternalSecret",
        "metadata": {"name": "a", "namespace": namespace}, "spec": {}});
    cluster.apply(&object.to_string());
    let path = format!("/apis/external-secrets.io/v1/namespaces/{namespace}/externalsecrets/a");
    let stored = cluster.wait_for(&path, |found| found["spec"].is_object().then(|| found["spec"].clone()));
    let target = json!({"creationPolicy": "Owner", "deletionPolicy": "Retain"});
    assert_eq!(stored, json!({"refreshInterval": "1h0m0s", "target": target}));
}

#[test]
fn what_can_not_be_meant_is_refused_with_a_reason() {
    let Some(cluster) = cluster() else { return };
    let token = json!({"name": "t", "key": "token"});
    let store = |provider: Value| json!({"kind": "SecretStore", "spec": {"provider": provider}});
    let connect = |secret_ref: Value| {
        store(
            json!({"onepassword": {"connectHost": "http://c", "vaults": {"v": 1}, "auth": {"secretRef": secret_ref}}}),
        )
    };
    let secret = |spec: Value| json!({"kind": "ExternalSecret", "spec": spec});
    let key = |key: &str| secret(json!({"data": [{"secretKey": key, "remoteRef": {"key": "i"}}]}));
    let cases = [
        (connect(json!({"connectToken": token})), ""),
        (connect(json!({"connectTokenSecretRef": token})), ""),
        (connect(json!({})), "name the Secret with the token once"),
        (
            connect(json!({"connectToken": token, "connectTokenSecretRef": token})),
            "name the Secret with the token once",
        ),
        (store(json!({"vault": {"server": "http://v", "auth": {"a": [1]}}})), ""),
        (store(json!({})), "should have at least 1 properties"),
        (store(json!({"vault": {}, "aws": {}})), "must have at most 1 item"),
        (
            store(json!({"onepasword": {}})),
            "unknown field \"spec.provider.onepasword\"",
        ),
        (secret(json!({"target": {"type": "kubernetes.io/tls"}})), ""),
        (
            secret(json!({"target": {"creationPolicy": "Mine"}})),
            "Unsupported value: \"Mine\"",
        ),
        (secret(json!({"refreshInterval": 60})), "must be of type string"),
        (
            secret(json!({"dataFrom": [{"rewrite": [{}]}]})),
            "at least 1 properties",
        ),
        (key("a/b"), "should match '^[-._a-zA-Z0-9]+$'"),
        (key("a.b"), ""),
        (
            secret(json!({"data": [{"secretKey": "a", "remoteRef": {"key": "i", "version": 3}}]})),
            "must be of type string",
        ),
        (
            json!({"kind": "PushSecret", "spec": {"secretStoreRefs": [{"name": "s"}], "selector": {}}}),
            "should have at least 1 properties",
        ),
    ];
    for (number, (mut object, reason)) in cases.into_iter().enumerate() {
        let version = if object["kind"] == "PushSecret" {
            "v1alpha1"
        } else {
            "v1"
        };
        object["apiVersion"] = json!(format!("external-secrets.io/{version}"));
        object["metadata"] = json!({"name": format!("case-{number}"), "namespace": "default"});
        let path = cluster.path(&format!("case-{number}.json"));
        fs::write(&path, object.to_string()).unwrap();
        let output = cluster.kubectl(&["apply", "--dry-run=server", "-f", &path.display().to_string()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), reason.is_empty(), "{object}: {said}");
        assert!(said.contains(reason), "{object}: {said}, not {reason}");
    }
}

#[test]
fn the_chart_is_sound() {
    let chart = deploy("helm/sidevault").display().to_string();
    let Some(output) = helm(&["lint", "--strict", &chart]) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !said.contains("WARNING"), "{said}");
}

#[test]
fn whatever_values_people_bring_the_api_server_takes_what_the_chart_makes() {
    let Some(cluster) = cluster() else { return };
    let example = |name: &str| {
        deploy(&format!("helm/sidevault/examples/{name}.yaml"))
            .display()
            .to_string()
    };
    let everything = values("values-all.yaml");
    let own = values("values-1password.yaml");
    let theirs = values("values-external-secrets.yaml");
    let (git, pvc, operator) = (example("git"), example("pvc"), example("operator"));
    let operator_on = "--set=operator.create=true";
    let cases: [(&str, Vec<&str>); 11] = [
        ("nothing set", vec![]),
        ("git", vec!["-f", &git]),
        ("a claim", vec!["-f", &pvc]),
        ("operator", vec!["-f", &operator]),
        ("git and operator", vec!["-f", &git, "-f", &operator]),
        ("1Password's values", vec!["-f", &own]),
        ("External Secrets' values", vec!["-f", &theirs]),
        ("everything", vec!["-f", &everything]),
        ("one namespace", vec![operator_on, "--set=operator.scopedRBAC=true"]),
        ("poke only", vec![operator_on, "--set=operator.pokeOnly=true"]),
        ("operator alone", vec![operator_on, "--set=connect.create=false"]),
    ];
    for (what, arguments) in cases {
        let Some(manifests) = rendered(&arguments) else { return };
        accepted(cluster, what, &manifests);
        // The priority class of the system is for its own namespace.
        pods_pass_restricted(
            cluster,
            what,
            &manifests.replace("priorityClassName: system-cluster-critical", ""),
        );
    }
}

#[test]
fn values_that_would_go_wrong_later_are_refused_with_the_way_out() {
    let cases: [(&[&str], &str); 13] = [
        (&["--set=conect.create=true"], "'conect' not allowed"),
        (&["--set=connect.api.prot=1"], "'prot' not allowed"),
        (&["--set-string=connect.replicas=two"], "/connect/replicas"),
        (
            &["--set=connect.api.logLevel=loud"],
            "must be one of 'trace', 'debug', 'info'",
        ),
        (&["--set=connect.api.httpPort=99999"], "/connect/api/httpPort"),
        (
            &["--set=sources[0].directory.path=relative"],
            "/sources/0/directory/path",
        ),
        (&["--set=sources[0].s3.bucket=b"], "/sources/0"),
        (
            &["--set=sources[0].local.vaults[0]=apps"],
            "connect.dataVolume.claim.create=true",
        ),
        (
            &[
                "--set=sources[0].local.vaults[0]=apps",
                "--set=connect.dataVolume.claim.create=true",
                "--set=connect.hpa.enabled=true",
            ],
            "one writer",
        ),
        (
            &["--set=connect.dataVolume.claim.create=true", "--set=connect.replicas=2"],
            "connect.dataVolume.type=emptyDir",
        ),
        (
            &["--set=connect.api.imageRepository=docker.io/1password/connect-api"],
            "1Password's own image",
        ),
        (
            &["--set=operator.create=true", "--set=operator.replicaCount=2"],
            "operator.leaderElect=true",
        ),
        (
            &["--set=connect.credentials=a", "--set=connect.credentials_base64=YQ=="],
            "give one of them",
        ),
    ];
    for (arguments, reason) in cases {
        let Some(output) = template(arguments) else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?} is taken");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
    let lossy = [
        "--set=sources[0].local.vaults[0]=apps",
        "--set=connect.dataVolume.acknowledgeEphemeral=true",
    ];
    let Some(manifests) = rendered(&lossy) else { return };
    assert!(manifests.contains("allowEphemeral: true"));
}

#[test]
fn the_chart_makes_no_keys() {
    let Some(manifests) = rendered(&["-f", &values("values-all.yaml"), "--set=operator.token.value="]) else {
        return;
    };
    assert!(kinds(&documents(&manifests), "Secret").is_empty());
    for (template, text) in sidevault_tests::pair::files_below(&deploy("helm/sidevault/templates")) {
        let text = String::from_utf8(text).unwrap();
        let made = [
            "lookup ",
            "genPrivateKey",
            "genCA",
            "genSelfSignedCert",
            "randAlpha",
            "randBytes",
            "uuidv4",
        ];
        assert!(!made.iter().any(|word| text.contains(word)), "{}", template.display());
    }
}

#[test]
fn names_and_labels_are_those_that_the_seeds_commands_select() {
    let Some(manifests) = rendered(&["--set=operator.create=true"]) else {
        return;
    };
    let documents = documents(&manifests);
    let deployments = kinds(&documents, "Deployment");
    let named = |name: &str| {
        let found = deployments.iter().find(|object| object["metadata"]["name"] == name);
        &found.unwrap()["spec"]["template"]
    };
    let pair = named("onepassword-connect");
    assert_eq!(pair["metadata"]["labels"]["app"], "onepassword-connect");
    let containers: Vec<_> = pair["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(containers, ["connect-api", "connect-sync"]);
    let operator = named("external-secrets");
    assert_eq!(
        operator["metadata"]["labels"]["app.kubernetes.io/name"],
        "external-secrets"
    );
    let service = kinds(&documents, "Service")
        .into_iter()
        .find(|object| object["metadata"]["name"] == "onepassword-connect")
        .unwrap();
    assert_eq!(service["spec"]["selector"], json!({"app": "onepassword-connect"}));
    assert!(
        service["spec"]["ports"]
            .as_array()
            .unwrap()
            .iter()
            .any(|port| port["port"] == 8080)
    );
}

#[test]
fn each_kustomization_is_taken() {
    let Some(cluster) = cluster() else { return };
    for overlay in OVERLAYS {
        let manifests = cluster.must(&["kustomize", &deploy("kustomize").join(overlay).display().to_string()]);
        accepted(cluster, overlay, &manifests);
        pods_pass_restricted(cluster, overlay, &manifests);
    }
}

#[test]
fn the_whole_example_is_taken() {
    let Some(cluster) = cluster() else { return };
    let manifests = cluster.must(&["kustomize", &deploy("examples/anton").display().to_string()]);
    accepted(cluster, "anton", &manifests);
    pods_pass_restricted(cluster, "anton", &manifests);
    for file in [
        "examples/anton/60-monitoring.yaml",
        "examples/anton/legacy/external-secret.yaml",
    ] {
        accepted(cluster, file, &fs::read_to_string(deploy(file)).unwrap());
    }
    for file in ["examples/webhook/store.yaml", "examples/webhook/external-secret.yaml"] {
        accepted(cluster, file, &fs::read_to_string(deploy(file)).unwrap());
    }
}

#[test]
fn the_examples_vaults_hold_every_value_that_its_external_secrets_ask_for() {
    let Some(cluster) = cluster() else { return };
    let example = deploy("examples/anton");
    let pair = Pair::prepare(&[], &[]);
    let sources = fs::read_to_string(example.join("sources.yaml")).unwrap();
    let vaults = example.join("vaults").display().to_string();
    let key = example.join("age-key.txt").display().to_string();
    let sources = sources.replace("/vaults", &vaults).replace("/age/age-key.txt", &key);
    fs::write(pair.path("sources.yaml"), sources).unwrap();
    let mut pair = pair;
    pair.set(
        "SIDEVAULT_SYNC_CONFIG",
        &pair.path("sources.yaml").display().to_string(),
    );
    pair.run(Half::Api);
    pair.run(Half::Sync);
    pair.wait_linked();
    let token = pair.token(
        "operator",
        &["infrastructure=read", "applications=read", "secrets=read"],
    );

    let manifests = documents(&cluster.must(&["kustomize", &example.display().to_string()]));
    let wanted: BTreeSet<(String, Option<String>)> = kinds(&manifests, "ExternalSecret")
        .iter()
        .flat_map(|object| {
            let spec = &object["spec"];
            let data = spec["data"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| &one["remoteRef"]);
            let whole = spec["dataFrom"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| &one["extract"]);
            data.chain(whole).cloned().collect::<Vec<_>>()
        })
        .map(|remote| {
            (
                remote["key"].as_str().unwrap().to_owned(),
                remote["property"].as_str().map(str::to_owned),
            )
        })
        .collect();
    assert!(wanted.len() >= 10, "{wanted:?}");
    for (title, label) in wanted {
        let found = wait_until(|| {
            let item = ["infrastructure", "applications"]
                .iter()
                .find_map(|vault| pair.item(&token, vault, &title))?;
            let fields = item["fields"].as_array()?.clone();
            let has = |label: &str| fields.iter().any(|field| field["label"] == label);
            label.as_deref().is_none_or(has).then_some(())
        });
        assert!(found.is_some(), "no {label:?} in {title}\n{}", pair.log(Half::Sync));
    }
}

/// What a role grants: one line a rule.
fn rules(documents: &[Value], kind: &str, name: &str) -> BTreeSet<String> {
    let role = documents
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"));
    let granted = role["rules"].as_array().unwrap().iter().flat_map(|rule| {
        let list = |part: &str| {
            rule[part]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap().to_owned())
        };
        let verbs: Vec<_> = list("verbs").collect();
        let groups: Vec<_> = list("apiGroups").collect();
        list("resources")
            .collect::<Vec<_>>()
            .into_iter()
            .flat_map(move |resource| {
                let verbs = verbs.clone();
                groups.clone().into_iter().flat_map(move |group| {
                    let resource = resource.clone();
                    verbs
                        .clone()
                        .into_iter()
                        .map(move |verb| format!("{verb} {resource} {group}"))
                })
            })
    });
    granted.collect()
}

#[test]
fn chart_and_kustomization_grant_the_same_and_nothing_broad() {
    let Some(cluster) = cluster() else { return };
    let Some(chart) = rendered(&["--set=operator.create=true"]) else {
        return;
    };
    let kustomized = cluster.must(&["kustomize", &deploy("kustomize/base").display().to_string()]);
    let name = "external-secrets-controller";
    let granted = rules(&documents(&chart), "ClusterRole", name);
    assert_eq!(granted, rules(&documents(&kustomized), "ClusterRole", name));
    assert!(granted.iter().all(|rule| !rule.contains('*')), "{granted:?}");

    let Some(chart) = rendered(&["--set=operator.create=true", "--set=operator.scopedRBAC=true"]) else {
        return;
    };
    let kustomized = cluster.must(&[
        "kustomize",
        &deploy("kustomize/overlays/namespaced").display().to_string(),
    ]);
    for manifests in [chart, kustomized] {
        let documents = documents(&manifests);
        assert!(kinds(&documents, "ClusterRole").is_empty() && kinds(&documents, "ClusterRoleBinding").is_empty());
        let narrow = rules(&documents, "Role", name);
        let outside: BTreeSet<_> = narrow.difference(&granted).collect();
        assert!(outside.is_empty(), "{outside:?}");
        assert!(
            narrow
                .iter()
                .all(|rule| !rule.contains("cluster") && !rule.contains("namespaces"))
        );
    }
}

#[test]
fn the_rights_are_enough_for_its_work_and_for_no_other() {
    let Some(cluster) = cluster() else { return };
    let grant = |release: &str, more: &[&str]| {
        let full = format!("--set=operator.fullnameOverride={release}");
        let mut arguments = vec!["--set=operator.create=true", "--set=operator.installCRDs=false", &full];
        arguments.extend(more);
        let manifests = rendered(&arguments)?;
        let roles = [
            "ServiceAccount",
            "Role",
            "RoleBinding",
            "ClusterRole",
            "ClusterRoleBinding",
        ];
        let objects: Vec<_> = documents(&manifests)
            .into_iter()
            .filter(|object| roles.iter().any(|kind| object["kind"] == *kind))
            .collect();
        cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
        Some(format!("--as=system:serviceaccount:external-secrets:{release}"))
    };
    let may = |who: &str, what: &str, namespace: &str| {
        let mut arguments = vec!["auth", "can-i"];
        arguments.extend(what.split(' '));
        arguments.extend(["-n", namespace, who]);
        let output = cluster.kubectl(&arguments);
        String::from_utf8_lossy(&output.stdout).trim() == "yes"
    };
    let home = "external-secrets";

    let Some(whole) = grant("whole", &["--set=operator.leaderElect=true"]) else {
        return;
    };
    for what in [
        "create secrets",
        "delete secrets",
        "list namespaces",
        "patch externalsecrets",
        "create events",
    ] {
        assert!(may(&whole, what, "database"), "{what}");
    }
    assert!(may(&whole, "update externalsecrets --subresource=status", "database"));
    assert!(may(&whole, "get leases/external-secrets-controller", home));
    for what in [
        "get leases/external-secrets-controller",
        "get pods",
        "patch deployments",
        "create roles",
        "list configmaps",
        "update namespaces",
        "get nodes",
    ] {
        assert!(!may(&whole, what, "database"), "{what}");
    }

    let Some(narrow) = grant("narrow", &["--set=operator.scopedRBAC=true"]) else {
        return;
    };
    assert!(may(&narrow, "create secrets", home) && may(&narrow, "watch externalsecrets", home));
    for (what, namespace) in [
        ("get secrets", "database"),
        ("list externalsecrets", "database"),
        ("list clustersecretstores", home),
        ("list namespaces", home),
    ] {
        assert!(!may(&narrow, what, namespace), "{what} in {namespace}");
    }

    let Some(poker) = grant("poker", &["--set=operator.pokeOnly=true"]) else {
        return;
    };
    assert!(may(&poker, "patch externalsecrets", "database") && may(&poker, "get secrets", "database"));
    for what in [
        "create secrets",
        "list secrets",
        "update externalsecrets",
        "patch secretstores",
    ] {
        assert!(!may(&poker, what, "database"), "{what}");
    }

    let Some(restarter) = grant("restarter", &["--set=operator.autoRestart=true"]) else {
        return;
    };
    assert!(may(&restarter, "patch statefulsets", "database") && !may(&restarter, "delete deployments", "database"));
}

/// The series that External Secrets and controller-runtime have, as their documentation names them.
const THEIRS: [&str; 10] = [
    "externalsecret_status_condition",
    "secretstore_status_condition",
    "clustersecretstore_status_condition",
    "externalsecret_sync_calls_total",
    "externalsecret_sync_calls_error",
    "externalsecret_provider_api_calls_count",
    "workqueue_depth",
    "controller_runtime_reconcile_time_seconds_bucket",
    "controller_runtime_reconcile_total",
    // Ours, of the operator.
    "sidevault_operator_event_lag_seconds_bucket",
];

#[test]
fn alerts_and_dashboards_ask_for_series_that_are_there() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("item.yaml"), "password: p\n").unwrap();
    let pair = Pair::start(&["--dir", &directory.path().display().to_string()], &[]);
    let token = pair.token("reader", &["apps=read"]);
    pair.get(&token, "/v1/vaults");
    pair.get("nonsense", "/v1/vaults");
    let exposed = |address| {
        let reply = exchange(address, &Request::new("GET", "/metrics").bytes()).unwrap();
        String::from_utf8(reply.body).unwrap()
    };
    let declared = exposed(pair.address()) + &exposed(pair.sync_address());
    let declared: BTreeSet<String> = declared
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| {
            let (name, kind) = line.split_once(' ')?;
            let ending = match kind {
                "counter" => "_total",
                "histogram" => "_bucket",
                "info" => "_info",
                _ => "",
            };
            Some(format!("{name}{ending}"))
        })
        .collect();
    let rules = documents(&fs::read_to_string(deploy("prometheus/rules.yaml")).unwrap());
    let mut expressions = Vec::new();
    for group in rules[0]["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            expressions.push(rule["expr"].as_str().unwrap().to_owned());
            let (labels, notes) = (&rule["labels"], &rule["annotations"]);
            assert!(labels["severity"].is_string() && notes["summary"].is_string(), "{rule}");
            let runbook = deploy("..").join(notes["runbook"].as_str().unwrap());
            assert!(runbook.is_file(), "{}", runbook.display());
        }
    }
    for dashboard in ["sidevault-server", "sidevault-operator"] {
        let text = fs::read_to_string(deploy(&format!("grafana/{dashboard}.json"))).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels
            .iter()
            .flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
        expressions.extend(targets.map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    assert!(expressions.len() > 25);
    let prefixes = [
        "sidevault_",
        "externalsecret_",
        "secretstore_",
        "clustersecretstore_",
        "workqueue_",
        "controller_",
    ];
    for expression in expressions {
        let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for series in words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix))) {
            assert!(
                declared.contains(series) || THEIRS.contains(&series),
                "no {series}: {expression}"
            );
        }
    }
}
