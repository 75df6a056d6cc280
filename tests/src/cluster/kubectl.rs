//! Asking the cluster and changing it, through the real kubectl.
// Where a test's world can't be made, the test ends.
#![allow(clippy::expect_used)]

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::herd::{Herd, Running};
use super::{Cluster, admin_kubeconfig, write_kubeconfig};
use crate::pair::wait_until;
use crate::wire::{Reply, Request, exchange};

const PROXY_PORT: u16 = 8001;

/// Starts what answers plain HTTP on [`PROXY_PORT`] with what the API server says to the administrator.
pub(super) fn start_proxy(herd: &Herd, tools: &Path, address: Ipv4Addr) -> Running {
    let mut proxy = Command::new(tools.join("kubectl"));
    proxy
        .env("KUBECONFIG", admin_kubeconfig(herd.root()))
        .arg("proxy")
        .arg(format!("--address={address}"))
        .arg(format!("--port={PROXY_PORT}"))
        // It takes requests for `localhost` alone otherwise. Nobody but this machine can ask.
        .arg("--accept-hosts=.*");
    herd.run("kubectl-proxy", &mut proxy)
}

impl Cluster {
    /// Who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        admin_kubeconfig(self.herd.root())
    }

    /// A service account's, with a token of one hour. The account must exist.
    ///
    /// # Panics
    /// If there is no such account.
    pub fn kubeconfig_for(&self, namespace: &str, service_account: &str) -> PathBuf {
        let token = self.must(&["create", "token", service_account, "-n", namespace, "--duration=1h"]);
        let path = self.path(&format!("{namespace}-{service_account}.kubeconfig"));
        let user = json!({ "token": token.trim() });
        write_kubeconfig(self.herd.root(), self.address, &user, namespace, &path);
        path
    }

    fn command(&self, kubeconfig: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.tools.join("kubectl"));
        command
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("KUBECACHEDIR", self.path("kubectl"))
            .stdin(Stdio::null());
        command
    }

    /// Runs kubectl as administrator.
    ///
    /// # Panics
    /// If it can't be run at all.
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_as(&self.kubeconfig(), arguments)
    }

    /// Runs kubectl as the one a kubeconfig names.
    ///
    /// # Panics
    /// If it can't be run at all.
    pub fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Output {
        self.command(kubeconfig, arguments).output().expect("kubectl runs")
    }

    /// Runs kubectl as administrator, and gives what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn must(&self, arguments: &[&str]) -> String {
        printed(arguments, &self.kubectl(arguments))
    }

    /// Creates or changes what `manifests` says (YAML documents or JSON), as its field manager `kubectl`, and gives
    /// what kubectl printed.
    ///
    /// # Panics
    /// If any of it is refused.
    pub fn apply(&self, manifests: &str) -> String {
        // Server-side, because a CRD is too large for the annotation that client-side apply keeps.
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        let mut child = self
            .command(&self.kubeconfig(), &arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl runs");
        let mut input = child.stdin.take().expect("a pipe");
        // kubectl reads all before it prints anything.
        input.write_all(manifests.as_bytes()).expect("kubectl reads");
        drop(input);
        printed(&arguments, &child.wait_with_output().expect("kubectl ends"))
    }

    /// A new namespace with a name of its own that starts with `prefix`.
    ///
    /// # Panics
    /// If it can't be made.
    pub fn namespace(&self, prefix: &str) -> String {
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": format!("{prefix}-")}});
        let path = self.path(&format!("{prefix}.namespace.json"));
        std::fs::write(&path, object.to_string()).expect("a file");
        let arguments = [
            "create",
            "-f",
            &path.to_string_lossy(),
            "-o",
            "jsonpath={.metadata.name}",
        ];
        self.must(&arguments)
    }

    /// `GET` of a path of the API, such as `/api/v1/namespaces/default`, as administrator; `None` while that is no
    /// success.
    pub fn get(&self, path: &str) -> Option<Value> {
        let reply = self.ask(path)?;
        (reply.status == 200).then(|| reply.json())
    }

    /// By the proxy, because kubectl takes a tenth of a second to start, and this is asked over and over.
    fn ask(&self, path: &str) -> Option<Reply> {
        exchange((self.address, PROXY_PORT).into(), &Request::new("GET", path).bytes()).ok()
    }

    /// `POST` of an object to a path of the API, as quickly as it goes.
    ///
    /// # Panics
    /// If it is refused.
    pub fn post(&self, path: &str, object: &Value) {
        self.send("POST", path, "application/json", object);
    }

    /// Changes what is at a path by a merge patch, as quickly as it goes: kubectl does four a second.
    ///
    /// # Panics
    /// If it is refused.
    pub fn patch(&self, path: &str, patch: &Value) {
        self.send("PATCH", path, "application/merge-patch+json", patch);
    }

    /// `DELETE` of what is at a path, an object or all of a kind, as quickly as it goes.
    ///
    /// # Panics
    /// If it is refused.
    pub fn delete(&self, path: &str) {
        self.send("DELETE", path, "application/json", &json!({}));
    }

    fn send(&self, method: &str, path: &str, content_type: &str, body: &Value) {
        let request = Request::new(method, path).body(body.to_string());
        let request = request.header("content-type", content_type).bytes();
        let reply = exchange((self.address, PROXY_PORT).into(), &request).expect("an answer");
        assert!(
            reply.status < 300,
            "{method} {path}: {}: {}",
            reply.status,
            reply.text()
        );
    }

    /// Asks for a path again and again until `accept` makes something of the answer, which is `null` while there is
    /// none.
    ///
    /// # Panics
    /// If that never happens.
    pub fn wait_for<T>(&self, path: &str, mut accept: impl FnMut(&Value) -> Option<T>) -> T {
        let mut last = Value::Null;
        let found = wait_until(|| {
            last = self.get(path).unwrap_or_default();
            accept(&last)
        });
        found.unwrap_or_else(|| panic!("{path} stays {last:#}"))
    }

    /// Waits until there is nothing at a path.
    ///
    /// # Panics
    /// If that never happens.
    pub fn wait_gone(&self, path: &str) {
        let gone = wait_until(|| (self.ask(path)?.status == 404).then_some(()));
        assert!(gone.is_some(), "{path} stays");
    }
}

fn printed(arguments: &[&str], output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "kubectl {arguments:?}: {}: {errors}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
