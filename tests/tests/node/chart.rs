//! The Helm chart: installed, tested, upgraded and rolled back while clients ask, and removed.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sidevault_tests::cluster::node::Node;
use sidevault_tests::pair::wait_until;

use super::fixture::{Client, Keys, Shell, prepare, repository, rolled_out};

const HOME: &str = "chart";

/// A directory vault of one file.
const VALUES: &str = "
sources:
  - directory: { path: /files, name: apps }
connect:
  extraVolumes: [{ name: files, configMap: { name: files } }]
  sync: { extraVolumeMounts: [{ name: files, mountPath: /files, readOnly: true }] }
";

#[test]
fn an_upgrade_and_a_rollback_of_the_chart_fail_no_request() {
    let Some(node) = Node::shared() else { return };
    prepare(&node);
    let keys = Keys::new();
    let shell = Shell::new(&node);
    fs::write(shell.home.path().join("values.yaml"), VALUES).expect("a file");
    let chart = repository("deploy/helm/sidevault").display().to_string();
    shell.run(&format!(
        "kubectl create namespace {HOME} && kubectl create configmap files -n {HOME} --from-literal=db.yaml='password: old' && \
         kubectl create secret generic op-credentials -n {HOME} --from-file={}",
        keys.credentials().display()
    ));
    shell.run(&format!("helm install release {chart} -n {HOME} -f values.yaml"));
    rolled_out(&node, HOME, "deployment/onepassword-connect");
    shell.run(&format!("helm test release -n {HOME}"));

    let client = Client::new(&node, HOME, &keys.token(&["apps"]));
    let served = wait_until(|| client.item("apps", "db"));
    assert!(served.is_some(), "no item");
    let (ends, answered, failed) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            // Each request has a connection of its own.
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    match client.ask("GET", "/v1/vaults/apps/items/db", "") {
                        Some(reply) if reply.status == 200 => {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        other => failed
                            .lock()
                            .expect("no panic")
                            .push(other.map(|reply| (reply.status, reply.text()))),
                    }
                    thread::sleep(Duration::from_millis(10));
                }
            });
        }
        for change in [
            format!("helm upgrade release {chart} -n {HOME} -f values.yaml --set connect.podAnnotations.change=one"),
            format!("helm rollback release 1 -n {HOME}"),
        ] {
            shell.run(&change);
            rolled_out(&node, HOME, "deployment/onepassword-connect");
            // Until the old Pods are gone.
            let pods = format!("/api/v1/namespaces/{HOME}/pods");
            node.cluster()
                .wait_for(&pods, |found| (found["items"].as_array()?.len() == 1).then_some(()));
        }
        ends.store(true, Ordering::Relaxed);
    });
    let failed = failed.into_inner().expect("no panic");
    assert!(failed.is_empty(), "{failed:?}");
    assert!(answered.into_inner() > 100);
    shell.run(&format!("helm uninstall release -n {HOME} --wait"));
    let mut left = String::new();
    let gone = wait_until(|| {
        left = shell.run(&format!("kubectl get deployments,services,pods -n {HOME} -o name"));
        left.is_empty().then_some(())
    });
    assert!(gone.is_some(), "{left}");
}
