//! The cluster, the Connect server, and the shell in which the commands run.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, Running, Shell};
use sidevault_tests::pair::ServerPair;

use super::super::fixture;
use super::proxy::Proxy;
use super::{ExpectedSecret, ITEMS};

const NAMESPACES: [&str; 5] = ["external-secrets", "database", "monitoring", "network", "application"];
/// The arguments in the operator's Deployment.
const FLAGS: [&str; 2] = ["--concurrent=1", "--log-level=info"];

/// A cluster with Anton's namespaces, a Connect server with its items, and a proxy for the server's names.
pub(super) struct Stack {
    pub(super) cluster: Cluster,
    pub(super) pair: ServerPair,
    pub(super) token: String,
    pub(super) proxy: Proxy,
    pub(super) shell: Shell,
}

impl Stack {
    pub(super) fn start(definitions: &Path) -> Option<Self> {
        let cluster = Cluster::start()?;
        cluster.install_definitions(definitions);
        for namespace in NAMESPACES {
            cluster.must(&["create", "namespace", namespace]);
        }
        let pair = ServerPair::start(
            &[
                "--vault",
                "secrets",
                "--vault",
                "infrastructure",
                "--vault",
                "applications",
            ],
            &[],
        );
        let grants = [
            "secrets=read,write",
            "infrastructure=read,write",
            "applications=read,write",
        ];
        let token = pair.token("operator", &grants);
        let stack = Self {
            proxy: Proxy::start(pair.address()),
            shell: Shell::new(&cluster),
            cluster,
            pair,
            token,
        };
        for (vault, item) in ITEMS {
            stack.post(vault, item);
        }
        Some(stack)
    }

    pub(super) fn post(&self, vault: &str, item: &str) {
        let target = format!("/v1/vaults/{vault}/items");
        let answer = self.pair.ask(&self.token, "POST", &target, item).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Changes the value of an item's first field.
    pub(super) fn change(&self, vault: &str, title: &str, value: &str) {
        let mut item = self.pair.item(&self.token, vault, title).expect("the item");
        item["fields"][0]["value"] = json!(value);
        let target = format!("/v1/vaults/{vault}/items/{}", item["id"].as_str().expect("an id"));
        let answer = self
            .pair
            .ask(&self.token, "PUT", &target, &item.to_string())
            .expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub(super) fn apply(&self, name: &str, manifests: &str) -> Output {
        let path = self.cluster.path(&format!("{name}.yaml"));
        fs::write(&path, manifests).expect("a file");
        self.cluster
            .kubectl(&["apply", "--validate=strict", "-f", &path.to_string_lossy()])
    }

    /// Applies manifests, which the API server must accept without a warning, such as one about an unknown field.
    pub(super) fn apply_strictly(&self, name: &str, manifests: &str) {
        let output = self.apply(name, manifests);
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && messages.is_empty(), "{name}: {messages}");
    }

    /// Applies manifests of which the API server must refuse one, and returns kubectl's error.
    pub(super) fn apply_refused(&self, name: &str, manifests: &str) -> String {
        let output = self.apply(name, manifests);
        assert!(!output.status.success(), "{name} is accepted");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Replaces the placeholder in the token's Secret by a valid token.
    pub(super) fn set_token(&self) {
        let patch = json!({"stringData": {"token": self.token}}).to_string();
        self.cluster.must(&[
            "patch",
            "secret",
            "onepassword-token",
            "-n",
            "external-secrets",
            "-p",
            &patch,
        ]);
    }

    pub(super) fn operator(&self, more: &[&str]) -> Running {
        let flags: Vec<&str> = FLAGS.iter().chain(more).copied().collect();
        let mut command = fixture::command(&self.cluster, 8080, &flags);
        self.cluster
            .run("operator", command.env("HTTP_PROXY", self.proxy.url()))
    }

    /// Starts the real controller, with those arguments of the Deployment that this release has.
    pub(super) fn controller(&self, controller: &Path) -> Running {
        let mut command = self.cluster.external_secrets(controller, &["--concurrent=1"]);
        self.cluster
            .run("external-secrets", command.env("HTTP_PROXY", self.proxy.url()))
    }

    /// Waits until a Secret has exactly these values.
    pub(super) fn wait_for_secret(&self, (namespace, name, type_, values): &ExpectedSecret) {
        let expected = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect::<serde_json::Map<_, _>>();
        self.cluster.wait_for(&fixture::secret(namespace, name), |secret| {
            let data = secret["data"].as_object()?;
            let data = data.keys().map(|key| (key.clone(), json!(fixture::value(secret, key))));
            (data.collect::<serde_json::Map<_, _>>() == expected && secret["type"] == *type_).then_some(())
        });
    }
}

/// Waits until an object's condition has a status, and returns the condition.
pub(super) fn condition(cluster: &Cluster, path: &str, status: &str) -> Value {
    cluster.wait_for(path, |object| {
        let condition = &object["status"]["conditions"][0];
        (condition["status"] == status).then(|| condition.clone())
    })
}

/// The first line of a table in which a word is this one.
pub(super) fn row(table: &str, word: &str) -> Option<String> {
    table
        .lines()
        .find(|line| line.split_whitespace().any(|found| found == word))
        .map(str::to_owned)
}
