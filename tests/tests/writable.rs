//! Writes over the API to the files of a source with `writable: true`. The real `sops` opens and verifies each file that was
//! written.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::sops::{Key, Sops};
use sidevault_tests::tools::skipped;
use sidevault_tests::volume::Volume;
use sidevault_tests::wire::Reply;

const SECRET: &str = "apiVersion: v1
kind: Secret
metadata:
  name: web
data:
  user: YWRh
stringData:
  password: p4ss
";

/// A pair with a writable tree, and a client that may write.
struct TestServer {
    pair: ServerPair,
    sops: Sops,
    key: Key,
    token: String,
    vault: String,
}

impl TestServer {
    /// Serves these files, each encrypted by sops with these arguments.
    fn start(files: &[(&str, &str, &[&str])]) -> Option<Self> {
        Self::start_on(files, |_| Some(()))
    }

    /// The same in a directory that `prepare` was called with. `None` if that returns nothing.
    fn start_on<T>(files: &[(&str, &str, &[&str])], prepare: impl FnOnce(&Path) -> Option<T>) -> Option<Self> {
        let sops = Sops::find()?;
        let key = sops.key();
        let pair = ServerPair::prepare(
            &["--config", "{root}/sources.yaml"],
            &[("SOPS_AGE_KEY_FILE", "{root}/keys/age.txt")],
        );
        fs::write(pair.path("keys/age.txt"), &key.secret).unwrap();
        let sources = "sources:\n  - directory: { path: secrets, writable: true, encrypted: any }\n";
        fs::write(pair.path("sources.yaml"), sources).unwrap();
        fs::create_dir_all(pair.path("secrets")).unwrap();
        prepare(&pair.path("secrets"))?;
        for (name, plain, arguments) in files {
            let sealed = sops.encrypt(&key, name, plain, arguments);
            fs::write(pair.path("secrets").join(name), sealed).unwrap();
        }
        let mut server = Self {
            pair,
            sops,
            key,
            token: String::new(),
            vault: String::new(),
        };
        server.run();
        Some(server)
    }

    fn run(&mut self) {
        self.pair.run(Process::Api);
        self.pair.run(Process::Sync);
        self.pair.wait_linked();
        self.token = self.pair.token("writer", &["secrets=read,write"]);
        self.vault = self.pair.vault(&self.token, "secrets");
        self.pair.wait_source("secrets", "ACTIVE", "");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.pair.path("secrets").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    /// What sops makes of a file.
    fn decrypted(&self, name: &str) -> String {
        self.sops.decrypt(&self.key, &self.file(name), &[])
    }

    fn item(&self, title: &str) -> Value {
        self.pair.item(&self.token, &self.vault, title).unwrap()
    }

    fn path(&self, item: &Value) -> String {
        format!("/v1/vaults/{}/items/{}", self.vault, item["id"].as_str().unwrap())
    }

    fn put(&self, item: &Value) -> Reply {
        self.pair
            .ask(&self.token, "PUT", &self.path(item), &item.to_string())
            .unwrap()
    }

    fn patch(&self, title: &str, operations: &Value) -> Reply {
        let path = self.path(&self.item(title));
        self.pair
            .ask(&self.token, "PATCH", &path, &operations.to_string())
            .unwrap()
    }

    fn set(&self, title: &str, field: &str, value: &str) -> Reply {
        let path = format!("/fields/{field}/value");
        self.patch(title, &json!([{"op": "replace", "path": path, "value": value}]))
    }
}

fn message(reply: &Reply) -> String {
    reply.json()["message"].as_str().unwrap_or_default().to_owned()
}

fn value(item: &Value, label: &str) -> Option<String> {
    let fields = item["fields"].as_array()?;
    let field = fields.iter().find(|field| field["label"] == label)?;
    field["value"].as_str().map(str::to_owned)
}

fn set_value(item: &mut Value, label: &str, value: &str) {
    let fields = item["fields"].as_array_mut().unwrap();
    let field = fields.iter_mut().find(|field| field["label"] == label).unwrap();
    field["value"] = json!(value);
}

#[test]
fn a_patched_value_changes_its_line_in_each_format() {
    let Some(server) = TestServer::start(&[
        (
            "db.yaml",
            "# who may\nusername: ada # the first\npassword: old\nport: 5432\n",
            &[],
        ),
        ("app.env", "A=1\nB=two\n", &[]),
        ("web.ini", "[db]\nuser = u\npass = p\n", &[]),
        ("api.json", "{\"a\": \"1\", \"b\": {\"c\": 2}}", &[]),
        ("tls.yaml", SECRET, &["--encrypted-regex", "^(data|stringData)$"]),
    ]) else {
        return;
    };
    fs::set_permissions(server.file("db.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    let first = server.decrypted("db.yaml");
    for (file, title, field, label, decrypted) in [
        ("db.yaml", "db", "password", "password", "password: n3w"),
        ("app.env", "app", "B", "B", "B=n3w"),
        ("web.ini", "web", "db.pass", "pass", "pass = n3w"),
        ("api.json", "api", "b.c", "c", "\"c\": \"n3w\""),
        ("tls.yaml", "web", "user", "user", "user: bjN3"),
        ("tls.yaml", "web", "password", "password", "password: n3w"),
    ] {
        // Two files make an item `web`, so it is found by its field's id.
        let item = server
            .pair
            .get(&server.token, &format!("/v1/vaults/{}/items", server.vault))
            .json();
        let item = item.as_array().unwrap().iter().filter(|item| item["title"] == title);
        let item = item.map(|item| server.pair.get(&server.token, &server.path(item)).json());
        let has_field = |item: &Value| {
            item["fields"]
                .as_array()
                .unwrap()
                .iter()
                .any(|found| found["id"] == field)
        };
        let item = item.into_iter().find(has_field).unwrap();
        let before = server.text(file);
        let operation = json!([{"op": "replace", "path": format!("/fields/{field}/value"), "value": "n3w"}]);
        let reply = server
            .pair
            .ask(&server.token, "PATCH", &server.path(&item), &operation.to_string())
            .unwrap();
        assert_eq!(reply.status, 200, "{file}: {}", message(&reply));
        assert_eq!(
            reply.json()["version"],
            item["version"],
            "{file}: Connect answers with the version from before"
        );
        let now = server.pair.get(&server.token, &server.path(&item)).json();
        assert_eq!(value(&now, label).as_deref(), Some("n3w"), "{file}");
        assert_eq!(now["version"], item["version"].as_u64().unwrap() + 1, "{file}");
        let after = server.text(file);
        let changed = after
            .lines()
            .filter(|line| !before.lines().any(|old| old == *line))
            .count();
        // The value, the MAC, and the time, if a second has passed.
        assert!((2..=3).contains(&changed), "{file}: {after}");
        assert_eq!(after.lines().count(), before.lines().count(), "{file}: {after}");
        assert!(
            server.decrypted(file).contains(decrypted),
            "{file}: {}",
            server.decrypted(file)
        );
    }
    assert_eq!(
        fs::metadata(server.file("db.yaml")).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(server.decrypted("db.yaml"), first.replace("old", "n3w"));
    let left: Vec<_> = fs::read_dir(server.file(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 5, "{left:?}");
}

#[test]
fn a_put_adds_changes_and_removes_fields_and_keeps_the_rest() {
    let plain = "username: ada\npassword: old\nport: 5432\ntls:\n    ca: one\n    key: two\n";
    let Some(server) = TestServer::start(&[("db.yaml", plain, &[])]) else {
        return;
    };
    let mut item = server.item("db");
    set_value(&mut item, "port", "5433");
    set_value(&mut item, "ca", "new\nlines: \"x\"");
    let fields = item["fields"].as_array_mut().unwrap();
    fields.retain(|field| field["label"] != "username" && field["label"] != "key");
    fields.push(json!({"label": "host", "value": "db.example"}));
    fields.push(json!({"label": "crl", "value": "three", "section": {"id": "tls"}}));
    let reply = server.put(&item);
    assert_eq!(reply.status, 200, "{}", message(&reply));
    let decrypted = server
        .sops
        .decrypt(&server.key, &server.file("db.yaml"), &["--output-type", "json"]);
    let decrypted: Value = serde_json::from_str(&decrypted).unwrap();
    let wanted = json!({
        "password": "old", "port": 5433, "host": "db.example",
        "tls": {"ca": "new\nlines: \"x\"", "crl": "three"},
    });
    assert_eq!(decrypted, wanted, "a number stays one");
    let now = server.item("db");
    assert_eq!(value(&now, "host").as_deref(), Some("db.example"));
    assert_eq!(now["category"], "PASSWORD", "the category follows from the fields");

    // The answer has the version from before, as Connect's. A client that goes on from it is not refused.
    let mut answered = reply.json();
    set_value(&mut answered, "password", "again");
    assert_eq!(server.put(&answered).status, 200);

    // The first version comes back.
    let path = format!("{}/versions/1/restore", server.path(&item));
    let reply = server.pair.ask(&server.token, "POST", &path, "").unwrap();
    assert_eq!(reply.status, 200, "{}", message(&reply));
    let decrypted = server
        .sops
        .decrypt(&server.key, &server.file("db.yaml"), &["--output-type", "json"]);
    let decrypted: Value = serde_json::from_str(&decrypted).unwrap();
    assert_eq!(
        decrypted,
        json!({"username": "ada", "password": "old", "port": 5432, "tls": {"ca": "one", "key": "two"}}),
    );
}

#[test]
fn a_write_of_nothing_new_leaves_the_bytes() {
    let Some(server) = TestServer::start(&[("db.yaml", "password: old\n", &[])]) else {
        return;
    };
    let (before, item) = (fs::read(server.file("db.yaml")).unwrap(), server.item("db"));
    assert_eq!(server.put(&item).status, 200);
    assert_eq!(server.set("db", "password", "old").status, 200);
    assert_eq!(fs::read(server.file("db.yaml")).unwrap(), before);
    assert_eq!(server.item("db"), item);
}

#[test]
fn a_change_of_what_the_client_did_not_see_is_a_conflict() {
    let Some(server) = TestServer::start(&[("db.yaml", "password: old\nuser: a\n", &[])]) else {
        return;
    };
    let mut seen = server.item("db");
    let sealed = server
        .sops
        .encrypt(&server.key, "db.yaml", "password: theirs\nuser: b\n", &[]);
    replace(&server.file("db.yaml"), &sealed);
    set_value(&mut seen, "password", "mine");
    for _ in 0..2 {
        let reply = server.put(&seen);
        assert_eq!(reply.status, 409, "{}", message(&reply));
        assert!(
            message(&reply).contains("conflict") && message(&reply).contains("read the item again"),
            "{}",
            message(&reply)
        );
    }
    assert_eq!(fs::read(server.file("db.yaml")).unwrap(), sealed);
    // What the refused write found on disk is served.
    assert_eq!(value(&server.item("db"), "password").as_deref(), Some("theirs"));
    // A patch names what it changes, and applies to what is there.
    replace(
        &server.file("db.yaml"),
        &server
            .sops
            .encrypt(&server.key, "db.yaml", "password: third\nuser: c\n", &[]),
    );
    assert_eq!(server.set("db", "password", "mine").status, 200);
    assert_eq!(server.decrypted("db.yaml"), "password: mine\nuser: c\n");
    let stale = server.put(&seen);
    assert_eq!(stale.status, 409, "{}", message(&stale));
}

#[test]
fn what_a_file_can_not_hold_is_refused_and_changes_nothing() {
    let Some(server) = TestServer::start(&[
        (
            "db.yaml",
            "password: old\nlist:\n    - a\nempty: \"\"\nnote_unencrypted: x\n",
            &[],
        ),
        ("two.yaml", "a: 1\n---\nb: 2\n", &[]),
        ("key.bin", "bytes", &[]),
    ]) else {
        return;
    };
    let before = fs::read(server.file("db.yaml")).unwrap();
    for (operation, words) in [
        (
            json!({"op": "replace", "path": "/title", "value": "x"}),
            "rename the file",
        ),
        (
            json!({"op": "replace", "path": "/category", "value": "LOGIN"}),
            "category follows",
        ),
        (json!({"op": "add", "path": "/tags", "value": ["x"]}), "tags follow"),
        (
            json!({"op": "replace", "path": "/favorite", "value": true}),
            "no favourite",
        ),
        (
            json!({"op": "replace", "path": "/fields/password/label", "value": "x"}),
            "its place in the file",
        ),
        (
            json!({"op": "replace", "path": "/fields/list/value", "value": "x"}),
            "list can't be changed",
        ),
        (
            json!({"op": "replace", "path": "/fields/empty/value", "value": "x"}),
            "empty can't be changed",
        ),
        (
            json!({"op": "replace", "path": "/fields/note_unencrypted/value", "value": "y"}),
            "leaves it in the clear",
        ),
        (
            json!({"op": "add", "path": "/fields", "value": {"label": "sops", "value": "x"}}),
            "choose another name",
        ),
        (
            json!({"op": "add", "path": "/fields", "value": {"label": "n", "value": "x", "section": {"label": "new"}}}),
            "new.n can't be changed",
        ),
        (
            json!({"op": "add", "path": "/fields", "value": {"label": "o", "type": "OTP", "value": "JBSWY3DPEHPK3PXP"}}),
            "one-time password",
        ),
    ] {
        let reply = server.patch("db", &json!([operation]));
        assert_eq!(reply.status, 400, "{operation}: {}", message(&reply));
        let said = message(&reply);
        assert!(
            said.contains(words) && said.contains("db.yaml") && said.contains("Nothing was changed"),
            "{words}: {said}"
        );
    }
    assert_eq!(fs::read(server.file("db.yaml")).unwrap(), before);
    for (title, method, words) in [("two", "DELETE", "has 2 items"), ("key.bin", "PUT", "no way to upload")] {
        let mut item = server.item(title);
        if method == "PUT" {
            item["fields"] = json!([{"label": "a", "value": "b"}]);
        }
        let reply = server
            .pair
            .ask(&server.token, method, &server.path(&item), &item.to_string())
            .unwrap();
        assert_eq!(reply.status, 400, "{title}: {}", message(&reply));
        assert!(message(&reply).contains(words), "{title}: {}", message(&reply));
    }
    let missing = format!("/v1/vaults/{}/items/abcdefghijklmnopqrstuvwxyz", server.vault);
    assert_eq!(
        server.pair.ask(&server.token, "DELETE", &missing, "").unwrap().status,
        404
    );
}

#[test]
fn a_deleted_item_takes_its_file_along() {
    let Some(server) = TestServer::start(&[("db.yaml", "password: old\n", &[]), ("key.bin", "bytes", &[])]) else {
        return;
    };
    for (title, file) in [("db", "db.yaml"), ("key.bin", "key.bin")] {
        let path = server.path(&server.item(title));
        assert_eq!(server.pair.ask(&server.token, "DELETE", &path, "").unwrap().status, 204);
        assert_eq!(server.pair.get(&server.token, &path).status, 404);
        assert!(!server.file(file).exists());
    }
}

#[test]
fn a_plaintext_file_keeps_its_form() {
    let Some(server) = TestServer::start(&[("sealed.yaml", "a: 1\n", &[])]) else {
        return;
    };
    let yaml = "# top\nusername: 'ada'   # who\nport: 5432\npassword: \"old\"\nkey: |\n  one\n  two\nnested:\n  deep: {a: b}\n";
    for (name, text) in [
        ("p.yaml", yaml),
        ("e.env", "# c\nA=1\nB=two\n"),
        ("i.ini", "; c\n[s]\na = 1\nb=two\n"),
        ("j.json", "{\n  \"a\": \"1\",\n  \"b\": {\"c\": 2}\n}\n"),
    ] {
        replace(&server.file(name), text.as_bytes());
    }
    assert!(wait_until(|| server.pair.item(&server.token, &server.vault, "j")).is_some());
    assert!(wait_until(|| server.pair.item(&server.token, &server.vault, "p")).is_some());
    for (title, field, text) in [
        ("p", "username", "b: c"),
        ("p", "port", "1"),
        ("p", "key", "three\n\nfour\n"),
        ("p", "nested.deep.a", "x"),
        ("e", "B", "x\ny"),
        ("i", "s.b", "3"),
        ("j", "b.c", "\"q\""),
    ] {
        let reply = server.set(title, field, text);
        assert_eq!(reply.status, 200, "{title}: {}", message(&reply));
    }
    let reply = server.patch(
        "p",
        &json!([{"op": "add", "path": "/fields", "value": {"label": "new", "value": "true"}}]),
    );
    assert_eq!(reply.status, 200, "{}", message(&reply));
    let reply = server.patch("p", &json!([{"op": "remove", "path": "/fields/password"}]));
    assert_eq!(reply.status, 200, "{}", message(&reply));
    assert_eq!(
        server.text("p.yaml"),
        "# top\nusername: \"b: c\"   # who\nport: 1\nkey: |\n  three\n\n  four\nnew: \"true\"\nnested:\n  deep: {a: x}\n"
    );
    assert_eq!(server.text("e.env"), "# c\nA=1\nB=x\\ny\n");
    assert_eq!(server.text("i.ini"), "; c\n[s]\na = 1\nb=3\n");
    assert_eq!(
        server.text("j.json"),
        "{\n  \"a\": \"1\",\n  \"b\": {\"c\": \"\\\"q\\\"\"}\n}\n"
    );
}

#[test]
fn a_new_item_is_a_new_file_by_the_creation_rules() {
    let Some(server) = TestServer::start(&[("sealed.yaml", "a: 1\n", &[])]) else {
        return;
    };
    let post = |body: &Value| {
        let path = format!("/v1/vaults/{}/items", server.vault);
        server
            .pair
            .ask(&server.token, "POST", &path, &body.to_string())
            .unwrap()
    };
    let rules = format!(
        "creation_rules:\n  - path_regex: ^web.*$\n    age: {0}\n    encrypted_regex: ^password$\n  - path_regex: pgp\n    pgp: ABCD\n  \
         - path_regex: ^(db|hidden|sealed|secret)\n    age: {0}\n",
        server.key.recipient
    );
    fs::write(server.file(".sops.yaml"), rules).unwrap();
    fs::write(server.file(".gitignore"), "hidden*\n").unwrap();
    let body = json!({
        "title": "db", "category": "LOGIN", "vault": {"id": server.vault},
        "fields": [
            {"purpose": "USERNAME", "value": "ada"},
            {"purpose": "PASSWORD", "generate": true, "recipe": {"length": 20}},
            {"label": "port", "value": "5432", "section": {"id": "s1"}},
        ],
        "sections": [{"id": "s1", "label": "conn"}],
    });
    let reply = post(&body);
    assert_eq!(reply.status, 200, "{}", message(&reply));
    let made = reply.json();
    assert_eq!(server.pair.get(&server.token, &server.path(&made)).json(), made);
    let password = value(&made, "password").unwrap();
    assert_eq!(password.len(), 20);
    let decrypted = server
        .sops
        .decrypt(&server.key, &server.file("db.sops.yaml"), &["--output-type", "json"]);
    let decrypted: Value = serde_json::from_str(&decrypted).unwrap();
    assert_eq!(
        decrypted,
        json!({"username": "ada", "password": password, "conn": {"port": "5432"}})
    );
    // It can be changed like any other, and sops can change it.
    assert_eq!(server.set("db", "conn.port", "1").status, 200);
    assert!(server.decrypted("db.sops.yaml").contains("port: \"1\""));

    let mut web = body.clone();
    web["title"] = json!("web");
    assert_eq!(post(&web).status, 200);
    let text = server.text("web.sops.yaml");
    assert!(
        text.contains("username: \"ada\"") && text.contains("password: ENC["),
        "{text}"
    );
    server.decrypted("web.sops.yaml");

    for (title, change, status, words) in [
        ("db", json!({}), 409, "file of this name"),
        ("pgp", json!({}), 400, "PGP ABCD"),
        ("other", json!({}), 400, "no creation rule"),
        ("hidden", json!({}), 400, "leave hidden.sops.yaml out"),
        ("a/b", json!({}), 400, "no slash"),
        (".x", json!({}), 400, "no dot"),
        ("db2", json!({"tags": ["x"]}), 400, "tags follow"),
        ("db2", json!({"fields": []}), 400, "needs a field"),
        (
            "db2",
            json!({"fields": [{"label": "a", "value": "1"}, {"label": "a", "value": "2"}]}),
            400,
            "two fields",
        ),
        (
            "db2",
            json!({"fields": [{"label": "apiVersion", "value": "v1"}, {"label": "kind", "value": "x"}]}),
            400,
            "other labels",
        ),
    ] {
        let mut body = body.clone();
        body["title"] = json!(title);
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let reply = post(&body);
        assert_eq!(reply.status, status, "{title}: {}", message(&reply));
        assert!(message(&reply).contains(words), "{title}, {words}: {}", message(&reply));
    }
    let mut left: Vec<_> = fs::read_dir(server.file(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(
        left,
        [
            ".gitignore",
            ".sops.yaml",
            "db.sops.yaml",
            "sealed.yaml",
            "web.sops.yaml"
        ]
    );
}

#[test]
fn what_a_folder_says_of_its_files_stays_when_clients_write() {
    let Some(server) = TestServer::start(&[("db.yaml", "password: old\nurl: u\n", &[])]) else {
        return;
    };
    let folder =
        "files:\n  db.yaml: {title: Database, tags: [prod], fields: {url: URL}}\n  other.sops.yaml: {title: Chosen}\n";
    fs::write(server.file(".sidevault.yaml"), folder).unwrap();
    let find = || server.pair.item(&server.token, &server.vault, "Database");
    assert!(wait_until(find).is_some());
    let reply = server.set("Database", "password", "n3w");
    assert_eq!(reply.status, 200, "{}", message(&reply));
    let item = server.item("Database");
    assert_eq!(value(&item, "password").as_deref(), Some("n3w"));
    assert_eq!(item["tags"], json!(["prod"]));
    let fields = item["fields"].as_array().unwrap();
    assert!(
        fields
            .iter()
            .any(|field| field["label"] == "url" && field["type"] == "URL"),
        "{item}"
    );
    assert_eq!(server.decrypted("db.yaml"), "password: n3w\nurl: u\n");

    let rules = format!("creation_rules:\n  - age: {}\n", server.key.recipient);
    fs::write(server.file(".sops.yaml"), rules).unwrap();
    let path = format!("/v1/vaults/{}/items", server.vault);
    let body = json!({"title": "other", "category": "LOGIN", "fields": [{"label": "a", "value": "1"}]}).to_string();
    let reply = server.pair.ask(&server.token, "POST", &path, &body).unwrap();
    assert_eq!(reply.status, 400);
    assert!(message(&reply).contains("the title \"Chosen\""), "{}", message(&reply));
    assert!(!server.file("other.sops.yaml").exists());
}

#[test]
fn a_new_item_goes_into_the_folder_that_gives_its_files_the_vault() {
    let Some(server) = TestServer::start(&[("db.yaml", "password: old\n", &[])]) else {
        return;
    };
    fs::create_dir_all(server.file("apps/tv/plex")).unwrap();
    fs::write(server.file("apps/tv/.sidevault.yaml"), "vault: Television\n").unwrap();
    let rules = format!("creation_rules:\n  - age: {}\n", server.key.recipient);
    fs::write(server.file(".sops.yaml"), rules).unwrap();
    let sealed = server.sops.encrypt(&server.key, "a.yaml", "k: v\n", &[]);
    fs::write(server.file("apps/tv/plex/a.sops.yaml"), sealed).unwrap();
    server.pair.wait_source("secrets", "ACTIVE", "2 files");
    let token = server.pair.token("tv", &["television=read,write"]);
    let vault = server.pair.vault(&token, "Television");
    let body = json!({"title": "new", "category": "LOGIN", "fields": [{"label": "a", "value": "1"}]}).to_string();
    let path = format!("/v1/vaults/{vault}/items");
    let reply = server.pair.ask(&token, "POST", &path, &body).unwrap();
    assert_eq!(reply.status, 200, "{}", message(&reply));
    assert_eq!(server.decrypted("apps/tv/new.sops.yaml"), "a: \"1\"\n");
    let item = server.pair.item(&token, &vault, "new").unwrap();
    assert_eq!(value(&item, "a").as_deref(), Some("1"));
    // It can be changed, and deleted with its file.
    let path = format!("{path}/{}", item["id"].as_str().unwrap());
    let reply = server.pair.ask(&token, "DELETE", &path, "").unwrap();
    assert_eq!(reply.status, 204, "{}", message(&reply));
    assert!(!server.file("apps/tv/new.sops.yaml").exists());
}

/// Random changes of files of each format, after each of which the API and sops must say the same. SIDEVAULT_WRITES is their number.
#[test]
fn what_sops_decrypts_is_what_the_api_shows() {
    const TEXTS: [&str; 12] = [
        "plain",
        "",
        " x ",
        "12",
        "true",
        "null",
        "a: b # c",
        "\"q\" 'r' \\",
        "two\nlines\n",
        "é\u{1f511}",
        "[x, {y}]",
        "=;&*!|>%@`",
    ];
    let files = [
        ("a.yaml", "user: ada\nport: 1\ndeep:\n    on: true\n    off: x\n"),
        ("b.json", "{\"user\": \"ada\", \"deep\": {\"n\": 1, \"m\": \"x\"}}"),
        ("c.env", "USER=ada\nPORT=1\n"),
        ("d.ini", "[s]\nuser = ada\nport = 1\n"),
    ];
    let Some(server) = TestServer::start(&files.map(|(name, plain)| (name, plain, &[][..]))) else {
        return;
    };
    let steps: usize = std::env::var("SIDEVAULT_WRITES").map_or(40, |text| text.parse().unwrap());
    let mut random = 20_261_201_u64;
    let mut pick = |below: usize| {
        // Knuth's generator: the same changes in each run.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    let mut refused = 0;
    for step in 0..steps {
        let (file, _) = files[pick(files.len())];
        let item = server.item(&file[..1]);
        let fields = item["fields"].as_array().unwrap();
        let text = TEXTS[pick(TEXTS.len())];
        let field = fields.get(pick(fields.len().max(1)));
        let operation = match (pick(4), field) {
            (0, Some(field)) if fields.len() > 2 => {
                json!({"op": "remove", "path": format!("/fields/{}", field["id"].as_str().unwrap())})
            }
            (1, Some(field)) => {
                let mut added = json!({"label": format!("n{step}"), "value": text});
                if let Some(section) = field.get("section") {
                    added["section"] = section.clone();
                }
                json!({"op": "add", "path": "/fields", "value": added})
            }
            (_, Some(field)) => {
                json!({"op": "replace", "path": format!("/fields/{}/value", field["id"].as_str().unwrap()), "value": text})
            }
            (_, None) => continue,
        };
        let before = fs::read(server.file(file)).unwrap();
        let reply = server.patch(&file[..1], &json!([operation]));
        if reply.status == 400 {
            refused += 1;
            assert_eq!(fs::read(server.file(file)).unwrap(), before, "{operation}");
            continue;
        }
        assert_eq!(reply.status, 200, "{operation}: {}", message(&reply));
        let decrypted = server
            .sops
            .decrypt(&server.key, &server.file(file), &["--output-type", "json"]);
        let decrypted: Value = serde_json::from_str(&decrypted).unwrap();
        let mut wanted = Vec::new();
        flatten(&decrypted, "", &mut wanted);
        let now = server.item(&file[..1]);
        let shown = now["fields"].as_array().unwrap().iter();
        let mut shown: Vec<(String, String)> = shown
            .map(|field| {
                (
                    field["id"].as_str().unwrap().to_owned(),
                    field["value"].as_str().unwrap_or_default().to_owned(),
                )
            })
            .collect();
        shown.sort();
        wanted.sort();
        assert_eq!(shown, wanted, "{file}: {operation}");
    }
    assert!(refused * 2 < steps, "{refused} of {steps} were refused");
}

fn flatten(value: &Value, path: &str, all: &mut Vec<(String, String)>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                flatten(value, &path, all);
            }
        }
        Value::String(text) => all.push((path.to_owned(), text.clone())),
        other => all.push((path.to_owned(), other.to_string())),
    }
}

/// The tree is not read-only for a user who may write to everything, so the directory is mounted so.
#[test]
fn a_tree_that_can_not_be_written_is_named_and_left_as_it_is() {
    let Some(server) = TestServer::start(&[("db.yaml", "password: old\n", &[])]) else {
        return;
    };
    // A directory in the place of the temporary file stops any user.
    fs::create_dir(server.file(".sidevault-write.tmp")).unwrap();
    let before = fs::read(server.file("db.yaml")).unwrap();
    let reply = server.set("db", "password", "new");
    assert!([403, 503].contains(&reply.status), "{}", message(&reply));
    assert!(
        message(&reply).contains("db.yaml can't be written"),
        "{}",
        message(&reply)
    );
    assert_eq!(fs::read(server.file("db.yaml")).unwrap(), before);
    assert_eq!(value(&server.item("db"), "password").as_deref(), Some("old"));
}

#[test]
fn a_full_disk_refuses_a_write_and_leaves_the_file_as_it_is() {
    let mut volume = None;
    let files: &[(&str, &str, &[&str])] = &[("db.yaml", "password: old\n", &[])];
    let server = TestServer::start_on(files, |path| {
        volume = Volume::mount(path, 1);
        volume.as_ref().map(drop)
    });
    let (Some(server), Some(volume)) = (server, volume) else {
        return;
    };
    let before = fs::read(server.file("db.yaml")).unwrap();
    volume.fill(1);
    let reply = server.set("db", "password", "new");
    assert_eq!(reply.status, 503, "{}", message(&reply));
    assert!(message(&reply).contains("directory is full"), "{}", message(&reply));
    let new = json!({"title": "mail", "category": "LOGIN", "fields": [{"label": "pin", "value": "0123"}]});
    let path = format!("/v1/vaults/{}/items", server.vault);
    let refused = server.pair.ask(&server.token, "POST", &path, &new.to_string()).unwrap();
    assert_eq!(refused.status, 503, "{}", message(&refused));
    assert_eq!(fs::read(server.file("db.yaml")).unwrap(), before);
    let names: Vec<_> = fs::read_dir(server.file(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        names.iter().all(|name| name == "db.yaml" || name == "ballast"),
        "{names:?}"
    );
    volume.free();
    assert_eq!(server.set("db", "password", "new").status, 200);
    assert_eq!(server.decrypted("db.yaml"), "password: new\n");
}

#[test]
fn a_file_of_another_user_keeps_its_owner_and_mode() {
    let Some(server) = TestServer::start(&[("db.yaml", "password: old\n", &[])]) else {
        return;
    };
    let file = server.file("db.yaml");
    if chown(&file, Some(1234), Some(2345)).is_err() {
        skipped("this process may not give files away, because it is not root");
        return;
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(server.set("db", "password", "new").status, 200);
    let now = fs::metadata(&file).unwrap();
    assert_eq!((now.uid(), now.gid(), now.mode() & 0o7777), (1234, 2345, 0o640));
    assert_eq!(server.decrypted("db.yaml"), "password: new\n");
}

fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_file_name(".new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(&beside, path).unwrap();
}
