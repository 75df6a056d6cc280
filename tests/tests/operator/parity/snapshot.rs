//! The compared state: the objects and events that an operator writes, without ids, times and other values that differ
//! between runs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sidevault_tests::cluster::Cluster;

use super::fixture::{self, TestServer};
use super::phases::NAMESPACES;

/// Objects by `KIND NAME`; outside of the namespace `parity` by `KIND NAMESPACE/NAME`.
pub(super) type Snapshot = BTreeMap<String, Value>;

const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const FORCE_SYNC: &str = "force-sync";

/// Reads the present state.
pub(super) fn take(cluster: &Cluster, server: &TestServer) -> Snapshot {
    let version = fixture::version(cluster);
    let list = |path: &str| -> Vec<Value> {
        let list = cluster.get(path).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    };
    let mut snapshot = Snapshot::new();
    for kind in ["ClusterSecretStore", "ClusterExternalSecret"] {
        let plural = format!("{}s", kind.to_lowercase());
        for object in list(&format!("/apis/{version}/{plural}")) {
            let state = match kind {
                "ClusterSecretStore" => store(&object),
                _ => cluster_external_secret(&object),
            };
            snapshot.insert(format!("{kind} {}", text(&object["metadata"]["name"])), state);
        }
    }
    for namespace in NAMESPACES {
        let key = |kind: &str, object: &Value| match (namespace, text(&object["metadata"]["name"])) {
            ("parity", name) => format!("{kind} {name}"),
            (_, name) => format!("{kind} {namespace}/{name}"),
        };
        for object in list(&fixture::path(namespace, "secretstores", "", &version)) {
            snapshot.insert(key("SecretStore", &object), store(&object));
        }
        let external_secrets = list(&fixture::path(namespace, "externalsecrets", "", &version));
        let events = events(&list(&format!("/api/v1/namespaces/{namespace}/events")), server);
        for object in &external_secrets {
            let mut state = external_secret(object);
            state["events"] = json!(events.get(text(&object["metadata"]["name"])));
            if namespace != "parity" {
                state["created object"] = created_object(object);
            }
            snapshot.insert(key("ExternalSecret", object), state);
        }
        for object in list(&format!("/api/v1/namespaces/{namespace}/secrets")) {
            // The test makes this Secret, with another token in each run.
            if object["metadata"]["name"] != "connect-token" {
                snapshot.insert(key("Secret", &object), secret(&object, &external_secrets));
            }
        }
    }
    snapshot
}

/// The snapshot without the values that change with the value of the annotation `force-sync`.
pub(super) fn without_force_sync(snapshot: &Snapshot) -> Snapshot {
    let mut snapshot = snapshot.clone();
    for state in snapshot.values_mut().filter_map(Value::as_object_mut) {
        state.remove("syncedResourceVersion");
    }
    snapshot
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn conditions(object: &Value) -> Value {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .map(|condition| {
            json!([
                condition["type"],
                condition["status"],
                condition["reason"],
                condition["message"]
            ])
        })
        .collect()
}

fn store(object: &Value) -> Value {
    json!({"conditions": conditions(object), "capabilities": object["status"]["capabilities"]})
}

/// Without the finalizers, because the operator adds none: see `cluster_external_secret.rs`.
fn cluster_external_secret(object: &Value) -> Value {
    let status = &object["status"];
    json!({
        "conditions": conditions(object),
        "externalSecretName": status["externalSecretName"],
        "provisionedNamespaces": status["provisionedNamespaces"],
        "failedNamespaces": status["failedNamespaces"],
    })
}

fn external_secret(object: &Value) -> Value {
    let status = &object["status"];
    json!({
        "conditions": conditions(object),
        "binding": status["binding"]["name"],
        "syncedResourceVersion": status["syncedResourceVersion"],
        "refreshed": !status["refreshTime"].is_null(),
        "finalizers": object["metadata"]["finalizers"],
    })
}

/// The parts of an ExternalSecret that its ClusterExternalSecret sets.
fn created_object(object: &Value) -> Value {
    let meta = &object["metadata"];
    let mut owners = meta["ownerReferences"].clone();
    for owner in owners.as_array_mut().into_iter().flatten() {
        owner["uid"] = Value::Null;
    }
    json!({"labels": meta["labels"], "annotations": meta["annotations"], "ownerReferences": owners, "spec": object["spec"]})
}

fn secret(object: &Value, external_secrets: &[Value]) -> Value {
    let mut secret = object.clone();
    let mut meta = secret["metadata"].take();
    for owner in meta["ownerReferences"].as_array_mut().into_iter().flatten() {
        // Uids differ between runs, so only this is compared: whether the uid is that of an existing ExternalSecret.
        let is_owner = |object: &&Value| object["metadata"]["uid"] == owner["uid"];
        owner["uid"] = json!(external_secrets.iter().any(|object| is_owner(&object)));
    }
    if let Some(annotations) = meta["annotations"].as_object_mut() {
        // Its value depends on the number of forced refreshes, and so on the speed of each operator.
        annotations.remove(FORCE_SYNC);
        // A copy of the ExternalSecret's manifest, which contains the API version.
        let applied = annotations.get(APPLIED).cloned();
        let is_applied = |object: &Value| Some(&object["metadata"]["annotations"][APPLIED]) == applied.as_ref();
        if applied.is_some() && external_secrets.iter().any(is_applied) {
            annotations.insert(APPLIED.to_owned(), json!("of the ExternalSecret"));
        }
    }
    secret["metadata"] = json!({
        "labels": meta["labels"],
        "annotations": meta["annotations"],
        "ownerReferences": meta["ownerReferences"],
        "finalizers": meta["finalizers"],
        "deleted": !meta["deletionTimestamp"].is_null(),
    });
    secret
}

/// The events about each ExternalSecret. Their number and order differ between runs.
fn events(events: &[Value], server: &TestServer) -> BTreeMap<String, BTreeSet<[String; 3]>> {
    let mut by_name: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for event in events
        .iter()
        .filter(|event| event["involvedObject"]["kind"] == "ExternalSecret")
    {
        let message = without_ids(&text(&event["message"]).replace(&server.host(), "HOST"));
        let event_texts = [
            text(&event["type"]).to_owned(),
            text(&event["reason"]).to_owned(),
            message,
        ];
        let name = text(&event["involvedObject"]["name"]).to_owned();
        by_name.entry(name).or_default().insert(event_texts);
    }
    by_name
}

/// Replaces the ids of vaults and items, which differ between servers.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| {
        word.len() == 26
            && word
                .chars()
                .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit())
    };
    let words = text.split_inclusive(|char: char| !char.is_ascii_alphanumeric());
    words
        .map(
            |part| match part.trim_end_matches(|char: char| !char.is_ascii_alphanumeric()) {
                word if is_id(word) => part.replace(word, "ID"),
                _ => part.to_owned(),
            },
        )
        .collect()
}
