//! The compose file and the Dockerfile, checked without a container engine: no test here builds an image or starts one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sidevault_tests::cluster::find_tools;
use sidevault_tests::pair::binary;
use sidevault_tests::sops::Sops;

use super::documented::commands;
use super::{deploy, documents};

fn compose() -> Value {
    documents(&fs::read_to_string(deploy("../docker-compose.yml")).unwrap()).remove(0)
}

/// A service's volumes, `SOURCE:TARGET…`.
fn volumes(compose: &Value, service: &str) -> Vec<String> {
    // The YAML parser leaves `<<` to whoever reads: a service without volumes of its own has the shared ones.
    let own = &compose["services"][service]["volumes"];
    let shared = &compose["x-server"]["volumes"];
    let volumes = if own.is_null() { shared } else { own };
    serde_json::from_value(volumes.clone()).unwrap()
}

fn is_mounted(compose: &Value, service: &str, path: &str) -> bool {
    let volumes = volumes(compose, service);
    volumes.iter().any(|volume| volume.split(':').nth(1) == Some(path))
}

#[test]
fn composes_sync_gets_the_age_key_and_the_files_and_its_api_does_not() {
    let compose = compose();
    let key = compose["services"]["sync"]["environment"]["SOPS_AGE_KEY_FILE"]
        .as_str()
        .unwrap();
    for path in [key, "/secrets"] {
        assert!(is_mounted(&compose, "sync", path), "{path}");
        assert!(!is_mounted(&compose, "api", path), "{path}");
    }
    for service in ["api", "sync"] {
        assert!(
            is_mounted(&compose, service, "/home/opuser/.op/1password-credentials.json"),
            "{service}"
        );
        assert!(is_mounted(&compose, service, "/home/opuser/.op/data"), "{service}");
    }
}

/// Docker makes an empty directory in place of a mount's source that does not exist.
#[test]
fn the_documented_commands_make_everything_that_compose_mounts() {
    let Some(tools) = find_tools(&["helm"]) else { return };
    if Sops::find().is_none() {
        return;
    }
    let checkout = tempfile::tempdir().unwrap();
    let programs = [binary().canonicalize().unwrap(), tools];
    let programs: Vec<_> = programs
        .iter()
        .filter_map(|path| path.parent())
        .map(Path::display)
        .collect();
    let script: String = commands("docs/operations.md", "Docker Compose")
        .lines()
        .filter(|line| !line.starts_with("docker compose up"))
        .map(|line| format!("{line}\n"))
        .collect();
    let text = fs::read_to_string(deploy("../docker-compose.yml")).unwrap();
    for line in script.lines().take(2) {
        assert!(text.contains(line), "the file's own comment lacks {line}");
    }
    let output = Command::new("bash")
        .args(["-euc", &script])
        .current_dir(checkout.path())
        .env("HOME", checkout.path())
        .env("PATH", format!("{}:{}:/usr/bin:/bin", programs[0], programs[1]))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}{errors}");

    let compose = compose();
    for service in ["api", "sync"] {
        for volume in volumes(&compose, service) {
            let source = volume.split(':').next().unwrap();
            assert!(
                !source.starts_with('.') || checkout.path().join(source).exists(),
                "{source}"
            );
        }
    }
    let keys = fs::metadata(checkout.path().join("keys/1password-credentials.json")).unwrap();
    let environment = fs::read_to_string(checkout.path().join(".env")).unwrap();
    assert_eq!(environment.trim(), format!("RUN_AS={}:{}", keys.uid(), keys.gid()));
    assert_eq!(compose["x-server"]["user"], "${RUN_AS:-1000:1000}");
}

fn stages() -> Vec<String> {
    let text = fs::read_to_string(deploy("image/Dockerfile")).unwrap();
    let stages = text.lines().filter_map(|line| line.split(" AS ").nth(1));
    stages.map(str::to_owned).collect()
}

#[test]
fn every_target_that_compose_and_the_docs_build_is_a_stage_of_the_dockerfile() {
    let stages = stages();
    // Docker reserves the name for the empty image.
    assert!(!stages.contains(&"scratch".to_owned()));
    for image in ["sidevault-api", "sidevault-sync", "sidevault-operator"] {
        assert!(stages.contains(&image.to_owned()), "{image}");
    }
    for (service, definition) in compose()["services"].as_object().unwrap() {
        let build = &definition["build"];
        assert_eq!(build["context"], ".", "{service}");
        assert_eq!(build["dockerfile"], "deploy/image/Dockerfile", "{service}");
        let target = build["target"].as_str().unwrap();
        assert!(stages.contains(&target.to_owned()), "{service}: {target}");
    }
}

#[test]
fn an_image_without_a_target_is_the_whole_program() {
    assert_eq!(stages().last().map(String::as_str), Some("sidevault"));
}

#[test]
fn every_feature_that_an_image_is_built_with_is_one_of_the_crate() {
    let dockerfile = fs::read_to_string(deploy("image/Dockerfile")).unwrap();
    let manifest = fs::read_to_string(deploy("../crates/sidevault/Cargo.toml")).unwrap();
    let features = manifest.split("[features]").nth(1).unwrap_or_default();
    let features = features.split("\n[").next().unwrap_or_default();
    let built: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.split("--features ").nth(1))
        .collect();
    assert_eq!(built, ["server", "operator"]);
    for feature in built {
        let is_defined = features.lines().any(|line| line.starts_with(&format!("{feature} = ")));
        assert!(is_defined, "{feature}");
    }
}
