//! Trees with hostile content, with errors, and with names in several spellings. Nothing outside of the tree is served, no
//! item is deleted because of an error, and an item without a change keeps its version.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use sidevault_tests::pair::{Process, ServerPair, binary, wait_until};
use sidevault_tests::stop::then_stop;
use sidevault_tests::wire::{Request, exchange};

/// A pair that serves a tree of files without SOPS, and a token.
struct TestServer {
    pair: ServerPair,
    token: String,
}

impl TestServer {
    /// Serves the directory `secrets` with these files.
    fn start(files: &[(&str, &str)], grants: &[&str]) -> Self {
        Self::run(ServerPair::prepare(&["--dir", "{root}/secrets"], &[]), files, grants)
    }

    /// Serves the sources of a sources file.
    fn configured(sources: &str, files: &[(&str, &str)], grants: &[&str]) -> Self {
        let pair = ServerPair::prepare(&["--config", "{root}/sources.yaml"], &[]);
        fs::write(pair.path("sources.yaml"), sources).unwrap();
        Self::run(pair, files, grants)
    }

    fn run(mut pair: ServerPair, files: &[(&str, &str)], grants: &[&str]) -> Self {
        for (path, text) in files {
            write(&pair.path(path), text);
        }
        pair.run(Process::Api);
        pair.run(Process::Sync);
        pair.wait_linked();
        let token = pair.token("reader", grants);
        Self { pair, token }
    }

    fn write(&self, path: &str, text: &str) {
        write(&self.pair.path(path), text);
    }

    fn vault(&self, name: &str) -> String {
        self.pair.vault(&self.token, name)
    }

    fn items(&self, vault: &str) -> Vec<Value> {
        let list = self.pair.get(&self.token, &format!("/v1/vaults/{vault}/items")).json();
        list.as_array().cloned().unwrap_or_default()
    }

    /// The title and version of each item of a vault.
    fn titles(&self, vault: &str) -> Vec<String> {
        let mut titles: Vec<String> = self
            .items(vault)
            .iter()
            .map(|item| format!("{} {}", item["title"].as_str().unwrap(), item["version"]))
            .collect();
        titles.sort_unstable();
        titles
    }

    fn wait_titles(&self, vault: &str, titles: &[&str]) {
        let seen = wait_until(|| (self.titles(vault) == titles).then_some(()));
        let log = self.pair.log(Process::Sync);
        assert!(seen.is_some(), "never {titles:?} but {:?}\n{log}", self.titles(vault));
    }

    fn value(&self, vault: &str, title: &str) -> Option<String> {
        let item = self.pair.item(&self.token, vault, title)?;
        Some(item["fields"][0]["value"].as_str()?.to_owned())
    }

    fn wait_value(&self, vault: &str, title: &str, wanted: &str) {
        let seen = wait_until(|| (self.value(vault, title)? == wanted).then_some(()));
        assert!(
            seen.is_some(),
            "{title} never was {wanted}: {}",
            self.pair.log(Process::Sync)
        );
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let beside = path.with_file_name(".new");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, path).unwrap();
}

fn fifo(path: &Path) {
    let beside: PathBuf = path.with_file_name(".fifo");
    assert!(Command::new("mkfifo").arg(&beside).status().unwrap().success());
    fs::rename(&beside, path).unwrap();
}

#[test]
fn directories_whose_names_differ_in_case_are_one_vault() {
    let files = [("secrets/Prod/api.yaml", "k: a\n"), ("secrets/Prod/db.yaml", "k: b\n")];
    let server = TestServer::start(&files, &["prod=read"]);
    let vault = server.vault("Prod");
    server.wait_titles(&vault, &["api 1", "db 1"]);
    // U+212A, the Kelvin sign, folds to k.
    server.write("secrets/prod/note.yaml", "k: c\n");
    server.write("secrets/K8s/a.yaml", "k: d\n");
    server.write("secrets/\u{212a}8s/b.yaml", "k: e\n");
    server.wait_titles(&vault, &["api 1", "db 1", "note 1"]);
    server.pair.wait_source("secrets", "ACTIVE", "5 files");
    fs::remove_dir_all(server.pair.path("secrets/prod")).unwrap();
    server.wait_titles(&vault, &["api 1", "db 1"]);
    server.pair.wait_source("secrets", "ACTIVE", "4 files");
    // If only the case of a directory's name changes, the vault is renamed.
    fs::rename(server.pair.path("secrets/Prod"), server.pair.path("secrets/prod")).unwrap();
    let vaults = || server.pair.get(&server.token, "/v1/vaults").json();
    let renamed = wait_until(|| (vaults()[0]["name"] == "prod").then_some(()));
    assert!(renamed.is_some(), "{}", vaults());
    assert_eq!(server.vault("prod"), vault);
    server.wait_titles(&vault, &["api 1", "db 1"]);
}

#[test]
fn a_vault_of_two_sources_belongs_to_the_first_one_and_the_other_vaults_are_served() {
    let sources = "sources:\n  - directory: { path: one }\n  - directory: { path: two, fullCheckSeconds: 1 }\n";
    let files = [
        ("one/prod/a.yaml", "k: one\n"),
        ("two/prod/a.yaml", "k: two\n"),
        ("two/Prod/b.yaml", "k: two\n"),
        ("two/own/c.yaml", "k: two\n"),
    ];
    let mut server = TestServer::configured(sources, &files, &["prod=read", "own=read"]);
    let mut ids = Vec::new();
    for round in 0..4 {
        let message = server.pair.wait_source("two", "DEGRADED", "2 of 3 files");
        assert!(
            message.contains("prod/a.yaml (vault ") && message.contains("\"one\", which stands before")
                || message.contains("belongs to \"one\""),
            "{message}"
        );
        server.pair.wait_source("one", "ACTIVE", "1 files");
        let prod = server.vault("prod");
        server.wait_titles(&prod, &["a 1"]);
        assert_eq!(server.value(&prod, "a").as_deref(), Some("one"));
        server.wait_titles(&server.vault("own"), &["c 1"]);
        ids.push(prod);
        if round < 3 {
            server.pair.kill(Process::Api);
            server.pair.kill(Process::Sync);
            // In a new store, as after a restart on an emptyDir, the vault belongs to the same source.
            server.pair.empty_disk();
            server.pair.run(Process::Api);
            server.pair.run(Process::Sync);
            server.pair.wait_linked();
        }
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    // While the owner's directory is gone, its items stay, and the other source does not get the vault.
    fs::remove_dir_all(server.pair.path("one")).unwrap();
    server.pair.wait_source("one", "FAILED", "still served");
    server.pair.wait_source("two", "DEGRADED", "belongs to \"one\"");
    assert_eq!(server.value(&ids[0], "a").as_deref(), Some("one"));
}

#[test]
fn names_that_are_not_utf_8_and_too_deep_directories_do_not_affect_other_files() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let server = TestServer::start(&[("secrets/v/a.yaml", "k: 1\n")], &["v=read"]);
    let vault = server.vault("v");
    for (name, text) in [(b"b\xff.yaml", "k: 1\n"), (b"b\xfe.yaml", "k: 2\n")] {
        fs::write(server.pair.path("secrets/v").join(OsStr::from_bytes(name)), text).unwrap();
    }
    fs::create_dir_all(server.pair.path("secrets/deep").join(["d"; 40].join("/"))).unwrap();
    let message = server
        .pair
        .wait_source("secrets", "DEGRADED", "nested more than 32 deep");
    assert!(message.contains(r"v/b\xff.yaml (its name is not UTF-8"), "{message}");
    assert!(message.contains(r"v/b\xfe.yaml (its name is not UTF-8"), "{message}");
    server.write("secrets/v/a.yaml", "k: 2\n");
    server.wait_value(&vault, "a", "2");
    server.wait_titles(&vault, &["a 2"]);
}

#[test]
fn what_the_sources_file_says_of_a_folder_is_stronger_than_a_file_in_it() {
    let sources = "sources:
  - directory:
      path: secrets
      folders:
        .: { tags: [all], ignore: ['*.bak'] }
        apps/media:
          vault: media
          files:
            plex/db.yaml: { title: Plex, category: API_CREDENTIAL, fields: { url: URL } }
        apps/nowhere: { vault: x }
";
    let files = [
        ("secrets/apps/media/plex/db.yaml", "url: u\n"),
        ("secrets/apps/media/radarr/db.yaml", "k: v\n"),
        ("secrets/apps/media/old.bak", "k: v\n"),
        (
            "secrets/apps/media/.sidevault.yaml",
            "vault: films\ntags: [own]\nfiles: { '*.yaml': { title: Own } }\n",
        ),
        ("secrets/apps/media/radarr/.sidevault.yaml", "vault: radarr\n"),
    ];
    let server = TestServer::configured(sources, &files, &["media=read", "radarr=read"]);
    let vault = server.vault("media");
    server.wait_titles(&vault, &["Plex 1"]);
    let item = server.pair.item(&server.token, &vault, "Plex").unwrap();
    assert_eq!(item["category"], "API_CREDENTIAL");
    assert_eq!(item["fields"][0]["type"], "URL");
    assert_eq!(item["tags"], serde_json::json!(["plex", "all", "own"]));
    // A lower folder is stronger, whoever says what.
    server.wait_titles(&server.vault("radarr"), &["Own 1"]);
    let log = server.pair.log(Process::Sync);
    assert!(log.contains("apps/nowhere"), "{log}");
    let config = server.pair.path("sources.yaml").display().to_string();
    let preview = |source: &str| {
        let shown = ["source", "preview", "--config", &config, source];
        server.pair.command(&shown)
    };
    let shown = preview("secrets");
    for words in [
        "no such folder: apps/nowhere",
        "left out: apps/media/old.bak: `ignore` of a .sidevault.yaml file or of the source's folders",
        "Plex",
        "radarr",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    // The settings of the source, and another directory.
    let clone = server.pair.path("clone");
    write(&clone.join("apps/media/plex/db.yaml"), "url: u\n");
    assert!(preview(&format!("secrets={}", clone.display())).contains("Plex"));
    let other = server.pair.errors(&["source", "preview", "--config", &config, "other"]);
    assert!(
        other.contains("no directory or git source \"other\", but: secrets"),
        "{other}"
    );
}

#[test]
fn a_fifo_in_place_of_a_file_blocks_nothing() {
    let files = [("secrets/v/a.yaml", "k: 1\n"), ("secrets/v/x.bin", "first")];
    let mut server = TestServer::start(&files, &["v=read"]);
    let vault = server.vault("v");
    server.wait_titles(&vault, &["a 1", "x.bin 1"]);
    fifo(&server.pair.path("secrets/v/x.bin"));
    server
        .pair
        .wait_source("secrets", "DEGRADED", "v/x.bin (neither a file nor a directory)");
    server.write("secrets/v/a.yaml", "k: 2\n");
    server.wait_value(&vault, "a", "2");
    server.wait_titles(&vault, &["a 2", "x.bin 1"]);
    server.pair.terminate(Process::Sync);
    assert!(server.pair.wait_ended(Process::Sync).success());
}

#[test]
fn sync_stops_while_a_read_of_a_key_file_blocks() {
    let mut pair = ServerPair::prepare(&["--config", "{root}/sources.yaml"], &[]);
    let sources = "sources:\n  - directory: { path: secrets, ageKeyFile: keys/fifo }\n";
    fs::write(pair.path("sources.yaml"), sources).unwrap();
    // Nothing writes to the FIFO, so reading the keys blocks.
    fifo(&pair.path("keys/fifo"));
    pair.run(Process::Sync);
    let health = || exchange(pair.sync_address(), &Request::new("GET", "/health").bytes());
    let waits = wait_until(|| health().ok()?.text().contains("not read yet").then_some(()));
    assert!(waits.is_some(), "{}", pair.log(Process::Sync));
    pair.terminate(Process::Sync);
    assert!(pair.wait_ended(Process::Sync).success());
}

/// A file is replaced by links out of the tree and back, again and again, while the tree is scanned.
#[test]
fn a_link_that_replaces_a_file_during_a_scan_is_not_followed() {
    let files = [("secrets/v/a.yaml", "k: 0\n"), ("secrets/v/x.bin", "mine")];
    let server = TestServer::start(&files, &["v=read"]);
    let vault = server.vault("v");
    server.wait_titles(&vault, &["a 1", "x.bin 1"]);
    let x = server.pair.path("secrets/v/x.bin");
    let item = server.pair.item(&server.token, &vault, "x.bin").unwrap();
    let content = item["files"][0]["content_path"].as_str().unwrap().to_owned();
    fs::create_dir(server.pair.path("secrets/.git")).unwrap();
    fs::write(server.pair.path("secrets/.git/config"), "token").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let beside = x.with_file_name(".swap");
            for n in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                match n % 3 {
                    0 => symlink(server.pair.path("keys/1password-credentials.json"), &beside).unwrap(),
                    1 => symlink("../.git/config", &beside).unwrap(),
                    _ => fs::write(&beside, "mine").unwrap(),
                }
                fs::rename(&beside, &x).unwrap();
            }
        });
        then_stop(&done, || {
            // Each change of the other file causes a scan.
            for n in 1..30 {
                server.write("secrets/v/a.yaml", &format!("k: {n}\n"));
                server.wait_value(&vault, "a", &n.to_string());
                let body = server.pair.get(&server.token, &content).body;
                assert_eq!(String::from_utf8_lossy(&body), "mine", "after {n} changes");
            }
        });
    });
}

#[test]
fn files_of_one_name_are_told_apart_by_their_directory() {
    let server = TestServer::start(&[("secrets/media/plex/db.sops.yaml", "k: plex\n")], &["media=read"]);
    let vault = server.vault("media");
    server.wait_titles(&vault, &["db 1"]);
    let filtered = |tag: &str| {
        let filter = format!("title%20eq%20%22db%22%20and%20tag%20eq%20%22{tag}%22");
        let target = format!("/v1/vaults/{vault}/items?filter={filter}");
        let list = server.pair.get(&server.token, &target).json();
        let items = list.as_array().unwrap();
        assert_eq!(items.len(), 1, "{tag}: {list}");
        items[0]["id"].as_str().unwrap().to_owned()
    };
    let plex = filtered("plex");
    // A second file of this name changes neither title nor version of the first one's item.
    server.write("secrets/media/radarr/db.sops.yaml", "k: radarr\n");
    server.wait_titles(&vault, &["db 1", "db 1"]);
    assert_eq!(filtered("plex"), plex);
    for (tag, value) in [("plex", "plex"), ("radarr", "radarr")] {
        let target = format!("/v1/vaults/{vault}/items/{}", filtered(tag));
        let item = server.pair.get(&server.token, &target).json();
        assert_eq!(item["fields"][0]["value"], value);
        assert_eq!(item["tags"], serde_json::json!([tag]));
    }
    let warnings = || {
        let log = server.pair.log(Process::Sync);
        let lines = log
            .lines()
            .filter(|line| line.contains("items of several files have one title"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let first = wait_until(|| warnings().pop()).expect("a warning");
    let both = ["media/plex/db.sops.yaml", "media/radarr/db.sops.yaml"];
    assert!(both.iter().all(|file| first.contains(file)), "{first}");
    // Further scans do not repeat the warning.
    server.write("secrets/media/radarr/db.sops.yaml", "k: changed\n");
    server.wait_titles(&vault, &["db 1", "db 2"]);
    server.write("secrets/media/other.yaml", "k: other\n");
    server.wait_titles(&vault, &["db 1", "db 2", "other 1"]);
    assert_eq!(warnings().len(), 1, "{:?}", warnings());
}

/// Home clusters have a file `secret.sops.yaml` in the directory of each application.
#[test]
fn a_name_that_says_nothing_gets_the_name_of_its_directory() {
    let files = [
        ("secrets/media/plex/app/secret.sops.yaml", "k: plex\n"),
        ("secrets/media/radarr/secret.sops.yaml", "k: radarr\n"),
        ("secrets/media/values.yaml", "k: top\n"),
    ];
    let server = TestServer::start(&files, &["media=read"]);
    let vault = server.vault("media");
    server.wait_titles(&vault, &["plex/app/secret 1", "radarr/secret 1", "values 1"]);
    let value = |target: &str| server.pair.get(&server.token, target).json()["fields"][0]["value"].clone();
    assert_eq!(value("/v1/vaults/media/items/radarr%2Fsecret"), "radarr");
    let list = format!("/v1/vaults/{vault}/items?filter=title%20eq%20%22plex%2Fapp%2Fsecret%22");
    let found = server.pair.get(&server.token, &list).json();
    let id = found[0]["id"].as_str().expect("one item");
    assert_eq!(value(&format!("/v1/vaults/{vault}/items/{id}")), "plex");
    let references = r#"{"references":["op://media/radarr%2Fsecret/k"]}"#;
    let resolved = server
        .pair
        .ask(&server.token, "POST", "/v1/resolve", references)
        .unwrap();
    assert_eq!(resolved.json()["results"][0]["value"], "radarr", "{}", resolved.text());
}

/// A file that is encrypted to an age key which sync does not have.
const ENCRYPTED_TO_AGE: &str = include_str!("../../crates/sops/tests/fixtures/record.yaml");

/// A file that is encrypted to PGP. The values are not real: they are never reached.
const ENCRYPTED_TO_PGP: &str = "k: ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]
sops:
    pgp:
        - fp: ABCD
          enc: x
    lastmodified: \"2026-01-01T00:00:00Z\"
    mac: ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]
";

#[test]
fn encrypted_files_without_a_usable_key_say_what_to_do() {
    let files = [
        ("secrets/v/pgp.yaml", ENCRYPTED_TO_PGP),
        ("secrets/v/age.yaml", ENCRYPTED_TO_AGE),
    ];
    let server = TestServer::start(&files, &["v=read"]);
    let message = server.pair.wait_source("secrets", "DEGRADED", "2 of 2 files");
    for words in [
        "v/pgp.yaml (the file is encrypted to PGP ABCD only, and Sidevault does not use PGP",
        "sops rotate --in-place --add-age",
        "Set SOPS_AGE_KEY_FILE",
        "v/age.yaml (there is no age key to decrypt this file with: it is encrypted to age1",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
    let log = server.pair.log(Process::Sync);
    let lines = log
        .lines()
        .filter(|line| line.contains("sync has no age key: set SOPS_AGE_KEY_FILE"));
    assert_eq!(lines.count(), 1, "{log}");
}

#[test]
fn secrets_of_one_name_are_told_apart_by_their_namespace() {
    let secret = |namespace: &str, value: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: db, namespace: {namespace} }}\nstringData: {{ k: {value} }}\n"
        )
    };
    let both = format!("{}---\n{}", secret("dev", "d"), secret("prod", "p"));
    let server = TestServer::start(&[("secrets/v/all.yaml", &both)], &["v=read"]);
    let vault = server.vault("v");
    server.wait_titles(&vault, &["db 1", "db 1"]);
    let ids = |namespace: &str| {
        let filter = format!("title%20eq%20%22db%22%20and%20tag%20eq%20%22{namespace}%22");
        let target = format!("/v1/vaults/{vault}/items?filter={filter}");
        let list = server.pair.get(&server.token, &target).json();
        let ids: Vec<String> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect();
        ids
    };
    let (dev, prod) = (ids("dev"), ids("prod"));
    assert!(dev.len() == 1 && prod.len() == 1 && dev != prod);
    let item = server
        .pair
        .get(&server.token, &format!("/v1/vaults/{vault}/items/{}", prod[0]))
        .json();
    assert_eq!(
        (&item["tags"], &item["fields"][0]["value"]),
        (&["prod"][..].into(), &"p".into())
    );
    // A look-up by title alone fails, so that no client gets one of the two by chance.
    let reply = server.pair.get(&server.token, &format!("/v1/vaults/{vault}/items/db"));
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("2 items have this title"), "{}", reply.text());
    let target = format!("/v1/vaults/{vault}/items?filter=title%20eq%20%22db%22");
    assert_eq!(
        server.pair.get(&server.token, &target).json().as_array().unwrap().len(),
        2
    );
    // Both keep their ids when they change places in the file.
    server.write(
        "secrets/v/all.yaml",
        &format!("{}---\n{}", secret("prod", "p2"), secret("dev", "d")),
    );
    server.wait_titles(&vault, &["db 1", "db 2"]);
    assert_eq!((ids("dev"), ids("prod")), (dev, prod));
}

#[test]
fn a_file_with_too_many_documents_does_not_affect_other_files() {
    let server = TestServer::start(&[("secrets/v/a.yaml", "k: 1\n")], &["v=read"]);
    let vault = server.vault("v");
    server.write("secrets/v/many.yaml", &"---\nk: 1\n".repeat(60_000));
    server.pair.wait_source(
        "secrets",
        "DEGRADED",
        "v/many.yaml (the file makes more than 10000 items",
    );
    server.write("secrets/v/a.yaml", "k: 2\n");
    server.wait_value(&vault, "a", "2");
    server.wait_titles(&vault, &["a 2"]);
}

/// The tree is a volume as kubelet makes it for a ConfigMap with `items`, with a new revision now and then.
#[test]
fn a_new_revision_of_a_kubernetes_volume_removes_no_item() {
    let pair = ServerPair::prepare(&["--dir", "{root}/secrets"], &[]);
    let root = pair.path("secrets");
    let revision = |n: u32| {
        let name = format!("..2026_11_29_{n}");
        write(&root.join(&name).join("top.yaml"), &format!("k: {n}\n"));
        write(&root.join(&name).join("prod/db.yaml"), &format!("k: {n}\n"));
        symlink(&name, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        name
    };
    let mut present = revision(1);
    symlink("..data/top.yaml", root.join("top.yaml")).unwrap();
    symlink("..data/prod", root.join("prod")).unwrap();
    let server = TestServer::run(pair, &[], &["secrets=read", "prod=read"]);
    let (top, prod) = (server.vault("secrets"), server.vault("prod"));
    for n in 2..6 {
        server.wait_value(&prod, "db", &(n - 1).to_string());
        server.wait_value(&top, "top", &(n - 1).to_string());
        let old = std::mem::replace(&mut present, revision(n));
        fs::remove_dir_all(root.join(old)).unwrap();
    }
    server.wait_titles(&prod, &["db 5"]);
    server.wait_titles(&top, &["top 5"]);
    server.pair.wait_source("secrets", "ACTIVE", "2 files");
}

#[test]
fn every_item_can_be_read_by_the_path_of_its_file() {
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: plex-tls}, stringData: {k: manifest}}\n";
    let server = TestServer::start(
        &[
            ("secrets/media/plex/app/db.sops.yaml", "k: plex\n"),
            ("secrets/media/radarr/db.yaml", "k: radarr\n"),
            ("secrets/media/plex/tls.yaml", secret),
            ("secrets/media/plex/ca.crt", "pem"),
        ],
        &["media=read"],
    );
    let vault = server.vault("media");
    let by_path = |name: &str| {
        let name = name.replace('/', "%2F");
        let reply = server
            .pair
            .get(&server.token, &format!("/v1/vaults/media/items/{name}"));
        (
            reply.status,
            reply.json()["fields"][0]["value"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let by_filter = |name: &str| {
        let name = name.replace('/', "%2F");
        let target = format!("/v1/vaults/{vault}/items?filter=title%20eq%20%22{name}%22");
        server.pair.get(&server.token, &target).json().as_array().unwrap().len()
    };
    for (name, value) in [
        ("media/plex/app/db", "plex"),
        ("plex/app/db.sops.yaml", "plex"),
        ("Media/radarr/db.yaml", "radarr"),
        ("plex/tls", "manifest"),
        ("plex-tls", "manifest"),
    ] {
        assert_eq!(by_path(name), (200, value.to_owned()), "{name}");
        assert_eq!(by_filter(name), 1, "{name}");
    }
    assert_eq!(by_path("plex/ca.crt").0, 200);
    for name in ["db", "plex/db", "other/db.yaml", "plex/ca"] {
        assert_eq!(by_path(name).0, 400, "{name}");
    }
    let client = |arguments: &[&str]| {
        let output = Command::new(binary())
            .args(arguments)
            .env("OP_CONNECT_HOST", format!("http://{}", server.pair.address()))
            .env("OP_CONNECT_TOKEN", &server.token)
            .output()
            .unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    assert_eq!(client(&["read", "op://media/media%2Fradarr%2Fdb/k"]).trim(), "radarr");
    let get = |item: &str| client(&["item", "get", item, "--vault", "media", "--field", "k"]);
    assert_eq!(get("media/plex/app/db.sops.yaml").trim(), "plex");
    assert!(get("db").contains("several items"), "{}", get("db"));
    // A file whose Secret has the path of another file as its name makes the look-up fail: it never finds that Secret.
    server.write("secrets/media/new.yaml", &secret.replace("plex-tls", "radarr/db"));
    wait_until(|| (by_filter("radarr/db") == 2).then_some(())).expect("both are found");
    assert_eq!(by_path("radarr/db").0, 400);
    assert!(get("radarr/db").contains("several items"), "{}", get("radarr/db"));
    assert_eq!(by_path("media/radarr/db"), (200, "radarr".to_owned()));
}
