//! A real Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager as `tests/cluster/build.sh` builds
//! them. Without a [`node`], objects are stored, checked, watched, authorised and garbage-collected, and no Pod runs.

mod certificates;
mod external_secrets;
mod kubectl;
pub mod node;
mod shell;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt as _;
use serde_json::json;

use crate::herd::Herd;
use crate::pair::wait_until;
use crate::tools::find_in_cluster;

pub use crate::herd::Running;
pub use external_secrets::{controllers, definitions};
pub use shell::Shell;

const PROGRAMS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"];

/// The controllers of the controller manager that matter to an operator's objects without nodes: garbage collection, deletion of
/// namespaces, and the `default` service account of each namespace.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,serviceaccount-controller,\
                           clusterrole-aggregation-controller";

/// The addresses of Services.
const SERVICES: &str = "10.0.0.0/24";
/// The address of the Service `kubernetes`, the first of the range.
const KUBERNETES: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// The control plane. Its processes and files are removed when the value is dropped, and when the test process ends in any way.
pub struct Cluster {
    tools: PathBuf,
    /// An address out of 127.0.0.0/8 that nobody else uses, so that the programs can listen on their usual ports.
    address: Ipv4Addr,
    /// Whether Pods run.
    has_node: bool,
    server: Mutex<Option<Running>>,
    manager: Mutex<Option<Running>>,
    _etcd: Running,
    _proxy: Running,
    herd: Herd,
}

impl Cluster {
    /// Starts a control plane, and waits until it is ready. `None` if the programs were not built, with a line on standard error; with `CI=true` the test
    /// fails.
    ///
    /// # Panics
    /// If the programs are missing and `CI=true`, or do not start.
    pub fn start() -> Option<Self> {
        let tools = find_in_cluster(&PROGRAMS)?;
        Some(Self::start_at(Herd::new(), &tools, free_address(), false))
    }

    /// With `has_node`: with the controllers and the addresses that Pods need.
    fn start_at(herd: Herd, tools: &Path, address: Ipv4Addr, has_node: bool) -> Self {
        certificates::write(herd.root(), &[address, KUBERNETES]);
        write_admin_kubeconfig(herd.root(), address);
        let etcd = start_etcd(&herd, tools, address);
        let server = start_server(&herd, tools, address, has_node);
        let proxy = kubectl::start_proxy(&herd, tools, address);
        let cluster = Self {
            tools: tools.to_owned(),
            address,
            has_node,
            server: Mutex::new(Some(server)),
            manager: Mutex::new(None),
            _etcd: etcd,
            _proxy: proxy,
            herd,
        };
        cluster.wait_ready();
        cluster.start_manager();
        cluster
    }

    /// The control plane that all tests of this program share. Each test uses a namespace of its own.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// A path in the cluster's own directory, which is removed with the cluster.
    pub fn path(&self, below: &str) -> PathBuf {
        self.herd.root().join(below)
    }

    /// The address that only this cluster uses. A test may use every port there but 2379, 2380, 6443 and 8001.
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }

    /// Starts a program that is killed with the cluster. Its output goes to a log of this name. Its KUBECONFIG is the
    /// administrator's, unless `command` sets another.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn run(&self, name: &str, command: &mut Command) -> Running {
        if !command.get_envs().any(|(name, _)| name == "KUBECONFIG") {
            command.env("KUBECONFIG", self.kubeconfig());
        }
        self.herd.run(name, command)
    }

    /// Kills the API server, and waits until it is gone. etcd keeps the objects.
    pub fn stop_apiserver(&self) {
        *self.server() = None;
    }

    /// Starts the API server again, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_apiserver(&self) {
        *self.server() = Some(start_server(&self.herd, &self.tools, self.address, self.has_node));
        self.wait_ready();
    }

    /// Applies resource definitions, a file or a directory of them, and waits until they are served and the garbage
    /// collector knows of them.
    ///
    /// # Panics
    /// If they are refused, or never served.
    pub fn install_definitions(&self, path: &Path) {
        let path = path.to_string_lossy();
        self.must(&["apply", "--server-side", "--force-conflicts", "-f", &path]);
        self.must(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &path]);
        // The garbage collector looks for new kinds every 30 seconds, and when it starts.
        self.start_manager();
    }

    /// Starts the controller manager, after it has killed the one that runs. The API server has to be ready: the controller
    /// manager ends if it can't reach the API server for ten seconds.
    fn start_manager(&self) {
        let mut manager = self.manager.lock().unwrap_or_else(PoisonError::into_inner);
        *manager = None;
        *manager = Some(start_manager(&self.herd, &self.tools, self.has_node));
    }

    fn server(&self) -> MutexGuard<'_, Option<Running>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The logs of the API server and the controller manager.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read(self.path("logs").join(name)).unwrap_or_default();
        ["kube-apiserver.log", "kube-controller-manager.log"]
            .map(|name| String::from_utf8_lossy(&read(name)).into_owned())
            .concat()
    }

    fn wait_ready(&self) {
        let ready = wait_until(|| {
            let alive = self.server().as_mut().is_some_and(Running::alive);
            assert!(alive, "the API server has ended\n{}", self.log());
            self.get("/readyz")?;
            // This namespace is made a moment after the server reports that it is ready.
            self.get("/api/v1/namespaces/default")
        });
        assert!(ready.is_some(), "the API server is not ready\n{}", self.log());
    }
}

fn free_address() -> Ipv4Addr {
    let mut random = rand::rng();
    let mut addresses = (0..100).map(|_| {
        let [a, b, c] = [0; 3].map(|_: u8| random.random_range(1..=254));
        Ipv4Addr::new(127, a, b, c)
    });
    let free = |address: &Ipv4Addr| {
        [2379, 2380, 6443, 8001]
            .iter()
            .all(|port| TcpListener::bind((*address, *port)).is_ok())
    };
    addresses.find(free).expect("a free address")
}

fn start_etcd(herd: &Herd, tools: &Path, address: Ipv4Addr) -> Running {
    let clients = format!("http://{address}:2379");
    let peers = format!("http://{address}:2380");
    let mut etcd = Command::new(tools.join("etcd"));
    etcd.args(["--name=test", "--log-level=warn", "--unsafe-no-fsync"])
        .arg(format!("--data-dir={}", herd.root().join("etcd").display()))
        .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", &format!("test={peers}")]);
    herd.run("etcd", &mut etcd)
}

/// Needs no wait for etcd: the API server retries.
fn start_server(herd: &Herd, tools: &Path, address: Ipv4Addr, has_node: bool) -> Running {
    let file = |name: &str| herd.root().join(name).display().to_string();
    let mut server = Command::new(tools.join("kube-apiserver"));
    server
        .arg(format!("--etcd-servers=http://{address}:2379"))
        .arg(format!("--bind-address={address}"))
        .arg(format!("--advertise-address={address}"))
        .arg("--secure-port=6443")
        .arg(format!("--service-cluster-ip-range={SERVICES}"))
        .arg("--authorization-mode=RBAC")
        .arg(format!("--client-ca-file={}", file("ca.crt")))
        .arg(format!("--tls-cert-file={}", file("server.crt")))
        .arg(format!("--tls-private-key-file={}", file("server.key")))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--service-account-key-file={}", file("service-accounts.pub")))
        .arg(format!(
            "--service-account-signing-key-file={}",
            file("service-accounts.key")
        ))
        // No test needs aggregated API servers, or the caches of a large cluster.
        .args(["--delete-collection-workers=1", "--default-watch-cache-size=10"])
        .arg(format!("--cert-dir={}", file("generated")));
    if has_node {
        server
            .arg("--kubelet-preferred-address-types=InternalIP")
            .arg(format!("--kubelet-client-certificate={}", file("admin.crt")))
            .arg(format!("--kubelet-client-key={}", file("admin.key")));
    } else {
        // A loopback address can't be an endpoint of the Service `kubernetes`.
        server.arg("--endpoint-reconciler-type=none");
    }
    herd.run("kube-apiserver", &mut server)
}

fn start_manager(herd: &Herd, tools: &Path, has_node: bool) -> Running {
    let mut manager = Command::new(tools.join("kube-controller-manager"));
    manager
        .arg(format!("--kubeconfig={}", admin_kubeconfig(herd.root()).display()))
        .args(["--leader-elect=false", "--secure-port=0"])
        .arg(format!("--controllers={}", if has_node { "*" } else { CONTROLLERS }));
    if has_node {
        let file = |name: &str| herd.root().join(name).display().to_string();
        manager.arg(format!("--root-ca-file={}", file("ca.crt"))).arg(format!(
            "--service-account-private-key-file={}",
            file("service-accounts.key")
        ));
    }
    herd.run("kube-controller-manager", &mut manager)
}

fn admin_kubeconfig(root: &Path) -> PathBuf {
    root.join("admin.kubeconfig")
}

fn write_admin_kubeconfig(root: &Path, address: Ipv4Addr) {
    let encoded = |name: &str| STANDARD.encode(fs::read(root.join(name)).expect("a certificate or key"));
    let user = json!({
        "client-certificate-data": encoded("admin.crt"),
        "client-key-data": encoded("admin.key"),
    });
    write_kubeconfig(root, address, &user, "default", &admin_kubeconfig(root));
}

/// A kubeconfig may be JSON, because JSON is YAML.
fn write_kubeconfig(root: &Path, address: Ipv4Addr, user: &serde_json::Value, namespace: &str, path: &Path) {
    let authority = STANDARD.encode(fs::read(root.join("ca.crt")).expect("the authority"));
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://{address}:6443"),
            "certificate-authority-data": authority,
        }}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        "current-context": "test",
    });
    fs::write(path, config.to_string()).expect("a kubeconfig");
}
