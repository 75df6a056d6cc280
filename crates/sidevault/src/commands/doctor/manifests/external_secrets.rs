//! ExternalSecrets, ClusterExternalSecrets and PushSecrets: their stores, targets and patterns, and the Secrets that are pushed.

use super::Checked;
use super::edits::Change;
use sidevault_go::regex::Regex;

use crate::manifests::references::{Reads, entries, find_store, is_in, pushed_secret, pushes, spec, stores, target};
use crate::manifests::tree::Node;
use crate::manifests::{Object, Objects, containers};

pub(super) fn check(objects: &Objects, checked: &mut Checked) {
    let has_default = objects
        .0
        .iter()
        .filter_map(Object::pods)
        .flat_map(containers)
        .any(|container| {
            let arguments = container.all("args").iter().chain(container.all("command"));
            arguments
                .filter_map(Node::text)
                .any(|argument| argument.starts_with("--default-store"))
        });
    for secret in objects.external_secrets() {
        let entries = entries(secret);
        if entries.iter().any(|entry| entry.store.is_none()) && !has_default {
            checked.fail(
                "store",
                secret,
                secret.node.entry("spec").map_or(&secret.node, |(key, _)| key),
                "it names no store",
                "add secretStoreRef with name and kind, or give the operator --default-store",
            );
        }
        for reference in stores(secret) {
            store(secret, reference, objects, checked);
        }
        for entry in &entries {
            if entry.reads == Reads::Find {
                pattern(secret, entry.reference, checked);
            }
        }
        target_type(secret, checked);
    }
    for push in objects.of_kind("PushSecret") {
        for reference in push.node.all("spec.secretStoreRefs") {
            store(push, reference, objects, checked);
        }
        pushed(push, objects, checked);
    }
}

/// The pattern for names in a `find`.
fn pattern(secret: &Object, find: &Node, checked: &mut Checked) {
    let Some(pattern) = find.at("name.regexp") else { return };
    let text = pattern.text().unwrap_or_default();
    if let Err(error) = Regex::new(text) {
        let cause = format!("its pattern is no regular expression of Go: {}", error.quoting(text));
        checked.fail("find", secret, pattern, &cause, "correct name.regexp (re2 syntax)");
    }
}

/// The Secret whose values a PushSecret writes, and its keys.
fn pushed(push: &Object, objects: &Objects, checked: &mut Checked) {
    let Some(at) = pushed_secret(push) else { return };
    let Some(name) = at.text().filter(|name| !name.is_empty()) else {
        return;
    };
    let namespace = push.namespace.as_deref();
    let (keys, holder) = if let Some(secret) = objects.find("Secret", namespace, name) {
        let data = ["data", "stringData"]
            .into_iter()
            .filter_map(|member| secret.node.at(member));
        let keys = data.flat_map(Node::entries).filter_map(|(key, _)| key.text());
        (Some(keys.collect()), secret)
    } else if let Some(maker) = objects
        .external_secrets()
        .find(|maker| target(maker).0 == name && is_in(maker, namespace))
    {
        (target(maker).1, maker)
    } else {
        let cause = format!("the Secret {name}, whose values it writes, is not in these files");
        let fix = format!(
            "kubectl get secret {name} -n {} should find it",
            namespace.unwrap_or("NAMESPACE")
        );
        checked.warn("push", push, at, &cause, &fix);
        return;
    };
    // A template makes keys of its own.
    let Some(keys): Option<Vec<&str>> = keys.filter(|_| push.node.at("spec.template").is_none()) else {
        return;
    };
    for pushed in pushes(push) {
        let Some(wanted) = pushed.secret_key.filter(|wanted| !keys.contains(wanted)) else {
            continue;
        };
        let cause = format!(
            "the Secret {name} has no key {wanted}; {} gives it {}",
            holder.title(),
            keys.join(", ")
        );
        checked.fail(
            "push",
            push,
            pushed.at,
            &cause,
            "name one of these keys in match.secretKey",
        );
    }
}

fn store(secret: &Object, reference: &Node, objects: &Objects, checked: &mut Checked) {
    let Some(name) = reference.text_at("name") else { return };
    if find_store(secret, reference, objects).is_some() {
        return;
    }
    let kind = reference.text_at("kind").unwrap_or("SecretStore");
    let elsewhere = |kind: &str| objects.find(kind, None, name).map(Object::title);
    match elsewhere("SecretStore").or_else(|| elsewhere("ClusterSecretStore")) {
        Some(other) => {
            let cause = format!("its store {kind} {name} does not exist; there is {other}");
            checked.fail(
                "store",
                secret,
                reference,
                &cause,
                "a SecretStore serves its own namespace only: correct kind or namespace",
            );
        }
        None => {
            let cause = format!("its store {kind} {name} is not in these files");
            checked.warn(
                "store",
                secret,
                reference,
                &cause,
                &format!("kubectl get {} -A should find it", kind.to_lowercase()),
            );
        }
    }
}

/// External Secrets has the type of the Secret in `target.template` only.
fn target_type(secret: &Object, checked: &mut Checked) {
    let Some(target) = spec(secret).and_then(|spec| spec.at("target")) else {
        return;
    };
    let Some((key, value)) = target.entry("type") else {
        return;
    };
    checked.fail(
        "target",
        secret,
        key,
        "the definitions of External Secrets refuse target.type; Sidevault's own accept it",
        "write target.template.type instead, which both accept",
    );
    if target.at("template").is_none() && key.line == value.line {
        let indentation = " ".repeat(key.column);
        checked.edit(
            secret.file,
            key.line,
            Change::Insert(format!("{indentation}template:\n")),
        );
        checked.edit(
            secret.file,
            key.line,
            Change::Replace {
                column: key.column,
                old: "type".to_owned(),
                new: "  type".to_owned(),
            },
        );
    }
}
