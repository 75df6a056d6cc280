//! Faults of clusters, networks and servers: no change is lost, no Secret is wrongly deleted, and all recovers by itself.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use sidevault_tests::pair::{Process, wait_until};
use sidevault_tests::proxy::Proxy;
use sidevault_tests::stop::then_stop;

use super::fixture::{self, TestCluster, VERSION};
use super::front::{forward, serve};

#[test]
fn watches_resume_after_the_api_server_was_down() {
    let Some(test) = TestCluster::start() else { return };
    let mut operator = fixture::operator(&test.cluster, &[]);
    test.external_secret("one", "store", "db", "username");
    test.wait_value("one", "app");

    test.cluster.stop_apiserver();
    test.set_field("db", "username", "while-away");
    test.cluster.start_apiserver();

    test.wait_value("one", "while-away");
    test.external_secret("two", "store", "db", "host");
    test.wait_value("two", "db.example");
    test.cluster.must(&["delete", "secret", "one", "-n", test.namespace]);
    test.wait_value("one", "while-away");
    assert!(operator.alive());
}

/// All connections to the API server are cut again and again while objects change; every other time new ones are refused for
/// a while.
#[test]
fn a_cut_watch_loses_no_change_and_deletes_no_secret() {
    let Some(test) = TestCluster::start() else { return };
    let (cluster, namespace) = (&test.cluster, test.namespace);
    let gate = Proxy::before(SocketAddr::new(cluster.address(), 6443), cluster.address());
    let through = through(&test, &gate);
    let mut command = fixture::command(cluster, fixture::METRICS, &[]);
    let mut operator = cluster.run("operator", command.env("KUBECONFIG", through));
    for name in ["kept", "changed", "repaired", "remade", "renamed"] {
        test.external_secret(name, "store", "simple", "a");
    }
    for name in ["kept", "changed", "repaired", "remade", "renamed"] {
        test.wait_value(name, "1");
    }
    let uid = |name: &str| {
        let secret = cluster.get(&fixture::secret(namespace, name)).expect("the Secret");
        secret["metadata"]["uid"].clone()
    };
    let kept = ["kept", "changed", "repaired"].map(uid);

    for round in 0..6 {
        let fresh = format!("fresh-{round}");
        let going = format!("going-{round}");
        test.external_secret(&going, "store", "simple", "b");
        test.wait_value(&going, "2");
        let cut = gate.shut();
        assert!(cut > 0, "nothing was cut");
        if round % 2 == 0 {
            gate.open();
        }
        // Create an ExternalSecret, delete one, change the item of one, and edit the Secrets of three.
        test.external_secret(&fresh, "store", "simple", "b");
        cluster.must(&["delete", "externalsecret", &going, "-n", namespace, "--wait=false"]);
        let (item, field, value) = [("db", "host", "db.example"), ("db", "username", "app")][round % 2];
        test.external_secret("changed", "store", item, field);
        let wrong = format!("{{\"stringData\":{{\"v\":\"wrong-{round}\"}}}}");
        cluster.must(&["patch", "secret", "repaired", "-n", namespace, "-p", &wrong]);
        cluster.must(&["delete", "secret", "remade", "-n", namespace]);
        let mut renamed = test.manifest("renamed", "store", "simple", "a");
        renamed["spec"]["target"] = json!({"name": format!("renamed-{round}")});
        cluster.apply(&renamed.to_string());
        gate.open();

        test.wait_value(&fresh, "2");
        cluster.wait_gone(&fixture::secret(namespace, &going));
        cluster.wait_gone(&fixture::path(namespace, "externalsecrets", &going, VERSION));
        test.wait_value("changed", value);
        test.wait_value("repaired", "1");
        test.wait_value("remade", "1");
        test.wait_value(&format!("renamed-{round}"), "1");
        let before = match round {
            0 => "renamed".to_owned(),
            _ => format!("renamed-{}", round - 1),
        };
        cluster.wait_gone(&fixture::secret(namespace, &before));
        for earlier in 0..=round {
            test.wait_value(&format!("fresh-{earlier}"), "2");
        }
        test.wait_value("kept", "1");
        assert_eq!(
            ["kept", "changed", "repaired"].map(uid),
            kept,
            "a Secret was deleted and made anew"
        );
    }
    assert!(operator.alive());
}

/// A kubeconfig of the administrator whose connections pass the gate.
fn through(test: &TestCluster, gate: &Proxy) -> std::path::PathBuf {
    let admin = std::fs::read_to_string(test.cluster.kubeconfig()).expect("a kubeconfig");
    let mut config: serde_json::Value = serde_json::from_str(&admin).expect("JSON");
    config["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", gate.address()));
    let path = test.cluster.path("gate.kubeconfig");
    std::fs::write(&path, config.to_string()).expect("a file");
    path
}

#[test]
fn secrets_stay_while_a_connect_server_is_down() {
    let Some(mut test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    test.external_secret("one", "store", "db", "username");
    test.wait_value("one", "app");

    test.server.pair.kill(Process::Api);
    test.force_sync("one");
    let condition = test.wait_ready("one", "False");
    assert_eq!(condition["reason"], "SecretSyncedError");
    // Without the server the operator can't compute the value, so the Secret must not change.
    test.wait_value("one", "app");

    test.server.pair.run(Process::Api);
    // The api answers reads a moment before sync accepts writes.
    test.server.pair.wait_linked();
    test.wait_ready("one", "True");
    test.set_field("db", "username", "later");
    test.wait_value("one", "later");
}

#[test]
fn a_wrong_token_is_reported_and_a_corrected_one_is_used() {
    let Some(test) = TestCluster::start() else { return };
    let operator = fixture::operator(&test.cluster, &[]);
    test.external_secret("one", "broken", "db", "username");
    let condition = test.wait_ready("one", "False");
    assert_eq!(condition["message"], "could not get secret data from provider");

    let token = format!("{{\"stringData\":{{\"token\":\"{}\"}}}}", test.server.token);
    test.cluster
        .must(&["patch", "secret", "wrong-token", "-n", test.namespace, "-p", &token]);
    test.wait_value("one", "app");
    test.wait_ready("one", "True");
    assert!(!operator.log().contains(&test.server.token), "the token is in the log");
}

#[test]
fn a_server_that_never_answers_does_not_delay_another() {
    let Some(test) = TestCluster::start() else { return };
    // A server that accepts connections and never answers.
    let deaf = serve(|_| None);
    test.add_store("deaf", deaf);
    let _operator = fixture::operator(&test.cluster, &["--concurrent=2", "--enable-flood-gate=false"]);
    for number in 0..20 {
        test.external_secret(&format!("waits-{number}"), "deaf", "db", "username");
    }
    test.external_secret("quick", "store", "db", "username");
    test.wait_value("quick", "app");
}

#[test]
fn a_slow_server_does_not_delay_another() {
    const EACH: usize = 20;
    let Some(test) = TestCluster::start() else { return };
    let upstream = test.server.pair.address();
    let slow = serve(move |request| {
        // The slow answer is the subject of the test. The test itself does not wait for it.
        thread::sleep(Duration::from_secs(3));
        forward(upstream, request)
    });
    test.add_store("slow", slow);
    // Each ExternalSecret has an item of its own, so that no answer serves two of them.
    for number in 0..EACH {
        let item = format!(r#"{{"title":"own-{number}","category":"LOGIN","fields":[{{"label":"f","value":"x"}}]}}"#);
        let server = &test.server;
        let made = server.pair.ask(&server.token, "POST", "/v1/vaults/apps/items", &item);
        assert_eq!(made.expect("an answer").status, 200);
    }
    let all = |store: &str| (0..EACH).map(|number| format!("{store}-{number}")).collect::<Vec<_>>();
    for store in ["slow", "store"] {
        for (number, name) in all(store).iter().enumerate() {
            test.external_secret(name, store, &format!("own-{number}"), "f");
        }
    }
    // The ExternalSecrets of the slow server are queued first, and each store has one worker.
    let _operator = fixture::operator(&test.cluster, &["--concurrent=1"]);
    for name in all("store") {
        test.wait_value(&name, "x");
        test.wait_ready(&name, "True");
    }
    let made = |name: &String| test.cluster.get(&fixture::secret(test.namespace, name)).is_some();
    let early = all("slow").iter().filter(|name| made(name)).count();
    assert!(early < EACH, "the slow server was not slow");
    // The slow server's ExternalSecrets are synced in the end.
    let one = wait_until(|| all("slow").iter().any(made).then_some(()));
    assert!(one.is_some(), "none of the slow server's was made");
}

#[test]
fn a_truncated_response_changes_no_secret() {
    let Some(test) = TestCluster::start() else { return };
    let upstream = test.server.pair.address();
    let cut = std::sync::Arc::new(AtomicBool::new(false));
    let cutting = cut.clone();
    // A proxy that cuts responses in the middle while `cutting` is set.
    let proxy = serve(move |request| {
        let mut answer = forward(upstream, request)?;
        if cutting.load(Ordering::SeqCst) {
            answer.truncate(answer.len() / 2);
        }
        Some(answer)
    });
    test.add_store("proxied", proxy);
    let _operator = fixture::operator(&test.cluster, &[]);
    test.external_secret("one", "proxied", "db", "password");
    test.wait_value("one", "grün & 'quoted'");

    cut.store(true, Ordering::SeqCst);
    test.force_sync("one");
    test.wait_ready("one", "False");
    test.wait_value("one", "grün & 'quoted'");
    cut.store(false, Ordering::SeqCst);
    test.wait_ready("one", "True");
}

#[test]
fn write_conflicts_on_a_secret_are_retried() {
    let Some(test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    test.external_secret("one", "store", "db", "username");
    test.wait_value("one", "app");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..3 {
            let (test, stop) = (&test, &stop);
            scope.spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::SeqCst) {
                    number += 1;
                    let annotation = format!("writer-{writer}={number}");
                    let arguments = [
                        "annotate",
                        "secret",
                        "one",
                        "-n",
                        test.namespace,
                        "--overwrite",
                        &annotation,
                    ];
                    let _conflict_or_not = test.cluster.kubectl(&arguments);
                    let patch = format!("{{\"stringData\":{{\"v\":\"wrong-{number}\"}}}}");
                    let arguments = ["patch", "secret", "one", "-n", test.namespace, "-p", &patch];
                    let _conflict_or_not = test.cluster.kubectl(&arguments);
                }
            });
        }
        then_stop(&stop, || {
            for number in 0..10 {
                test.set_field("db", "username", &format!("value-{number}"));
            }
        });
    });
    test.wait_value("one", "value-9");
    test.wait_ready("one", "True");
}

#[test]
fn a_changed_file_of_a_directory_reaches_the_secret() {
    let Some(test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    test.external_secret("rotating", "store", "rotating", "current-key");
    test.wait_value("rotating", "rk-1");
    std::fs::write(test.server.file("rotating.yaml"), "current-key: rk-2\n").expect("a file");
    test.wait_value("rotating", "rk-2");
}

#[test]
fn a_namespace_with_external_secrets_can_be_deleted() {
    let Some(mut test) = TestCluster::start() else { return };
    test.namespace = "doomed";
    test.server.prepare(&test.cluster, VERSION, "doomed");
    let mut operator = fixture::operator(&test.cluster, &[]);
    for policy in ["Retain", "Delete"] {
        let mut manifest = test.manifest(&policy.to_lowercase(), "store", "db", "username");
        manifest["spec"]["target"] = json!({"deletionPolicy": policy});
        test.cluster.apply(&manifest.to_string());
        test.wait_value(&policy.to_lowercase(), "app");
    }
    test.cluster.must(&["delete", "namespace", "doomed", "--wait=false"]);
    test.cluster.wait_gone("/api/v1/namespaces/doomed");
    assert!(operator.alive());
}

#[test]
fn deletion_and_creation_policies_decide_whether_the_secret_is_deleted() {
    let Some(test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    let cases = [
        ("owner", "Owner", "Retain", false),
        ("orphan", "Orphan", "Retain", true),
    ];
    for (name, creation, deletion, _) in cases {
        let mut manifest = test.manifest(name, "store", "db", "username");
        manifest["spec"]["target"] = json!({"creationPolicy": creation, "deletionPolicy": deletion});
        test.cluster.apply(&manifest.to_string());
        test.wait_value(name, "app");
    }
    // When the name of the target changes, the Secret under the old name is deleted.
    let mut manifest = test.manifest("owner", "store", "db", "username");
    manifest["spec"]["target"] = json!({"name": "renamed"});
    test.cluster.apply(&manifest.to_string());
    test.wait_value("renamed", "app");
    test.cluster.wait_gone("/api/v1/namespaces/apps/secrets/owner");
    test.cluster
        .must(&["delete", "externalsecret", "owner", "orphan", "-n", test.namespace]);
    test.cluster.wait_gone("/api/v1/namespaces/apps/secrets/renamed");
    for (name, _, _, stays) in cases {
        let secret = test.cluster.get(&format!("/api/v1/namespaces/apps/secrets/{name}"));
        assert_eq!(secret.is_some(), stays, "{name}");
    }
}

/// `SIDEVAULT_HERD` ExternalSecrets (default 2,000) use a tenth as many items.
#[test]
fn many_external_secrets_share_one_read_of_an_item() {
    let Some(test) = TestCluster::start() else { return };
    let herd: usize = std::env::var("SIDEVAULT_HERD")
        .ok()
        .and_then(|herd| herd.parse().ok())
        .unwrap_or(2000);
    let items = herd / 10;
    for number in 0..items {
        let item =
            format!(r#"{{"title":"item-{number}","category":"LOGIN","fields":[{{"label":"v","value":"{number}"}}]}}"#);
        let answer = test
            .server
            .pair
            .ask(&test.server.token, "POST", "/v1/vaults/apps/items", &item)
            .expect("an answer");
        assert_eq!(answer.status, 200);
    }
    thread::scope(|scope| {
        for lane in 0..8 {
            let test = &test;
            scope.spawn(move || {
                for number in (lane..herd).step_by(8) {
                    let manifest = test.manifest(
                        &format!("es-{number}"),
                        "store",
                        &format!("item-{}", number % items),
                        "v",
                    );
                    test.cluster
                        .post(&fixture::path("apps", "externalsecrets", "", VERSION), &manifest);
                }
            });
        }
    });
    let before = item_reads(&test);
    let operator = fixture::operator(&test.cluster, &[]);
    let ready = || {
        let metrics = metrics(&test)?;
        let ready = metrics.lines().filter(|line| {
            line.starts_with("externalsecret_status_condition")
                && line.contains("status=\"True\"")
                && line.ends_with(" 1")
        });
        (ready.count() >= herd).then_some(())
    };
    let all = (0..20).find_map(|_| wait_until(ready));
    assert!(all.is_some(), "not all became ready\n{}", operator.log());
    let reads = item_reads(&test) - before;
    println!("{herd} ExternalSecrets on {items} items: {reads} item reads");
    assert!(
        reads as f64 <= items as f64 * 1.05 + 10.0,
        "{reads} reads for {items} items"
    );
    for number in [0, items - 1, herd - 1] {
        test.wait_value(&format!("es-{number}"), &(number % items).to_string());
    }
}

fn metrics(test: &TestCluster) -> Option<String> {
    let address = SocketAddr::new(test.cluster.address(), 8090);
    let request = sidevault_tests::wire::Request::new("GET", "/metrics").bytes();
    Some(sidevault_tests::wire::exchange(address, &request).ok()?.text())
}

/// How many requests for an item the server has counted.
fn item_reads(test: &TestCluster) -> u64 {
    let metrics = test.server.pair.get("", "/metrics").text();
    let of_items = metrics.lines().filter(|line| {
        line.starts_with("sidevault_http_requests_total")
            && line.contains("GET")
            && line.contains("items/{item")
            && !line.contains("files")
    });
    of_items
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum::<f64>() as u64
}
