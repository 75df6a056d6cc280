//! The compose files and the Dockerfile, checked without a container engine: no test here builds an image or starts one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sidevault_tests::pair::binary;
use sidevault_tests::sops::Sops;
use sidevault_tests::tools::find_in_cluster;

use super::documented::commands;
use super::{deploy, documents};

/// A compose file, with the section of docs/operations.md about it and the services that are the server's.
struct Compose {
    text: String,
    value: Value,
    section: &'static str,
    services: &'static [&'static str],
}

impl Compose {
    fn read(file: &str, section: &'static str, services: &'static [&'static str]) -> Self {
        let text = fs::read_to_string(deploy("..").join(file)).unwrap();
        let value = documents(&text).remove(0);
        Self {
            text,
            value,
            section,
            services,
        }
    }

    fn all() -> [Self; 2] {
        [
            Self::read("docker-compose.yml", "Docker Compose\n", &["api", "sync"]),
            Self::read(
                "docker-compose.postgres.yml",
                "Docker Compose with PostgreSQL\n",
                &["api-1", "api-2", "sync-1", "sync-2"],
            ),
        ]
    }

    /// A key of a service, also if the service has it from a mapping that it merges.
    fn key(&self, service: &str, key: &str) -> &Value {
        let mut mapping = &self.value["services"][service];
        // The YAML parser leaves `<<` to whoever reads.
        while mapping[key].is_null() && mapping["<<"].is_object() {
            mapping = &mapping["<<"];
        }
        &mapping[key]
    }

    /// A service's volumes, `SOURCE:TARGET…`.
    fn volumes(&self, service: &str) -> Vec<String> {
        serde_json::from_value(self.key(service, "volumes").clone()).unwrap()
    }

    fn is_mounted(&self, service: &str, path: &str) -> bool {
        let volumes = self.volumes(service);
        volumes.iter().any(|volume| volume.split(':').nth(1) == Some(path))
    }
}

#[test]
fn composes_sync_gets_the_age_key_and_the_files_and_its_api_does_not() {
    for compose in Compose::all() {
        for service in compose.services {
            let is_sync = service.starts_with("sync");
            for path in ["/home/opuser/.op/age-key.txt", "/secrets"] {
                assert_eq!(compose.is_mounted(service, path), is_sync, "{service}: {path}");
            }
            let key = &compose.key(service, "environment")["SOPS_AGE_KEY_FILE"];
            assert_eq!(key == "/home/opuser/.op/age-key.txt", is_sync, "{service}");
            let credentials = "/home/opuser/.op/1password-credentials.json";
            assert!(compose.is_mounted(service, credentials), "{service}");
        }
    }
}

#[test]
fn composes_services_share_the_data_directory_or_the_database() {
    let [pair, many] = Compose::all();
    for service in pair.services {
        assert!(pair.is_mounted(service, "/home/opuser/.op/data"), "{service}");
    }
    let syncs: Vec<&str> = many.services[2..].to_vec();
    for service in many.services {
        let url = many.key(service, "environment")["SIDEVAULT_STORE"].as_str().unwrap();
        assert!(many.is_mounted(service, url), "{service}");
    }
    let peers = many.key("api-1", "environment")["OP_BUS_PEERS"].as_str().unwrap();
    let expected: Vec<String> = syncs
        .iter()
        .map(|service| {
            let port = &many.key(service, "environment")["OP_BUS_PORT"];
            format!("{service}:{}", port.as_str().unwrap())
        })
        .collect();
    assert_eq!(peers.split(',').collect::<Vec<_>>(), expected);
}

/// Docker makes an empty directory in place of a mount's source that does not exist.
#[test]
fn the_documented_commands_make_everything_that_compose_mounts() {
    let Some(tools) = find_in_cluster(&["helm"]) else {
        return;
    };
    if Sops::find().is_none() {
        return;
    }
    let programs = [binary().canonicalize().unwrap(), tools];
    let programs: Vec<_> = programs
        .iter()
        .filter_map(|path| path.parent())
        .map(Path::display)
        .collect();
    for compose in Compose::all() {
        let checkout = tempfile::tempdir().unwrap();
        let script: String = commands("docs/operations.md", compose.section)
            .lines()
            .filter(|line| !line.starts_with("docker compose"))
            .map(|line| format!("{line}\n"))
            .collect();
        for line in script.lines().filter(|line| !line.starts_with("sidevault token")) {
            assert!(compose.text.contains(line), "the file's own comment lacks {line}");
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

        let all = compose.value["services"].as_object().unwrap().keys();
        for volume in all.flat_map(|service| compose.volumes(service)) {
            let source = volume.split(':').next().unwrap();
            assert!(
                !source.starts_with('.') || checkout.path().join(source).exists(),
                "{source}"
            );
        }
        let keys = fs::metadata(checkout.path().join("keys/1password-credentials.json")).unwrap();
        let environment = fs::read_to_string(checkout.path().join(".env")).unwrap();
        assert_eq!(environment.trim(), format!("RUN_AS={}:{}", keys.uid(), keys.gid()));
        for service in compose.services {
            assert_eq!(compose.key(service, "user"), "${RUN_AS:-1000:1000}", "{service}");
        }
        if let Ok(url) = fs::read_to_string(checkout.path().join("keys/database-url")) {
            let password = fs::read_to_string(checkout.path().join("keys/database-password")).unwrap();
            assert_eq!(password.len(), 48);
            let expected = format!("postgres://sidevault:{password}@postgres/sidevault?sslmode=disable");
            assert_eq!(url.trim_end(), expected);
        }
    }
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
    for compose in Compose::all() {
        let all = compose.value["services"].as_object().unwrap().keys();
        for service in all.filter(|service| *service != "postgres") {
            let build = compose.key(service, "build");
            assert_eq!(build["context"], ".", "{service}");
            assert_eq!(build["dockerfile"], "deploy/image/Dockerfile", "{service}");
            let target = build["target"].as_str().unwrap();
            assert!(stages.contains(&target.to_owned()), "{service}: {target}");
            // The name that `deploy/image/build` gives to the image.
            let image = format!("{target}:{}", env!("CARGO_PKG_VERSION"));
            assert_eq!(compose.key(service, "image"), &image, "{service}");
        }
    }
}

/// `deploy/test-containers.sh`, which runs at night, has Quadlet read the units, and starts them.
#[test]
fn the_units_for_quadlet_name_this_versions_images_and_only_sync_gets_the_age_key() {
    for name in ["api", "sync"] {
        let unit = fs::read_to_string(deploy(&format!("quadlet/sidevault-{name}.container"))).unwrap();
        let image = format!("Image=localhost/sidevault-{name}:{}", env!("CARGO_PKG_VERSION"));
        assert!(unit.lines().any(|line| line == image), "{name}");
        assert!(unit.contains("\nSecret=sidevault-credentials,"), "{name}");
        assert_eq!(unit.contains("\nSecret=sidevault-age-key,"), name == "sync");
        assert_eq!(unit.contains(":/secrets:ro\n"), name == "sync");
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
    assert_eq!(built, ["postgres,acme,dns,git,s3", "operator"]);
    for feature in built.into_iter().flat_map(|list| list.split(',')) {
        let is_defined = features.lines().any(|line| line.starts_with(&format!("{feature} = ")));
        assert!(is_defined, "{feature}");
    }
}
