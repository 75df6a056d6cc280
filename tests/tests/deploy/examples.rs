//! The API server accepts the kustomizations and examples as they are in the repository.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use sidevault_tests::pair::files_below;

use super::{accepted, cluster, deploy, documents, pods_pass_restricted, values};

const OVERLAYS: [&str; 6] = [
    "base",
    "overlays/pvc",
    "overlays/postgres",
    "overlays/emptydir-git",
    "overlays/operator-only",
    "overlays/namespaced",
];

#[test]
fn the_api_server_accepts_each_kustomization() {
    let Some(cluster) = cluster() else { return };
    for overlay in OVERLAYS {
        let manifests = cluster.must(&["kustomize", &deploy("kustomize").join(overlay).display().to_string()]);
        accepted(cluster, overlay, &manifests);
        pods_pass_restricted(cluster, overlay, &manifests);
    }
}

#[test]
fn the_api_server_accepts_the_examples() {
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

/// The path of the first field of `value` that a schema lacks. The schema is a map from paths to facts, as `crds.rs` records
/// it.
fn unknown_field(value: &Value, path: &str, schema: &BTreeMap<String, Value>) -> Option<String> {
    match value {
        // A CustomResourceDefinition does not list the fields of metadata.
        _ if path == ".metadata" => None,
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let named = format!("{path}.{name}");
            let any = format!("{path}{{}}");
            match (schema.contains_key(&named), schema.contains_key(&any)) {
                (true, _) => unknown_field(value, &named, schema),
                (false, true) => unknown_field(value, &any, schema),
                (false, false) => Some(named),
            }
        }),
        Value::Array(values) => {
            let each = format!("{path}[]");
            values.iter().find_map(|value| unknown_field(value, &each, schema))
        }
        _ => None,
    }
}

/// Sidevault's definitions accept two more spellings. An example that uses one fails where External Secrets' own
/// definitions are installed.
#[test]
fn the_anton_example_uses_only_fields_of_external_secrets_2_9_0() {
    let recorded = fs::read_to_string(values("external-secrets-2.9.0.json")).unwrap();
    let schemas: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&recorded).unwrap();
    let mut checked = 0;
    for (path, text) in files_below(&deploy("examples/anton")) {
        let is_manifest = path.extension().is_some_and(|extension| extension == "yaml");
        if !is_manifest || path.to_string_lossy().contains(".sops.") {
            continue;
        }
        for object in documents(&String::from_utf8(text).unwrap()) {
            let version = object["apiVersion"].as_str().unwrap_or_default();
            if !version.starts_with("external-secrets.io/") {
                continue;
            }
            let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
            let unknown = unknown_field(&object, "", &schemas[&plural]);
            assert_eq!(unknown, None, "{}: {}", path.display(), object["metadata"]["name"]);
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked}");
}
