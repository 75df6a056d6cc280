//! The commands of docs/operations.md, "Backup" and "Restore", run as they are printed.

use std::process::Command;

use serde_json::{Value, json};
use sidevault_tests::pair::{Process, ServerPair, binary, wait_until};

use super::documented::blocks;
use super::{documents, kinds, rendered};

const DOCUMENT: &str = "docs/operations.md";

struct Server {
    pair: ServerPair,
    token: String,
}

impl Server {
    /// A server with a local vault and the item `kept` in it.
    fn start() -> Self {
        let pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[]);
        let token = pair.token("app", &["apps=read,write"]);
        let server = Self { pair, token };
        server.create("kept");
        server
    }

    fn create(&self, title: &str) {
        let body = json!({"title": title, "category": "LOGIN"}).to_string();
        let reply = self
            .pair
            .ask(&self.token, "POST", "/v1/vaults/apps/items", &body)
            .unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    fn has(&self, title: &str) -> bool {
        self.pair.item(&self.token, "apps", title).is_some()
    }

    fn stop(&mut self, process: Process) {
        self.pair.terminate(process);
        self.pair.wait_ended(process);
    }

    fn bash(&self, script: &str) {
        let output = Command::new("bash")
            .args(["-euc", script])
            .current_dir(self.pair.path("tmp"))
            .env("XDG_DATA_HOME", self.pair.path("data"))
            .env("OP_SESSION", self.pair.path("keys/1password-credentials.json"))
            .env("PATH", with_binary())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}{errors}");
    }
}

/// The PATH with the directory of the built binary before it.
fn with_binary() -> String {
    let directory = binary().parent().unwrap().to_owned();
    format!("{}:{}", directory.display(), std::env::var("PATH").unwrap())
}

#[test]
fn the_documented_backup_and_restore_bring_back_the_store_while_the_api_runs() {
    let mut server = Server::start();
    let [backup] = <[String; 1]>::try_from(blocks(DOCUMENT, "Backup")).unwrap();
    let [restore] = <[String; 1]>::try_from(blocks(DOCUMENT, "Restore")).unwrap();

    server.bash(&backup);
    server.create("later");
    server.stop(Process::Sync);
    server.bash(&restore);
    server.pair.run(Process::Sync);
    server.pair.wait_linked();
    let restored = wait_until(|| (!server.has("later")).then_some(()));
    assert!(restored.is_some(), "{}", server.pair.log(Process::Api));
    assert!(server.has("kept"));
    server.create("after");
}

/// What the chart makes of some values.
struct Rendered {
    text: String,
    /// The Pod's spec.
    spec: Value,
    /// The container of sync in it.
    sync: Value,
}

/// None without helm.
fn charts_sync(set: &str) -> Option<Rendered> {
    let text = rendered(&["--set", set])?;
    let spec = kinds(&documents(&text), "Deployment")[0]["spec"]["template"]["spec"].clone();
    let mut containers = spec["containers"].as_array().unwrap().iter();
    let sync = containers
        .find(|container| container["name"] == "connect-sync")
        .unwrap()
        .clone();
    Some(Rendered { text, spec, sync })
}

/// The chart's arguments, with another directory for the claim's.
#[test]
fn the_charts_sync_makes_backups_in_the_claim() {
    let set = "connect.sync.backup.claimName=backups,connect.sync.backup.ageRecipients={age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa}";
    let Some(Rendered { spec, sync, .. }) = charts_sync(set) else {
        return;
    };
    let mounts = sync["volumeMounts"].as_array().unwrap();
    assert!(
        mounts.contains(&json!({ "name": "backups", "mountPath": "/backups" })),
        "{mounts:?}"
    );
    let volumes = spec["volumes"].as_array().unwrap();
    let claim = json!({ "name": "backups", "persistentVolumeClaim": { "claimName": "backups" } });
    assert!(volumes.contains(&claim), "{volumes:?}");

    let arguments = sync["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|argument| argument.as_str().unwrap());
    let arguments: Vec<String> = arguments
        .map(|argument| argument.replace("=/backups", "={root}/backups"))
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let pair = ServerPair::start(&arguments, &[]);
    let made = wait_until(|| {
        let mut names = pair
            .path("backups")
            .read_dir()
            .ok()?
            .map(|entry| entry.unwrap().file_name());
        names.find(|name| name.to_string_lossy().ends_with(".sqlite.age"))
    });
    assert!(made.is_some(), "{}", pair.log(Process::Sync));
}

#[test]
fn the_charts_sync_makes_backups_in_a_bucket() {
    let set = "connect.sync.backup.bucket=s3://my-backups/one,connect.sync.backup.bucketSecretName=bucket";
    let Some(Rendered { text, sync, .. }) = charts_sync(set) else {
        return;
    };
    assert_eq!(sync["args"][0], "--backup-to=s3://my-backups/one");
    assert_eq!(sync["envFrom"], json!([{ "secretRef": { "name": "bucket" } }]));
    assert!(!text.contains("/backups }"), "no claim is mounted");
}
