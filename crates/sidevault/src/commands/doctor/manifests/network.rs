//! NetworkPolicies: the Pods that they are for, the labels of namespaces, and ports.

use super::Checked;
use super::edits::Change;
use crate::manifests::tree::Node;
use crate::manifests::{Object, Objects, containers, selects};

/// The label that Kubernetes itself gives each namespace: its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) fn check(objects: &Objects, checked: &mut Checked) {
    for policy in objects.of_kind("NetworkPolicy") {
        for (rules, peers) in [("spec.ingress", "from"), ("spec.egress", "to")] {
            for rule in policy.node.all(rules) {
                for peer in rule.all(peers) {
                    if let Some(labels) = peer.at("namespaceSelector.matchLabels") {
                        namespaces(policy, labels, objects, checked);
                    }
                }
            }
        }
        pods(policy, objects, checked);
    }
}

fn namespaces(policy: &Object, labels: &Node, objects: &Objects, checked: &mut Checked) {
    let wanted: Vec<&(Node, Node)> = labels
        .entries()
        .iter()
        .filter(|(key, _)| key.text() != Some(NAME_LABEL))
        .collect();
    let Some((key, value)) = wanted.first() else { return };
    let is_there = objects
        .of_kind("Namespace")
        .any(|namespace| selects(labels, namespace.node.at("metadata.labels")));
    if is_there {
        return;
    }
    let (name, text) = (key.text().unwrap_or_default(), value.text().unwrap_or_default());
    let cause = format!("it lets in namespaces with the label {name}={text}, and no Namespace of these files has it");
    let fix =
        format!("select {NAME_LABEL}, which each namespace has, or kubectl label namespace NAMESPACE {name}={text}");
    checked.fail("network", policy, key, &cause, &fix);
    if name == "name" && labels.entries().len() == 1 {
        checked.edit(
            policy.file,
            key.line,
            Change::Replace {
                column: key.column,
                old: name.to_owned(),
                new: NAME_LABEL.to_owned(),
            },
        );
    }
}

/// Whether the Pods that a policy is for exist, and have the ports that it opens.
fn pods(policy: &Object, objects: &Objects, checked: &mut Checked) {
    let Some((key, labels)) = policy
        .node
        .at("spec.podSelector")
        .and_then(|pods| pods.entry("matchLabels"))
    else {
        return;
    };
    let mut workloads = objects.workloads(policy.namespace.as_deref()).peekable();
    if workloads.peek().is_none() {
        return;
    }
    let selected: Vec<(&Object, &Node)> = workloads
        .filter(|(_, pods)| selects(labels, pods.at("metadata.labels")))
        .collect();
    if selected.is_empty() {
        checked.warn(
            "network",
            policy,
            key,
            "it selects no Pod of the files, although they have Pods for its namespace",
            "write the labels of the Pod template into podSelector",
        );
        return;
    }
    for port in policy
        .node
        .all("spec.ingress")
        .iter()
        .flat_map(|rule| rule.all("ports"))
    {
        let Some(wanted) = port.text_at("port") else { continue };
        let fits = |port: &Node| port.text_at("name") == Some(wanted) || port.text_at("containerPort") == Some(wanted);
        let mut all = selected
            .iter()
            .flat_map(|(_, pods)| containers(pods))
            .flat_map(|container| container.all("ports"))
            .peekable();
        let is_unknown = all.peek().is_none() && wanted.parse::<u16>().is_ok();
        if !is_unknown && !all.any(fits) {
            let cause = format!("it opens the port {wanted}, and no container that it selects has it");
            checked.fail(
                "network",
                policy,
                port,
                &cause,
                "write the port of the container, not that of the Service",
            );
        }
    }
}
