//! What is compared: all that either operator makes or says, without what is another one at each run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sidevault_tests::cluster::Cluster;

use super::acts::NAMESPACES;
use super::fixture::{self, TestServer};

/// By kind and name; what is not in the namespace `parity` has its namespace before its name.
pub(super) type Snapshot = BTreeMap<String, Value>;

const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const FORCE_SYNC: &str = "force-sync";

/// All there is now.
pub(super) fn take(cluster: &Cluster, world: &TestServer) -> Snapshot {
    let version = fixture::version(cluster);
    let list = |path: &str| -> Vec<Value> {
        let list = cluster.get(path).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    };
    let mut snapshot = Snapshot::new();
    for kind in ["ClusterSecretStore", "ClusterExternalSecret"] {
        let plural = format!("{}s", kind.to_lowercase());
        for object in list(&format!("/apis/{version}/{plural}")) {
            let told = match kind {
                "ClusterSecretStore" => store(&object),
                _ => cluster_external_secret(&object),
            };
            snapshot.insert(format!("{kind} {}", text(&object["metadata"]["name"])), told);
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
        let events = events(&list(&format!("/api/v1/namespaces/{namespace}/events")), world);
        for object in &external_secrets {
            let mut told = external_secret(object);
            told["events"] = json!(events.get(text(&object["metadata"]["name"])));
            if namespace != "parity" {
                told["as made"] = as_made(object);
            }
            snapshot.insert(key("ExternalSecret", object), told);
        }
        for object in list(&format!("/api/v1/namespaces/{namespace}/secrets")) {
            // Made anew for each world, and by none of the two.
            if object["metadata"]["name"] != "connect-token" {
                snapshot.insert(key("Secret", &object), secret(&object, &external_secrets));
            }
        }
    }
    snapshot
}

/// The same without what `force-sync` with another word changes.
pub(super) fn without_words(snapshot: &Snapshot) -> Snapshot {
    let mut snapshot = snapshot.clone();
    for told in snapshot.values_mut().filter_map(Value::as_object_mut) {
        told.remove("syncedResourceVersion");
    }
    snapshot
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn conditions(object: &Value) -> Value {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .map(|told| json!([told["type"], told["status"], told["reason"], told["message"]]))
        .collect()
}

fn store(object: &Value) -> Value {
    json!({"conditions": conditions(object), "capabilities": object["status"]["capabilities"]})
}

/// Without its finalizer, which is not put on by us: see `cluster_external_secret.rs`.
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

/// An ExternalSecret that a ClusterExternalSecret makes, as it was made.
fn as_made(object: &Value) -> Value {
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
        // Objects that are made anew have other uids: told is whether it is the owner's.
        let is_owner = |object: &&Value| object["metadata"]["uid"] == owner["uid"];
        owner["uid"] = json!(external_secrets.iter().any(|object| is_owner(&object)));
    }
    if let Some(annotations) = meta["annotations"].as_object_mut() {
        // How often that was asked for depends on how fast each is.
        annotations.remove(FORCE_SYNC);
        // It repeats the case, in the words of the version that was applied.
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

/// What was said of each ExternalSecret. How often, and in which order, is chance.
fn events(events: &[Value], world: &TestServer) -> BTreeMap<String, BTreeSet<[String; 3]>> {
    let mut said: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for event in events
        .iter()
        .filter(|event| event["involvedObject"]["kind"] == "ExternalSecret")
    {
        let message = without_ids(&text(&event["message"]).replace(&world.host(), "HOST"));
        let words = [
            text(&event["type"]).to_owned(),
            text(&event["reason"]).to_owned(),
            message,
        ];
        let name = text(&event["involvedObject"]["name"]).to_owned();
        said.entry(name).or_default().insert(words);
    }
    said
}

/// Vaults and items have other ids in each world.
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
