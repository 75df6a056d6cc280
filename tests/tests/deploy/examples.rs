//! Kustomizations and examples, as they stand.

use std::fs;

use super::{accepted, cluster, deploy, documents, pods_pass_restricted};

const OVERLAYS: [&str; 5] = [
    "base",
    "overlays/pvc",
    "overlays/emptydir-git",
    "overlays/operator-only",
    "overlays/namespaced",
];

#[test]
fn each_kustomization_is_taken() {
    let Some(cluster) = cluster() else { return };
    for overlay in OVERLAYS {
        let manifests = cluster.must(&["kustomize", &deploy("kustomize").join(overlay).display().to_string()]);
        accepted(cluster, overlay, &manifests);
        pods_pass_restricted(cluster, overlay, &manifests);
    }
}

#[test]
fn the_whole_example_is_taken() {
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

#[test]
fn the_compose_files_sync_has_the_key_that_opens_its_files_and_the_api_has_not() {
    let text = fs::read_to_string(deploy("docker-compose.yml")).unwrap();
    let services = documents(&text)[0]["services"].clone();
    let key = services["sync"]["environment"]["SOPS_AGE_KEY_FILE"].as_str().unwrap();
    let mounts = |service: &str, path: &str| {
        // YAML's merge brings what is not said.
        let shared = &documents(&text)[0]["x-hardened"]["volumes"];
        let own = &services[service]["volumes"];
        let volumes = if own.is_null() { shared } else { own };
        let mut volumes = volumes.as_array().unwrap().iter();
        volumes.any(|volume| volume.as_str().unwrap().split(':').nth(1) == Some(path))
    };
    assert!(mounts("sync", key) && mounts("sync", "/secrets"));
    assert!(!mounts("api", key) && !mounts("api", "/secrets"));
    for half in ["api", "sync"] {
        assert!(mounts(half, "/home/opuser/.op/1password-credentials.json"), "{half}");
    }
}

#[test]
fn each_image_is_built_from_a_stage_that_may_have_its_name() {
    let text = fs::read_to_string(deploy("image/Dockerfile")).unwrap();
    let stages: Vec<&str> = text.lines().filter_map(|line| line.split(" AS ").nth(1)).collect();
    // Docker keeps the name for the empty image.
    assert!(!stages.contains(&"scratch"));
    for image in ["sidevault-api", "sidevault-sync", "sidevault-operator"] {
        assert!(stages.contains(&image), "{image}");
    }
}
