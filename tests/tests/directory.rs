//! A directory of SOPS files, as in a GitOps repository, becomes vaults. Tests with the real `sops` and `age`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::sops::{Key, Sops};
use sidevault_tests::wire::{Request, exchange};

const MANIFEST: &str = "apiVersion: v1
kind: Secret
metadata:
  name: web-tls
data:
  user: YWRh
  store.jks: /+8A/w==
stringData:
  password: p4ss
";

/// A pair that serves the directory `secrets`, and the key that its files are encrypted to.
struct TestServer {
    pair: ServerPair,
    sops: Sops,
    key: Key,
}

impl TestServer {
    fn prepare(arguments: &[&str]) -> Option<Self> {
        let sops = Sops::find()?;
        let key = sops.key();
        let pair = ServerPair::prepare(arguments, &[("SOPS_AGE_KEY_FILE", "{root}/keys/age.txt")]);
        fs::write(pair.path("keys/age.txt"), &key.secret).unwrap();
        Some(Self { pair, sops, key })
    }

    /// Starts the pair with one encrypted file, `db.yaml`.
    fn start() -> Option<(Self, String, String)> {
        Self::prepare(&["--dir", "{root}/secrets"])?.with_one_file()
    }

    /// The same, and plaintext is served as well.
    fn start_with_plaintext() -> Option<(Self, String, String)> {
        Self::prepare_with_plaintext()?.with_one_file()
    }

    fn prepare_with_plaintext() -> Option<Self> {
        let server = Self::prepare(&["--config", "{root}/sources.yaml"])?;
        let sources = "sources:\n  - directory: { path: secrets, encrypted: any }\n";
        fs::write(server.pair.path("sources.yaml"), sources).unwrap();
        Some(server)
    }

    fn with_one_file(mut self) -> Option<(Self, String, String)> {
        let server = &mut self;
        server.seal("db.yaml", "password: first\n");
        let (token, vault) = server.run("secrets");
        server.wait_value(&token, &vault, "db", "password", "first");
        Some((self, token, vault))
    }

    fn run(&mut self, name: &str) -> (String, String) {
        self.pair.run(Process::Api);
        self.pair.run(Process::Sync);
        self.pair.wait_linked();
        let token = self.pair.token("reader", &[&format!("{name}=read,write"), "prod=read"]);
        let vault = self.pair.vault(&token, name);
        (token, vault)
    }

    fn secrets(&self) -> PathBuf {
        self.pair.path("secrets")
    }

    fn sealed(&self, name: &str, plain: &str) -> Vec<u8> {
        self.sops.encrypt(&self.key, name, plain, &[])
    }

    /// Encrypts a file, and puts it into place by a rename.
    fn seal(&self, name: &str, plain: &str) {
        replace(&self.secrets().join(name), &self.sealed(name, plain));
    }

    fn wait_value(&self, token: &str, vault: &str, title: &str, label: &str, wanted: &str) {
        let seen = wait_until(|| (value(&self.pair.item(token, vault, title)?, label)? == wanted).then_some(()));
        let item = self.pair.item(token, vault, title);
        assert!(
            seen.is_some(),
            "{title}/{label} never was {wanted}: {item:?}\n{}",
            self.pair.log(Process::Sync)
        );
    }

    fn sync_metric(&self, line: &str) -> bool {
        let metrics = exchange(self.pair.sync_address(), &Request::new("GET", "/metrics").bytes())
            .unwrap()
            .text();
        metrics.lines().any(|known| known == line)
    }
}

fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_file_name(".new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(&beside, path).unwrap();
}

fn field<'a>(item: &'a Value, label: &str) -> Option<&'a Value> {
    item["fields"].as_array()?.iter().find(|field| field["label"] == label)
}

fn value(item: &Value, label: &str) -> Option<String> {
    field(item, label)?["value"].as_str().map(str::to_owned)
}

fn labelled(item: &Value) -> Vec<(String, String)> {
    let fields = item["fields"].as_array().unwrap();
    fields
        .iter()
        .map(|field| {
            (
                field["label"].as_str().unwrap().to_owned(),
                field["value"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn every_format_becomes_an_item_and_ids_survive_a_rebuilt_store() {
    let Some(mut server) = TestServer::prepare_with_plaintext() else {
        return;
    };
    fs::create_dir(server.secrets().join("prod")).unwrap();
    let yaml = "username: ada\npassword: s3cret\nport: 5432\nratio: 1.50\nempty: \"\"\nhosts: [a, true, null]\n\
                db:\n  host: h\n  tls:\n    ca: c\n";
    server.seal("db.sops.yaml", yaml);
    server.seal(
        "api.enc.json",
        r#"{"password":"j\u00fcst","n":1,"deep":{"er":{"still":"x"}}}"#,
    );
    server.seal("app.env", "A=1\nB=two words\n");
    server.seal("conf.ini", "[main]\nkey = v\n[other]\nkey = w\n");
    let binary: Vec<u8> = (0..=255).collect();
    let sealed = server.sops.encrypt(&server.key, "license.bin", &binary, &[]);
    fs::write(server.secrets().join("license.bin"), sealed).unwrap();
    let sealed = server.sops.encrypt(
        &server.key,
        "web.yaml",
        MANIFEST,
        &["--encrypted-regex", "^(data|stringData)$"],
    );
    fs::write(server.secrets().join("web.yaml"), sealed).unwrap();
    fs::write(server.secrets().join("README.md"), "# not a secret\n").unwrap();
    fs::write(server.secrets().join("prod/plain.yaml"), "k: v\n").unwrap();
    let (token, vault) = server.run("secrets");
    server.pair.wait_source("secrets", "ACTIVE", "files");
    let pair = &server.pair;
    let item = |title: &str| {
        pair.item(&token, &vault, title)
            .unwrap_or_else(|| panic!("no {title}: {}", pair.log(Process::Sync)))
    };

    let db = item("db");
    assert_eq!(db["category"], "LOGIN");
    assert_eq!(
        labelled(&db),
        pairs(&[
            ("username", "ada"),
            ("password", "s3cret"),
            ("port", "5432"),
            ("ratio", "1.5"),
            ("empty", ""),
            ("hosts", r#"["a",true,null]"#),
            ("host", "h"),
            ("tls.ca", "c"),
        ])
    );
    let username = field(&db, "username").unwrap();
    assert_eq!(
        (&username["type"], &username["purpose"]),
        (&json!("STRING"), &json!("USERNAME"))
    );
    let password = field(&db, "password").unwrap();
    assert_eq!(
        (&password["type"], &password["purpose"]),
        (&json!("CONCEALED"), &json!("PASSWORD"))
    );
    assert_eq!(field(&db, "tls.ca").unwrap()["section"]["id"], "db");
    assert_eq!(
        db["sections"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|section| section["id"] == "db")
            .count(),
        1
    );

    let api = item("api");
    assert_eq!(api["category"], "PASSWORD");
    assert_eq!(
        labelled(&api),
        pairs(&[("password", "j\u{fc}st"), ("n", "1"), ("er.still", "x")])
    );
    assert_eq!(labelled(&item("app")), pairs(&[("A", "1"), ("B", "two words")]));
    assert_eq!(item("app")["category"], "SECURE_NOTE");
    let conf = item("conf");
    assert_eq!(labelled(&conf), pairs(&[("key", "v"), ("key", "w")]));
    let sections: Vec<&str> = conf["sections"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|s| s["label"].as_str())
        .collect();
    assert_eq!(sections, ["main", "other"]);

    let license = item("license.bin");
    assert_eq!(license["category"], "DOCUMENT");
    let path = license["files"][0]["content_path"].as_str().unwrap().to_owned();
    assert_eq!(pair.get(&token, &path).body, binary);

    let web = item("web-tls");
    assert_eq!(
        (value(&web, "user").as_deref(), value(&web, "password").as_deref()),
        (Some("ada"), Some("p4ss"))
    );
    assert_eq!(web["files"][0]["name"], "store.jks");
    assert_eq!(
        pair.get(&token, web["files"][0]["content_path"].as_str().unwrap()).body,
        [0xff, 0xef, 0, 0xff]
    );
    let prod = pair.vault(&token, "prod");
    assert_eq!(
        labelled(&pair.item(&token, &prod, "plain").unwrap()),
        pairs(&[("k", "v")])
    );
    let list = |vault: &str| {
        let list = pair.get(&token, &format!("/v1/vaults/{vault}/items")).json();
        let mut ids: Vec<String> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|item| format!("{} {} {}", item["id"], item["title"], item["files"][0]["id"]))
            .collect();
        ids.sort();
        ids
    };
    let before = (vault.clone(), list(&vault), prod.clone(), list(&prod));
    assert_eq!(before.1.len(), 6, "{:?}", before.1);

    server.pair.kill(Process::Api);
    server.pair.kill(Process::Sync);
    fs::remove_dir_all(server.pair.path("data")).unwrap();
    fs::create_dir(server.pair.path("data")).unwrap();
    let (token, vault) = server.run("secrets");
    server.pair.wait_source("secrets", "ACTIVE", "files");
    let pair = &server.pair;
    let prod = pair.vault(&token, "prod");
    let list = |vault: &str| {
        let list = pair.get(&token, &format!("/v1/vaults/{vault}/items")).json();
        let mut ids: Vec<String> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|item| format!("{} {} {}", item["id"], item["title"], item["files"][0]["id"]))
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(
        (vault.clone(), list(&vault), prod.clone(), list(&prod)),
        before,
        "ids changed with the store"
    );
}

/// The shape of a home cluster's repository: a secret in every folder, and manifests and tools beside it.
#[test]
fn of_a_cluster_repository_only_the_secrets_are_served_and_the_rest_is_counted() {
    let Some(mut server) = TestServer::prepare(&["--dir", "{root}/secrets"]) else {
        return;
    };
    let root = server.secrets();
    for (file, text) in [
        (".sops.yaml", "creation_rules: []\n"),
        (".gitignore", "/tmp/\n*.bak\n"),
        ("LICENSE", "MIT\n"),
        ("Taskfile.yaml", "version: '3'\n"),
        ("renovate.json", "{\"extends\": []}\n"),
        ("tmp/notes.yaml", "k: v\n"),
        ("apps/kustomization.yaml", "resources: [plex]\n"),
        ("apps/plex/kustomization.yaml", "resources: [secret.sops.yaml]\n"),
        ("tools/README.md", "# tools\n"),
    ] {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    for (path, token) in [
        ("apps/plex/plex.sops.yaml", "t"),
        ("apps/web.encrypted", "w"),
        ("old.bak", "v"),
    ] {
        let sealed = server.sealed("a.yaml", &format!("token: {token}\n"));
        fs::write(root.join(path), sealed).unwrap();
    }
    server.pair.run(Process::Api);
    server.pair.run(Process::Sync);
    server.pair.wait_linked();
    let token = server
        .pair
        .token("reader", &["apps=read", "tools=read", "secrets=read"]);
    let vault = server.pair.vault(&token, "apps");
    server.wait_value(&token, &vault, "plex", "token", "t");
    server.wait_value(&token, &vault, "web", "token", "w");
    let words = "left out: 6 plaintext (LICENSE, Taskfile.yaml, apps/kustomization.yaml, …), 2 by .gitignore";
    server.pair.wait_source("secrets", "ACTIVE", words);
    let list = server.pair.get(&token, &format!("/v1/vaults/{vault}/items")).json();
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    // Folders without a secret make no vault.
    let vaults = server.pair.get(&token, "/v1/vaults").json();
    assert_eq!(vaults.as_array().unwrap().len(), 1, "{vaults}");
    let log = server.pair.log(Process::Sync);
    assert_eq!(log.matches("left out: 6 plaintext").count(), 1, "{log}");
    // The preview says the same without a server.
    let directory = root.to_string_lossy().into_owned();
    let preview = server.pair.command(&["source", "preview", &directory, "--strict"]);
    for line in [
        "left out: LICENSE: not encrypted, in a tree with encrypted files",
        "left out: old.bak: a .gitignore file",
    ] {
        assert!(preview.lines().any(|shown| shown == line), "{line}: {preview}");
    }
    let row = |file: &str| {
        preview
            .lines()
            .find(|line| line.starts_with(file))
            .map(str::split_whitespace)
    };
    let words: Vec<&str> = row("apps/plex/plex.sops.yaml").expect("a row").collect();
    assert_eq!(words, ["apps/plex/plex.sops.yaml", "apps", "plex", "token"]);
    assert!(!preview.contains("kustomization.yaml apps"), "{preview}");
    // A secret that is decrypted in place keeps its item, and is named.
    replace(&root.join("apps/plex/plex.sops.yaml"), b"token: leaked\n");
    server.pair.wait_source(
        "secrets",
        "DEGRADED",
        "plex.sops.yaml (the file was encrypted and is plaintext now",
    );
    server.wait_value(&token, &vault, "plex", "token", "t");
}

/// The full check of the tree runs once an hour here, so sync can notice the changes by file events only.
#[test]
fn file_events_bring_each_change() {
    let Some(mut server) = TestServer::prepare(&["--config", "{root}/sources.yaml"]) else {
        return;
    };
    let sources = "sources:\n  - directory: { path: secrets, fullCheckSeconds: 3600 }\n";
    fs::write(server.pair.path("sources.yaml"), sources).unwrap();
    server.seal("db.yaml", "password: v0\n");
    let (token, vault) = server.run("secrets");
    server.wait_value(&token, &vault, "db", "password", "v0");
    let first = server.pair.item(&token, &vault, "db").unwrap();
    for n in 1..=10 {
        server.seal("db.yaml", &format!("password: v{n}\n"));
        server.wait_value(&token, &vault, "db", "password", &format!("v{n}"));
    }
    let last = server.pair.item(&token, &vault, "db").unwrap();
    assert_eq!(last["id"], first["id"], "a change made a new item");
    assert_eq!(last["version"], 11);
}

#[test]
fn a_replaced_root_link_changes_all_files_at_once() {
    let Some(mut server) = TestServer::prepare(&["--dir", "{root}/current"]) else {
        return;
    };
    let revision = |n: u32| server.pair.path(&format!("rev{n}"));
    for n in 0..6 {
        fs::create_dir(revision(n)).unwrap();
        for file in ["a.yaml", "b.yaml"] {
            fs::write(revision(n).join(file), server.sealed(file, &format!("k: rev{n}\n"))).unwrap();
        }
        fs::write(revision(n).join(format!("only{n}.yaml")), "k: v\n").unwrap();
    }
    symlink(revision(0), server.pair.path("current")).unwrap();
    let (token, vault) = server.run("current");
    server.wait_value(&token, &vault, "a", "k", "rev0");
    let id = server.pair.item(&token, &vault, "a").unwrap()["id"].clone();
    for n in 1..6 {
        symlink(server.pair.path(&format!("rev{n}")), server.pair.path("current.new")).unwrap();
        fs::rename(server.pair.path("current.new"), server.pair.path("current")).unwrap();
        if n % 2 == 0 {
            fs::remove_dir_all(server.pair.path(&format!("rev{}", n - 1))).unwrap();
        }
        let arrived = wait_until(|| {
            let item = server.pair.item(&token, &vault, "a").expect("never gone in between");
            (value(&item, "k").unwrap() == format!("rev{n}")).then_some(())
        });
        assert!(
            arrived.is_some(),
            "rev{n} never came: {}",
            server.pair.log(Process::Sync)
        );
        server.wait_value(&token, &vault, "b", "k", &format!("rev{n}"));
        let gone = wait_until(|| {
            server
                .pair
                .item(&token, &vault, &format!("only{}", n - 1))
                .is_none()
                .then_some(())
        });
        assert!(gone.is_some(), "what only rev{} had is still there", n - 1);
    }
    assert_eq!(server.pair.item(&token, &vault, "a").unwrap()["id"], id);
}

#[test]
fn a_bad_file_keeps_its_item_and_is_named_in_health_and_log() {
    let Some((server, token, vault)) = TestServer::start() else {
        return;
    };
    server.seal("other.yaml", "k: v\n");
    server.wait_value(&token, &vault, "other", "k", "v");
    let path = server.secrets().join("db.yaml");
    let good = server.sealed("db.yaml", "password: second\nextra: e\n");
    let text = String::from_utf8(good.clone()).unwrap();
    let without_a_line: String = text
        .lines()
        .filter(|line| !line.starts_with("extra:"))
        .map(|line| format!("{line}\n"))
        .collect();
    let mac = text
        .lines()
        .find(|line| line.trim_start().starts_with("mac:"))
        .unwrap()
        .to_owned();
    let other = String::from_utf8(server.sealed("db.yaml", "password: x\n")).unwrap();
    let other_mac = other
        .lines()
        .find(|line| line.trim_start().starts_with("mac:"))
        .unwrap();
    let cut = text.find("sops:").unwrap();
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("nonsense", b"password: [\n".to_vec()),
        ("half written", good[..good.len() / 2].to_vec()),
        ("cut within a value", good[..30].to_vec()),
        ("nothing but ciphertext", text.as_bytes()[..cut].to_vec()),
        ("a line taken out: the MAC is wrong", without_a_line.into_bytes()),
        ("another file's MAC", text.replace(&mac, other_mac).into_bytes()),
        ("a value changed", text.replacen("data:", "data:AA", 1).into_bytes()),
        ("bytes", vec![0xff; 100]),
    ];
    for (name, bytes) in bad {
        replace(&path, &bytes);
        let message = server.pair.wait_source("secrets", "DEGRADED", "db.yaml");
        assert!(
            !message.contains("other.yaml") && !message.contains("second"),
            "{name}: {message}"
        );
        println!("{name}: {message}");
        server.wait_value(&token, &vault, "db", "password", "first");
        assert!(
            server.sync_metric("sidevault_source_failed_files{source=\"secrets\"} 1"),
            "{name}"
        );
        // Other files are served and updated.
        server.seal("other.yaml", &format!("k: {name}\n").replace(": the", " the"));
        server.wait_value(&token, &vault, "other", "k", &name.replace(": the", " the"));
        // The valid file again, so that only one file is bad at a time.
        server.seal("db.yaml", "password: first\n");
        server.pair.wait_source("secrets", "ACTIVE", "files");
    }
    let log = server.pair.log(Process::Sync);
    assert!(
        log.contains("db.yaml") && log.contains("its items stay as they were"),
        "{log}"
    );
    assert!(server.sync_metric("sidevault_source_failed_files{source=\"secrets\"} 0"));
    replace(&path, &good);
    server.wait_value(&token, &vault, "db", "password", "second");
}

/// While a file is slowly written in place, clients get the old item or the new one, never a part of it.
#[test]
fn a_partly_written_file_is_never_served() {
    use std::io::Write as _;
    let Some((server, token, vault)) = TestServer::start() else {
        return;
    };
    let sealed = server.sealed("db.yaml", "password: second\n");
    let mut file = fs::File::create(server.secrets().join("db.yaml")).unwrap();
    for part in sealed.chunks(sealed.len() / 8 + 1) {
        file.write_all(part).unwrap();
        file.flush().unwrap();
        std::thread::sleep(Duration::from_millis(40));
        let item = server.pair.item(&token, &vault, "db").expect("never gone");
        assert!(
            ["first", "second"].contains(&value(&item, "password").unwrap().as_str()),
            "{item}"
        );
    }
    drop(file);
    server.wait_value(&token, &vault, "db", "password", "second");
    server.pair.wait_source("secrets", "ACTIVE", "1 files");
}

#[test]
fn a_removed_file_removes_its_item_and_an_empty_or_missing_tree_removes_none() {
    let Some((mut server, token, vault)) = TestServer::start() else {
        return;
    };
    server.seal("other.yaml", "k: v\n");
    server.wait_value(&token, &vault, "other", "k", "v");
    let id = server.pair.item(&token, &vault, "other").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::remove_file(server.secrets().join("other.yaml")).unwrap();
    let target = format!("/v1/vaults/{vault}/items/{id}");
    let gone =
        wait_until(|| (server.pair.get(&token, &target).status == 404).then(|| server.pair.get(&token, &target)));
    assert_eq!(gone.expect("404").json()["message"], format!("item {id} not found"));

    // The last file is moved away, so the tree looks like a volume that is not mounted.
    let away = server.pair.path("away");
    fs::create_dir(&away).unwrap();
    fs::rename(server.secrets().join("db.yaml"), away.join("db.yaml")).unwrap();
    server.pair.wait_source("secrets", "ACTIVE", "0 files");
    server.wait_value(&token, &vault, "db", "password", "first");
    fs::rename(away.join("db.yaml"), server.secrets().join("db.yaml")).unwrap();
    server.pair.wait_source("secrets", "ACTIVE", "1 files");

    fs::rename(server.secrets(), server.pair.path("elsewhere")).unwrap();
    server
        .pair
        .wait_source("secrets", "FAILED", "what was read before is still served");
    server.wait_value(&token, &vault, "db", "password", "first");
    assert!(server.sync_metric("sidevault_source_up{source=\"secrets\"} 0"));
    // The item is still there after a restart of the api.
    server.pair.kill(Process::Api);
    server.pair.run(Process::Api);
    server.wait_value(&token, &vault, "db", "password", "first");
    fs::rename(server.pair.path("elsewhere"), server.secrets()).unwrap();
    server.pair.wait_source("secrets", "ACTIVE", "1 files");
    server.seal("db.yaml", "password: back\n");
    server.wait_value(&token, &vault, "db", "password", "back");
}

#[test]
fn a_key_that_is_added_to_the_key_file_is_used_without_a_restart() {
    let Some(sops) = Sops::find() else { return };
    let (old, new) = (sops.key(), sops.key());
    let mut pair = ServerPair::prepare(&["--config", "{root}/sources.yaml"], &[]);
    let sources = "sources:\n  - directory: { path: secrets, ageKeyFile: keys/age.txt, fullCheckSeconds: 1 }\n";
    fs::write(pair.path("sources.yaml"), sources).unwrap();
    fs::write(pair.path("keys/age.txt"), &old.secret).unwrap();
    fs::write(
        pair.path("secrets/a.yaml"),
        sops.encrypt(&old, "a.yaml", "k: old\n", &[]),
    )
    .unwrap();
    fs::write(
        pair.path("secrets/b.yaml"),
        sops.encrypt(&new, "b.yaml", "k: new\n", &[]),
    )
    .unwrap();
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let token = pair.token("reader", &["secrets=read"]);
    let vault = pair.vault(&token, "secrets");
    let server = TestServer { pair, sops, key: old };
    server.wait_value(&token, &vault, "a", "k", "old");
    let message = server.pair.wait_source("secrets", "DEGRADED", "b.yaml");
    assert!(!message.contains("AGE-SECRET-KEY"), "{message}");
    assert!(server.pair.item(&token, &vault, "b").is_none());
    fs::write(
        server.pair.path("keys/age.txt"),
        format!("{}{}", server.key.secret, new.secret),
    )
    .unwrap();
    server.wait_value(&token, &vault, "b", "k", "new");
    server.pair.wait_source("secrets", "ACTIVE", "2 files");
}

#[test]
fn encrypted_files_of_any_name_are_decrypted_and_ciphertext_is_never_served() {
    let Some((server, token, vault)) = TestServer::start_with_plaintext() else {
        return;
    };
    let put = |name: &str, bytes: &[u8]| replace(&server.secrets().join(name), bytes);
    let sealed = server.sealed("a.yaml", "base: &b {m: merged}\n<<: *b\nk: yaml\n");
    put("b.yaml.enc", &sealed);
    put("config.env.encrypted", &server.sealed("a.env", "k=env\r\n"));
    put("values.json.sops", &server.sealed("a.json", "{\"k\": \"json\"}"));
    put("app.conf", &server.sealed("a.ini", "k = ini\n"));
    // Markdown and archives may contain encrypted values; any other text with them is refused.
    let quote = "k: ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]\n";
    put("README.md", format!("# Secrets\n\n{quote}").as_bytes());
    put("notes.txt", quote.as_bytes());
    put("archive.tar", format!("a.yaml\0\0{quote}").as_bytes());
    for (title, value) in [("b", "yaml"), ("config", "env"), ("values", "json")] {
        server.wait_value(&token, &vault, title, "k", value);
    }
    assert_eq!(
        labelled(&server.pair.item(&token, &vault, "b").unwrap()),
        pairs(&[("m", "merged"), ("m", "merged"), ("k", "yaml")])
    );
    server.wait_value(&token, &vault, "app", "k", "ini");
    let message = server
        .pair
        .wait_source("secrets", "DEGRADED", "notes.txt (the file holds encrypted values");
    assert!(message.starts_with("1 of "), "{message}");
    assert!(server.pair.item(&token, &vault, "archive.tar").is_some());
    for absent in ["README.md", "README", "notes.txt", "notes", "b.yaml.enc"] {
        assert!(server.pair.item(&token, &vault, absent).is_none(), "{absent}");
    }
    // When a valid file is damaged, its item stays.
    put("b.yaml.enc", &[&sealed[..sealed.len() / 2], b"\n"].concat());
    server.pair.wait_source("secrets", "DEGRADED", "b.yaml.enc");
    server.wait_value(&token, &vault, "b", "k", "yaml");
}

#[test]
fn an_unsupported_key_is_logged_once_and_the_others_are_used() {
    let Some(sops) = Sops::find() else { return };
    let key = sops.key();
    let mut pair = ServerPair::prepare(
        &["--dir", "{root}/secrets"],
        &[
            ("SOPS_AGE_KEY_FILE", "{root}/keys/age.txt"),
            ("SOPS_AGE_KEY_CMD", "cat {root}/keys/age.txt"),
        ],
    );
    let keys = format!("AGE-SECRET-KEY-PQ-1QQ\n{}AGE-PLUGIN-YUBIKEY-1QQ\n", key.secret);
    fs::write(pair.path("keys/age.txt"), keys).unwrap();
    let sealed = |key, name: &str| sops.encrypt(key, name, "k: opened\n", &[]);
    fs::write(pair.path("secrets/a.yaml"), sealed(&key, "a.yaml")).unwrap();
    fs::write(pair.path("secrets/other.yaml"), sealed(&sops.key(), "other.yaml")).unwrap();
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let token = pair.token("reader", &["secrets=read"]);
    let vault = pair.vault(&token, "secrets");
    let server = TestServer { pair, sops, key };
    server.wait_value(&token, &vault, "a", "k", "opened");
    let message = server
        .pair
        .wait_source("secrets", "DEGRADED", "other.yaml (no age identity");
    assert!(
        message.contains("age.txt: line 1: not a valid post-quantum age identity"),
        "{message}"
    );
    // Each is logged once, however often the tree is read.
    server.seal("b.yaml", "k: more\n");
    server.wait_value(&token, &vault, "b", "k", "more");
    let log = server.pair.log(Process::Sync);
    for words in [
        "age.txt: line 1: not a valid post-quantum age identity",
        "age.txt: line 5: not a valid identity of an age plugin",
        "SOPS_AGE_KEY_CMD: line 1: not a valid post-quantum age identity",
    ] {
        let lines = log
            .lines()
            .filter(|line| line.contains("an age key is not used") && line.contains(words));
        assert_eq!(lines.count(), 1, "{words}: {log}");
    }
    assert!(!log.contains("1QQ"), "{log}");
}

#[test]
fn a_write_to_a_directory_vault_is_refused_with_403() {
    let Some((server, token, vault)) = TestServer::start() else {
        return;
    };
    let id = server.pair.item(&token, &vault, "db").unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let items = format!("/v1/vaults/{vault}/items");
    let target = format!("{items}/{id}");
    let item = r#"{"title":"x","category":"LOGIN"}"#;
    for (method, target, body) in [
        ("POST", &items, item),
        ("PUT", &target, item),
        ("PATCH", &target, r#"[{"op":"replace","path":"/title","value":"x"}]"#),
        ("DELETE", &target, ""),
        ("POST", &format!("{target}/versions/1/restore"), ""),
    ] {
        let reply = server.pair.ask(&token, method, target, body).unwrap();
        let message = reply.json()["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(reply.status, 403, "{method} {target}: {message}");
        assert!(
            message.starts_with("Authorization:") && message.contains("\"secrets\"") && message.contains("read-only"),
            "{message}"
        );
    }
    server.wait_value(&token, &vault, "db", "password", "first");
}

#[test]
fn a_link_out_of_the_tree_is_not_followed() {
    let Some((server, token, vault)) = TestServer::start() else {
        return;
    };
    fs::write(server.pair.path("outside.yaml"), "k: outside\n").unwrap();
    fs::create_dir(server.pair.path("outer")).unwrap();
    fs::write(server.pair.path("outer/inner.yaml"), "k: outside\n").unwrap();
    symlink("../outside.yaml", server.secrets().join("file.yaml")).unwrap();
    symlink("/etc/passwd", server.secrets().join("passwd.yaml")).unwrap();
    symlink("../outer", server.secrets().join("folder")).unwrap();
    symlink("/proc/self/environ", server.secrets().join("environ")).unwrap();
    symlink(".", server.secrets().join("circle")).unwrap();
    symlink("nowhere", server.secrets().join("broken.yaml")).unwrap();
    let message = server
        .pair
        .wait_source("secrets", "DEGRADED", "file.yaml (a link that leads out of the tree");
    for name in ["passwd.yaml", "folder", "environ"] {
        assert!(message.contains(name), "{name}: {message}");
    }
    // A link within the tree is read like the file.
    symlink("db.yaml", server.secrets().join("same.yaml")).unwrap();
    server.wait_value(&token, &vault, "same", "password", "first");
    let list = server.pair.get(&token, &format!("/v1/vaults/{vault}/items")).json();
    let mut titles: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| item["title"].as_str())
        .collect();
    titles.sort_unstable();
    assert_eq!(titles, ["db", "same"]);
    let vaults = server.pair.get(&token, "/v1/vaults").json();
    assert_eq!(vaults.as_array().unwrap().len(), 1, "{vaults}");
}

/// Limit of the memory of api and of sync. It is below the file's size.
const MEMORY_LIMIT: u64 = 85_000_000;

#[test]
fn a_file_of_100_mb_is_streamed() {
    let Some((server, token, vault)) = TestServer::start_with_plaintext() else {
        return;
    };
    // Not all zeros, and different in each of its blocks.
    let mut content = vec![0; 100_000_000];
    for (n, part) in content.chunks_mut(1000).enumerate() {
        part[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    }
    replace(&server.secrets().join("large.bin"), &content);
    let item = wait_until(|| server.pair.item(&token, &vault, "large.bin")).expect("the large file");
    assert_eq!(item["files"][0]["size"], 100_000_000);
    let path = item["files"][0]["content_path"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let reply = server.pair.get(&token, &path);
        assert!(
            reply.status == 200 && reply.body == content,
            "{} with {} bytes",
            reply.status,
            reply.body.len()
        );
    }
    let most = [Process::Api, Process::Sync].map(|half| server.pair.most_memory(half).unwrap());
    println!(
        "at most {:.1} MB in api, {:.1} MB in sync",
        most[0] as f64 / 1e6,
        most[1] as f64 / 1e6
    );
    assert!(most.iter().all(|most| *most < MEMORY_LIMIT), "{most:?} bytes");
}

#[test]
fn post_quantum_keys_of_a_command_are_used_and_replaced_without_a_restart() {
    let Some(sops) = Sops::find() else { return };
    let (first, second) = (sops.post_quantum_key(), sops.post_quantum_key());
    let pair = ServerPair::prepare(
        &[
            "--dir",
            "{root}/secrets",
            "--age-key-file",
            "{root}/keys/one",
            "--age-key-file",
            "{root}/keys/two",
        ],
        &[("SOPS_AGE_KEY_CMD", "cat '{root}/keys/command'")],
    );
    fs::write(pair.path("keys/one"), "# none yet\n").unwrap();
    fs::write(pair.path("keys/two"), "# none yet\n").unwrap();
    fs::write(pair.path("keys/command"), &first.secret).unwrap();
    let mut server = TestServer { pair, sops, key: first };
    server.seal("db.yaml", "password: first\n");
    let (token, vault) = server.run("secrets");
    server.wait_value(&token, &vault, "db", "password", "first");
    // The new key comes to a key file while sync runs; the file that is sealed to it causes the scan that reads it.
    fs::write(server.pair.path("keys/two"), &second.secret).unwrap();
    server.key = second;
    server.seal("db.yaml", "password: second\n");
    server.wait_value(&token, &vault, "db", "password", "second");
    let log = server.pair.log(Process::Sync);
    assert!(!log.contains("AGE-SECRET-KEY"), "{log}");
}
