//! The operator's rights, as the API server sees them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sidevault_tests::pair::wait_until;

use super::{cluster, deploy, documents, kinds, rendered};

/// The rules of a role, each as `VERB RESOURCE GROUP`.
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
fn chart_and_kustomization_grant_the_same_rights_and_no_wildcards() {
    let Some(cluster) = cluster() else { return };
    let Some(chart) = rendered(&["--set=operator.create=true"]) else {
        return;
    };
    let kustomized = cluster.must(&["kustomize", &deploy("kustomize/base").display().to_string()]);
    let name = "sidevault-external-secrets-controller";
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
fn the_operators_rights_suffice_for_its_work_and_no_more() {
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
    // The API server uses a new role after a moment.
    let soon = |who: &str, what: &str, namespace: &str| {
        let seen = wait_until(|| may(who, what, namespace).then_some(()));
        assert!(seen.is_some(), "{what}");
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
        "create events.events.k8s.io",
    ] {
        soon(&whole, what, "database");
    }
    soon(&whole, "patch externalsecrets --subresource=status", "database");
    soon(&whole, "get leases/external-secrets-controller", home);
    for what in [
        "get leases/external-secrets-controller",
        "get pods",
        "patch deployments",
        "create roles",
        "update configmaps",
        "update namespaces",
        "get nodes",
    ] {
        assert!(!may(&whole, what, "database"), "{what}");
    }

    let Some(narrow) = grant("narrow", &["--set=operator.scopedRBAC=true"]) else {
        return;
    };
    soon(&narrow, "create secrets", home);
    soon(&narrow, "watch externalsecrets", home);
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
    soon(&poker, "patch externalsecrets", "database");
    soon(&poker, "get secrets", "database");
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
    soon(&restarter, "patch statefulsets", "database");
    assert!(!may(&restarter, "delete deployments", "database"));
}
