//! The node with the project's images, and the shell in which users' commands run.

use std::env;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use sidevault_tests::cluster::node::{Image, Node};
use sidevault_tests::cluster::{Shell, controllers, definitions};
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

/// Waits until one Pod with these labels is left, so the Pods of an older generation are gone.
pub(crate) fn wait_for_one_pod(node: &Node, namespace: &str, labels: &str) {
    let pods = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={labels}");
    node.cluster()
        .wait_for(&pods, |found| (found["items"].as_array()?.len() == 1).then_some(()));
}

/// The chart, as Helm takes it.
pub(crate) fn chart() -> String {
    repository("deploy/helm/sidevault").display().to_string()
}

/// Installs the chart as the release `release`, and waits until the pair is ready. The namespace and the Secret with the credentials
/// must be there.
pub(crate) fn install_chart(node: &Node, shell: &Shell, namespace: &str, values: &str) {
    std::fs::write(shell.home().join("values.yaml"), values).expect("a file");
    shell.run(&format!(
        "helm install release {} -n {namespace} -f values.yaml",
        chart()
    ));
    rolled_out(node, namespace, "deployment/onepassword-connect");
}

/// Whether the long tests of this program run, too, as in `tests/run nightly`.
pub(crate) fn is_nightly() -> bool {
    env::var("SIDEVAULT_NODE").is_ok_and(|value| value == "all")
}

/// Creates a namespace with Pod security `restricted`, and the Secret of the server's keys in it.
pub(crate) fn create_namespace(shell: &Shell, name: &str, keys: &Keys, secret: &str) {
    shell.run(&format!(
        "kubectl create namespace {name} && kubectl label namespace {name} pod-security.kubernetes.io/enforce=restricted && \
         kubectl create secret generic {secret} -n {name} --from-file={}",
        keys.credentials().display()
    ));
}

/// Gives the claim `onepassword-connect` of a namespace a directory on the node's disk, and returns the directory.
pub(crate) fn give_volume(node: &Node, namespace: &str) -> PathBuf {
    let cluster = node.cluster();
    // Kubernetes does not give a directory of the node to the Pod's group.
    let data = cluster.path(&format!("claim-{namespace}"));
    fs::create_dir(&data).expect("a directory");
    chown(&data, Some(999), Some(999)).expect("root may");
    let claim = json!({"namespace": namespace, "name": "onepassword-connect"});
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": data},
            "claimRef": claim}});
    cluster.apply(&volume.to_string());
    data
}

/// Starts a Pod in which [`assert_connects`] runs curl.
pub(crate) fn start_client(node: &Node, namespace: &str, name: &str, labels: &Value) {
    let security = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true,
        "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}});
    let container = json!({"name": "client", "image": format!("sidevault-api:{}", version()),
        "command": ["sleep", "infinity"], "securityContext": security});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}});
    let cluster = node.cluster();
    cluster.apply(&pod.to_string());
    let pod = format!("pod/{name}");
    cluster.must(&["wait", "--for=condition=Ready", "--timeout=120s", "-n", namespace, &pod]);
}

/// Expects that a Pod of [`start_client`] can connect to the host and port of this URL, or that it can't. Asks until that is so.
pub(crate) fn assert_connects(shell: &Shell, namespace: &str, pod: &str, url: &str, expected: bool) {
    let line = format!("kubectl exec -n {namespace} {pod} -- curl -sS -o /dev/null --max-time 5 {url}");
    let mut last = None;
    let as_expected = wait_until(|| {
        last = shell.output(&line).status.code();
        let connects = match last? {
            // An answer, or one that is no HTTP.
            0 | 1 | 52 | 56 => true,
            // Refused, or no answer in time.
            7 | 28 => false,
            _ => return None,
        };
        (connects == expected).then_some(())
    });
    assert!(
        as_expected.is_some(),
        "{namespace}/{pod} and {url}: expected {expected}: curl ends with {last:?}"
    );
}

/// Expects that no container of a namespace's Pods has ended since they started, as one does that needs more memory than its limit.
/// If one has, says why it ended, and what it wrote.
pub(crate) fn assert_no_restarts(shell: &Shell, namespace: &str) {
    let path = "{range .items[*].status.containerStatuses[*]}{.name} {.restartCount}{\"\\n\"}{end}";
    let counts = shell.run(&format!("kubectl get pods -n {namespace} -o jsonpath='{path}'"));
    assert!(!counts.is_empty(), "no Pods in {namespace}");
    if counts.lines().all(|line| line.ends_with(" 0")) {
        return;
    }
    let states = "{range .items[*].status.containerStatuses[*]}{.name} {.lastState}{\"\\n\"}{end}";
    let ended = shell.run(&format!("kubectl get pods -n {namespace} -o jsonpath='{states}'"));
    let logs = shell.output(&format!(
        "kubectl get pods -n {namespace} -o name | while read -r pod; do
            kubectl logs -n {namespace} \"$pod\" --all-containers --previous --tail 50
        done"
    ));
    let logs = String::from_utf8_lossy(&logs.stdout);
    panic!("{counts}{ended}{logs}");
}

/// A field of an item that an operator puts into a Secret.
pub(crate) struct Wanted<'a> {
    /// The namespace of the server.
    pub(crate) server: &'a str,
    /// Opens the vault.
    pub(crate) token: &'a str,
    pub(crate) vault: &'a str,
    pub(crate) item: &'a str,
    pub(crate) field: &'a str,
}

impl Wanted<'_> {
    /// Writes a store and an ExternalSecret in a namespace, and waits for the Secret's value.
    pub(crate) fn value(&self, node: &Node, shell: &Shell, namespace: &str) -> String {
        let metadata = |name: &str| json!({"name": name, "namespace": namespace});
        let provider = json!({"connectHost": format!("http://onepassword-connect.{}:8080", self.server),
            "vaults": {self.vault: 1},
            "auth": {"secretRef": {"connectTokenSecretRef": {"name": "token", "key": "token"}}}});
        let data = json!([{"secretKey": "value", "remoteRef": {"key": self.item, "property": self.field}}]);
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata("token"), "stringData": {"token": self.token}},
            {"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": metadata("store"),
                "spec": {"provider": {"onepassword": provider}}},
            {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": metadata("wanted"),
                "spec": {"secretStoreRef": {"name": "store"}, "data": data}},
        ]});
        node.cluster().apply(&objects.to_string());
        shell.run(&format!(
            "kubectl wait --for=condition=Ready externalsecret/wanted -n {namespace} --timeout=120s"
        ));
        shell.run(&format!(
            "kubectl get secret wanted -n {namespace} -o jsonpath='{{.data.value}}' | base64 -d"
        ))
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
