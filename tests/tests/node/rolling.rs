//! A rolling update of the operator, while clients read and items change. All containers have 64 MiB.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sidevault_tests::cluster::Shell;
use sidevault_tests::cluster::node::Node;
use sidevault_tests::pair::wait_until;
use sidevault_tests::stop::then_stop;

use super::fixture::{
    Client, Keys, assert_no_restarts, create_namespace, give_volume, install_chart, prepare, rolled_out,
    wait_for_one_pod,
};
use super::reads::Reads;

const HOME: &str = "rolling";
const ITEMS: usize = 20;

/// The operator works in its namespace only, for stores of its own class: other tests' operators run beside it.
const VALUES: &str = "
sources: [{ local: { vaults: [apps] } }]
connect:
  dataVolume: { claim: { create: true, size: 1Gi } }
  api: { resources: { limits: { memory: 64Mi } } }
  sync: { resources: { limits: { memory: 64Mi } } }
operator:
  create: true
  installCRDs: false
  scopedRBAC: true
  scopedNamespace: rolling
  controllerClass: rolling
  resources: { limits: { memory: 64Mi } }
";

#[test]
fn a_rolling_update_of_the_operator_misses_no_change_and_fails_no_request() {
    let Some(node) = Node::shared() else { return };
    prepare(&node);
    let keys = Keys::new();
    let shell = Shell::new(node.cluster());
    create_namespace(&shell, HOME, &keys, "op-credentials");
    give_volume(&node, HOME);
    install_chart(&node, &shell, HOME, VALUES);
    let operator = shell.run(&format!(
        "kubectl get deployments -n {HOME} -o name -l app.kubernetes.io/component=operator"
    ));
    rolled_out(&node, HOME, operator.trim());

    let token = keys.token(&["apps"]);
    let client = Client::new(&node, HOME, &token);
    for number in 0..ITEMS {
        let item =
            json!({"title": format!("item-{number}"), "category": "LOGIN", "fields": [{"label": "v", "value": "0"}]});
        client.create("apps", &item.to_string());
    }
    external_secrets(&node, &token);
    let mut expected: BTreeMap<String, String> = (0..ITEMS).map(|n| (format!("item-{n}"), "0".to_owned())).collect();
    assert_secrets(&node, &expected);

    let (ends, reads) = (AtomicBool::new(false), Reads::default());
    let changed = thread::scope(|scope| {
        for reader in 0..2 {
            let items = (reader..ITEMS).cycle().map(|number| format!("item-{number}"));
            scope.spawn(|| reads.run(&client, items, &ends));
        }
        let changing = scope.spawn(|| {
            let mut last = BTreeMap::new();
            for number in 1.. {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                let title = format!("item-{}", number % ITEMS);
                client.change("apps", &title, "v", &number.to_string());
                last.insert(title, number.to_string());
                thread::sleep(Duration::from_millis(50));
            }
            last
        });
        then_stop(&ends, || {
            for _ in 0..2 {
                shell.run(&format!("kubectl rollout restart -n {HOME} {operator}"));
                rolled_out(&node, HOME, operator.trim());
                wait_for_one_pod(&node, HOME, "app.kubernetes.io/component=operator");
                assert_no_restarts(&shell, HOME);
            }
        });
        changing.join().expect("no change failed")
    });
    reads.assert_all_answered();
    assert!(changed.len() == ITEMS, "too few changes: {changed:?}");
    expected.extend(changed);
    // The next refresh of each is hours away, so a change that nobody noticed would never arrive.
    assert_secrets(&node, &expected);
    assert_no_restarts(&shell, HOME);
    shell.run(&format!(
        "helm uninstall release -n {HOME} --wait && kubectl delete namespace {HOME} --wait=false"
    ));
}

fn external_secrets(node: &Node, token: &str) {
    let metadata = |name: &str| json!({"name": name, "namespace": HOME});
    let provider = json!({"connectHost": format!("http://onepassword-connect.{HOME}:8080"), "vaults": {"apps": 1},
        "auth": {"secretRef": {"connectTokenSecretRef": {"name": "token", "key": "token"}}}});
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("token"), "stringData": {"token": token}}),
        json!({"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": metadata("store"),
            "spec": {"controller": "rolling", "provider": {"onepassword": provider}}}),
    ];
    objects.extend((0..ITEMS).map(|number| {
        let title = format!("item-{number}");
        json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": metadata(&title),
            "spec": {"secretStoreRef": {"name": "store"}, "refreshInterval": "24h",
                "data": [{"secretKey": "v", "remoteRef": {"key": title, "property": "v"}}]}})
    }));
    node.cluster()
        .apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
}

/// Waits until each Secret has this value.
fn assert_secrets(node: &Node, expected: &BTreeMap<String, String>) {
    let mut wrong = Vec::new();
    let all = wait_until(|| {
        wrong = expected
            .iter()
            .filter_map(|(title, value)| {
                let secret = node
                    .cluster()
                    .get(&format!("/api/v1/namespaces/{HOME}/secrets/{title}"));
                let found = secret.map(|secret| secret["data"]["v"].as_str().unwrap_or_default().to_owned());
                (found != Some(STANDARD.encode(value))).then(|| format!("{title}: {found:?}, not {value}"))
            })
            .collect();
        wrong.is_empty().then_some(())
    });
    assert!(all.is_some(), "{wrong:?}");
}
