//! What Pods survive: killed containers and Pods, no memory, a full disk, restarts of kubelet, of containerd and of the whole node. The
//! server is that of `deploy/kustomize/overlays/pvc`, with its store on a claim, in a namespace with Pod security `restricted`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use sidevault_tests::cluster::Shell;
use sidevault_tests::cluster::node::Node;
use sidevault_tests::pair::wait_until;
use sidevault_tests::stop::then_stop;

use super::fixture::{
    Client, Keys, create_namespace, give_volume, install_chart, is_nightly, prepare, repository, rolled_out,
};

/// The server of the overlay in a namespace of its own, with less memory than the overlay gives it.
struct Server<'a> {
    node: &'a Node,
    shell: Shell,
    home: &'static str,
    client: Client,
}

impl<'a> Server<'a> {
    /// `volume` is called with the claim's directory, which is empty, before the server starts.
    fn start(node: &'a Node, home: &'static str, keys: &Keys, volume: impl FnOnce(&str)) -> Self {
        let cluster = node.cluster();
        let shell = Shell::new(node.cluster());
        create_namespace(&shell, home, keys, "onepassword-credentials");
        volume(&give_volume(node, home).display().to_string());
        let overlay = repository("deploy/kustomize/overlays/pvc").display().to_string();
        let rendered = cluster.must(&["kustomize", &overlay]);
        let ours: Vec<&str> = rendered
            .split("---\n")
            .filter(|document| {
                document.contains("  name: onepassword-connect\n") || document.contains("kind: ConfigMap")
            })
            .collect();
        assert_eq!(ours.len(), 4, "claim, sources, Service and Deployment in {rendered}");
        let ours = ours
            .join("---\n")
            .replace("namespace: external-secrets", &format!("namespace: {home}"))
            .replace("memory: 128Mi", "memory: 64Mi")
            .replace("memory: 256Mi", "memory: 64Mi");
        cluster.apply(&ours);
        rolled_out(node, home, "deployment/onepassword-connect");
        let client = Client::new(node, home, &keys.token(&["apps"]));
        Self {
            node,
            shell,
            home,
            client,
        }
    }

    /// Creates items, one after the other, until `disturb` returns, and then expects all that were acknowledged. `disturb` gets a
    /// function that waits until 20 more were acknowledged.
    fn write_while(&self, disturb: impl FnOnce(&dyn Fn(&str))) {
        let acknowledged = Mutex::new(Vec::new());
        let ends = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0.. {
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    let title = format!("item-{number}");
                    let item = json!({"title": title, "category": "LOGIN"}).to_string();
                    let reply = self.client.ask("POST", "/v1/vaults/apps/items", &item);
                    if reply.is_some_and(|reply| reply.status == 200) {
                        acknowledged.lock().expect("no panic").push(title);
                    } else {
                        // So that the server gets the processor, and can come back.
                        thread::sleep(Duration::from_millis(20));
                    }
                }
            });
            then_stop(&ends, || {
                disturb(&|what| {
                    let before = acknowledged.lock().expect("no panic").len();
                    let grown =
                        wait_until(|| (acknowledged.lock().expect("no panic").len() > before + 20).then_some(()));
                    if grown.is_none() {
                        let described = self.shell.run(&format!("kubectl describe pods -n {}", self.home));
                        panic!("no more writes after: {what}\n{described}\n{}", self.node.log());
                    }
                });
            });
        });
        self.assert_has(&acknowledged.into_inner().expect("no panic"));
    }

    fn assert_has(&self, acknowledged: &[String]) {
        rolled_out(self.node, self.home, "deployment/onepassword-connect");
        let mut items = Vec::new();
        let listed = wait_until(|| {
            let reply = self.client.ask("GET", "/v1/vaults/apps/items", "")?;
            items = reply.json().as_array()?.clone();
            (reply.status == 200).then_some(())
        });
        assert!(listed.is_some(), "the server does not answer");
        for title in acknowledged {
            assert!(
                items.iter().any(|item| item["title"] == title.as_str()),
                "{title} is lost"
            );
        }
    }

    /// What the status of a container says at this path.
    fn status(&self, container: &str, path: &str) -> String {
        let path = format!("jsonpath={{.items[0].status.containerStatuses[?(@.name==\"{container}\")]{path}}}");
        self.node.cluster().must(&["get", "pods", "-n", self.home, "-o", &path])
    }

    fn container(&self, name: &str) -> String {
        self.status(name, ".containerID")
            .trim_start_matches("containerd://")
            .to_owned()
    }

    fn delete_pods(&self) {
        self.shell.run(&format!(
            "kubectl delete pod -n {} --all --force --grace-period=0",
            self.home
        ));
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self
            .shell
            .output(&format!("kubectl delete namespace {} --wait=false", self.home));
    }
}

#[test]
fn nothing_acknowledged_is_lost_with_pods_containers_or_the_nodes_programs() {
    let Some(node) = Node::alone() else { return };
    prepare(&node);
    let server = Server::start(&node, "faults", &Keys::new(), |_| {});
    server.write_while(|more| {
        more("the start");
        node.restart_containerd();
        more("containerd was restarted");
        node.restart_kubelet();
        more("kubelet was restarted");
        for container in ["connect-sync", "connect-api"] {
            node.ctr(&["task", "kill", "--signal", "SIGKILL", &server.container(container)]);
            more(container);
        }
        server.delete_pods();
        more("the Pod was deleted by force");
    });
}

#[test]
fn nothing_acknowledged_is_lost_when_the_kernel_kills_for_memory() {
    let Some(node) = Node::alone() else { return };
    prepare(&node);
    let server = Server::start(&node, "memory", &Keys::new(), |_| {});
    let large =
        json!({"title": "large", "category": "LOGIN", "fields": [{"label": "v", "value": "x".repeat(400_000)}]});
    server.write_while(|more| {
        for container in ["connect-sync", "connect-api"] {
            let mut last = String::new();
            let killed = wait_until(|| {
                node.take_memory(&server.container(container), 4 << 20);
                let _ = server.client.ask("POST", "/v1/vaults/apps/items", &large.to_string());
                last = server.status(container, ".lastState.terminated.reason");
                (last == "OOMKilled").then_some(())
            });
            assert!(killed.is_some(), "{container} was not killed: {last:?}");
            more(container);
        }
    });
}

#[test]
fn a_node_that_restarts_brings_all_servers_back() {
    if !is_nightly() {
        return;
    }
    let Some(node) = Node::alone() else { return };
    prepare(&node);
    let keys = Keys::new();
    let server = Server::start(&node, "restart", &keys, |_| {});
    // Beside it, a directory vault with its store on an emptyDir.
    let (shell, home) = (&server.shell, "directory");
    create_namespace(shell, home, &keys, "op-credentials");
    let values = "
sources: [{ directory: { path: /files, name: apps } }]
connect:
  extraVolumes: [{ name: files, configMap: { name: files } }]
  sync: { extraVolumeMounts: [{ name: files, mountPath: /files, readOnly: true }] }
";
    shell.run(&format!(
        "kubectl create configmap files -n {home} --from-literal=db.yaml='password: secret'"
    ));
    install_chart(&node, shell, home, values);
    let client = Client::new(&node, home, &keys.token(&["apps"]));
    let assert_served = |what: &str| {
        let served = wait_until(|| client.item("apps", "db"));
        assert!(served.is_some(), "no item after: {what}\n{}", node.log());
    };
    assert_served("the start");
    server.write_while(|more| {
        more("the start");
        for time in 1..=2 {
            node.restart();
            more("the node was restarted");
            assert_served(&format!("restart {time} of the node"));
        }
    });
    shell.run(&format!("kubectl delete pod -n {home} --all --force --grace-period=0"));
    assert_served("the Pod was deleted by force");
    shell.run(&format!("kubectl delete namespace {home} --wait=false"));
}

#[test]
fn nothing_acknowledged_is_lost_when_the_claim_is_full() {
    if !is_nightly() {
        return;
    }
    let Some(node) = Node::alone() else { return };
    prepare(&node);
    let mut disk = String::new();
    let inside = |line: &str| {
        let output = node.inside("sh").args(["-c", line]).output().expect("sh runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let server = Server::start(&node, "full", &Keys::new(), |claim| {
        // A real file system, because sync makes no local vault on a tmpfs.
        let (done, said) = inside(&format!(
            "truncate -s 40M {claim}.disk && mkfs.ext4 -q -m 0 -F {claim}.disk && mount -o loop {claim}.disk {claim} && \
             chown 999:999 {claim}"
        ));
        assert!(done, "{said}");
        claim.clone_into(&mut disk);
    });
    server.write_while(|more| {
        more("the start");
        for time in 1..=2 {
            // dd fails when there is no room left.
            inside(&format!("dd if=/dev/zero of={disk}/ballast bs=4096"));
            let item = json!({"title": "refused", "category": "LOGIN", "fields": [{"label": "v", "value": "x".repeat(200_000)}]});
            let mut last = String::new();
            let refused = wait_until(|| {
                let reply = server.client.ask("POST", "/v1/vaults/apps/items", &item.to_string())?;
                last = reply.text();
                (reply.status == 503).then_some(())
            });
            assert!(refused.is_some(), "{last}");
            assert!(last.contains("full") || last.contains("disk"), "{last}");
            // Reads go on.
            assert!(server.client.item("apps", "item-0").is_some());
            if time == 2 {
                // The server starts on a full disk.
                server.delete_pods();
                let served = wait_until(|| server.client.item("apps", "item-0"));
                assert!(served.is_some(), "no item on a full disk\n{}", node.log());
            }
            let (done, said) = inside(&format!("rm {disk}/ballast"));
            assert!(done, "{said}");
            more("there was room again");
        }
    });
}
