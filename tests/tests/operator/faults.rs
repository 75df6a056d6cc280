//! Faults of clusters, networks and servers: no change is lost, no Secret is wrongly deleted, and all recovers by itself.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use sidevault_tests::pair::{Process, wait_until};

use super::fixture::{self, TestCluster, VERSION};
use super::front::{Gate, forward, serve};

#[test]
fn watches_resume_after_the_api_server_was_down() {
    let Some(stage) = TestCluster::set() else { return };
    let mut operator = fixture::operator(&stage.cluster, &[]);
    stage.external_secret("one", "store", "db", "username");
    stage.wait_value("one", "app");

    stage.cluster.stop_apiserver();
    stage.set_field("db", "username", "while-away");
    stage.cluster.start_apiserver();

    stage.wait_value("one", "while-away");
    stage.external_secret("two", "store", "db", "host");
    stage.wait_value("two", "db.example");
    stage.cluster.must(&["delete", "secret", "one", "-n", stage.namespace]);
    stage.wait_value("one", "while-away");
    assert!(operator.alive());
}

/// All connections to the API server are cut again and again while objects change; every other time new ones are refused for
/// a while.
#[test]
fn a_cut_watch_loses_no_change_and_deletes_no_secret() {
    let Some(stage) = TestCluster::set() else { return };
    let (cluster, namespace) = (&stage.cluster, stage.namespace);
    let gate = Gate::before(SocketAddr::new(cluster.address(), 6443), cluster.address());
    let through = through(&stage, &gate);
    let mut command = fixture::command(cluster, fixture::METRICS, &[]);
    let mut operator = cluster.run("operator", command.env("KUBECONFIG", through));
    for name in ["kept", "changed", "repaired", "remade", "renamed"] {
        stage.external_secret(name, "store", "simple", "a");
    }
    for name in ["kept", "changed", "repaired", "remade", "renamed"] {
        stage.wait_value(name, "1");
    }
    let uid = |name: &str| {
        let secret = cluster.get(&fixture::secret(namespace, name)).expect("the Secret");
        secret["metadata"]["uid"].clone()
    };
    let kept = ["kept", "changed", "repaired"].map(uid);

    for round in 0..6 {
        let fresh = format!("fresh-{round}");
        let going = format!("going-{round}");
        stage.external_secret(&going, "store", "simple", "b");
        stage.wait_value(&going, "2");
        let cut = gate.shut();
        assert!(cut > 0, "nothing was cut");
        if round % 2 == 0 {
            gate.open();
        }
        // Create an ExternalSecret, delete one, change the item of one, and edit the Secrets of three.
        stage.external_secret(&fresh, "store", "simple", "b");
        cluster.must(&["delete", "externalsecret", &going, "-n", namespace, "--wait=false"]);
        let (item, field, value) = [("db", "host", "db.example"), ("db", "username", "app")][round % 2];
        stage.external_secret("changed", "store", item, field);
        let wrong = format!("{{\"stringData\":{{\"v\":\"wrong-{round}\"}}}}");
        cluster.must(&["patch", "secret", "repaired", "-n", namespace, "-p", &wrong]);
        cluster.must(&["delete", "secret", "remade", "-n", namespace]);
        let mut renamed = stage.manifest("renamed", "store", "simple", "a");
        renamed["spec"]["target"] = json!({"name": format!("renamed-{round}")});
        cluster.apply(&renamed.to_string());
        gate.open();

        stage.wait_value(&fresh, "2");
        cluster.wait_gone(&fixture::secret(namespace, &going));
        cluster.wait_gone(&fixture::path(namespace, "externalsecrets", &going, VERSION));
        stage.wait_value("changed", value);
        stage.wait_value("repaired", "1");
        stage.wait_value("remade", "1");
        stage.wait_value(&format!("renamed-{round}"), "1");
        let before = match round {
            0 => "renamed".to_owned(),
            _ => format!("renamed-{}", round - 1),
        };
        cluster.wait_gone(&fixture::secret(namespace, &before));
        for earlier in 0..=round {
            stage.wait_value(&format!("fresh-{earlier}"), "2");
        }
        stage.wait_value("kept", "1");
        assert_eq!(
            ["kept", "changed", "repaired"].map(uid),
            kept,
            "a Secret was deleted and made anew"
        );
    }
    assert!(operator.alive());
}

/// A kubeconfig of the administrator whose connections pass the gate.
fn through(stage: &TestCluster, gate: &Gate) -> std::path::PathBuf {
    let admin = std::fs::read_to_string(stage.cluster.kubeconfig()).expect("a kubeconfig");
    let mut config: serde_json::Value = serde_json::from_str(&admin).expect("JSON");
    config["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", gate.address()));
    let path = stage.cluster.path("gate.kubeconfig");
    std::fs::write(&path, config.to_string()).expect("a file");
    path
}

#[test]
fn secrets_stay_while_a_connect_server_is_down() {
    let Some(mut stage) = TestCluster::set() else { return };
    let _operator = fixture::operator(&stage.cluster, &[]);
    stage.external_secret("one", "store", "db", "username");
    stage.wait_value("one", "app");

    stage.world.pair.kill(Process::Api);
    stage.force_sync("one");
    let condition = stage.wait_ready("one", "False");
    assert_eq!(condition["reason"], "SecretSyncedError");
    // The Secret keeps its value: without the server it can't be written anew, so it must not be changed.
    stage.wait_value("one", "app");

    stage.world.pair.run(Process::Api);
    // The api answers reads a moment before sync accepts writes.
    stage.world.pair.wait_linked();
    stage.wait_ready("one", "True");
    stage.set_field("db", "username", "later");
    stage.wait_value("one", "later");
}

#[test]
fn a_wrong_token_is_reported_and_a_corrected_one_is_used() {
    let Some(stage) = TestCluster::set() else { return };
    let operator = fixture::operator(&stage.cluster, &[]);
    stage.external_secret("one", "broken", "db", "username");
    let condition = stage.wait_ready("one", "False");
    assert_eq!(condition["message"], "could not get secret data from provider");

    let token = format!("{{\"stringData\":{{\"token\":\"{}\"}}}}", stage.world.token);
    stage
        .cluster
        .must(&["patch", "secret", "wrong-token", "-n", stage.namespace, "-p", &token]);
    stage.wait_value("one", "app");
    stage.wait_ready("one", "True");
    assert!(!operator.log().contains(&stage.world.token), "the token is in the log");
}

#[test]
fn a_server_that_never_answers_does_not_delay_another() {
    let Some(stage) = TestCluster::set() else { return };
    // A server that accepts connections and never answers.
    let deaf = serve(|_| None);
    stage.add_store("deaf", deaf);
    let _operator = fixture::operator(&stage.cluster, &["--concurrent=2", "--enable-flood-gate=false"]);
    for number in 0..20 {
        stage.external_secret(&format!("waits-{number}"), "deaf", "db", "username");
    }
    stage.external_secret("quick", "store", "db", "username");
    stage.wait_value("quick", "app");
}

#[test]
fn a_slow_server_does_not_delay_another() {
    const EACH: usize = 20;
    let Some(stage) = TestCluster::set() else { return };
    let upstream = stage.world.pair.address();
    let slow = serve(move |request| {
        // The slow answer is the subject of the test. The test itself does not wait for it.
        thread::sleep(Duration::from_secs(3));
        forward(upstream, request)
    });
    stage.add_store("slow", slow);
    // Each ExternalSecret has an item of its own, so that no answer serves two of them.
    for number in 0..EACH {
        let item = format!(r#"{{"title":"own-{number}","category":"LOGIN","fields":[{{"label":"f","value":"x"}}]}}"#);
        let world = &stage.world;
        let made = world.pair.ask(&world.token, "POST", "/v1/vaults/apps/items", &item);
        assert_eq!(made.expect("an answer").status, 200);
    }
    let all = |store: &str| (0..EACH).map(|number| format!("{store}-{number}")).collect::<Vec<_>>();
    for store in ["slow", "store"] {
        for (number, name) in all(store).iter().enumerate() {
            stage.external_secret(name, store, &format!("own-{number}"), "f");
        }
    }
    // The ExternalSecrets of the slow server are queued first, and each store has one worker.
    let _operator = fixture::operator(&stage.cluster, &["--concurrent=1"]);
    for name in all("store") {
        stage.wait_value(&name, "x");
        stage.wait_ready(&name, "True");
    }
    let made = |name: &String| stage.cluster.get(&fixture::secret(stage.namespace, name)).is_some();
    let early = all("slow").iter().filter(|name| made(name)).count();
    assert!(early < EACH, "the slow server was not slow");
    // The slow server's ExternalSecrets are synced in the end.
    let one = wait_until(|| all("slow").iter().any(made).then_some(()));
    assert!(one.is_some(), "none of the slow server's was made");
}

#[test]
fn a_truncated_response_changes_no_secret() {
    let Some(stage) = TestCluster::set() else { return };
    let upstream = stage.world.pair.address();
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
    stage.add_store("proxied", proxy);
    let _operator = fixture::operator(&stage.cluster, &[]);
    stage.external_secret("one", "proxied", "db", "password");
    stage.wait_value("one", "grün & 'quoted'");

    cut.store(true, Ordering::SeqCst);
    stage.force_sync("one");
    stage.wait_ready("one", "False");
    stage.wait_value("one", "grün & 'quoted'");
    cut.store(false, Ordering::SeqCst);
    stage.wait_ready("one", "True");
}

#[test]
fn write_conflicts_on_a_secret_are_retried() {
    let Some(stage) = TestCluster::set() else { return };
    let _operator = fixture::operator(&stage.cluster, &[]);
    stage.external_secret("one", "store", "db", "username");
    stage.wait_value("one", "app");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..3 {
            let (stage, stop) = (&stage, &stop);
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
                        stage.namespace,
                        "--overwrite",
                        &annotation,
                    ];
                    let _conflict_or_not = stage.cluster.kubectl(&arguments);
                    let patch = format!("{{\"stringData\":{{\"v\":\"wrong-{number}\"}}}}");
                    let arguments = ["patch", "secret", "one", "-n", stage.namespace, "-p", &patch];
                    let _conflict_or_not = stage.cluster.kubectl(&arguments);
                }
            });
        }
        for number in 0..10 {
            stage.set_field("db", "username", &format!("value-{number}"));
        }
        stop.store(true, Ordering::SeqCst);
    });
    stage.wait_value("one", "value-9");
    stage.wait_ready("one", "True");
}

#[test]
fn a_changed_file_of_a_directory_reaches_the_secret() {
    let Some(stage) = TestCluster::set() else { return };
    let _operator = fixture::operator(&stage.cluster, &[]);
    stage.external_secret("rotating", "store", "rotating", "current-key");
    stage.wait_value("rotating", "rk-1");
    std::fs::write(stage.world.file("rotating.yaml"), "current-key: rk-2\n").expect("a file");
    stage.wait_value("rotating", "rk-2");
}

#[test]
fn a_namespace_with_external_secrets_can_be_deleted() {
    let Some(mut stage) = TestCluster::set() else { return };
    stage.namespace = "doomed";
    stage.world.prepare(&stage.cluster, VERSION, "doomed");
    let mut operator = fixture::operator(&stage.cluster, &[]);
    for policy in ["Retain", "Delete"] {
        let mut manifest = stage.manifest(&policy.to_lowercase(), "store", "db", "username");
        manifest["spec"]["target"] = json!({"deletionPolicy": policy});
        stage.cluster.apply(&manifest.to_string());
        stage.wait_value(&policy.to_lowercase(), "app");
    }
    stage.cluster.must(&["delete", "namespace", "doomed", "--wait=false"]);
    stage.cluster.wait_gone("/api/v1/namespaces/doomed");
    assert!(operator.alive());
}

#[test]
fn deletion_and_creation_policies_decide_whether_the_secret_is_deleted() {
    let Some(stage) = TestCluster::set() else { return };
    let _operator = fixture::operator(&stage.cluster, &[]);
    let cases = [
        ("owner", "Owner", "Retain", false),
        ("orphan", "Orphan", "Retain", true),
    ];
    for (name, creation, deletion, _) in cases {
        let mut manifest = stage.manifest(name, "store", "db", "username");
        manifest["spec"]["target"] = json!({"creationPolicy": creation, "deletionPolicy": deletion});
        stage.cluster.apply(&manifest.to_string());
        stage.wait_value(name, "app");
    }
    // When the name of the target changes, the Secret under the old name is deleted.
    let mut manifest = stage.manifest("owner", "store", "db", "username");
    manifest["spec"]["target"] = json!({"name": "renamed"});
    stage.cluster.apply(&manifest.to_string());
    stage.wait_value("renamed", "app");
    stage.cluster.wait_gone("/api/v1/namespaces/apps/secrets/owner");
    stage
        .cluster
        .must(&["delete", "externalsecret", "owner", "orphan", "-n", stage.namespace]);
    stage.cluster.wait_gone("/api/v1/namespaces/apps/secrets/renamed");
    for (name, _, _, stays) in cases {
        let secret = stage.cluster.get(&format!("/api/v1/namespaces/apps/secrets/{name}"));
        assert_eq!(secret.is_some(), stays, "{name}");
    }
}

/// `SIDEVAULT_HERD` ExternalSecrets (default 2,000) use a tenth as many items.
#[test]
fn many_external_secrets_share_one_read_of_an_item() {
    let Some(stage) = TestCluster::set() else { return };
    let herd: usize = std::env::var("SIDEVAULT_HERD")
        .ok()
        .and_then(|herd| herd.parse().ok())
        .unwrap_or(2000);
    let items = herd / 10;
    for number in 0..items {
        let item =
            format!(r#"{{"title":"item-{number}","category":"LOGIN","fields":[{{"label":"v","value":"{number}"}}]}}"#);
        let answer = stage
            .world
            .pair
            .ask(&stage.world.token, "POST", "/v1/vaults/apps/items", &item)
            .expect("an answer");
        assert_eq!(answer.status, 200);
    }
    thread::scope(|scope| {
        for lane in 0..8 {
            let stage = &stage;
            scope.spawn(move || {
                for number in (lane..herd).step_by(8) {
                    let manifest = stage.manifest(
                        &format!("es-{number}"),
                        "store",
                        &format!("item-{}", number % items),
                        "v",
                    );
                    stage
                        .cluster
                        .post(&fixture::path("apps", "externalsecrets", "", VERSION), &manifest);
                }
            });
        }
    });
    let before = item_reads(&stage);
    let operator = fixture::operator(&stage.cluster, &[]);
    let ready = || {
        let metrics = metrics(&stage)?;
        let ready = metrics.lines().filter(|line| {
            line.starts_with("externalsecret_status_condition")
                && line.contains("status=\"True\"")
                && line.ends_with(" 1")
        });
        (ready.count() >= herd).then_some(())
    };
    let all = (0..20).find_map(|_| wait_until(ready));
    assert!(all.is_some(), "not all became ready\n{}", operator.log());
    let reads = item_reads(&stage) - before;
    println!("{herd} ExternalSecrets on {items} items: {reads} item reads");
    assert!(
        reads as f64 <= items as f64 * 1.05 + 10.0,
        "{reads} reads for {items} items"
    );
    for number in [0, items - 1, herd - 1] {
        stage.wait_value(&format!("es-{number}"), &(number % items).to_string());
    }
}

fn metrics(stage: &TestCluster) -> Option<String> {
    let address = SocketAddr::new(stage.cluster.address(), 8090);
    let request = sidevault_tests::wire::Request::new("GET", "/metrics").bytes();
    Some(sidevault_tests::wire::exchange(address, &request).ok()?.text())
}

/// How many requests for an item the server has counted.
fn item_reads(stage: &TestCluster) -> u64 {
    let metrics = stage.world.pair.get("", "/metrics").text();
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
