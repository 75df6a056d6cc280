//! A node for the control plane, on which Pods run: kubelet, containerd, kube-proxy, the scheduler and DNS. All of it is in
//! namespaces of processes, mounts and network that end with the test, in a directory and in control groups of its own. Nothing
//! there reaches another network, so images have to be imported.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;

use super::{Cluster, Herd, Running};
use crate::herd::is_root;
use crate::pair::wait_until;
use crate::tools::{find_in_cluster, skipped};

mod images;

pub use images::Image;

const INIT: &str = include_str!("node/init.sh");
const POWER_OFF: &str = include_str!("node/power-off.sh");

/// What `tests/cluster/build.sh` builds for the node.
const PROGRAMS: [&str; 5] = ["kubelet", "kube-scheduler", "kube-proxy", "network-policies", "coredns"];
/// What has to be installed, apart from [`PTP`].
const INSTALLED: [&str; 10] = [
    "containerd",
    "ctr",
    "runc",
    "nft",
    "iptables",
    "ipset",
    "ip",
    "nsenter",
    "unshare",
    "busybox",
];
/// The plugin that connects Pods.
const PTP: &str = "/usr/lib/cni/ptp";

/// The node's address in its network namespace. Every test has a namespace of its own, so all of them may use the same address.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
/// The addresses of Pods.
const PODS: &str = "10.244.0.0/24";

/// The cluster with its node.
pub struct Node {
    cluster: Cluster,
    /// The process whose namespaces the node is in.
    init: u32,
    /// The name of the control groups that all of its processes are in.
    control_groups: String,
    daemons: Mutex<Vec<(String, Running)>>,
    _init: Running,
}

/// The access to the shared node of a test that other tests may run beside.
pub type Shared = RwLockReadGuard<'static, Node>;
/// The access to the shared node of a test that disturbs the others.
pub type Alone = RwLockWriteGuard<'static, Node>;

impl Node {
    /// The node that all tests of this program share. Each test uses namespaces of its own. The thread that calls this
    /// function is in the node's network from then on, with all threads and processes that it starts.
    ///
    /// # Panics
    /// As [`Node::start`].
    pub fn shared() -> Option<Shared> {
        let node = Self::of_this_program()?.read().unwrap_or_else(PoisonError::into_inner);
        node.enter();
        Some(node)
    }

    /// The same, for a test that restarts the node's programs.
    ///
    /// # Panics
    /// As [`Node::start`].
    pub fn alone() -> Option<Alone> {
        let node = Self::of_this_program()?.write().unwrap_or_else(PoisonError::into_inner);
        node.enter();
        Some(node)
    }

    fn of_this_program() -> Option<&'static RwLock<Self>> {
        static SHARED: OnceLock<Option<RwLock<Node>>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().map(RwLock::new)).as_ref()
    }

    /// Starts a control plane and a node, and waits until Pods can run. `None` without root or without one of the programs, with a
    /// line on standard error; with `CI=true` the test fails.
    ///
    /// # Panics
    /// If a program is missing and `CI=true`, or does not start.
    pub fn start() -> Option<Self> {
        let tools = find_in_cluster(&[&super::PROGRAMS[..], &PROGRAMS].concat())?;
        if let Some(reason) = unable() {
            skipped(&format!("no node for Pods: {reason}"));
            return None;
        }
        let herd = Herd::with_control_groups();
        let root = herd.root().to_owned();
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["bash", "-c", INIT, "init"])
            .arg(&root)
            .args([&ADDRESS.to_string(), super::SERVICES]);
        let init = herd.run("namespaces", &mut unshare);
        let ready = wait_until(|| root.join("namespaces-ready").is_file().then_some(()));
        assert!(ready.is_some(), "{}", init.log());
        // unshare waits for its only child, which is the first process in the namespaces.
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", init.pid())).expect("unshare runs");
        let first = children.trim().parse().expect("a process id");
        enter_network(first);

        let control_groups = herd.control_group().to_owned();
        let cluster = Cluster::start_at(herd, &tools, ADDRESS, true);
        let node = Self {
            cluster,
            init: first,
            control_groups: control_groups.clone(),
            daemons: Mutex::default(),
            _init: init,
        };
        node.start_containerd();
        node.import(&Image::pause(&root));
        node.configure_kubelet(&control_groups);
        node.start_kubelet();
        node.start_network();
        node.cluster.wait_for("/api/v1/nodes/node", |found| {
            let conditions = found["status"]["conditions"].as_array()?;
            let ready = |one: &serde_json::Value| one["type"] == "Ready" && one["status"] == "True";
            conditions.iter().any(ready).then_some(())
        });
        // The controller of NetworkPolicies needs the node's object.
        node.start_network_policies();
        Some(node)
    }

    /// The control plane.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Moves this thread into the node's network.
    fn enter(&self) {
        enter_network(self.init);
    }

    /// A command in the node's namespaces.
    pub fn inside(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--net", "--pid", "--target", &self.init.to_string(), "--"])
            .arg(program.as_ref());
        command
    }

    /// Runs `ctr`, containerd's own client, for the images and containers of kubelet.
    ///
    /// # Panics
    /// If it fails.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        let mut command = self.inside("ctr");
        succeed(command.args(["--namespace", "k8s.io"]).args(arguments))
    }

    /// Imports the images of an archive, under the names that the archive gives them.
    ///
    /// # Panics
    /// If containerd refuses it.
    pub fn import(&self, archive: &Path) {
        self.ctr(&["images", "import", "--no-unpack", &archive.to_string_lossy()]);
    }

    /// Kills containerd, and starts it again. Containers go on running, because each has a process of its own above it.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart_containerd(&self) {
        self.kill("containerd");
        self.start_containerd();
    }

    /// Kills kubelet, and starts it again.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart_kubelet(&self) {
        self.kill("kubelet");
        self.start_kubelet();
    }

    /// Cuts the node's power and starts it again: all of its processes are killed, and `/run`, mounts, network interfaces and rules
    /// are gone. The control plane goes on elsewhere.
    ///
    /// # Panics
    /// If the node does not start.
    pub fn restart(&self) {
        let root = self.cluster.path("").display().to_string();
        succeed(
            self.inside("bash")
                .args(["-c", POWER_OFF, "power-off", root.trim_end_matches('/')]),
        );
        self.daemons.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.start_containerd();
        self.start_kubelet();
        self.start_network();
        self.start_network_policies();
    }

    /// Takes memory from a container, whose id in containerd this is, so that the kernel kills one of its processes if the container
    /// needs more than `bytes`. kubelet gives the next container its limit of before. Does nothing if the container has ended.
    ///
    /// # Panics
    /// If the control groups can't be listed.
    pub fn take_memory(&self, container: &str, bytes: u64) {
        let find = format!(
            "find /sys/fs/cgroup -type d -path '*/{}/*{container}*'",
            self.control_groups
        );
        let groups = succeed(self.inside("sh").args(["-c", &find]));
        let limits = groups.lines().flat_map(|group| {
            // Control groups version 2, and version 1.
            ["memory.max", "memory.limit_in_bytes"].map(|name| Path::new(group).join(name))
        });
        for limit in limits.filter(|path| path.is_file()) {
            // Version 2 kills at once. Version 1 takes what can be taken without a kill, and refuses the rest. The limit is then what
            // is used now, so that the next allocation of the container finds no memory.
            if fs::write(&limit, bytes.to_string()).is_err() {
                let used = fs::read_to_string(limit.with_file_name("memory.usage_in_bytes")).unwrap_or_default();
                // Refused if less is used than a moment ago: the caller tries again.
                let _ = fs::write(&limit, used.trim());
            }
        }
    }

    /// The logs of the node's programs, for a test that fails.
    pub fn log(&self) -> String {
        let daemons = self.daemons.lock().unwrap_or_else(PoisonError::into_inner);
        daemons
            .iter()
            .map(|(name, running)| {
                let log = running.log();
                let lines: Vec<&str> = log.lines().collect();
                format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(30)..].join("\n"))
            })
            .collect()
    }

    /// Starts a program of the node. The number of its process is in a file, because nsenter's process is not the program's.
    fn daemon(&self, name: &str, program: &Path, arguments: &[&str]) {
        let mut command = self.inside("sh");
        let script = format!("echo $$ > /run/{name}.pid; exec \"$@\"");
        command.args(["-c", &script, name]).arg(program).args(arguments);
        let running = self.cluster.run(name, &mut command);
        let mut daemons = self.daemons.lock().unwrap_or_else(PoisonError::into_inner);
        daemons.push((name.to_owned(), running));
    }

    fn kill(&self, name: &str) {
        succeed(
            self.inside("sh")
                .args(["-c", &format!("kill -s KILL $(cat /run/{name}.pid)")]),
        );
        let mut daemons = self.daemons.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, running) in daemons.extract_if(.., |(found, _)| found == name) {
            let mut running = running;
            // nsenter ends with the program.
            let ended = wait_until(|| (!running.alive()).then_some(()));
            assert!(ended.is_some(), "{name} does not end");
        }
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.cluster.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, content).expect("a file");
        path.display().to_string()
    }

    fn start_containerd(&self) {
        let root = self.cluster.path("").display().to_string();
        // restrict_oom_score_adj: where this process may not lower its own score, no container may have a lower one either.
        let config = format!(
            r#"version = 2
root = "{root}/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{root}/cni"
"#,
            pause = images::PAUSE,
        );
        let config = self.write("containerd.toml", &config);
        // Each Pod has a link of its own to the node, so that all traffic between Pods passes the node's rules.
        let ipam = json!({"type": "host-local", "subnet": PODS, "dataDir": self.cluster.path("addresses"),
            "routes": [{"dst": "0.0.0.0/0"}]});
        let network = json!({"cniVersion": "1.0.0", "name": "pods",
            "plugins": [{"type": "ptp", "ipam": ipam}]});
        self.write("cni/10-pods.conflist", &network.to_string());
        self.daemon(
            "containerd",
            Path::new("containerd"),
            &["--config", &config, "--log-level", "warn"],
        );
        let ready = wait_until(|| {
            let output = self.inside("ctr").args(["version"]).output().ok()?;
            output.status.success().then_some(())
        });
        assert!(ready.is_some(), "containerd does not answer\n{}", self.log());
    }

    fn configure_kubelet(&self, control_groups: &str) {
        let resolver = self.write("resolv.conf", &format!("nameserver {ADDRESS}\n"));
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": ADDRESS.to_string(),
            "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true},
                "x509": {"clientCAFile": self.cluster.path("ca.crt")}},
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": control_groups,
            "clusterDNS": [ADDRESS.to_string()],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            // The tests' disk may be nearly full.
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "200Mi"},
            "imageGCHighThresholdPercent": 100,
            "failCgroupV1": false,
            "failSwapOn": false,
            "podLogsDir": "/var/log/pods",
            "protectKernelDefaults": true,
            "resolvConf": resolver,
            // How soon a changed Secret is in the files of a volume: a minute by default.
            "syncFrequency": "5s",
            "crashLoopBackOff": {"maxContainerRestartPeriod": "5s"},
            "featureGates": {"KubeletCrashLoopBackOffMax": true},
        });
        self.write("kubelet.json", &config.to_string());
    }

    fn start_kubelet(&self) {
        let path = |name: &str| self.cluster.path(name).display().to_string();
        let kubelet = self.cluster.tools.join("kubelet");
        self.daemon(
            "kubelet",
            &kubelet,
            &[
                &format!("--config={}", path("kubelet.json")),
                &format!("--kubeconfig={}", self.cluster.kubeconfig().display()),
                &format!("--root-dir={}", path("kubelet")),
                &format!("--cert-dir={}", path("kubelet-certificates")),
                "--hostname-override=node",
                &format!("--node-ip={ADDRESS}"),
            ],
        );
    }

    /// The scheduler, Services and names.
    fn start_network(&self) {
        let kubeconfig = self.cluster.kubeconfig().display().to_string();
        let tools = self.cluster.tools.clone();
        self.daemon(
            "kube-scheduler",
            &tools.join("kube-scheduler"),
            &[
                &format!("--kubeconfig={kubeconfig}"),
                "--leader-elect=false",
                "--secure-port=0",
            ],
        );
        let unlimited = json!({"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"});
        let proxy = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "nftables": {"minSyncPeriod": "200ms"},
            "clientConnection": {"kubeconfig": kubeconfig},
            "hostnameOverride": "node",
            "clusterCIDR": PODS,
            "bindAddress": ADDRESS.to_string(),
            "healthzBindAddress": format!("{ADDRESS}:10256"),
            "metricsBindAddress": format!("{ADDRESS}:10249"),
            "nodePortAddresses": [format!("{ADDRESS}/32")],
            // These are limits of the whole machine.
            "conntrack": unlimited,
        });
        let proxy = self.write("kube-proxy.json", &proxy.to_string());
        self.daemon("kube-proxy", &tools.join("kube-proxy"), &[&format!("--config={proxy}")]);
        let zone = format!(
            ".:53 {{\n  bind {ADDRESS}\n  errors\n  ready {ADDRESS}:8181\n  \
             kubernetes cluster.local {{\n    kubeconfig {kubeconfig}\n    ttl 1\n  }}\n}}\n"
        );
        let zone = self.write("Corefile", &zone);
        self.daemon("coredns", &tools.join("coredns"), &["-conf", &zone]);
    }

    fn start_network_policies(&self) {
        self.daemon(
            "network-policies",
            &self.cluster.tools.join("network-policies"),
            &[
                &format!("--kubeconfig={}", self.cluster.kubeconfig().display()),
                "--hostname-override=node",
                &format!("--service-cluster-ip-range={}", super::SERVICES),
            ],
        );
    }
}

/// Why no node can run on this machine.
fn unable() -> Option<String> {
    if !is_root() {
        return Some("needs root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = |program: &&str| std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    let mut programs = INSTALLED.iter().chain([&PTP]);
    let missing = programs.find(|program| !is_installed(program))?;
    Some(format!(
        "there is no {missing}; on Debian: apt-get install containerd runc containernetworking-plugins nftables iptables ipset iproute2 \
         util-linux busybox-static"
    ))
}

/// Moves this thread into the network namespace of a process.
fn enter_network(process: u32) {
    let namespace = File::open(format!("/proc/{process}/ns/net")).expect("the namespace");
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))
        .expect("root may enter");
}

fn succeed(command: &mut Command) -> String {
    let output: Output = command.output().expect("the command runs");
    let (printed, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}: {errors}{printed}");
    printed.into_owned()
}
