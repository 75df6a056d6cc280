//! 1Password's own Helm chart with our images. The chart is not part of this repository: `SIDEVAULT_CONNECT_CHART` names a copy of
//! <https://github.com/1Password/connect-helm-charts>, directory `charts/connect`.

use std::env;
use std::io::Write as _;

use serde_json::json;
use sidevault_tests::cluster::Shell;
use sidevault_tests::cluster::node::Node;

use super::fixture::{Client, Keys, assert_no_restarts, is_nightly, prepare, rolled_out, version};

#[test]
fn the_original_chart_runs_with_our_images() {
    let Some(chart) = env::var_os("SIDEVAULT_CONNECT_CHART") else {
        if is_nightly() {
            let said = "SKIPPED: 1Password's Helm chart: SIDEVAULT_CONNECT_CHART names no copy of it";
            // Written to standard error directly, because the test harness captures what `eprintln!` prints.
            let _ = writeln!(std::io::stderr(), "{said}");
        }
        return;
    };
    let Some(node) = Node::shared() else { return };
    prepare(&node);
    let (home, keys, shell) = ("original", Keys::new(), Shell::new(node.cluster()));
    shell.run(&format!("kubectl create namespace {home}"));
    shell.run(&format!(
        "helm install connect {} -n {home} --set-file connect.credentials={} --set connect.version={} \
         --set connect.api.imageRepository=sidevault-api --set connect.sync.imageRepository=sidevault-sync",
        chart.to_string_lossy(),
        keys.credentials().display(),
        version()
    ));
    rolled_out(&node, home, "deployment/onepassword-connect");
    shell.run(&format!(
        "kubectl exec -n {home} deploy/onepassword-connect -c connect-sync -- sidevault vault create apps --allow-ephemeral"
    ));
    let client = Client::new(&node, home, &keys.token(&["apps"]));
    let item = json!({"title": "server", "category": "LOGIN", "fields": [{"label": "color", "value": "blue"}]});
    client.create("apps", &item.to_string());
    let read = client.item("apps", "server").expect("the item");
    assert_eq!(read["fields"][0]["value"], "blue", "{read}");
    assert_no_restarts(&shell, home);
    shell.run(&format!(
        "helm uninstall connect -n {home} --wait && kubectl delete namespace {home} --wait=false"
    ));
}
