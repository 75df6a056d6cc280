//! The Helm chart: installed, tested, upgraded and rolled back while clients ask, and removed. Its NetworkPolicy.

use std::iter;
use std::sync::atomic::AtomicBool;
use std::thread;

use serde_json::json;
use sidevault_tests::cluster::Shell;
use sidevault_tests::cluster::node::Node;
use sidevault_tests::pair::wait_until;
use sidevault_tests::stop::then_stop;

use super::fixture::{
    Client, Keys, assert_connects, assert_no_restarts, chart, create_namespace, install_chart, prepare, rolled_out,
    start_client, wait_for_one_pod,
};
use super::reads::Reads;

const HOME: &str = "chart";

/// A directory vault of one file, and half of the memory that the chart gives. Its store is on an emptyDir, so a new Pod's requests
/// wait for the first read of the file: on a busy machine longer than by default.
const VALUES: &str = "
sources:
  - directory: { path: /files, name: apps }
connect:
  customEnvVars: [{ name: OP_SYNC_TIMEOUT, value: 2m }]
  extraVolumes: [{ name: files, configMap: { name: files } }]
  api: { resources: { limits: { memory: 64Mi } } }
  sync:
    extraVolumeMounts: [{ name: files, mountPath: /files, readOnly: true }]
    resources: { limits: { memory: 64Mi } }
networkPolicy: { enabled: true }
";

#[test]
fn an_upgrade_and_a_rollback_of_the_chart_fail_no_request() {
    let Some(node) = Node::shared() else { return };
    prepare(&node);
    let keys = Keys::new();
    let shell = Shell::new(node.cluster());
    create_namespace(&shell, HOME, &keys, "op-credentials");
    shell.run(&format!(
        "kubectl create configmap files -n {HOME} --from-literal=db.yaml='password: old'"
    ));
    install_chart(&node, &shell, HOME, VALUES);
    // Its Pod may reach the api.
    shell.run(&format!("helm test release -n {HOME}"));
    the_policy_lets_in_the_operator_only(&node, &shell);

    let client = Client::new(&node, HOME, &keys.token(&["apps"]));
    let served = wait_until(|| client.item("apps", "db"));
    assert!(served.is_some(), "no item");
    let (ends, reads) = (AtomicBool::new(false), Reads::default());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| reads.run(&client, iter::repeat_with(|| "db".to_owned()), &ends));
        }
        then_stop(&ends, || {
            for change in [
                format!(
                    "helm upgrade release {} -n {HOME} -f values.yaml --set connect.podAnnotations.change=one",
                    chart()
                ),
                format!("helm rollback release 1 -n {HOME}"),
            ] {
                shell.run(&change);
                rolled_out(&node, HOME, "deployment/onepassword-connect");
                wait_for_one_pod(&node, HOME, "app=onepassword-connect");
                assert_no_restarts(&shell, HOME);
            }
        });
    });
    reads.assert_all_answered();
    shell.run(&format!("helm uninstall release -n {HOME} --wait"));
    shell.run(&format!("kubectl delete pod -n {HOME} --all --force --grace-period=0"));
    let mut left = String::new();
    let gone = wait_until(|| {
        let kinds = "deployments,services,pods,networkpolicies,configmaps";
        left = shell.run(&format!("kubectl get {kinds} -n {HOME} -o name"));
        let mut ours = left.lines().filter(|name| !name.ends_with("/kube-root-ca.crt"));
        (ours.next() == Some("configmap/files") && ours.next().is_none()).then_some(())
    });
    assert!(gone.is_some(), "{left}");
}

/// The api's port is open to Pods with the operator's label, sync's port to all, and the bus to none.
fn the_policy_lets_in_the_operator_only(node: &Node, shell: &Shell) {
    start_client(
        node,
        HOME,
        "operator",
        &json!({"app.kubernetes.io/name": "external-secrets"}),
    );
    start_client(node, HOME, "stranger", &json!({}));
    let service = format!("http://onepassword-connect.{HOME}:8080/heartbeat");
    assert_connects(shell, HOME, "operator", &service, true);
    assert_connects(shell, HOME, "stranger", &service, false);
    let address =
        format!("kubectl get pods -n {HOME} -l app=onepassword-connect -o jsonpath='{{.items[0].status.podIP}}'");
    let address = shell.run(&address);
    assert_connects(
        shell,
        HOME,
        "stranger",
        &format!("http://{address}:8081/heartbeat"),
        true,
    );
    assert_connects(shell, HOME, "operator", &format!("http://{address}:11220/"), false);
}
