//! Alerts and dashboards use only metrics that the server and the operator export.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use sidevault_tests::git::Repository;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::wire::{Request, exchange};

use super::{deploy, documents};

/// Metrics of External Secrets and controller-runtime that the operator exports under their names, and one of its own.
/// `anton.rs` checks that the operator exports them.
pub(super) const OPERATOR_METRICS: [&str; 10] = [
    "externalsecret_status_condition",
    "secretstore_status_condition",
    "clustersecretstore_status_condition",
    "externalsecret_sync_calls_total",
    "externalsecret_sync_calls_error",
    "externalsecret_provider_api_calls_count",
    "workqueue_depth",
    "controller_runtime_reconcile_time_seconds_bucket",
    "controller_runtime_reconcile_total",
    "sidevault_operator_event_lag_seconds_bucket",
];

#[test]
fn the_alert_for_a_low_disk_follows_the_variable_that_sets_the_limit() {
    let pair = ServerPair::start(&[], &[("SIDEVAULT_LOW_DISK_MB", "7")]);
    let shown = wait_until(|| {
        let reply = exchange(pair.sync_address(), &Request::new("GET", "/metrics").bytes()).ok()?;
        let text = String::from_utf8(reply.body).ok()?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix("sidevault_store_low_disk_threshold_bytes "))?;
        (value == "7340032").then_some(())
    });
    assert!(shown.is_some(), "{}", pair.log(Process::Sync));
    let rules = fs::read_to_string(deploy("helm/sidevault/files/prometheus/rules.yaml")).unwrap();
    let expression = "expr: sidevault_store_disk_free_bytes < sidevault_store_low_disk_threshold_bytes";
    assert!(rules.contains(expression));
}

#[test]
fn alerts_and_dashboards_use_metrics_that_exist() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("item.yaml"), "password: p\n").unwrap();
    let tree = directory.path().display().to_string();
    let repository = Repository::new();
    repository.push(&[("apps/item.yaml", "password: p\n")]);
    let url = format!("file://{}", repository.bare().display());
    let pair = ServerPair::start(
        &[
            "--dir",
            &tree,
            "--git",
            &url,
            "--backup-to",
            "{root}/backups",
            "--backup-continuous",
        ],
        &[],
    );
    pair.wait_source("home", "ACTIVE", "commit");
    let backed_up = wait_until(|| pair.path("backups").read_dir().ok()?.next().map(drop));
    assert!(backed_up.is_some(), "{}", pair.log(Process::Sync));
    let shipped = wait_until(|| {
        let reply = exchange(pair.sync_address(), &Request::new("GET", "/metrics").bytes()).ok()?;
        reply
            .text()
            .contains("sidevault_backup_shipped_sequence ")
            .then_some(())
    });
    assert!(shipped.is_some(), "{}", pair.log(Process::Sync));
    let token = pair.token("reader", &["apps=read"]);
    pair.get(&token, "/v1/vaults");
    pair.get("nonsense", "/v1/vaults");
    let exposed = |address| {
        let reply = exchange(address, &Request::new("GET", "/metrics").bytes()).unwrap();
        String::from_utf8(reply.body).unwrap()
    };
    let declared = exposed(pair.address()) + &exposed(pair.sync_address());
    let declared: BTreeSet<String> = declared
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| {
            let (name, kind) = line.split_once(' ')?;
            let ending = match kind {
                "counter" => "_total",
                "histogram" => "_bucket",
                "info" => "_info",
                _ => "",
            };
            Some(format!("{name}{ending}"))
        })
        .collect();
    let rules = documents(&fs::read_to_string(deploy("helm/sidevault/files/prometheus/rules.yaml")).unwrap());
    let tests = fs::read_to_string(deploy("../tests/prometheus/rules_test.yaml")).unwrap();
    let mut expressions = Vec::new();
    for group in rules[0]["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            expressions.push(rule["expr"].as_str().unwrap().to_owned());
            let (labels, notes) = (&rule["labels"], &rule["annotations"]);
            assert!(labels["severity"].is_string() && notes["summary"].is_string(), "{rule}");
            // `tests/prometheus/run.sh` runs these tests.
            let alert = rule["alert"].as_str().unwrap();
            assert!(
                tests.contains(&format!("{{alertname=\"{alert}\"")),
                "no test in which {alert} fires"
            );
            let runbook = deploy("..").join(notes["runbook"].as_str().unwrap());
            assert!(runbook.is_file(), "{}", runbook.display());
        }
    }
    for dashboard in ["sidevault-server", "sidevault-operator"] {
        let text = fs::read_to_string(deploy(&format!("helm/sidevault/files/grafana/{dashboard}.json"))).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        for panel in panels
            .iter()
            .filter(|panel| panel.to_string().contains("sidevault_items"))
        {
            // Without a token the api does not show these series.
            let description = panel["description"].as_str().unwrap_or_default();
            assert!(description.contains("SIDEVAULT_HEALTH_DETAILS"), "{}", panel["title"]);
        }
        let targets = panels
            .iter()
            .flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
        expressions.extend(targets.map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    assert!(expressions.len() > 25);
    let prefixes = [
        "sidevault_",
        "externalsecret_",
        "secretstore_",
        "clustersecretstore_",
        "workqueue_",
        "controller_",
    ];
    for expression in expressions {
        let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for series in words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix))) {
            assert!(
                declared.contains(series) || OPERATOR_METRICS.contains(&series),
                "no {series}: {expression}"
            );
        }
    }
}
