//! Reads and changes the cluster's objects with the real kubectl, or through its proxy.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::{Cluster, admin_kubeconfig, write_kubeconfig};
use crate::herd::{Herd, Running};
use crate::pair::wait_until;
use crate::wire::{Reply, Request, exchange};

const PROXY_PORT: u16 = 8001;

/// Starts `kubectl proxy`, which forwards plain HTTP on [`PROXY_PORT`] to the API server as administrator.
pub(super) fn start_proxy(herd: &Herd, tools: &Path, address: Ipv4Addr) -> Running {
    let mut proxy = Command::new(tools.join("kubectl"));
    proxy
        .env("KUBECONFIG", admin_kubeconfig(herd.root()))
        .arg("proxy")
        .arg(format!("--address={address}"))
        .arg(format!("--port={PROXY_PORT}"))
        // By default it accepts only requests whose Host is `localhost`. It listens on a loopback address.
        .arg("--accept-hosts=.*");
    herd.run("kubectl-proxy", &mut proxy)
}

impl Cluster {
    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        admin_kubeconfig(self.herd.root())
    }

    /// The kubeconfig of a service account, which must exist, with a token that is valid for an hour.
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

    /// Runs kubectl with this kubeconfig.
    ///
    /// # Panics
    /// If it can't be run at all.
    pub fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Output {
        self.command(kubeconfig, arguments).output().expect("kubectl runs")
    }

    /// Runs kubectl as administrator, and returns its standard output.
    ///
    /// # Panics
    /// If it fails.
    pub fn must(&self, arguments: &[&str]) -> String {
        printed(arguments, &self.kubectl(arguments))
    }

    /// Applies manifests (YAML documents or JSON) on the server's side, with the field manager `kubectl`. Returns kubectl's
    /// standard output.
    ///
    /// # Panics
    /// If a manifest is refused.
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
        // kubectl reads all of its standard input before it prints anything.
        input.write_all(manifests.as_bytes()).expect("kubectl reads");
        drop(input);
        printed(&arguments, &child.wait_with_output().expect("kubectl ends"))
    }

    /// Makes a namespace with a unique name that begins with `prefix`.
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

    /// Sends `GET` for a path of the API, such as `/api/v1/namespaces/default`, as administrator. `None` if the answer is no
    /// success.
    pub fn get(&self, path: &str) -> Option<Value> {
        let reply = self.ask(path)?;
        (reply.status == 200).then(|| reply.json())
    }

    /// Through the proxy, because kubectl takes a tenth of a second to start.
    fn ask(&self, path: &str) -> Option<Reply> {
        exchange((self.address, PROXY_PORT).into(), &Request::new("GET", path).bytes()).ok()
    }

    /// Sends `POST` with an object to a path of the API, through the proxy.
    ///
    /// # Panics
    /// If it is refused.
    pub fn post(&self, path: &str, object: &Value) {
        self.send("POST", path, "application/json", object);
    }

    /// Changes the object at a path by a merge patch, through the proxy: kubectl makes four changes a second.
    ///
    /// # Panics
    /// If it is refused.
    pub fn patch(&self, path: &str, patch: &Value) {
        self.send("PATCH", path, "application/merge-patch+json", patch);
    }

    /// Sends `DELETE` for a path, an object or all objects of a kind, through the proxy.
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

    /// Sends `GET` for a path until `accept` returns a value for the answer's body, which is `null` while there is no success.
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

    /// Waits until there is no object at a path.
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
