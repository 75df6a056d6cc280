//! `sidevault sops check`, compared with the real `sops`, and as a hook of pre-commit.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sidevault_tests::pair::binary;
use sidevault_tests::sops::Sops;

fn check(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .args(["sops", "check"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the binary runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// The files of a report, each with the words for its findings.
fn report(directory: &Path) -> Vec<(String, bool, Vec<String>)> {
    let (_, text) = check(directory, &["--json"]);
    let report: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let file = |file: &Value| {
        let findings = file["findings"].as_array().unwrap().iter();
        let is_encrypted = !file["keys"].as_array().unwrap().is_empty();
        (
            text(&file["path"]),
            is_encrypted,
            findings.map(|finding| text(&finding["finding"])).collect(),
        )
    };
    report["files"].as_array().unwrap().iter().map(file).collect()
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn answer(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    child.wait_with_output().unwrap()
}

#[test]
fn check_says_what_sops_says_of_keys_and_files() {
    let Some(sops) = Sops::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let [a, b, c] = [sops.key(), sops.key(), sops.post_quantum_key()].map(|key| key.recipient);
    let one = format!("creation_rules:\n- age: {a}\n");
    let rules = [
        one.clone(),
        format!(
            "creation_rules:\n- {{path_regex: 'k8s/', age: '{a},{b}', encrypted_regex: '^(data|stringData)$'}}\n- age: [{a}]\n"
        ),
        format!("keys: [&a {a}, &b {b}]\ncreation_rules:\n- key_groups:\n  - age: [*a]\n  - age: [*b]\n"),
        format!("creation_rules:\n- key_groups:\n  - age: [{b}]\n    merge: [{{age: [{a}]}}]\n"),
        format!(
            "creation_rules:\n- {{path_regex: '\\.(yaml|json)$', age: {c}, mac_only_encrypted: true}}\n- {{age: {b}}}\n"
        ),
        format!("creation_rules:\n- age: >-\n    {a},\n    {b}\n  unencrypted_suffix: _plain\n"),
    ];
    let files = [
        ("k8s/secret.yaml", "apiVersion: v1\nkind: Secret\nstringData:\n  a: b\n"),
        ("a.json", "{\"k\": {\"l\": 1}}"),
        ("b.env", "K=v\n"),
        ("c.ini", "[s]\nk = v\n"),
        ("d.bin", "bytes"),
    ];
    let mut differ = 0;
    for encrypted_by in &rules {
        for (file, text) in files {
            write(root, file, text);
        }
        write(root, ".sops.yaml", encrypted_by);
        for (file, _) in files {
            let done = sops.command(&["encrypt", "--in-place", file], root).output().unwrap();
            assert!(
                done.status.success(),
                "{encrypted_by}{}",
                String::from_utf8_lossy(&done.stderr)
            );
        }
        assert_eq!(check(root, &[]).0, Some(0), "{encrypted_by}{}", check(root, &[]).1);
        for rule in &rules {
            write(root, ".sops.yaml", rule);
            let report = report(root);
            assert_eq!(report.len(), files.len());
            for (path, is_encrypted, findings) in &report {
                let asked = answer(sops.command(&["updatekeys", path], root), "n\n");
                let would_change = String::from_utf8_lossy(&asked.stdout).contains("The following changes");
                let found = findings.iter().any(|finding| finding == "keysDiffer");
                assert_eq!(found, would_change, "{encrypted_by}{rule}{path}: {findings:?}");
                differ += usize::from(found);
                assert!(is_encrypted);
            }
        }
    }
    assert!(differ > 20, "{differ}");
    write(root, "e.yaml", "plain: 1\n");
    for file in ["e.yaml", "k8s/secret.yaml"] {
        let status = sops.command(&["filestatus", file], root).output().unwrap();
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        let listed = report(root)
            .iter()
            .any(|(path, is_encrypted, _)| path == file && *is_encrypted);
        assert_eq!(status["encrypted"], listed, "{file}");
    }
}

#[test]
fn findings_say_what_to_do_and_a_bad_sops_yaml_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    assert_eq!(check(root, &[]).0, Some(0));
    write(root, "apps/db.sops.yaml", "password: hidden\n");
    write(root, "apps/notes.txt", "text\n");
    write(
        root,
        ".sops.yaml",
        "creation_rules: [{path_regex: 'apps/.*\\.sops\\.yaml$', age: age1x}]\n",
    );
    let (code, text) = check(root, &[]);
    assert_eq!(code, Some(7), "{text}");
    for words in [
        "apps/db.sops.yaml: creation rule 1",
        "(password)",
        "sops encrypt --in-place apps/db.sops.yaml",
        "1 findings in 1 files",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("hidden"), "{text}");
    write(root, ".sops.yaml", "creation_rules: [{path_regex: '('}]\n");
    let (code, text) = check(root, &["apps"]);
    assert_eq!(
        (code, text.contains(".sops.yaml: creation rule 1: path_regex")),
        (Some(78), true),
        "{text}"
    );
    assert_eq!(check(root, &["nowhere"]).0, Some(3));
}

/// As pre-commit does: the words of `entry`, and the names of the staged files.
#[test]
fn the_hook_refuses_a_commit_with_plaintext() {
    let hooks = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../.pre-commit-hooks.yaml")).unwrap();
    let entry = hooks
        .lines()
        .find_map(|line| line.trim().strip_prefix("entry: "))
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let hook = |files: &[&str]| {
        let mut words = entry.split(' ');
        assert_eq!(words.next(), Some("sidevault"));
        let output = Command::new(binary())
            .args(words)
            .args(files)
            .current_dir(root)
            .output()
            .unwrap();
        output.status.code()
    };
    write(
        root,
        ".sops.yaml",
        "creation_rules: [{path_regex: '\\.sops\\.yaml$', age: age1x}]\n",
    );
    write(root, "README.md", "# a\n");
    write(root, "a b.sops.yaml", "k: v\n");
    assert_eq!(hook(&["README.md"]), Some(0));
    assert_eq!(hook(&["README.md", "a b.sops.yaml"]), Some(7));
    // New rules are compared with every file.
    assert_eq!(hook(&[".sops.yaml"]), Some(7));
    fs::remove_file(root.join("a b.sops.yaml")).unwrap();
    assert_eq!(hook(&[".sops.yaml"]), Some(0));
}

/// Paths, each with a text that `manifest` makes the content of.
type Files = &'static [(&'static str, &'static str)];

/// The layouts of three public repositories of home clusters, with keys and values of our own: which files there are and what they are.
/// Each has a rule for its encrypted files, the encrypted files with their contents, and other files.
const LAYOUTS: [(&str, Files, Files); 3] = [
    (
        // Talos and Flux from a template: a folder with ks.yaml and app/ for each application.
        "- {path_regex: 'talos/.*\\.sops\\.ya?ml', mac_only_encrypted: true, age: KEY}\n\
         - {path_regex: '(bootstrap|kubernetes)/.*\\.sops\\.ya?ml', encrypted_regex: '^(data|stringData)$', mac_only_encrypted: true, age: KEY}\n",
        &[
            ("talos/talsecret.sops.yaml", "cluster: {id: own, secret: own}\n"),
            ("bootstrap/sops-age.sops.yaml", "SECRET sops-age flux-system"),
            (
                "kubernetes/components/sops/cluster-secrets.sops.yaml",
                "SECRET cluster-secrets -",
            ),
            (
                "kubernetes/apps/cert-manager/cert-manager/app/secret.sops.yaml",
                "SECRET cert-manager-secret -",
            ),
            (
                "kubernetes/apps/flux-system/flux-instance/app/secret.sops.yaml",
                "SECRET github-webhook-token-secret -",
            ),
            (
                "kubernetes/apps/network/cloudflare-tunnel/app/secret.sops.yaml",
                "SECRET cloudflare-tunnel-secret -",
            ),
        ],
        &[
            ("kubernetes/apps/network/cloudflare-tunnel/ks.yaml", "FLUX"),
            ("kubernetes/apps/network/cloudflare-tunnel/app/helmrelease.yaml", "HELM"),
            (
                "kubernetes/apps/network/cloudflare-tunnel/app/kustomization.yaml",
                "resources: [./secret.sops.yaml]\n",
            ),
            ("kubernetes/flux/cluster/ks.yaml", "FLUX"),
            (
                "templates/config/bootstrap/sops-age.sops.yaml.j2",
                "stringData: {age.agekey: #{ key }#}\n",
            ),
            ("talos/talconfig.yaml", "clusterName: own\nnodes: []\n"),
            ("Taskfile.yaml", "version: '3'\ntasks: {}\n"),
            ("README.md", "# own\n"),
        ],
    ),
    (
        // One folder for each application, all with a secret.sops.yaml, and an archive.
        "- {path_regex: 'cluster/.*\\.sops\\.ya?ml', encrypted_regex: '^(data|stringData)$', key_groups: [{age: [KEY]}]}\n\
         - {path_regex: 'terraform/.*\\.sops\\.ya?ml', key_groups: [{age: [KEY]}]}\n",
        &[
            ("cluster/apps/default/radarr/secret.sops.yaml", "SECRET radarr default"),
            (
                "cluster/apps/default/radarr/uhd/secret.sops.yaml",
                "SECRET radarr-uhd default",
            ),
            (
                "cluster/apps/default/plex/off-deck/secret.ini.sops.yaml",
                "SECRET off-deck-config default",
            ),
            (
                "cluster/apps/databases/postgres/secret.sops.yaml",
                "SECRET postgres databases",
            ),
            (
                "cluster/apps/home/home-assistant/home-assistant.sops.yaml",
                "SECRET home-assistant home",
            ),
            ("terraform/cloudflare/secret.sops.yaml", "cloudflare_email: own\n"),
        ],
        &[
            ("cluster/apps/default/radarr/helm-release.yaml", "HELM"),
            (
                "cluster/apps/default/radarr/kustomization.yaml",
                "resources: [secret.sops.yaml]\n",
            ),
            (
                "cluster/apps/databases/namespace.yaml",
                "apiVersion: v1\nkind: Namespace\nmetadata: {name: databases}\n",
            ),
            ("terraform/cloudflare/main.tf", "variable \"zone\" {}\n"),
            (".github/renovate.json5", "{}\n"),
        ],
    ),
    (
        // Several clusters beside the infrastructure, whose secrets are not manifests.
        "- {path_regex: 'k8s/.*\\.sops\\.yaml', encrypted_regex: '((?i)(pass|secret($|[^N])|key|token|^data$|^stringData))', age: KEY}\n\
         - {path_regex: 'infrastructure/.*\\.sops\\.yaml', age: KEY}\n",
        &[
            ("infrastructure/talos/cluster-0/talenv.sops.yaml", "domain: own\n"),
            (
                "infrastructure/databases/secret.sops.yaml",
                "postgres: {host: own, password: own}\n",
            ),
            ("infrastructure/vyos/secret.sops.yaml", "user: own\n"),
            (
                "k8s/clusters/cluster-0/flux/vars/cluster-secrets.sops.yaml",
                "SECRET cluster-secrets flux-system",
            ),
            (
                "k8s/clusters/cluster-1/flux/vars/cluster-secrets.sops.yaml",
                "SECRET cluster-secrets flux-system",
            ),
            (
                "k8s/clusters/cluster-1/manifests/downloads/sonarr/backups/secret.sops.yaml",
                "SECRET sonarr-restic downloads",
            ),
            (
                "k8s/clusters/cluster-1/manifests/downloads/radarr/backups/secret.sops.yaml",
                "SECRET radarr-restic downloads",
            ),
        ],
        &[
            (
                "k8s/clusters/cluster-1/manifests/downloads/sonarr/backups/replicationsource.yaml",
                "HELM",
            ),
            ("k8s/clusters/cluster-1/flux/cluster.yaml", "FLUX"),
            ("infrastructure/databases/main.tf", "terraform {}\n"),
            (".taskfiles/Talos.yaml", "version: '3'\n"),
        ],
    ),
];

fn manifest(short: &str) -> String {
    let words: Vec<&str> = short.split(' ').collect();
    match words[..] {
        ["SECRET", name, namespace] => {
            let namespace = if namespace == "-" { String::new() } else { format!(", namespace: {namespace}") };
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}{namespace}}}\nstringData:\n  TOKEN: own-{name}\n")
        }
        ["FLUX"] => "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: own}\n\
                     spec: {path: ./kubernetes, decryption: {provider: sops, secretRef: {name: sops-age}}}\n"
            .to_owned(),
        ["HELM"] => "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: own}\n\
                     spec: {values: {existingSecret: own-secret, env: {TOKEN: {valueFrom: {secretKeyRef: {name: own, key: token}}}}}}\n"
            .to_owned(),
        _ => short.to_owned(),
    }
}

#[test]
fn home_clusters_as_they_are_give_their_secrets_and_no_findings() {
    let Some(sops) = Sops::find() else { return };
    let key = sops.key();
    for (rules, sealed, plain) in LAYOUTS {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(
            root,
            ".sops.yaml",
            &format!("creation_rules:\n{}", rules.replace("KEY", &key.recipient)),
        );
        for (file, text) in sealed.iter().chain(plain) {
            write(root, file, &manifest(text));
        }
        for (file, _) in sealed {
            let done = sops.command(&["encrypt", "--in-place", file], root).output().unwrap();
            assert!(
                done.status.success(),
                "{file}: {}",
                String::from_utf8_lossy(&done.stderr)
            );
        }
        assert_eq!(check(root, &[]).0, Some(0), "{}", check(root, &[]).1);
        let keys = tempfile::NamedTempFile::new().unwrap();
        fs::write(keys.path(), &key.secret).unwrap();
        let output = Command::new(binary())
            .args(["source", "preview", "--json", "--age-key-file"])
            .args([keys.path(), root])
            .output()
            .unwrap();
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        let files: Vec<&str> = shown["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["file"].as_str().unwrap())
            .collect();
        let mut wanted: Vec<&str> = sealed.iter().map(|(file, _)| *file).collect();
        wanted.sort_unstable();
        assert_eq!(files, wanted);
        for nothing in ["bad", "suspects"] {
            assert!(
                shown[nothing].as_array().is_none_or(Vec::is_empty),
                "{}",
                shown[nothing]
            );
            assert!(
                shown[nothing].as_object().is_none_or(serde_json::Map::is_empty),
                "{}",
                shown[nothing]
            );
        }
        let flux = plain.iter().filter(|(_, text)| *text == "FLUX").count();
        assert_eq!(
            shown["recognized"].as_array().unwrap().len(),
            flux,
            "{}",
            shown["recognized"]
        );
        let visible = |file: &&(&str, &str)| !file.0.starts_with('.');
        assert_eq!(
            shown["leftOut"].as_array().unwrap().len(),
            plain.iter().filter(visible).count()
        );
    }
}
