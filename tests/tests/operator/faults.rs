//! What goes wrong in clusters: nothing is lost, nothing is wrongly deleted, and all heals by itself.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;
use sidevault_tests::pair::{Half, wait_until};

use super::front::{forward, serve};
use super::world::{self, Stage, VERSION};

#[test]
fn an_api_server_that_was_away_is_followed_again() {
    let Some(stage) = Stage::set() else { return };
    let mut operator = world::operator(&stage.cluster, &[]);
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

#[test]
fn a_server_that_is_away_costs_no_secret_and_heals_by_itself() {
    let Some(mut stage) = Stage::set() else { return };
    let _operator = world::operator(&stage.cluster, &[]);
    stage.external_secret("one", "store", "db", "username");
    stage.wait_value("one", "app");

    stage.world.pair.kill(Half::Api);
    stage.cluster.must(&[
        "annotate",
        "externalsecret",
        "one",
        "-n",
        stage.namespace,
        "force-sync=1",
    ]);
    let condition = stage.wait_ready("one", "False");
    assert_eq!(condition["reason"], "SecretSyncedError");
    // The Secret is as it was, and even comes back from what the cluster has: it can't, so it must not be touched.
    stage.wait_value("one", "app");

    stage.world.pair.run(Half::Api);
    // It answers reads a moment before writes can reach sync again.
    stage.world.pair.wait_linked();
    stage.wait_ready("one", "True");
    stage.set_field("db", "username", "later");
    stage.wait_value("one", "later");
}

#[test]
fn a_wrong_token_is_told_and_the_right_one_taken_up() {
    let Some(stage) = Stage::set() else { return };
    let operator = world::operator(&stage.cluster, &[]);
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
fn a_server_that_never_answers_does_not_hold_up_another() {
    let Some(stage) = Stage::set() else { return };
    // Accepts, and says nothing.
    let deaf = serve(|_| None);
    stage.add_store("deaf", deaf);
    let _operator = world::operator(&stage.cluster, &["--concurrent=2", "--enable-flood-gate=false"]);
    for number in 0..20 {
        stage.external_secret(&format!("waits-{number}"), "deaf", "db", "username");
    }
    stage.external_secret("quick", "store", "db", "username");
    stage.wait_value("quick", "app");
}

#[test]
fn half_an_answer_changes_nothing() {
    let Some(stage) = Stage::set() else { return };
    let upstream = stage.world.pair.address();
    let cut = std::sync::Arc::new(AtomicBool::new(false));
    let cutting = cut.clone();
    // Passes requests on, and cuts the answers in the middle when told to.
    let proxy = serve(move |request| {
        let mut answer = forward(upstream, request)?;
        if cutting.load(Ordering::SeqCst) {
            answer.truncate(answer.len() / 2);
        }
        Some(answer)
    });
    stage.add_store("proxied", proxy);
    let _operator = world::operator(&stage.cluster, &[]);
    stage.external_secret("one", "proxied", "db", "password");
    stage.wait_value("one", "grün & 'quoted'");

    cut.store(true, Ordering::SeqCst);
    stage.cluster.must(&[
        "annotate",
        "externalsecret",
        "one",
        "-n",
        stage.namespace,
        "force-sync=1",
    ]);
    stage.wait_ready("one", "False");
    stage.wait_value("one", "grün & 'quoted'");
    cut.store(false, Ordering::SeqCst);
    stage.wait_ready("one", "True");
}

#[test]
fn a_secret_that_others_keep_changing_comes_right_in_the_end() {
    let Some(stage) = Stage::set() else { return };
    let _operator = world::operator(&stage.cluster, &[]);
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
    let Some(stage) = Stage::set() else { return };
    let _operator = world::operator(&stage.cluster, &[]);
    stage.external_secret("rotating", "store", "rotating", "current-key");
    stage.wait_value("rotating", "rk-1");
    std::fs::write(stage.world.file("rotating.yaml"), "current-key: rk-2\n").expect("a file");
    stage.wait_value("rotating", "rk-2");
}

#[test]
fn a_namespace_that_is_deleted_goes_away() {
    let Some(mut stage) = Stage::set() else { return };
    stage.namespace = "doomed";
    stage.world.prepare(&stage.cluster, VERSION, "doomed");
    let mut operator = world::operator(&stage.cluster, &[]);
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
fn the_policies_say_what_goes_with_an_external_secret() {
    let Some(stage) = Stage::set() else { return };
    let _operator = world::operator(&stage.cluster, &[]);
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
    // The target's name changes: what was made under the old one goes.
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

/// `SIDEVAULT_HERD` ExternalSecrets (2,000 unless it says otherwise) on a tenth as many items.
#[test]
fn a_herd_of_external_secrets_reads_each_item_about_once() {
    let Some(stage) = Stage::set() else { return };
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
                        .post(&world::path("apps", "externalsecrets", "", VERSION), &manifest);
                }
            });
        }
    });
    let before = item_reads(&stage);
    let operator = world::operator(&stage.cluster, &[]);
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

fn metrics(stage: &Stage) -> Option<String> {
    let address = SocketAddr::new(stage.cluster.address(), 8090);
    let request = sidevault_tests::wire::Request::new("GET", "/metrics").bytes();
    Some(sidevault_tests::wire::exchange(address, &request).ok()?.text())
}

/// How often the server was asked for an item.
fn item_reads(stage: &Stage) -> u64 {
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
