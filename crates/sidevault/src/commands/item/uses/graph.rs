//! What in a cluster depends on an item: ExternalSecrets, the Secrets that they make, the workloads that use these, and PushSecrets.
//! Pure: the objects and the item are arguments.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sidevault_go::regex::Regex;
use sidevault_model::filter::fold;
use sidevault_model::{Item, ItemId, Vault, remote_ref, tree_path};

use crate::manifests::references::{Entry, Reads, entries, find_store, pushed_secret, pushes, target, vaults_of};
use crate::manifests::tree::Node;
use crate::manifests::{Object, Objects, matches_labels};

/// The item, and what is known of it.
pub(super) struct Subject<'a> {
    pub(super) vault: &'a Vault,
    /// Without fields.
    pub(super) item: &'a Item,
}

impl Subject<'_> {
    fn is_vault(&self, text: &str) -> bool {
        text == self.vault.id.as_str() || fold(text) == fold(&self.vault.name)
    }

    /// What a key means, by the operator's rule: a text in the form of an id is an id. `None`: another item.
    fn meant_by(&self, key: &str) -> Option<Meaning> {
        match ItemId::parse(key) {
            Ok(id) => (id == self.item.id).then_some(Meaning::Id),
            Err(_) if fold(key) == fold(&self.item.title) => Some(Meaning::Title),
            // Only the server knows the path of an item's file.
            Err(_) => (!tree_path::meant(&self.vault.name, key).is_empty()).then_some(Meaning::Path),
        }
    }

    /// The vaults that a store searches before the item's. `None` if the store never searches the item's vault.
    fn vaults_before<'a>(&self, store: &'a Object) -> Option<Vec<&'a str>> {
        let vaults: Vec<&str> = vaults_of(store).into_iter().filter_map(Node::text).collect();
        let own = vaults.iter().position(|vault| self.is_vault(vault))?;
        Some(vaults[..own].to_vec())
    }
}

/// How a key means the item.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Id,
    Title,
    /// If the server says so.
    Path,
}

/// What has to be true besides what the manifests say.
pub(super) enum Condition {
    Always,
    /// The key means the item, and no item of the vaults that the store searches first.
    Means {
        key: String,
        /// Whether the server has to say that the key means the item: it is not its title.
        is_path: bool,
        /// These vaults.
        before: Vec<String>,
    },
    /// A field or a file of the item has a name that the pattern matches.
    NameMatches(Regex),
}

/// The label with the value `true` on every Secret that External Secrets, or the operator, makes.
const MANAGED: &str = "reconcile.external-secrets.io/managed";

/// An entry of an ExternalSecret, or of a PushSecret, that may mean the item.
pub(super) struct Candidate<'a> {
    object: &'a Object,
    /// `SecretStore/name`; `None`: the operator's default store.
    store: Option<String>,
    /// What is read or written: `password`, `all fields`.
    what: String,
    /// The key of the Secret that gets the value, if only one does.
    secret_key: Option<&'a str>,
    pub(super) condition: Condition,
}

/// All entries that may mean the item.
pub(super) fn candidates<'a>(objects: &'a Objects, subject: &Subject<'_>) -> Vec<Candidate<'a>> {
    let mut found = Vec::new();
    for object in objects.external_secrets() {
        for entry in entries(object) {
            found.extend(candidate(object, &entry, objects, subject));
        }
    }
    for object in objects.of_kind("PushSecret") {
        let stores: Vec<&Object> = object
            .node
            .all("spec.secretStoreRefs")
            .iter()
            .filter_map(|reference| find_store(object, reference, objects))
            .collect();
        for pushed in pushes(object) {
            let Some((key, meaning)) = pushed.item.and_then(|key| Some((key, subject.meant_by(key)?))) else {
                continue;
            };
            found.extend(stores.iter().filter_map(|store| {
                let what = match pushed.is_single {
                    true => remote_ref::label(pushed.property).to_owned(),
                    false => "all keys".to_owned(),
                };
                Some(Candidate {
                    object,
                    store: Some(format!("{}/{}", store.kind, store.name)),
                    what,
                    secret_key: pushed.secret_key,
                    condition: condition(subject.vaults_before(store)?, key, meaning),
                })
            }));
        }
    }
    found
}

fn condition(before: Vec<&str>, key: &str, meaning: Meaning) -> Condition {
    let is_path = meaning == Meaning::Path;
    // An id is in one vault only.
    if meaning == Meaning::Id || (before.is_empty() && !is_path) {
        return Condition::Always;
    }
    Condition::Means {
        key: key.to_owned(),
        is_path,
        before: before.into_iter().map(str::to_owned).collect(),
    }
}

fn candidate<'a>(
    object: &'a Object,
    entry: &Entry<'a>,
    objects: &'a Objects,
    subject: &Subject<'_>,
) -> Option<Candidate<'a>> {
    let store = entry.store.map(|reference| find_store(object, reference, objects));
    // A store that is not there, and the operator's default store, may have any vault.
    let before = match store.flatten() {
        Some(store) => subject.vaults_before(store)?,
        None => Vec::new(),
    };
    let property = entry.reference.text_at("property").unwrap_or_default();
    let (what, condition) = match entry.reads {
        Reads::Find => {
            let tags = entry.reference.at("tags").map(Node::entries);
            // External Secrets searches tags in the first vault only.
            if tags.is_some() && !before.is_empty() {
                return None;
            }
            let tags = tags.map(|tags| tags.iter().filter_map(|(tag, _)| tag.text()));
            if !remote_ref::find_selects(subject.item, tags, entry.reference.text_at("path")) {
                return None;
            }
            match entry.reference.text_at("name.regexp") {
                None => ("find".to_owned(), Condition::Always),
                // A pattern that is none reads nothing.
                Some(pattern) => {
                    let condition = Condition::NameMatches(Regex::new(pattern).ok()?);
                    (format!("find {pattern}"), condition)
                }
            }
        }
        reads => {
            let key = entry.reference.text_at("key")?;
            let meaning = subject.meant_by(key)?;
            let what = match reads {
                Reads::Extract if property.is_empty() => "all fields".to_owned(),
                _ => remote_ref::label(property).to_owned(),
            };
            (what, condition(before, key, meaning))
        }
    };
    let reference = entry.store;
    Some(Candidate {
        object,
        store: reference.map(|reference| {
            let kind = reference.text_at("kind").unwrap_or("SecretStore");
            format!("{kind}/{}", reference.text_at("name").unwrap_or_default())
        }),
        what,
        secret_key: entry.secret_key,
        condition,
    })
}

/// What the operator has read for ExternalSecrets, by their namespace and name.
pub(super) type Known = BTreeMap<(String, String), Read>;

/// A read of the operator.
pub(super) struct Read {
    /// The store.
    pub(super) store: String,
    /// Whether it read the item itself. Otherwise it searched the vault, and the manifest says whether it found the item.
    pub(super) is_of_item: bool,
}

/// Adds the ExternalSecrets that the operator knows, and whose manifests did not show that they mean the item.
pub(super) fn add_known<'a>(objects: &'a Objects, known: Option<&Known>, meant: &mut Vec<Candidate<'a>>) {
    let of_item = known.into_iter().flatten().filter(|(_, read)| read.is_of_item);
    for ((namespace, name), Read { store, .. }) in of_item {
        let is_it = |object: &Object| {
            object.kind == "ExternalSecret" && object.namespace.as_ref() == Some(namespace) && object.name == *name
        };
        if meant.iter().any(|candidate| is_it(candidate.object)) {
            continue;
        }
        meant.extend(objects.0.iter().find(|object| is_it(object)).map(|object| Candidate {
            object,
            store: Some(store.clone()),
            what: "as the operator knows".to_owned(),
            secret_key: None,
            condition: Condition::Always,
        }));
    }
}

/// An ExternalSecret or ClusterExternalSecret that reads the item.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reader {
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    /// `null`: the operator's default store.
    pub(super) stores: Vec<Option<String>>,
    pub(super) reads: Vec<String>,
    /// Whether the operator has read the item, or searched its vault, for it; `null` if no operator was asked.
    pub(super) read_by_operator: Option<bool>,
}

/// A Secret that is made of the item.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeSecret {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The keys that have values of the item. `null`: which they are depends on the item, or on a template.
    pub(super) keys: Option<BTreeSet<String>>,
    /// The names of the ExternalSecrets.
    pub(super) made_by: BTreeSet<String>,
    /// The labels that the ExternalSecrets give it.
    #[serde(skip)]
    labels: BTreeMap<String, String>,
}

/// A workload that uses such a Secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Workload {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// What made it, if that is an object of another kind: `Rollout/web`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    pub(super) secret: String,
    /// Where its Pods have the values: `env PASSWORD (container web)`.
    pub(super) through: Vec<String>,
}

/// A PushSecret that writes the item, or that writes values of a Secret made of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Push {
    pub(super) namespace: String,
    pub(super) name: String,
    /// What it writes into the item.
    pub(super) writes: Vec<String>,
    /// The Secrets made of the item whose values it writes to other items.
    pub(super) reads_secrets: Vec<String>,
}

/// All that depends on the item in a cluster.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dependents {
    pub(super) external_secrets: Vec<Reader>,
    pub(super) secrets: Vec<MadeSecret>,
    pub(super) workloads: Vec<Workload>,
    pub(super) push_secrets: Vec<Push>,
}

/// Follows the entries that mean the item to all that depends on them.
pub(super) fn follow(objects: &Objects, meant: &[Candidate<'_>], known: Option<&Known>) -> Dependents {
    let secrets = secrets(meant);
    Dependents {
        external_secrets: readers(meant, known),
        workloads: workloads(objects, &secrets),
        push_secrets: push_secrets(objects, meant, &secrets),
        secrets,
    }
}

fn is_push(object: &Object) -> bool {
    object.kind == "PushSecret"
}

fn readers(meant: &[Candidate<'_>], known: Option<&Known>) -> Vec<Reader> {
    let mut readers: BTreeMap<_, Reader> = BTreeMap::new();
    for candidate in meant.iter().filter(|candidate| !is_push(candidate.object)) {
        let object = candidate.object;
        let key = (&object.kind, &object.namespace, &object.name);
        let reader = readers.entry(key).or_insert_with(|| Reader {
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            stores: Vec::new(),
            reads: Vec::new(),
            read_by_operator: known.filter(|_| object.kind == "ExternalSecret").map(|known| {
                let namespace = object.namespace.clone().unwrap_or_default();
                known.contains_key(&(namespace, object.name.clone()))
            }),
        });
        add(&mut reader.stores, candidate.store.clone());
        add(&mut reader.reads, candidate.what.clone());
    }
    readers.into_values().collect()
}

fn add<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}

/// The Secrets. Those of a ClusterExternalSecret are made by its ExternalSecrets, which are objects themselves.
fn secrets(meant: &[Candidate<'_>]) -> Vec<MadeSecret> {
    let mut secrets: BTreeMap<(&str, &str), MadeSecret> = BTreeMap::new();
    for candidate in meant {
        let object = candidate.object;
        let makes_none = object.node.text_at("spec.target.creationPolicy") == Some("None");
        if object.kind != "ExternalSecret" || makes_none {
            continue;
        }
        let Some(namespace) = object.namespace.as_deref() else {
            continue;
        };
        let bound = object.node.text_at("status.binding.name");
        let name = bound.unwrap_or_else(|| target(object).0);
        let secret = secrets.entry((namespace, name)).or_insert_with(|| MadeSecret {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            keys: Some(BTreeSet::new()),
            made_by: BTreeSet::new(),
            labels: BTreeMap::from([(MANAGED.to_owned(), "true".to_owned())]),
        });
        secret.made_by.insert(object.name.clone());
        secret.labels.extend(labels_given(object));
        match (candidate.secret_key, &mut secret.keys) {
            (Some(key), Some(keys)) => drop(keys.insert(key.to_owned())),
            (_, keys) => *keys = None,
        }
    }
    secrets.into_values().collect()
}

/// The labels that an ExternalSecret gives its Secret: those of its template, or else its own.
fn labels_given(object: &Object) -> impl Iterator<Item = (String, String)> {
    let labels = match object.node.at("spec.target.template") {
        Some(template) => template.at("metadata.labels"),
        None => object.node.at("metadata.labels"),
    };
    let entries = labels.map_or(&[][..], Node::entries).iter();
    entries.filter_map(|(key, value)| Some((key.text()?.to_owned(), value.text()?.to_owned())))
}

fn workloads(objects: &Objects, secrets: &[MadeSecret]) -> Vec<Workload> {
    let present: BTreeSet<(&str, Option<&str>, &str)> = objects
        .0
        .iter()
        .map(|object| (&*object.kind, object.namespace.as_deref(), &*object.name))
        .collect();
    let mut workloads = Vec::new();
    for secret in secrets {
        for (object, pods) in objects.workloads(Some(&secret.namespace)) {
            let owner = object
                .node
                .all("metadata.ownerReferences")
                .iter()
                .find(|owner| owner.text_at("controller") == Some("true"))
                .and_then(|owner| Some((owner.text_at("kind")?, owner.text_at("name")?)));
            // The Pods of a Deployment are shown as the Deployment.
            if owner.is_some_and(|(kind, name)| present.contains(&(kind, object.namespace.as_deref(), name))) {
                continue;
            }
            let through = through(pods, secret);
            if !through.is_empty() {
                workloads.push(Workload {
                    kind: object.kind.clone(),
                    namespace: secret.namespace.clone(),
                    name: object.name.clone(),
                    owner: owner.map(|(kind, name)| format!("{kind}/{name}")),
                    secret: secret.name.clone(),
                    through,
                });
            }
        }
    }
    workloads
        .sort_by(|a, b| (&a.namespace, &a.kind, &a.name, &a.secret).cmp(&(&b.namespace, &b.kind, &b.name, &b.secret)));
    workloads
}

/// The kinds of containers, and their members in a Pod's spec.
const CONTAINERS: [(&str, &str); 3] = [
    ("init container", "spec.initContainers"),
    ("container", "spec.containers"),
    ("debug container", "spec.ephemeralContainers"),
];

/// Where Pods have values of a Secret.
fn through(pods: &Node, secret: &MadeSecret) -> Vec<String> {
    let is_secret =
        |reference: Option<&Node>, member| reference.and_then(|node| node.text_at(member)) == Some(&secret.name);
    // A key that has its value from another item does not count.
    let is_key = |key: &str| secret.keys.as_ref().is_none_or(|keys| keys.contains(key));
    let mut places = Vec::new();
    let mut volumes: Vec<&str> = Vec::new();
    for volume in pods.all("spec.volumes") {
        let own = volume.at("secret").into_iter().map(|node| (node, "secretName"));
        let projected = volume.all("projected.sources").iter();
        let projected = projected.filter_map(|source| Some((source.at("secret")?, "name")));
        let has = own.chain(projected).any(|(node, member)| {
            let items = node.all("items");
            let mut keys = items.iter().filter_map(|item| item.text_at("key"));
            is_secret(Some(node), member) && (items.is_empty() || keys.any(is_key))
        });
        if has {
            volumes.extend(volume.text_at("name"));
        }
    }
    for (what, member) in CONTAINERS {
        for container in pods.all(member) {
            let name = container.text_at("name").unwrap_or_default();
            for variable in container.all("env") {
                let reference = variable.at("valueFrom.secretKeyRef");
                let key = reference.and_then(|node| node.text_at("key")).unwrap_or_default();
                if is_secret(reference, "name") && is_key(key) {
                    let variable = variable.text_at("name").unwrap_or_default();
                    places.push(format!("env {variable} ({what} {name})"));
                }
            }
            let from = container.all("envFrom").iter();
            if from.into_iter().any(|source| is_secret(source.at("secretRef"), "name")) {
                places.push(format!("envFrom ({what} {name})"));
            }
            for mount in container.all("volumeMounts") {
                if mount.text_at("name").is_some_and(|name| volumes.contains(&name)) {
                    let path = mount.text_at("mountPath").unwrap_or_default();
                    add(&mut places, format!("volume at {path} ({what} {name})"));
                }
            }
        }
    }
    if places.is_empty() && !volumes.is_empty() {
        places.push(format!("volume {}, which no container mounts", volumes.join(", ")));
    }
    if pods
        .all("spec.imagePullSecrets")
        .iter()
        .any(|reference| is_secret(Some(reference), "name"))
    {
        places.push("imagePullSecrets".to_owned());
    }
    places
}

fn push_secrets(objects: &Objects, meant: &[Candidate<'_>], secrets: &[MadeSecret]) -> Vec<Push> {
    let mut found = Vec::new();
    for object in objects.of_kind("PushSecret") {
        let mut writes = Vec::new();
        for candidate in meant.iter().filter(|candidate| std::ptr::eq(candidate.object, object)) {
            add(&mut writes, candidate.what.clone());
        }
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let pushed = pushed_secret(object).and_then(Node::text);
        let selector = object.node.at("spec.selector.secret.selector");
        let is_read = |secret: &&MadeSecret| {
            let is_selected = || selector.is_some_and(|selector| matches_labels(selector, &secret.labels));
            secret.namespace == namespace && (Some(&*secret.name) == pushed || (pushed.is_none() && is_selected()))
        };
        let reads: Vec<String> = secrets
            .iter()
            .filter(is_read)
            .map(|secret| secret.name.clone())
            .collect();
        if !writes.is_empty() || !reads.is_empty() {
            found.push(Push {
                namespace: namespace.to_owned(),
                name: object.name.clone(),
                writes,
                reads_secrets: reads,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests::tree;

    const STORES: &str = "
apiVersion: external-secrets.io/v1
kind: ClusterSecretStore
metadata: {name: both}
spec: {provider: {onepassword: {vaults: {first: 1, APPS: 2}}}}
---
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: other, namespace: web}
spec: {provider: {vault: {server: x}}}
";

    const ITEM: &str = "dddddddddddddddddddddddddd";

    fn dependents(manifests: &str) -> Dependents {
        let documents = tree::parse(&format!("{STORES}---\n{manifests}")).unwrap();
        let objects = Objects(documents.into_iter().filter_map(|node| Object::read(0, node)).collect());
        let vault: Vault = serde_json::from_str(r#"{"id":"vvvvvvvvvvvvvvvvvvvvvvvvvv","name":"apps"}"#).unwrap();
        let item = format!(
            r#"{{"id":"{ITEM}","title":"db","vault":{{"id":"{}"}},"category":"LOGIN","tags":["prod"]}}"#,
            vault.id
        );
        let item: Item = serde_json::from_str(&item).unwrap();
        let subject = Subject {
            vault: &vault,
            item: &item,
        };
        follow(&objects, &candidates(&objects, &subject), None)
    }

    fn external_secret(name: &str, spec: &str) -> String {
        format!(
            "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {{name: {name}, namespace: web}}\nspec: {spec}\n---\n"
        )
    }

    const BOTH: &str = "secretStoreRef: {kind: ClusterSecretStore, name: both}";

    #[test]
    fn entries_that_mean_the_item_are_found_in_each_form() {
        let all = [
            (
                "by-title",
                format!("{{{BOTH}, data: [{{secretKey: a, remoteRef: {{key: DB, property: user}}}}]}}"),
            ),
            (
                "by-id",
                format!("{{{BOTH}, data: [{{secretKey: a, remoteRef: {{key: {ITEM}}}}}]}}"),
            ),
            ("extract", format!("{{{BOTH}, dataFrom: [{{extract: {{key: db}}}}]}}")),
            (
                "tagged",
                format!("{{{BOTH}, dataFrom: [{{find: {{tags: {{prod: x}}}}}}]}}"),
            ),
            ("path", format!("{{{BOTH}, dataFrom: [{{find: {{path: db}}}}]}}")),
            (
                "default-store",
                "{data: [{secretKey: a, remoteRef: {key: db}}]}".to_owned(),
            ),
            (
                "other-item",
                format!("{{{BOTH}, data: [{{secretKey: a, remoteRef: {{key: other}}}}]}}"),
            ),
            (
                "other-provider",
                "{secretStoreRef: {name: other}, data: [{secretKey: a, remoteRef: {key: db}}]}".to_owned(),
            ),
        ];
        let manifests: String = all.iter().map(|(name, spec)| external_secret(name, spec)).collect();
        let found = dependents(&manifests);
        let read: Vec<String> = found
            .external_secrets
            .iter()
            .map(|reader| format!("{} {}", reader.name, reader.reads.join(",")))
            .collect();
        // Tags are searched in the first vault of the store only, which is another one.
        assert_eq!(
            read,
            [
                "by-id password",
                "by-title user",
                "default-store password",
                "extract all fields",
                "path find"
            ]
        );
        let keys = |name: &str| {
            found
                .secrets
                .iter()
                .find(|secret| secret.name == name)
                .unwrap()
                .keys
                .clone()
        };
        assert_eq!(keys("by-id"), Some(BTreeSet::from(["a".to_owned()])));
        assert_eq!(keys("extract"), None);
    }

    #[test]
    fn an_item_of_an_earlier_vault_is_a_condition() {
        let manifests = external_secret(
            "e",
            &format!("{{{BOTH}, data: [{{secretKey: a, remoteRef: {{key: db}}}}]}}"),
        );
        let documents = tree::parse(&format!("{STORES}---\n{manifests}")).unwrap();
        let objects = Objects(documents.into_iter().filter_map(|node| Object::read(0, node)).collect());
        let vault: Vault = serde_json::from_str(r#"{"id":"vvvvvvvvvvvvvvvvvvvvvvvvvv","name":"apps"}"#).unwrap();
        let item = r#"{"id":"dddddddddddddddddddddddddd","title":"db","vault":{"id":"vvvvvvvvvvvvvvvvvvvvvvvvvv"},"category":"LOGIN"}"#;
        let item: Item = serde_json::from_str(item).unwrap();
        let found = candidates(
            &objects,
            &Subject {
                vault: &vault,
                item: &item,
            },
        );
        let conditions: Vec<_> = found.iter().map(|candidate| &candidate.condition).collect();
        assert!(
            matches!(&conditions[..], [Condition::Means { key, is_path: false, before }] if *before == ["first"] && key == "db"),
            "{} candidates",
            conditions.len()
        );
    }

    #[test]
    fn a_key_that_may_be_a_path_is_a_question_for_the_server() {
        let meaning = |key: &str| {
            let manifests = external_secret("e", &format!("{{{BOTH}, dataFrom: [{{extract: {{key: {key}}}}}]}}"));
            let documents = tree::parse(&format!("{STORES}---\n{manifests}")).unwrap();
            let objects = Objects(documents.into_iter().filter_map(|node| Object::read(0, node)).collect());
            let vault: Vault = serde_json::from_str(r#"{"id":"vvvvvvvvvvvvvvvvvvvvvvvvvv","name":"apps"}"#).unwrap();
            let item = r#"{"id":"dddddddddddddddddddddddddd","title":"db","vault":{"id":"vvvvvvvvvvvvvvvvvvvvvvvvvv"},"category":"LOGIN"}"#;
            let item: Item = serde_json::from_str(item).unwrap();
            let subject = Subject {
                vault: &vault,
                item: &item,
            };
            let found = candidates(&objects, &subject);
            found
                .first()
                .map(|candidate| matches!(&candidate.condition, Condition::Means { is_path: true, .. }))
        };
        assert_eq!(
            ["db", "shop/db.sops.yaml", "db.yaml", "other"].map(meaning),
            [Some(false), Some(true), Some(true), None]
        );
    }

    #[test]
    fn workloads_are_found_by_every_way_to_a_key_of_the_item() {
        let mut manifests = external_secret(
            "e",
            &format!(
                "{{{BOTH}, target: {{name: made}}, data: [{{secretKey: own, remoteRef: {{key: db}}}}, \
                 {{secretKey: else, remoteRef: {{key: other}}}}]}}"
            ),
        );
        let env = |key: &str| format!("env: [{{name: E, valueFrom: {{secretKeyRef: {{name: made, key: {key}}}}}}}]");
        let volume = |volume: &str| {
            format!(
                "containers: [{{name: c, volumeMounts: [{{name: v, mountPath: /x}}]}}], volumes: [{{name: v, {volume}}}]"
            )
        };
        let specs = [
            ("env", format!("containers: [{{name: c, {}}}]", env("own"))),
            ("other-key", format!("containers: [{{name: c, {}}}]", env("else"))),
            ("init", format!("initContainers: [{{name: i, {}}}]", env("own"))),
            (
                "env-from",
                "containers: [{name: c, envFrom: [{secretRef: {name: made}}]}]".to_owned(),
            ),
            ("volume", volume("secret: {secretName: made}")),
            (
                "volume-item",
                volume("secret: {secretName: made, items: [{key: else, path: p}]}"),
            ),
            ("projected", volume("projected: {sources: [{secret: {name: made}}]}")),
            ("pull", "imagePullSecrets: [{name: made}]".to_owned()),
            ("unrelated", "containers: [{name: c}]".to_owned()),
        ];
        for (name, spec) in &specs {
            manifests.push_str(&format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: web}}\nspec: {{{spec}}}\n---\n"
            ));
        }
        // A Pod of a Deployment is shown as the Deployment, and one of an unknown kind with its owner.
        let env = env("own");
        manifests.push_str(&format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d, namespace: web}}\n\
             spec: {{template: {{spec: {{containers: [{{name: c, {env}}}]}}}}}}\n---\n\
             apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: j, namespace: web}}\n\
             spec: {{jobTemplate: {{spec: {{template: {{spec: {{containers: [{{name: c, {env}}}]}}}}}}}}}}\n---\n"
        ));
        for (name, owner) in [
            ("d-1", "{kind: Deployment, name: d, controller: true}"),
            ("r-1", "{kind: Rollout, name: r, controller: true}"),
        ] {
            manifests.push_str(&format!(
                "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {{name: {name}, namespace: web, ownerReferences: [{owner}]}}\n\
                 spec: {{template: {{spec: {{containers: [{{name: c, {env}}}]}}}}}}\n---\n"
            ));
        }
        let found: Vec<String> = dependents(&manifests)
            .workloads
            .iter()
            .map(|workload| {
                let owner = workload.owner.as_deref().unwrap_or_default();
                format!(
                    "{} {} {owner}: {}",
                    workload.kind,
                    workload.name,
                    workload.through.join(", ")
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                "CronJob j : env E (container c)",
                "Deployment d : env E (container c)",
                "Pod env : env E (container c)",
                "Pod env-from : envFrom (container c)",
                "Pod init : env E (init container i)",
                "Pod projected : volume at /x (container c)",
                "Pod pull : imagePullSecrets",
                "Pod volume : volume at /x (container c)",
                "ReplicaSet r-1 Rollout/r: env E (container c)",
            ]
        );
    }

    #[test]
    fn a_push_secret_writes_the_item_or_carries_it_on() {
        let push = |name: &str, source: &str, item: &str| {
            format!(
                "apiVersion: external-secrets.io/v1alpha1\nkind: PushSecret\nmetadata: {{name: {name}, namespace: web}}\n\
                 spec: {{secretStoreRefs: [{{kind: ClusterSecretStore, name: both}}], selector: {{secret: {{name: {source}}}}}, \
                 data: [{{match: {{secretKey: k, remoteRef: {{remoteKey: {item}, property: p}}}}}}]}}\n---\n"
            )
        };
        let manifests = external_secret("made", &format!("{{{BOTH}, dataFrom: [{{extract: {{key: db}}}}]}}"))
            + &push("writes", "source", "db")
            + &push("carries", "made", "elsewhere")
            + &push("neither", "source", "elsewhere");
        let found: Vec<String> = dependents(&manifests)
            .push_secrets
            .iter()
            .map(|push| format!("{} {} {:?}", push.name, push.writes.join(","), push.reads_secrets))
            .collect();
        assert_eq!(found, ["writes p []", "carries  [\"made\"]"]);
    }

    #[test]
    fn a_push_secret_may_select_secrets_by_label() {
        let push = |name: &str, selector: &str| {
            format!(
                "apiVersion: external-secrets.io/v1alpha1\nkind: PushSecret\nmetadata: {{name: {name}, namespace: web}}\n\
                 spec: {{secretStoreRefs: [{{kind: ClusterSecretStore, name: both}}], selector: {{secret: {{selector: {selector}}}}}}}\n---\n"
            )
        };
        let made = |name: &str, own: &str, template: &str| {
            external_secret(
                name,
                &format!("{{{BOTH}, {template}dataFrom: [{{extract: {{key: db}}}}]}}"),
            )
            .replace("namespace: web}", &format!("namespace: web, labels: {{{own}}}}}"))
        };
        let manifests = made("one", "app: web", "")
            + &made(
                "two",
                "app: web",
                "target: {template: {metadata: {labels: {app: db, tier: back}}}}, ",
            )
            + &push("exact", "{matchLabels: {app: web}}")
            + &push("in", "{matchExpressions: [{key: app, operator: In, values: [db, x]}]}")
            + &push(
                "not-in",
                "{matchExpressions: [{key: tier, operator: NotIn, values: [back]}]}",
            )
            + &push(
                "exists",
                "{matchLabels: {app: db}, matchExpressions: [{key: tier, operator: Exists}]}",
            )
            + &push(
                "managed",
                "{matchLabels: {reconcile.external-secrets.io/managed: 'true'}}",
            )
            + &push("other", "{matchLabels: {app: other}}")
            + &push("all", "{}");
        let found: Vec<String> = dependents(&manifests)
            .push_secrets
            .iter()
            .map(|push| format!("{} {}", push.name, push.reads_secrets.join(",")))
            .collect();
        assert_eq!(
            found,
            ["exact one", "in two", "not-in one", "exists two", "managed one,two"]
        );
    }
}
