//! Leader election, health, metrics and flags of the operator.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, Running, controllers, definitions};
use sidevault_tests::pair::{binary, wait_until};

use super::fixture::{self, METRICS, TestCluster, VERSION};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases/external-secrets-controller";
const SECOND: u16 = METRICS + 10;
/// Flags of an External Secrets Deployment that have no effect here.
const THEIRS: [&str; 8] = [
    "--client-qps=50",
    "--client-burst=100",
    "--enable-secrets-caching=true",
    "--enable-configmaps-caching",
    "--experimental-enable-vault-token-cache",
    "--vault-token-cache-size=100",
    "--enable-http2",
    "--zap-time-encoding=iso8601",
];

/// Series of the real controller that the operator does not have: those of kinds that it does not reconcile, and those that no
/// dashboard of External Secrets reads.
const ABSENT: [&str; 6] = [
    "controller=clusterpushsecret",
    "controller=generatorstate",
    "controller_runtime_reconcile_panics_total",
    "controller_runtime_terminal_reconcile_errors_total",
    "workqueue_longest_running_processor_seconds",
    "workqueue_unfinished_work_seconds",
];

#[test]
fn a_replica_takes_over_when_the_leaders_lease_runs_out() {
    let Some(test) = TestCluster::start() else { return };
    let mut first = replica(&test.cluster, "first", METRICS, "3s");
    holder(&test.cluster, "first");
    test.external_secret("one", "store", "simple", "a");
    test.wait_value("one", "1");
    let second = replica(&test.cluster, "second", SECOND, "3s");
    ready(&test.cluster, SECOND);
    let waits = wait_until(|| second.log().contains("another replica holds the Lease").then_some(()));
    assert!(waits.is_some(), "{}", second.log());
    assert_eq!(
        fixture::metric(&test.cluster, SECOND, "externalsecret_sync_calls_total"),
        0.0,
        "both work"
    );

    first.kill();
    // The next leader handles the changes that happen while no replica leads.
    test.set_field("simple", "a", "changed");
    test.external_secret("two", "store", "simple2", "c");
    test.cluster
        .must(&["delete", "externalsecret", "one", "-n", test.namespace, "--wait=false"]);
    test.external_secret("three", "store", "simple", "a");
    let lease = holder(&test.cluster, "second");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 3);
    test.wait_value("two", "4");
    test.wait_value("three", "changed");
    test.cluster.wait_gone(&fixture::secret(test.namespace, "one"));
    assert_eq!(
        fixture::metric(&test.cluster, METRICS, "externalsecret_sync_calls_total"),
        0.0
    );
}

#[test]
fn a_stopped_leader_releases_its_lease_at_once() {
    let Some(test) = TestCluster::start() else { return };
    // So long that the second replica can't be waiting for the Lease to run out.
    let mut first = replica(&test.cluster, "first", METRICS, "1h");
    holder(&test.cluster, "first");
    let _second = replica(&test.cluster, "second", SECOND, "1h");
    first.terminate();
    assert!(first.log().contains("operator has stopped"), "{}", first.log());
    holder(&test.cluster, "second");
    test.external_secret("one", "store", "simple", "a");
    test.wait_value("one", "1");
}

#[test]
fn a_leader_stops_when_it_has_lost_its_lease() {
    let Some(test) = TestCluster::start() else { return };
    let mut first = replica(&test.cluster, "first", METRICS, "3s");
    holder(&test.cluster, "first");
    let taken = r#"{"spec":{"holderIdentity":"someone","leaseDurationSeconds":3600}}"#;
    test.cluster.must(&[
        "patch",
        "lease",
        "external-secrets-controller",
        "-n",
        "default",
        "--type=merge",
        "-p",
        taken,
    ]);
    let ended = wait_until(|| (!first.alive()).then_some(()));
    assert!(ended.is_some(), "it works without the Lease\n{}", first.log());
    assert!(first.log().contains("another replica"), "{}", first.log());
}

/// As in External Secrets, dots and slashes of the names become underscores, and other labels are left out.
#[test]
fn metrics_have_the_labels_that_kubernetes_recommends_on_request() {
    let Some(test) = TestCluster::start() else { return };
    let operator = fixture::operator(&test.cluster, &["--enable-extended-metric-labels"]);
    let mut manifest = test.manifest("good", "store", "db", "username");
    manifest["metadata"]["labels"] =
        json!({"app.kubernetes.io/part-of": "shop", "app.kubernetes.io/name": "db", "team": "a"});
    test.cluster.apply(&manifest.to_string());
    test.wait_ready("good", "True");
    let labels = "app_kubernetes_io_name=\"db\",app_kubernetes_io_part_of=\"shop\"}";
    let of = format!("{{name=\"good\",namespace=\"{}\",", test.namespace);
    for series in [
        format!("externalsecret_sync_calls_total{of}{labels}"),
        format!("externalsecret_status_condition{of}condition=\"Ready\",status=\"True\",{labels} 1"),
    ] {
        let is_there = || {
            fixture::ask(&test.cluster, METRICS, "/metrics")?
                .text()
                .contains(&series)
                .then_some(())
        };
        assert!(wait_until(is_there).is_some(), "no {series}\n{}", operator.log());
    }
}

#[test]
fn probes_and_dashboards_find_health_and_metrics() {
    let Some(test) = TestCluster::start() else { return };
    let cluster = &test.cluster;
    let operator = fixture::operator(cluster, &["--log-level=debug"]);
    ready(cluster, METRICS);
    assert_eq!(
        fixture::ask(cluster, METRICS + 2, "/healthz").map(|reply| reply.status),
        Some(200)
    );
    test.external_secret("good", "store", "db", "username");
    test.external_secret("bad", "store", "db", "nope");
    test.wait_ready("good", "True");
    test.wait_ready("bad", "False");

    let metrics = fixture::ask(cluster, METRICS, "/metrics").expect("metrics").text();
    let of = |name: &str| format!("{{name=\"{name}\",namespace=\"{}\"", test.namespace);
    let condition = |name: &str, status: &str| {
        format!(
            "externalsecret_status_condition{},condition=\"Ready\",status=\"{status}\"}} 1",
            of(name)
        )
    };
    for series in [
        format!("externalsecret_sync_calls_total{}", of("good")),
        format!("externalsecret_sync_calls_error{}", of("bad")),
        format!("externalsecret_reconcile_duration{}", of("good")),
        condition("good", "True"),
        condition("bad", "False"),
        format!(
            "secretstore_status_condition{},condition=\"Ready\",status=\"True\"}} 1",
            of("store")
        ),
        format!(
            "secretstore_status_condition{},condition=\"Ready\",status=\"False\"}} 1",
            of("broken")
        ),
        "clustersecretstore_status_condition{name=\"cluster-store\",namespace=\"\",".to_owned(),
        "clustersecretstore_reconcile_duration{name=\"cluster-store\",namespace=\"\"}".to_owned(),
        "externalsecret_provider_api_calls_count{provider=\"1Password/Connect\",call=\"GetItem\",status=\"success\"}"
            .to_owned(),
        "controller_runtime_reconcile_total{controller=\"externalsecret\",result=\"requeue_after\"}".to_owned(),
        "controller_runtime_reconcile_errors_total{controller=\"externalsecret\"}".to_owned(),
        "controller_runtime_reconcile_time_seconds_bucket{".to_owned(),
        "controller_runtime_reconcile_time_seconds_sum{".to_owned(),
        "controller_runtime_active_workers{controller=\"externalsecret\"}".to_owned(),
        "controller_runtime_max_concurrent_reconciles{controller=\"externalsecret\"}".to_owned(),
        "workqueue_depth{name=\"externalsecret\",".to_owned(),
        "workqueue_adds_total{name=\"externalsecret\",".to_owned(),
        "workqueue_queue_duration_seconds_bucket{".to_owned(),
        "workqueue_work_duration_seconds_bucket{".to_owned(),
    ] {
        assert!(
            metrics.lines().any(|line| line.starts_with(&series)),
            "no {series} in\n{metrics}"
        );
    }
    let log = operator.log();
    for text in [&metrics, &log] {
        let token = &test.server.token;
        assert!(
            !text.contains(token.as_str()) && !text.contains("t0ken") && !text.contains("grün"),
            "{text}"
        );
    }
    // The series of a deleted object are removed.
    test.cluster
        .must(&["delete", "externalsecret", "good", "-n", test.namespace]);
    let series = format!("externalsecret_status_condition{}", of("good"));
    let removed = wait_until(|| {
        let metrics = fixture::ask(cluster, METRICS, "/metrics")?.text();
        (!metrics.contains(&series)).then_some(())
    });
    assert!(removed.is_some(), "a series of a deleted ExternalSecret stays");
    // Otherwise the alert about a failing store would stay after the store was deleted.
    test.cluster
        .must(&["delete", "secretstore", "broken", "-n", test.namespace]);
    let series = format!("secretstore_status_condition{}", of("broken"));
    let removed = wait_until(|| {
        let metrics = fixture::ask(cluster, METRICS, "/metrics")?.text();
        (!metrics.contains(&series)).then_some(())
    });
    assert!(removed.is_some(), "a series of a deleted store stays");
}

/// So that a dashboard for the real controller shows the operator's metrics.
#[test]
fn all_metric_series_of_the_real_controller_exist() {
    let Some(controllers) = controllers() else { return };
    let Some(test) = TestCluster::with(&definitions(&controllers[0])) else {
        return;
    };
    let prepare = || {
        test.server.prepare(&test.cluster, VERSION, test.namespace);
        test.external_secret("good", "store", "db", "username");
        test.external_secret("bad", "store", "db", "nope");
        test.wait_ready("good", "True");
        test.wait_ready("bad", "False");
    };
    let shapes = |port| {
        let metrics = fixture::ask(&test.cluster, port, "/metrics").expect("metrics").text();
        metrics.lines().filter_map(shape).collect::<BTreeSet<_>>()
    };
    let mut running = test.cluster.run_external_secrets(&controllers[0], &[]);
    prepare();
    let theirs = shapes(8080);
    // While the real controller runs, because it has added its finalizers.
    test.cluster
        .must(&["delete", "externalsecrets", "--all", "-n", test.namespace]);
    running.terminate();
    let _operator = fixture::operator(&test.cluster, &[]);
    prepare();
    let ours = shapes(METRICS);
    assert!(theirs.len() > 30, "{theirs:#?}");
    let missing: Vec<_> = theirs
        .difference(&ours)
        .filter(|series| !ABSENT.iter().any(|word| series.contains(word)))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// A series' name, label names and controller, without what differs between runs. `None` for series about the Go program
/// itself.
fn shape(line: &str) -> Option<String> {
    const KINDS: [&str; 6] = [
        "externalsecret_",
        "secretstore_",
        "clustersecretstore_",
        "controller_runtime_",
        "workqueue_",
        "pushsecret_",
    ];
    if !KINDS.iter().any(|kind| line.starts_with(kind)) {
        return None;
    }
    let (name, rest) = line.split_once('{')?;
    let mut labels: Vec<&str> = rest.split_once('}')?.0.split("\",").collect();
    labels.retain(|label| !label.is_empty());
    let mut labels: Vec<String> = labels
        .into_iter()
        .map(|label| match label.split_once('=') {
            Some((key @ ("controller" | "result"), value)) => format!("{key}={}", value.trim_matches('"')),
            Some((key, _)) => key.to_owned(),
            None => label.to_owned(),
        })
        .collect();
    labels.sort();
    Some(format!("{name} {labels:?}"))
}

#[test]
fn flags_of_external_secrets_are_accepted() {
    let Some(test) = TestCluster::start() else { return };
    let spelled = [
        "--concurrent=1",
        "--loglevel=info",
        "--enable-leader-election=false",
        "--controller-class=default",
    ];
    let flags: Vec<&str> = THEIRS.into_iter().chain(spelled).collect();
    let operator = fixture::operator(&test.cluster, &flags);
    test.external_secret("one", "store", "simple", "a");
    test.wait_value("one", "1");
    let log = operator.log();
    let warning: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("flags of External Secrets"))
        .collect();
    let [warning] = warning[..] else { panic!("{log}") };
    for flag in THEIRS {
        let name = flag.split('=').next().unwrap_or_default();
        assert!(warning.contains(name), "{name} is not in: {warning}");
    }
    assert!(warning.contains("\"level\":\"warn\""), "{warning}");
}

#[test]
fn the_help_names_every_flag_and_a_mistyped_one_is_refused() {
    let run = |arguments: &[&str]| {
        let output = Command::new(binary())
            .arg("operator")
            .args(arguments)
            .output()
            .expect("the binary runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (fine, help) = run(&["--help"]);
    assert!(fine, "{help}");
    for flag in [
        "--concurrent",
        "--namespace",
        "--controller-class",
        "--metrics-addr",
        "--health-addr",
        "--log-level",
        "--enable-leader-election",
        "--leader-election-id",
        "--leader-election-lease-duration",
        "--store-requeue-interval",
        "--default-store",
        "--poke-only",
        "--restart-workloads",
        "--enable-cluster-store-reconciler",
        "--enable-push-secret-reconciler",
    ] {
        assert!(help.contains(flag), "no {flag} in\n{help}");
    }
    let (fine, error) = run(&["--poke-onyl"]);
    assert!(!fine && error.contains("--poke-only"), "{error}");
}

#[test]
fn contradictory_leader_election_flags_are_refused_at_start() {
    let output = Command::new(binary())
        .args([
            "operator",
            "--enable-leader-election",
            "--leader-election-lease-duration=5s",
        ])
        .output()
        .expect("the binary runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(error.contains("--leader-election-renew-deadline"), "{error}");
}

#[test]
fn an_api_server_that_can_not_be_reached_is_exit_status_6_with_its_url() {
    let directory = tempfile::tempdir().expect("a directory");
    let kubeconfig = directory.path().join("kubeconfig");
    // No process listens on port 9 (discard) of this machine.
    let server = "https://127.0.0.1:9";
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": server } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "users": [{ "name": "u", "user": { "token": "t" } }],
    });
    std::fs::write(&kubeconfig, text.to_string()).expect("the file is written");
    let output = Command::new(binary())
        .args(["operator", "--metrics-addr=0", "--health-addr=0"])
        .env("KUBECONFIG", &kubeconfig)
        .output()
        .expect("the binary runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{error}");
    assert!(
        error.contains(server) && error.contains("Connection refused"),
        "{error}"
    );
    assert!(!error.contains("ServiceError"), "{error}");
}

#[test]
fn a_leader_keeps_its_lease_when_others_label_it() {
    let Some(test) = TestCluster::start() else { return };
    let mut first = replica(&test.cluster, "first", METRICS, "3s");
    let before = holder(&test.cluster, "first")["spec"]["renewTime"].clone();
    let lease = ["lease", "external-secrets-controller", "-n", "default"];
    test.cluster.must(&[&["label"], &lease[..], &["team=mine"]].concat());
    test.cluster.must(&[&["delete"], &lease[..]].concat());
    // The leader creates the deleted Lease again.
    test.cluster.wait_for(LEASE, |lease| {
        let renewed = &lease["spec"]["renewTime"];
        (lease["metadata"]["labels"].is_null() && *renewed != before).then_some(())
    });
    holder(&test.cluster, "first");
    assert!(first.alive(), "{}", first.log());
}

fn replica(cluster: &Cluster, name: &str, port: u16, lease: &str) -> Running {
    let lease = format!("--leader-election-lease-duration={lease}");
    let mut command = fixture::command(
        cluster,
        port,
        &[
            "--enable-leader-election",
            "--leader-election-namespace=default",
            &lease,
            "--leader-election-renew-deadline=2s",
            "--leader-election-retry-period=500ms",
        ],
    );
    cluster.run(name, command.env("POD_NAME", name))
}

/// Waits until the replica of this name holds the Lease.
fn holder(cluster: &Cluster, name: &str) -> Value {
    cluster.wait_for(LEASE, |lease| {
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        holder.starts_with(&format!("{name}_")).then(|| lease.clone())
    })
}

fn ready(cluster: &Cluster, port: u16) {
    let ready = wait_until(|| (fixture::ask(cluster, port + 2, "/readyz")?.status == 200).then_some(()));
    assert!(ready.is_some(), "not ready");
}
