//! Kustomizations and examples, as they stand.

use std::fs;

use super::{accepted, cluster, deploy, pods_pass_restricted};

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
