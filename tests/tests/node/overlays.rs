//! Each overlay of `deploy/kustomize`, applied as it is but for its namespace, in namespaces with Pod security `restricted`.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use sidevault_tests::cluster::Shell;
use sidevault_tests::cluster::node::{ADDRESS, Image, Node};
use sidevault_tests::pair::wait_until;
use sidevault_tests::postgres::Postgres;
use sidevault_tests::proxy::Proxy;

use super::fixture::{
    Client, Keys, Wanted, create_namespace, give_volume, is_nightly, prepare, repository, rolled_out,
};

/// The image that the overlay names.
const GIT_SYNC: &str = "registry.k8s.io/git-sync/git-sync:v4.4.2";

#[test]
fn every_overlay_runs_as_it_is() {
    if !is_nightly() {
        return;
    }
    let Some(node) = Node::alone() else { return };
    prepare(&node);
    let keys = Keys::new();
    let shell = Shell::new(node.cluster());
    git_and_an_empty_dir(&node, &shell, &keys);
    a_claim_and_an_operator_elsewhere(&node, &shell, &keys);
    one_namespace(&node, &shell, &keys);
    postgres(&node, &shell, &keys);
}

/// Applies an overlay in this namespace, which must exist.
fn apply(node: &Node, overlay: &str, namespace: &str) {
    let path = repository("deploy/kustomize/overlays")
        .join(overlay)
        .display()
        .to_string();
    let rendered = node.cluster().must(&["kustomize", &path]);
    let documents: Vec<&str> = rendered
        .split("---\n")
        // All of this program's tests share the definitions.
        .filter(|document| {
            !document.contains("kind: Namespace\n") && !document.contains("kind: CustomResourceDefinition\n")
        })
        .collect();
    let elsewhere = documents
        .join("---\n")
        .replace("namespace: external-secrets", &format!("namespace: {namespace}"))
        .replace("--namespace=external-secrets", &format!("--namespace={namespace}"));
    node.cluster().apply(&elsewhere);
}

fn must_roll_out(node: &Node, namespace: &str, names: &[&str]) {
    for name in names {
        rolled_out(node, namespace, &format!("deployment/{name}"));
    }
}

fn delete(shell: &Shell, namespaces: &[&str]) {
    for namespace in namespaces {
        shell.run(&format!("kubectl delete namespace {namespace} --wait=false"));
    }
}

fn git_and_an_empty_dir(node: &Node, shell: &Shell, keys: &Keys) {
    let home = "overlay-git";
    let directory = node.cluster().path("git-sync");
    fs::create_dir(&directory).expect("a directory");
    let image = Image::busybox_with(&directory, GIT_SYNC, &["/git-sync.sh"], |root| {
        fs::copy(repository("tests/tests/node/git-sync.sh"), root.join("git-sync.sh")).expect("a copy");
        fs::set_permissions(root.join("git-sync.sh"), Permissions::from_mode(0o755)).expect("a mode");
        let file = repository("examples/secrets/postgres-database.sops.yaml");
        for (commit, items) in [("1", &["first"][..]), ("2", &["first", "second"])] {
            let secrets = root.join("repository").join(commit).join("secrets");
            fs::create_dir_all(&secrets).expect("a directory");
            for item in items {
                fs::copy(&file, secrets.join(format!("{item}.sops.yaml"))).expect("a copy");
            }
        }
    });
    node.import(&image);
    create_namespace(shell, home, keys, "onepassword-credentials");
    let age_key = repository("examples/age-key.txt").display().to_string();
    shell.run(&format!(
        "kubectl create secret generic sops-age -n {home} --from-file=age.agekey={age_key}"
    ));
    apply(node, "emptydir-git", home);
    must_roll_out(node, home, &["onepassword-connect", "external-secrets"]);
    let token = keys.token(&["gitops"]);
    let wanted = Wanted {
        server: home,
        token: &token,
        vault: "gitops",
        item: "first",
        field: "username",
    };
    assert!(!wanted.value(node, shell, home).is_empty());

    let client = Client::new(node, home, &token);
    let next = format!("kubectl exec -n {home} deploy/onepassword-connect -c git-sync -- touch /tmp/next");
    let served = |item: &str| {
        let served = wait_until(|| client.item("gitops", item));
        assert!(served.is_some(), "no {item}");
    };
    assert!(client.item("gitops", "second").is_none());
    shell.run(&next);
    served("second");
    // A new Pod has an empty directory, into which git-sync fetches the commits again.
    shell.run(&format!("kubectl delete pod -n {home} --all --force --grace-period=0"));
    served("first");
    rolled_out(node, home, "deployment/onepassword-connect");
    shell.run(&next);
    served("second");
    delete(shell, &[home]);
}

/// `pvc`, and then `operator-only` for the same server.
fn a_claim_and_an_operator_elsewhere(node: &Node, shell: &Shell, keys: &Keys) {
    let (home, elsewhere) = ("overlay-pvc", "overlay-operator");
    create_namespace(shell, home, keys, "onepassword-credentials");
    give_volume(node, home);
    apply(node, "pvc", home);
    must_roll_out(node, home, &["onepassword-connect", "external-secrets"]);
    let token = keys.token(&["apps"]);
    let wanted = has_item(node, home, &token);
    assert_eq!(wanted.value(node, shell, home), "blue");
    // Its role has the other operator's name.
    shell.run(&format!("kubectl delete deployment external-secrets -n {home}"));
    create_namespace(shell, elsewhere, keys, "unused");
    apply(node, "operator-only", elsewhere);
    must_roll_out(node, elsewhere, &["external-secrets"]);
    assert_eq!(wanted.value(node, shell, elsewhere), "blue");
    delete(shell, &[home, elsewhere]);
}

fn one_namespace(node: &Node, shell: &Shell, keys: &Keys) {
    let home = "overlay-namespaced";
    create_namespace(shell, home, keys, "onepassword-credentials");
    apply(node, "namespaced", home);
    must_roll_out(node, home, &["onepassword-connect", "external-secrets"]);
    // The overlay has no source of items.
    shell.run(&format!(
        "kubectl exec -n {home} deploy/onepassword-connect -c connect-sync -- sidevault vault create apps --allow-ephemeral"
    ));
    let token = keys.token(&["apps"]);
    let wanted = has_item(node, home, &token);
    assert_eq!(wanted.value(node, shell, home), "blue");
    delete(shell, &[home]);
}

fn postgres(node: &Node, shell: &Shell, keys: &Keys) {
    let home = "overlay-postgres";
    let Some(server) = Postgres::start() else { return };
    // PostgreSQL listens on the node's loopback address, which Pods can't reach.
    let proxy = Proxy::before(server.address(), IpAddr::V4(ADDRESS));
    let url = server
        .create_database()
        .replace(&server.address().to_string(), &proxy.address().to_string());
    create_namespace(shell, home, keys, "onepassword-credentials");
    shell.run(&format!(
        "kubectl create secret generic sidevault-store -n {home} --from-literal=url='{url}'"
    ));
    apply(node, "postgres", home);
    rolled_out(node, home, "statefulset/onepassword-connect-sync");
    // The autoscaler has no metrics here, and sets the smallest number.
    let deployment = format!("/apis/apps/v1/namespaces/{home}/deployments/onepassword-connect");
    node.cluster().wait_for(&deployment, |found| {
        (found["status"]["readyReplicas"] == 2).then_some(())
    });
    must_roll_out(node, home, &["onepassword-connect", "external-secrets"]);
    let token = keys.token(&["apps"]);
    let wanted = has_item(node, home, &token);
    assert_eq!(wanted.value(node, shell, home), "blue");
    delete(shell, &[home]);
}

/// Creates an item in the vault `apps` of a server.
fn has_item<'a>(node: &Node, server: &'a str, token: &'a str) -> Wanted<'a> {
    let item = json!({"title": "server", "category": "LOGIN", "fields": [{"label": "color", "value": "blue"}]});
    Client::new(node, server, token).create("apps", &item.to_string());
    Wanted {
        server,
        token,
        vault: "apps",
        item: "server",
        field: "color",
    }
}
