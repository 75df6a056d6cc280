//! A server with the items that the calls name.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sidevault_tests::pair::binary;

/// The key pair of RFC 8410, section 10.3.
pub(crate) const SSH_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";

/// A running quickstart with a local vault `apps` and a directory vault `files`, until it is dropped.
pub(crate) struct World {
    child: Child,
    home: tempfile::TempDir,
    pub(crate) url: String,
    pub(crate) token: String,
    /// What stands for an id in the expected output: `{apps}`, `{Database}`.
    names: Vec<(String, String)>,
}

impl World {
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let files = home.path().join("files");
        std::fs::create_dir(&files).expect("a directory");
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        std::fs::write(files.join("blob.bin"), bytes).expect("a file");
        std::fs::write(files.join("ca.pem"), "-----BEGIN CERTIFICATE-----\n").expect("a file");
        let mut command = Command::new(binary());
        command
            .args([
                "quickstart",
                "--ephemeral",
                "--port=0",
                "--json",
                "--vault=apps",
                "--dir=files",
            ])
            .env_clear()
            .env("XDG_DATA_HOME", home.path().join("data"))
            .current_dir(home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).expect("a line of JSON");
        let text = |name: &str| ready[name].as_str().expect(name).to_owned();
        let mut world = Self {
            child,
            url: text("url"),
            token: text("token"),
            home,
            names: Vec::new(),
        };
        for vault in ready["vaults"].as_array().expect("vaults") {
            let member = |name: &str| vault[name].as_str().expect(name).to_owned();
            world.names.push((member("name"), member("id")));
        }
        world.names.push(("url".to_owned(), world.url.clone()));
        world.create_items();
        world.note_files();
        world
    }

    fn create_items(&mut self) {
        self.create(&json!({
            "title": "Database", "category": "LOGIN", "tags": ["prod", "db"], "favorite": true,
            "urls": [{"href": "https://db.example.com", "primary": true}],
            "sections": [{"id": "sec1", "label": "Replica"}, {"id": "sec2", "label": "Standby"}],
            "fields": [
                {"id": "username", "purpose": "USERNAME", "label": "username", "value": "app"},
                {"id": "password", "purpose": "PASSWORD", "type": "CONCEALED", "label": "password", "value": "s3cret"},
                {"id": "host", "label": "host", "value": "db1"},
                {"id": "r1", "label": "host", "value": "db2", "section": {"id": "sec1"}},
                {"id": "r2", "label": "port", "value": "5432", "section": {"id": "sec1"}},
                {"id": "r3", "label": "port", "value": "5433", "section": {"id": "sec2"}},
                {"id": "r4", "label": "only here", "value": "yes", "section": {"id": "sec2"}},
                {"id": "code", "type": "OTP", "label": "code", "value": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"},
                {"id": "odd", "label": "odd, \"one\"", "value": "a,b \"c\""},
                {"id": "lines", "type": "CONCEALED", "label": "lines", "value": "one\ntwo"},
                {"id": "empty", "label": "empty", "value": ""},
            ],
        }));
        self.create(&json!({"title": "Twin", "category": "PASSWORD", "fields": [{"id": "password", "label": "password", "value": "1"}]}));
        self.create(&json!({"title": "Twin", "category": "PASSWORD", "fields": [{"id": "password", "label": "password", "value": "2"}]}));
        self.create(&json!({
            "title": "web (prod)", "category": "API_CREDENTIAL", "tags": ["prod"],
            "fields": [{"id": "credential", "type": "CONCEALED", "label": "credential", "value": "k3y"}],
        }));
        self.create(&json!({
            "title": "deploy", "category": "SSH_KEY",
            "fields": [{"id": "private_key", "type": "SSHKEY", "label": "private key", "value": SSH_KEY}],
        }));
    }

    /// Makes an item in `apps`; a second one of the same title is `{Title 2}`.
    fn create(&mut self, item: &Value) {
        let mut call = self.command(&["item", "create", "--vault", "apps", "--from-file", "-", "--json"]);
        let mut child = call
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        child
            .stdin
            .take()
            .expect("its input")
            .write_all(item.to_string().as_bytes())
            .expect("it is read");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let title = item["title"].as_str().expect("a title");
        let same = self.names.iter().filter(|(name, _)| name.starts_with(title)).count();
        let name = if same == 0 {
            title.to_owned()
        } else {
            format!("{title} {}", same + 1)
        };
        self.names.push((name, made["id"].as_str().expect("an id").to_owned()));
    }

    /// The items of the directory vault, whose ids are made by the server.
    fn note_files(&mut self) {
        let listed = self
            .command(&["item", "list", "--vault", "files", "--json"])
            .output()
            .expect("it runs");
        let items: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        for item in items.as_array().expect("a list") {
            let member = |name: &str| item[name].as_str().expect(name).to_owned();
            self.names.push((member("title"), member("id")));
        }
    }

    /// The directory in which calls run.
    pub(crate) fn directory(&self) -> &Path {
        self.home.path()
    }

    /// A symbolic link to the program that is named `op`.
    pub(crate) fn op(&self) -> PathBuf {
        let link = self.home.path().join("op");
        if !link.exists() {
            std::os::unix::fs::symlink(binary().canonicalize().expect("the binary"), &link).expect("a link");
        }
        link
    }

    /// The program with these arguments, the server, and no other variables.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.with_environment(Command::new(binary()), arguments)
    }

    /// `op` with these arguments.
    pub(crate) fn op_command(&self, arguments: &[&str]) -> Command {
        self.with_environment(Command::new(self.op()), arguments)
    }

    fn with_environment(&self, mut command: Command, arguments: &[&str]) -> Command {
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("OP_CONNECT_HOST", &self.url)
            .env("OP_CONNECT_TOKEN", &self.token)
            .env("XDG_DATA_HOME", self.home.path().join("none"))
            .current_dir(self.home.path());
        command
    }

    /// A text with the ids for their names in braces.
    pub(crate) fn with_ids(&self, text: &str) -> String {
        let with = |text: String, (name, id): &(String, String)| text.replace(&format!("{{{name}}}"), id);
        self.names.iter().fold(text.to_owned(), with)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A process that has ended already can't be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
