//! The node with the project's images, and the shell in which users' commands run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::{Value, json};
use sidevault_tests::cluster::node::{Image, Node};
use sidevault_tests::cluster::{controllers, definitions};
use sidevault_tests::pair::{binary, wait_until};
use sidevault_tests::wire::{Reply, Request, exchange};

/// An image with BusyBox's commands, for applications.
pub(crate) const APPLICATION: &str = "application:1";
/// External Secrets' controller, as `tests/cluster/build.sh` builds it.
pub(crate) const EXTERNAL_SECRETS: &str = "external-secrets:1";

pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The images' version.
pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Imports the project's images, and those for the test's own Pods, once for the program. Then installs the resource definitions.
pub(crate) fn prepare(node: &Node) {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let directory = node.cluster().path("images");
        fs::create_dir_all(&directory).expect("a directory");
        let program = binary()
            .parent()
            .and_then(Path::parent)
            .expect("the target directory")
            .join("static/sidevault");
        assert!(
            program.is_file(),
            "there is no {}: run deploy/image/test-binary.sh, as tests/rust.sh does",
            program.display()
        );
        let output = Command::new(repository("deploy/image/build"))
            .arg("--binary")
            .arg(&program)
            .arg("--out")
            .arg(&directory)
            .output()
            .expect("deploy/image/build runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        for name in ["sidevault", "sidevault-api", "sidevault-sync", "sidevault-operator"] {
            node.import(&directory.join(format!("{name}.tar")));
        }
        node.import(&Image::busybox(&directory, APPLICATION, &[]));
        let controller = controllers().expect("the controller is built").remove(0);
        let root = directory.join("external-secrets");
        fs::create_dir_all(&root).expect("a directory");
        fs::copy(&controller, root.join("external-secrets")).expect("a copy");
        node.import(&Image::pack(&root, EXTERNAL_SECRETS, &["/external-secrets"]));
        fs::remove_dir_all(&directory).expect("it can be removed");

        // Those of External Secrets that are not ours, because its controller needs them; and those of the Prometheus operator.
        let cluster = node.cluster();
        cluster.must(&[
            "apply",
            "--server-side",
            "-f",
            &definitions(&controller).display().to_string(),
        ]);
        cluster.must(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "-k",
            &repository("deploy/crds").display().to_string(),
        ]);
        cluster.install_definitions(&repository("tests/deploy/monitoring-stubs.yaml"));
    });
}

/// Keys of a server, and tokens.
pub(crate) struct Keys {
    pub(crate) directory: tempfile::TempDir,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        sidevault(&["init", "--out", &directory.path().display().to_string()]);
        Self { directory }
    }

    pub(crate) fn credentials(&self) -> PathBuf {
        self.directory.path().join("1password-credentials.json")
    }

    /// A token that may read and write these vaults.
    pub(crate) fn token(&self, vaults: &[&str]) -> String {
        let issuer = self.directory.path().join("issuer.json").display().to_string();
        let mut arguments = vec!["token", "create", "test", "--offline", "--issuer", &issuer];
        let grants: Vec<String> = vaults.iter().map(|vault| format!("{vault}=read,write")).collect();
        for grant in &grants {
            arguments.extend(["--vault", grant]);
        }
        sidevault(&arguments).trim().to_owned()
    }
}

/// Runs the program on this machine.
pub(crate) fn sidevault(arguments: &[&str]) -> String {
    let output = Command::new(binary()).args(arguments).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "sidevault {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A shell for commands as users type them.
pub(crate) struct Shell<'a> {
    node: &'a Node,
    pub(crate) home: tempfile::TempDir,
    pub(crate) variables: Vec<(String, String)>,
}

impl<'a> Shell<'a> {
    pub(crate) fn new(node: &'a Node) -> Self {
        Self {
            node,
            home: tempfile::tempdir().expect("a directory"),
            variables: Vec::new(),
        }
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let path = env::var("PATH").unwrap_or_default();
        let tools = sidevault_tests::cluster::find_tools(&["kubectl"]).expect("kubectl");
        let parent = tools.parent().expect("a directory above").display();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", line])
            .current_dir(self.home.path())
            .env("PATH", format!("{}:{parent}:{path}", tools.display()))
            .env("KUBECONFIG", self.node.cluster().kubeconfig())
            .env("HOME", self.home.path())
            .envs(self.variables.iter().cloned());
        shell
    }

    pub(crate) fn output(&self, line: &str) -> Output {
        self.command(line).output().expect("sh runs")
    }

    /// Runs a command line, which must succeed, and returns what it prints.
    pub(crate) fn run(&self, line: &str) -> String {
        let output = self.output(line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{line}: {errors}{}",
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Waits until a Deployment or StatefulSet has all of its Pods ready, of its newest generation. On failure, shows why.
pub(crate) fn rolled_out(node: &Node, namespace: &str, workload: &str) {
    let cluster = node.cluster();
    let output = cluster.kubectl(&["rollout", "status", "-n", namespace, workload, "--timeout=120s"]);
    if !output.status.success() {
        let described = cluster.kubectl(&["describe", "pods", "-n", namespace]);
        let logs = cluster.kubectl(&["logs", "-n", namespace, workload, "--all-containers", "--tail=20"]);
        panic!(
            "{workload}: {}\n{}\n{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&described.stdout),
            String::from_utf8_lossy(&logs.stdout),
            node.log(),
        );
    }
}

/// The address of a Service.
pub(crate) fn service_address(node: &Node, namespace: &str, name: &str) -> std::net::IpAddr {
    let path = format!("/api/v1/namespaces/{namespace}/services/{name}");
    let service = node.cluster().get(&path).expect("the Service");
    let address = service["spec"]["clusterIP"].as_str().expect("an address");
    address.parse().expect("an address")
}

/// A client of a server in the cluster, which asks it through its Service from the node.
pub(crate) struct Client {
    address: std::net::SocketAddr,
    token: String,
}

impl Client {
    pub(crate) fn new(node: &Node, namespace: &str, token: &str) -> Self {
        Self {
            address: (service_address(node, namespace, "onepassword-connect"), 8080).into(),
            token: token.to_owned(),
        }
    }

    /// One request. `None` without an answer.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &str) -> Option<Reply> {
        let request = Request::new(method, target).bearer(&self.token);
        let request = if body.is_empty() {
            request
        } else {
            request.body(body).header("content-type", "application/json")
        };
        exchange(self.address, &request.bytes()).ok()
    }

    pub(crate) fn create(&self, vault: &str, item: &str) -> Value {
        let target = format!("/v1/vaults/{vault}/items");
        let mut last = String::new();
        let created = wait_until(|| {
            let reply = self.ask("POST", &target, item)?;
            last = reply.text();
            (reply.status == 200).then(|| reply.json())
        });
        created.unwrap_or_else(|| panic!("{item}: {last}"))
    }

    pub(crate) fn item(&self, vault: &str, title: &str) -> Option<Value> {
        let reply = self.ask("GET", &format!("/v1/vaults/{vault}/items/{title}"), "")?;
        (reply.status == 200).then(|| reply.json())
    }

    /// Changes the value of an item's field.
    pub(crate) fn change(&self, vault: &str, title: &str, label: &str, value: &str) {
        let mut item = self.item(vault, title).expect("the item");
        let fields = item["fields"].as_array_mut().expect("fields");
        let field = fields
            .iter_mut()
            .find(|field| field["label"] == label)
            .expect("the field");
        field["value"] = json!(value);
        let target = format!("/v1/vaults/{vault}/items/{}", item["id"].as_str().expect("an id"));
        let reply = self.ask("PUT", &target, &item.to_string()).expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}
