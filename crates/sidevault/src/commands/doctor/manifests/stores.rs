//! SecretStores and ClusterSecretStores: vaults, tokens and the Services that they call.

use super::Checked;
use super::edits::Change;
use crate::manifests::references::{PROVIDER, is_in, target, vaults_of};
use crate::manifests::tree::Node;
use crate::manifests::{Object, Objects, containers, selects};

pub(super) fn check(objects: &Objects, checked: &mut Checked) {
    for kind in ["SecretStore", "ClusterSecretStore"] {
        for store in objects.of_kind(kind) {
            if let Some(provider) = store.node.at(PROVIDER) {
                vaults(store, provider, checked);
                token(store, provider, objects, checked);
                host(store, provider, objects, checked);
            }
        }
    }
    for service in objects.of_kind("Service") {
        ports(service, objects, checked);
    }
}

fn vaults(store: &Object, provider: &Node, checked: &mut Checked) {
    if vaults_of(store).is_empty() {
        let at = provider.entry("vaults").map_or(provider, |(key, _)| key);
        checked.fail(
            "store",
            store,
            at,
            "it names no vault",
            "add vaults: with a name and its place: infrastructure: 1",
        );
    }
}

fn token(store: &Object, provider: &Node, objects: &Objects, checked: &mut Checked) {
    let references = provider.at("auth.secretRef");
    let long = references.and_then(|references| references.entry("connectTokenSecretRef"));
    let short = references.and_then(|references| references.entry("connectToken"));
    if let (None, Some((key, _))) = (long, short) {
        checked.fail(
            "store",
            store,
            key,
            "the definitions of External Secrets refuse connectToken; Sidevault's own accept it",
            "call it connectTokenSecretRef, which both accept",
        );
        checked.edit(
            store.file,
            key.line,
            Change::Replace {
                column: key.column,
                old: "connectToken".to_owned(),
                new: "connectTokenSecretRef".to_owned(),
            },
        );
    }
    let Some((_, reference)) = long.or(short) else {
        checked.fail(
            "store",
            store,
            provider,
            "it names no token",
            "add auth.secretRef.connectTokenSecretRef with name and key of a Secret",
        );
        return;
    };
    let own = store.namespace.as_deref();
    let namespace = match reference.text_at("namespace") {
        None if store.kind == "ClusterSecretStore" => {
            checked.fail(
                "store",
                store,
                reference,
                "the reference to its token has no namespace, and a ClusterSecretStore has none itself",
                "add namespace: with the namespace of the Secret",
            );
            return;
        }
        None => own,
        named => named,
    };
    let (name, key) = (reference.text_at("name"), reference.text_at("key"));
    let (Some(name), Some(key)) = (name, key) else {
        checked.fail(
            "store",
            store,
            reference,
            "the reference to its token lacks name or key",
            "name the Secret and its key",
        );
        return;
    };
    let Some(secret) = objects.find("Secret", namespace, name) else {
        let made = objects
            .external_secrets()
            .any(|secret| target(secret).0 == name && is_in(secret, namespace));
        if !made {
            let shown = namespace.unwrap_or("of the store");
            let fix = format!(
                "sidevault token create NAME --vault VAULT=read --out token, then kubectl create secret generic {name} -n {shown} \
                 --from-file={key}=token",
            );
            let cause = format!("the Secret {name} with its token is not in these files");
            checked.warn("store", store, reference, &cause, &fix);
        }
        return;
    };
    let value = secret.node.at("stringData").and_then(|data| data.entry(key));
    let encoded = secret.node.at("data").and_then(|data| data.entry(key));
    match (value, encoded) {
        (None, None) => {
            let cause = format!("the Secret {name} has no key {key}");
            checked.fail(
                "store",
                store,
                reference,
                &cause,
                "name the key that holds the token, or add it to the Secret",
            );
        }
        (Some((at, text)), _) if text.text().is_some_and(|text| text.trim().split('.').count() != 3) => {
            let cause = format!("the value of {key} is no token of a Connect server");
            checked.fail(
                "token",
                secret,
                at,
                &cause,
                "sidevault token create NAME --vault VAULT=read makes one; keep it out of manifests that are not encrypted",
            );
        }
        _ => {}
    }
}

/// The Service that a store's address names.
fn host(store: &Object, provider: &Node, objects: &Objects, checked: &mut Checked) {
    let Some((key, value)) = provider.entry("connectHost") else {
        checked.fail(
            "store",
            store,
            provider,
            "it has no connectHost",
            "add the address of the server: http://NAME.NAMESPACE:8080",
        );
        return;
    };
    let text = value.text().unwrap_or_default();
    let Some((scheme, rest)) = text
        .split_once("://")
        .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
    else {
        checked.fail(
            "store",
            store,
            key,
            "its connectHost is no address",
            "write it as http://NAME.NAMESPACE:8080",
        );
        return;
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok()),
        None => (authority, Some(if scheme == "https" { 443 } else { 80 })),
    };
    let Some(port): Option<u16> = port else { return };
    let labels: Vec<&str> = name.split('.').collect();
    let is_in_cluster = match labels[..] {
        [one] => one != "localhost",
        [_, second] => objects.0.iter().any(|object| {
            object.namespace.as_deref() == Some(second) || (object.kind == "Namespace" && object.name == second)
        }),
        [_, _, third, ..] => third == "svc",
        [] => false,
    };
    if !is_in_cluster || name.starts_with('[') {
        return;
    }
    let namespace = labels.get(1).copied().or(store.namespace.as_deref());
    let service = labels[0];
    let Some(found) = objects.find("Service", namespace, service) else {
        let is_here = objects
            .workloads(namespace)
            .any(|(workload, _)| workload.name == service);
        let cause = format!("connectHost names the Service {service}, which is not in these files");
        let shown = namespace.unwrap_or("NAMESPACE");
        if is_here {
            let fix = format!(
                "add it: kubectl expose deployment {service} -n {shown} --port {port} prints one with --dry-run=client -o yaml"
            );
            checked.fail("service", store, key, &cause, &fix);
        } else {
            checked.warn(
                "service",
                store,
                key,
                &cause,
                &format!("kubectl get service {service} -n {shown} should find it"),
            );
        }
        return;
    };
    let ports: Vec<&str> = found
        .node
        .all("spec.ports")
        .iter()
        .filter_map(|port| port.text_at("port"))
        .collect();
    if !ports.contains(&port.to_string().as_str()) {
        let cause = format!("the Service {service} has no port {port}; it has {}", ports.join(", "));
        checked.fail("service", store, key, &cause, "write one of its ports into connectHost");
    }
}

/// Whether a Service selects Pods that have its ports.
fn ports(service: &Object, objects: &Objects, checked: &mut Checked) {
    let Some((key, selector)) = service.node.at("spec").and_then(|spec| spec.entry("selector")) else {
        return;
    };
    let namespace = service.namespace.as_deref();
    let mut workloads = objects.workloads(namespace).peekable();
    if workloads.peek().is_none() {
        return;
    }
    let selected: Vec<(&Object, &Node)> = workloads
        .filter(|(_, pods)| selects(selector, pods.at("metadata.labels")))
        .collect();
    let Some((workload, pods)) = selected.first() else {
        checked.fail(
            "service",
            service,
            key,
            "its selector selects no Pod of the files, although they have Pods for its namespace",
            "write the labels of the Pod template into the selector",
        );
        return;
    };
    for port in service.node.all("spec.ports") {
        let Some(target) = port.text_at("targetPort").or(port.text_at("port")) else {
            continue;
        };
        let fits = |port: &Node| port.text_at("name") == Some(target) || port.text_at("containerPort") == Some(target);
        let mut all = containers(pods).flat_map(|container| container.all("ports")).peekable();
        // A container may listen on a port that its manifest does not list, but not under a name.
        let is_unknown = all.peek().is_none() && target.parse::<u16>().is_ok();
        if !is_unknown && !all.any(fits) {
            let cause = format!("no container of {} has the port {target}", workload.title());
            checked.fail(
                "service",
                service,
                port,
                &cause,
                "write a name or number of a container's port into targetPort",
            );
        }
    }
}
