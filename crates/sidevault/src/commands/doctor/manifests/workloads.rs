//! Workloads: labels, the Secrets that they read, and the server's data directory.

use super::Checked;
use super::edits::Change;
use crate::manifests::references::{is_in, target};
use crate::manifests::tree::Node;
use crate::manifests::{Object, Objects, containers, selects};

/// Where Connect keeps its data.
const DATA: &str = "/home/opuser/.op/data";

pub(super) fn check(objects: &Objects, checked: &mut Checked) {
    for workload in &objects.0 {
        let Some(pods) = workload.pods() else { continue };
        labels(workload, pods, checked);
        data_directory(workload, pods, objects, checked);
        for container in containers(pods) {
            for variable in container.all("env") {
                if let Some(reference) = variable.at("valueFrom.secretKeyRef") {
                    key(workload, reference, objects, checked);
                }
            }
        }
    }
}

/// The API server refuses a workload whose selector does not select its own Pods.
fn labels(workload: &Object, pods: &Node, checked: &mut Checked) {
    let Some(selector) = workload.node.at("spec.selector.matchLabels") else {
        return;
    };
    let labels = pods.at("metadata.labels");
    if selects(selector, labels) {
        return;
    }
    let at = pods.entry("metadata").map_or(pods, |(key, _)| key);
    checked.fail(
        "workload",
        workload,
        at,
        "its selector does not select its own Pods, because the Pod template lacks the labels: the API server refuses it",
        "add the labels of spec.selector.matchLabels to spec.template.metadata.labels",
    );
    if pods.at("metadata").is_some() {
        return;
    }
    let Some((first, _)) = pods.entries().first() else {
        return;
    };
    let indentation = " ".repeat(first.column);
    let mut lines = format!("{indentation}metadata:\n{indentation}  labels:\n");
    for (key, value) in selector.entries() {
        if let (Some(key), Some(value)) = (key.text(), value.text()) {
            lines.push_str(&format!("{indentation}    {key}: {value:?}\n"));
        }
    }
    checked.edit(workload.file, first.line, Change::Insert(lines));
}

fn data_directory(workload: &Object, pods: &Node, objects: &Objects, checked: &mut Checked) {
    let mounts = containers(pods).flat_map(|container| container.all("volumeMounts"));
    let names: Vec<&str> = mounts
        .filter(|mount| {
            mount
                .text_at("mountPath")
                .is_some_and(|path| path.trim_end_matches('/') == DATA)
        })
        .filter_map(|mount| mount.text_at("name"))
        .collect();
    for volume in pods.all("spec.volumes") {
        let is_data = volume.text_at("name").is_some_and(|name| names.contains(&name));
        let Some((key, _)) = volume.entry("emptyDir").filter(|_| is_data) else {
            continue;
        };
        let has_local = objects
            .of_kind("ConfigMap")
            .filter(|map| map.namespace == workload.namespace)
            .any(|map| {
                let data = map.node.at("data").map_or(&[][..], Node::entries);
                data.iter().any(|(_, value)| value.text().is_some_and(has_local_vaults))
            });
        let cause = "the server's data is on an emptyDir, which is lost with the Pod";
        if has_local {
            checked.fail(
                "data",
                workload,
                key,
                &format!("{cause}, and its local vaults with it"),
                "use a PersistentVolumeClaim in place of the emptyDir",
            );
        } else {
            checked.warn(
                "data",
                workload,
                key,
                &format!("{cause}: vaults of directories and Git are read again, local vaults are gone"),
                "keep it if all vaults come from files; else use a PersistentVolumeClaim",
            );
        }
    }
}

/// Whether a text is a configuration of sources with local vaults.
fn has_local_vaults(text: &str) -> bool {
    crate::manifests::tree::parse(text).is_ok_and(|documents| {
        documents.iter().any(|document| {
            document
                .all("sources")
                .iter()
                .any(|source| source.at("local").is_some())
        })
    })
}

/// Whether a key of a Secret that an ExternalSecret makes will be there.
fn key(workload: &Object, reference: &Node, objects: &Objects, checked: &mut Checked) {
    let Some(name) = reference.text_at("name") else { return };
    let makers = || objects.external_secrets().filter(|secret| target(secret).0 == name);
    let is_here = |secret: &&Object| is_in(secret, workload.namespace.as_deref());
    if objects.find("Secret", workload.namespace.as_deref(), name).is_some() {
        return;
    }
    let Some(maker) = makers().find(is_here) else {
        if let Some(other) = makers().next() {
            let cause = format!(
                "the Secret {name} is made by {}, which is in another namespace",
                other.title()
            );
            checked.fail(
                "secret",
                workload,
                reference,
                &cause,
                "a Pod reads Secrets of its own namespace only: correct one of the two",
            );
        }
        return;
    };
    let (Some(wanted), Some(keys)) = (reference.text_at("key"), target(maker).1) else {
        return;
    };
    let is_optional = reference.text_at("optional") == Some("true");
    if !keys.contains(&wanted) && !is_optional {
        let cause = format!(
            "{} makes the Secret {name} without the key {wanted}; it has {}",
            maker.title(),
            keys.join(", ")
        );
        checked.fail(
            "secret",
            workload,
            reference,
            &cause,
            "name one of these keys, or add the key to the ExternalSecret",
        );
    }
}
