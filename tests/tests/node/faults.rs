//! What Pods survive: killed containers and Pods, and restarts of kubelet and containerd. The server is that of
//! `deploy/kustomize/overlays/pvc`, with its store on a claim, in a namespace with Pod security `restricted`.

use std::fs;
use std::os::unix::fs::chown;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use sidevault_tests::cluster::node::Node;
use sidevault_tests::pair::wait_until;

use super::fixture::{Client, Keys, Shell, prepare, repository, rolled_out};

const HOME: &str = "faults";

/// Applies the server of the overlay, with less memory than it asks for.
fn start_server(node: &Node, shell: &Shell<'_>, keys: &Keys) {
    let cluster = node.cluster();
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME, "labels": labels}});
    cluster.apply(&namespace.to_string());
    shell.run(&format!(
        "kubectl create secret generic onepassword-credentials -n {HOME} --from-file={}",
        keys.credentials().display()
    ));
    // Kubernetes does not give a directory of the node to the Pod's group.
    let data = cluster.path("claim");
    fs::create_dir(&data).expect("a directory");
    chown(&data, Some(999), Some(999)).expect("root may");
    let claim = json!({"namespace": HOME, "name": "onepassword-connect"});
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": HOME},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": data},
            "claimRef": claim}});
    cluster.apply(&volume.to_string());
    let overlay = repository("deploy/kustomize/overlays/pvc").display().to_string();
    let rendered = cluster.must(&["kustomize", &overlay]);
    let ours: Vec<&str> = rendered
        .split("---\n")
        .filter(|document| document.contains("  name: onepassword-connect\n") || document.contains("kind: ConfigMap"))
        .collect();
    assert_eq!(ours.len(), 4, "claim, sources, Service and Deployment in {rendered}");
    let ours = ours
        .join("---\n")
        .replace("namespace: external-secrets", &format!("namespace: {HOME}"))
        .replace("memory: 128Mi", "memory: 64Mi")
        .replace("memory: 256Mi", "memory: 64Mi");
    cluster.apply(&ours);
    rolled_out(node, HOME, "deployment/onepassword-connect");
}

#[test]
fn nothing_acknowledged_is_lost_with_pods_containers_or_the_nodes_programs() {
    let Some(node) = Node::alone() else { return };
    prepare(&node);
    let keys = Keys::new();
    let shell = Shell::new(&node);
    start_server(&node, &shell, &keys);
    let client = Client::new(&node, HOME, &keys.token(&["apps"]));
    let acknowledged = Mutex::new(Vec::new());
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let title = format!("item-{number}");
                let item = json!({"title": title, "category": "LOGIN"}).to_string();
                let reply = client.ask("POST", "/v1/vaults/apps/items", &item);
                if reply.is_some_and(|reply| reply.status == 200) {
                    acknowledged.lock().expect("no panic").push(title);
                }
            }
        });
        let more = |what: &str| {
            let before = acknowledged.lock().expect("no panic").len();
            let grown = wait_until(|| (acknowledged.lock().expect("no panic").len() > before + 20).then_some(()));
            if grown.is_none() {
                ends.store(true, Ordering::Relaxed);
                let described = shell.run(&format!("kubectl describe pods -n {HOME}"));
                panic!("no more writes after: {what}\n{described}\n{}", node.log());
            }
        };
        more("the start");
        node.restart_containerd();
        more("containerd was restarted");
        node.restart_kubelet();
        more("kubelet was restarted");
        for container in ["connect-sync", "connect-api"] {
            let path =
                format!("jsonpath={{.items[0].status.containerStatuses[?(@.name==\"{container}\")].containerID}}");
            let id = node.cluster().must(&["get", "pods", "-n", HOME, "-o", &path]);
            let id = id.trim_start_matches("containerd://");
            // As the kernel does when there is no memory left.
            node.ctr(&["task", "kill", "--signal", "SIGKILL", id]);
            more(container);
        }
        shell.run(&format!("kubectl delete pod -n {HOME} --all --force --grace-period=0"));
        more("the Pod was deleted by force");
        ends.store(true, Ordering::Relaxed);
    });
    rolled_out(&node, HOME, "deployment/onepassword-connect");
    let acknowledged = acknowledged.into_inner().expect("no panic");
    let mut titles = Vec::new();
    let listed = wait_until(|| {
        let reply = client.ask("GET", "/v1/vaults/apps/items", "")?;
        titles = reply.json().as_array()?.clone();
        (reply.status == 200).then_some(())
    });
    assert!(listed.is_some(), "the server does not answer");
    for title in acknowledged {
        assert!(
            titles.iter().any(|item| item["title"] == title.as_str()),
            "{title} is lost"
        );
    }
    shell.run(&format!("kubectl delete namespace {HOME} --wait=false"));
}
