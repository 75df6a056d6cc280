//! What the real `kustomize` makes of trees that the real `sops` has decrypted, as Flux does it: each Secret that comes out is an item
//! with the same values, and no item of a Secret has any other.

mod trees;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sidevault_tests::pair::{Process, ServerPair};
use sidevault_tests::sops::{Key, Sops};
use sidevault_tests::tools;

use trees::{GitOpsTree, TREES};

/// A Secret, or an item: its name, and its values by key.
#[derive(Debug)]
struct Values {
    name: String,
    values: BTreeMap<String, String>,
}

/// A file of a tree.
struct File {
    path: &'static str,
    sealed: bool,
    text: String,
}

fn files(tree: &GitOpsTree) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    for line in tree.files.lines() {
        if let Some(path) = line.strip_prefix("=== ") {
            let sealed = path.strip_prefix("sealed ");
            files.push(File {
                path: sealed.unwrap_or(path),
                sealed: sealed.is_some(),
                text: String::new(),
            });
        } else {
            let file = files.last_mut().expect("a path comes first");
            file.text += line;
            file.text.push('\n');
        }
    }
    files
}

/// Writes a tree as it is in Git to `encrypted`, and as Flux decrypts it to `decrypted`.
fn write(tree: &GitOpsTree, sops: &Sops, key: &Key, encrypted: &Path, decrypted: &Path) {
    for File { path, sealed, text } in files(tree) {
        let (there, plain) = (encrypted.join(path), decrypted.join(path));
        for file in [&there, &plain] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
        }
        if !sealed {
            fs::write(there, &text).unwrap();
            fs::write(plain, &text).unwrap();
            continue;
        }
        let rule: &[&str] = if text.contains("kind: Secret") {
            &["--encrypted-regex", "^(data|stringData)$"]
        } else {
            &[]
        };
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        fs::write(&there, sops.encrypt(key, name, &text, rule)).unwrap();
        fs::write(plain, sops.decrypt(key, &there, &[])).unwrap();
    }
}

/// The Secrets that kustomize makes of a directory.
fn built(kustomize: &Path, directory: &Path) -> Vec<Values> {
    let run = |words: &[&str]| {
        let output = Command::new(kustomize)
            .args(words)
            .current_dir(directory)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {words:?}: {errors}", directory.display());
        String::from_utf8(output.stdout).unwrap()
    };
    if !directory.join("kustomization.yaml").exists() {
        // So does Flux.
        run(&["create", "--autodetect", "--recursive"]);
    }
    let made: Vec<Value> = serde_saphyr::from_multiple(&run(&["build", "."])).unwrap();
    let secrets = made.iter().filter(|object| object["kind"] == "Secret");
    let made = secrets.map(|secret| {
        let members = |name: &str| secret[name].as_object().cloned().unwrap_or_default();
        let decode = |text: &str| String::from_utf8(STANDARD.decode(text.replace('\n', "")).unwrap()).unwrap();
        let data = members("data")
            .into_iter()
            .map(|(key, value)| (key, decode(value.as_str().unwrap())));
        let text = members("stringData")
            .into_iter()
            .map(|(key, value)| (key, value.as_str().unwrap().to_owned()));
        Values {
            name: secret["metadata"]["name"].as_str().unwrap().to_owned(),
            values: data.chain(text).collect(),
        }
    });
    made.collect()
}

/// The items of a vault. A file of an item is a value with the file's name.
fn items(pair: &ServerPair, token: &str, vault: &str) -> Vec<Values> {
    let list = pair.get(token, &format!("/v1/vaults/{vault}/items")).json();
    let items = list.as_array().unwrap().iter().map(|entry| {
        let path = format!("/v1/vaults/{vault}/items/{}", entry["id"].as_str().unwrap());
        let item = pair.get(token, &path).json();
        let part = |name: &str| item[name].as_array().cloned().unwrap_or_default();
        let fields = part("fields").into_iter().map(|field| {
            let text = |name: &str| field[name].as_str().unwrap_or_default().to_owned();
            (text("label"), text("value"))
        });
        let files = part("files").into_iter().map(|file| {
            let content = pair.get(token, file["content_path"].as_str().unwrap());
            (file["name"].as_str().unwrap().to_owned(), content.text())
        });
        Values {
            name: item["title"].as_str().unwrap().to_owned(),
            values: fields.chain(files).collect(),
        }
    });
    items.collect()
}

fn check(tree: &GitOpsTree, sops: &Sops, kustomize: &Path) {
    let key = sops.key();
    let mut pair = ServerPair::prepare(&["--config", "{root}/sources.yaml"], &[]);
    let decrypted = tempfile::tempdir().unwrap();
    write(tree, sops, &key, &pair.path("tree"), decrypted.path());
    fs::write(pair.path("keys/age.txt"), &key.secret).unwrap();
    let source = "sources:\n  - directory: { path: tree, name: tree, vault: tree, ageKeyFile: keys/age.txt }\n";
    fs::write(pair.path("sources.yaml"), source).unwrap();
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let token = pair.token("reader", &["tree=read"]);
    pair.wait_source("tree", "ACTIVE", "files");
    let vault = pair.vault(&token, "tree");
    let items = items(&pair, &token, &vault);
    let directories: Vec<PathBuf> = tree.applied.iter().map(|path| decrypted.path().join(path)).collect();
    let secrets: Vec<Values> = directories.iter().flat_map(|path| built(kustomize, path)).collect();
    assert!(!secrets.is_empty());

    for secret in &secrets {
        // A prefix or the hash of a generator may be about the name of the manifest or of the generator's file.
        let same = items.iter().any(|item| item.values == secret.values);
        // A generator gives each file's content a key: the file's name.
        let files = secret.values.iter().all(|(key, value)| {
            let mut values = items.iter().flat_map(|item| &item.values);
            values.any(|(label, known)| known == value && (label == key || key.contains(label.as_str())))
        });
        assert!(same || files, "{}: {secret:#?} is none of {items:#?}", tree.name);
    }
    let applied: BTreeSet<&String> = secrets.iter().flat_map(|secret| secret.values.values()).collect();
    let names: BTreeSet<&String> = secrets.iter().map(|secret| &secret.name).collect();
    let mut others = Vec::new();
    for item in &items {
        if item.values.values().all(|value| applied.contains(value)) {
            // A manifest's title is the name of its Secret, unless the kustomization changes that.
            let is_named = names.iter().any(|name| name.contains(item.name.as_str()));
            let is_file = files(tree).iter().any(|file| file.path.contains(&item.name));
            assert!(is_named || is_file, "{}: {} is none of {names:?}", tree.name, item.name);
        } else {
            others.push(item.name.as_str());
        }
    }
    others.sort_unstable();
    assert_eq!(others, tree.others, "{}: {items:#?}", tree.name);
}

#[test]
fn items_have_the_values_of_the_secrets_that_kustomize_makes() {
    let Some(sops) = Sops::find() else { return };
    let Some(tools) = tools::find(&["kustomize"]) else {
        return;
    };
    for tree in TREES {
        check(tree, &sops, &tools.join("kustomize"));
    }
}
