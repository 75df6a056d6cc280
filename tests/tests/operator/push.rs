//! PushSecret and ClusterExternalSecret on a real API server, compared with the real controller.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, controllers, definitions};
use sidevault_tests::pair::wait_until;

use super::fixture::{self, TestCluster, TestServer, VERSION};

const PUSH: &str = "external-secrets.io/v1alpha1";

/// A PushSecret of the Secret `source`. `data` has the key, item and property of each entry.
fn push(name: &str, data: &[(&str, &str, &str)], more: &Value) -> Value {
    let data: Vec<Value> = data
        .iter()
        .map(|(key, item, property)| {
            let mut remote = json!({"remoteKey": item});
            if !property.is_empty() {
                remote["property"] = json!(property);
            }
            json!({"match": {"secretKey": key, "remoteRef": remote}})
        })
        .collect();
    let mut spec = json!({"refreshInterval": "1h", "secretStoreRefs": [{"name": "store", "kind": "SecretStore"}],
        "selector": {"secret": {"name": "source"}}, "data": data});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": PUSH, "kind": "PushSecret", "metadata": {"name": name, "namespace": "push"}, "spec": spec})
}

fn cases() -> Vec<Value> {
    let metadata = json!({"apiVersion": "kubernetes.external-secrets.io/v1alpha1", "kind": "PushSecretMetadata",
        "spec": {"tags": ["pushed", "x"]}});
    let mut tagged = push("tagged", &[("user", "pushed-tagged", "username")], &json!({}));
    tagged["spec"]["data"][0]["metadata"] = metadata;
    vec![
        push("plain", &[("user", "pushed-plain", "")], &json!({})),
        push(
            "two",
            &[("user", "pushed-two", "username"), ("pass", "pushed-two", "password")],
            &json!({}),
        ),
        push(
            "kept",
            &[("user", "pushed-kept", "a")],
            &json!({"updatePolicy": "IfNotExists"}),
        ),
        push(
            "going",
            &[("user", "pushed-going", "a")],
            &json!({"deletionPolicy": "Delete"}),
        ),
        push(
            "templated",
            &[("joined", "pushed-templated", "a")],
            &json!({"template": {"engineVersion": "v2", "data": {"joined": "{{ .user }}:{{ .pass }}"}}}),
        ),
        push("missing-key", &[("nope", "pushed-nothing", "a")], &json!({})),
        push(
            "missing-secret",
            &[("user", "pushed-nothing", "a")],
            &json!({"selector": {"secret": {"name": "nope"}}}),
        ),
        tagged,
    ]
}

fn prepare(server: &TestServer, cluster: &Cluster) {
    server.prepare(cluster, VERSION, "push");
    // With one vault, it is certain where new items are created.
    let mut store = server.store(VERSION, "SecretStore", "store", Some("push"), "push", "connect-token");
    store["spec"]["provider"]["onepassword"]["vaults"] = json!({"apps": 1});
    cluster.apply(&store.to_string());
    let source = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source", "namespace": "push"},
        "stringData": {"user": "ada", "pass": "s3cret"}});
    cluster.apply(&source.to_string());
}

/// Applies the cases, waits until each has a condition, and returns the conditions and the items.
fn outcome(server: &TestServer, cluster: &Cluster, log: impl Fn() -> String) -> BTreeMap<String, Value> {
    for case in cases() {
        cluster.apply(&case.to_string());
    }
    let list = format!("/apis/{PUSH}/namespaces/push/pushsecrets");
    let settled = || {
        let items = cluster.get(&list)?["items"].as_array()?.clone();
        let all = items.iter().all(|item| {
            item["status"]["conditions"]
                .as_array()
                .is_some_and(|list| !list.is_empty())
        });
        (all && items.len() == cases().len()).then_some(items)
    };
    let settled = wait_until(settled);
    let mut results = BTreeMap::new();
    for item in settled.unwrap_or_else(|| panic!("not all PushSecrets have a condition\n{}", log())) {
        let condition = &item["status"]["conditions"][0];
        let name = item["metadata"]["name"].as_str().unwrap_or_default();
        // The real controller writes an empty entry for a store to which nothing was pushed. The operator does not.
        let synced = item["status"]["syncedPushSecrets"].as_object().into_iter().flatten();
        let synced: BTreeMap<&String, &Value> = synced.filter(|(_, pushed)| **pushed != json!({})).collect();
        results.insert(
            format!("PushSecret {name}"),
            json!([
                condition["status"],
                condition["reason"],
                condition["message"],
                synced,
                item["metadata"]["finalizers"]
            ]),
        );
    }
    for (title, item) in items(server) {
        let fields = item["fields"].as_array().cloned().unwrap_or_default();
        let fields: BTreeMap<String, Value> = fields
            .iter()
            .filter(|field| field["purpose"] != "NOTES")
            .map(|field| (field["label"].to_string(), json!([field["type"], field["value"]])))
            .collect();
        results.insert(format!("item {title}"), json!([item["category"], item["tags"], fields]));
    }
    results
}

fn items(server: &TestServer) -> BTreeMap<String, Value> {
    let list = server.pair.get(&server.token, "/v1/vaults/apps/items").json();
    let titles = list.as_array().cloned().unwrap_or_default();
    let titles = titles
        .iter()
        .filter_map(|item| item["title"].as_str())
        .filter(|title| title.starts_with("pushed-"));
    titles
        .map(|title| {
            (
                title.to_owned(),
                server.pair.item(&server.token, "apps", title).expect("the item"),
            )
        })
        .collect()
}

#[test]
fn pushed_items_equal_those_of_the_real_controller() {
    let Some(controllers) = controllers() else { return };
    for controller in controllers {
        let release = controller.file_name().expect("a name").to_string_lossy().into_owned();
        // This release could not push yet.
        if release.contains("v0.9") {
            continue;
        }
        let Some(cluster) = Cluster::start() else { return };
        cluster.install_definitions(&definitions(&controller));
        let server = TestServer::start();
        prepare(&server, &cluster);
        let mut running = cluster.run_external_secrets(&controller, &[]);
        let theirs = outcome(&server, &cluster, || running.log());
        running.terminate();
        let patch = r#"{"metadata":{"finalizers":null}}"#;
        for case in cases() {
            let name = case["metadata"]["name"].as_str().expect("a name").to_owned();
            cluster.must(&["patch", "pushsecret", &name, "-n", "push", "--type=merge", "-p", patch]);
        }
        cluster.must(&["delete", "pushsecrets", "--all", "-n", "push"]);
        for item in items(&server).values() {
            let target = format!("/v1/vaults/apps/items/{}", item["id"].as_str().expect("an id"));
            server
                .pair
                .ask(&server.token, "DELETE", &target, "")
                .expect("an answer");
        }

        let operator = fixture::operator(&cluster, &[]);
        let ours = outcome(&server, &cluster, || operator.log());
        let keys: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
        let different: Vec<String> = keys
            .into_iter()
            // This provider supports `IfNotExists` since 2.x.
            .filter(|key| release.contains("v2.") || !key.contains("kept"))
            .filter(|key| theirs.get(*key) != ours.get(*key))
            .map(|key| format!("{key}\n  theirs: {:?}\n  ours:   {:?}", theirs.get(key), ours.get(key)))
            .collect();
        println!("{release}: {} objects compared", theirs.len());
        assert!(
            different.is_empty(),
            "{release} and ours differ:\n{}",
            different.join("\n")
        );
    }
}

#[test]
fn a_pushed_value_follows_its_secret_and_is_deleted_with_its_push_secret() {
    let Some(test) = TestCluster::start() else { return };
    prepare(&test.server, &test.cluster);
    let _operator = fixture::operator(&test.cluster, &[]);
    let manifest = push(
        "going",
        &[("user", "pushed-going", "a")],
        &json!({"deletionPolicy": "Delete"}),
    );
    test.cluster.apply(&manifest.to_string());
    let value = |value: &str| {
        let value = value.to_owned();
        let server = &test.server;
        move || {
            let item = items(server).remove("pushed-going")?;
            let fields = item["fields"].as_array()?.clone();
            fields
                .iter()
                .any(|field| field["label"] == "a" && field["value"] == value)
                .then_some(item["version"].clone())
        }
    };
    wait_until(value("ada")).expect("the value is pushed");
    let patch = r#"{"stringData":{"user":"grace"}}"#;
    test.cluster
        .must(&["patch", "secret", "source", "-n", "push", "-p", patch]);
    test.cluster
        .must(&["annotate", "pushsecret", "going", "-n", "push", "force-sync=1"]);
    wait_until(value("grace")).expect("the new value is pushed");
    test.cluster.must(&["delete", "pushsecret", "going", "-n", "push"]);
    wait_until(|| items(&test.server).is_empty().then_some(())).expect("the item goes");
}

#[test]
fn pushed_values_stay_without_a_deletion_policy() {
    let Some(test) = TestCluster::start() else { return };
    prepare(&test.server, &test.cluster);
    let _operator = fixture::operator(&test.cluster, &[]);
    let manifest = push(
        "staying",
        &[("user", "pushed-staying", "a")],
        &json!({
            "deletionPolicy": "Delete",
            "secretStoreRefs": [{"kind": "SecretStore", "labelSelector": {"matchLabels": {"push": "here"}}}],
            "selector": {"secret": {"selector": {"matchLabels": {"push": "this"}}}},
        }),
    );
    let kubectl = |arguments: &[&str]| drop(test.cluster.must(&[arguments, &["-n", "push"]].concat()));
    kubectl(&["label", "secretstore", "store", "push=here"]);
    kubectl(&["label", "secret", "source", "push=this"]);
    test.cluster.apply(&manifest.to_string());
    wait_until(|| items(&test.server).contains_key("pushed-staying").then_some(())).expect("the value is pushed");

    let turns = || {
        fixture::metric(
            &test.cluster,
            fixture::METRICS,
            "pushsecret_sync_calls_total{name=\"staying\"",
        )
    };
    for (without, again) in [
        (
            ["label", "secretstore", "store", "push-"],
            ["label", "secretstore", "store", "push=here"],
        ),
        (
            ["label", "secret", "source", "push-"],
            ["label", "secret", "source", "push=this"],
        ),
    ] {
        kubectl(&without);
        let before = turns();
        kubectl(&[
            "annotate",
            "--overwrite",
            "pushsecret",
            "staying",
            &format!("force-sync={}", without[1]),
        ]);
        wait_until(|| (turns() > before).then_some(())).expect("it is looked at");
        assert!(
            items(&test.server).contains_key("pushed-staying"),
            "gone after {without:?}"
        );
        kubectl(&again);
    }

    // A value that does not exist does not keep the others from being pushed.
    let more = json!({"data": [
        {"match": {"secretKey": "nothing", "remoteRef": {"remoteKey": "pushed-nothing", "property": "a"}}},
        {"match": {"secretKey": "user", "remoteRef": {"remoteKey": "pushed-other", "property": "a"}}},
    ]});
    test.cluster.apply(&push("half", &[], &more).to_string());
    wait_until(|| items(&test.server).contains_key("pushed-other").then_some(())).expect("the other value is pushed");
}

#[test]
fn a_cluster_external_secret_writes_to_the_selected_namespaces_only() {
    let Some(test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    for (name, team) in [("team-a", "yes"), ("team-b", "yes"), ("other", "no")] {
        test.cluster.must(&["create", "namespace", name]);
        test.cluster
            .must(&["label", "namespace", name, &format!("team={team}")]);
    }
    let manifest = json!({"apiVersion": VERSION, "kind": "ClusterExternalSecret", "metadata": {"name": "shared"},
    "spec": {
        "namespaceSelectors": [{"matchLabels": {"team": "yes"}}],
        "externalSecretMetadata": {"labels": {"from": "shared"}},
        "externalSecretSpec": {
            "refreshInterval": "1h0m0s",
            "secretStoreRef": {"name": "cluster-store", "kind": "ClusterSecretStore"},
            "data": [{"secretKey": "v", "remoteRef": {"key": "db", "property": "username"}}],
        },
    }});
    test.cluster.apply(&manifest.to_string());
    let secret = |namespace: &str| format!("/api/v1/namespaces/{namespace}/secrets/shared");
    for namespace in ["team-a", "team-b"] {
        test.cluster.wait_for(&secret(namespace), |secret| {
            (secret["data"]["v"] == "YXBw").then_some(())
        });
    }
    let path = format!("/apis/{VERSION}/clusterexternalsecrets/shared");
    test.cluster.wait_for(&path, |object| {
        let provisioned = &object["status"]["provisionedNamespaces"];
        (*provisioned == json!(["team-a", "team-b"])).then_some(())
    });
    assert!(test.cluster.get(&secret("other")).is_none());

    test.cluster
        .must(&["label", "namespace", "other", "team=yes", "--overwrite"]);
    test.cluster
        .must(&["label", "namespace", "team-b", "team=no", "--overwrite"]);
    test.cluster
        .wait_for(&secret("other"), |secret| (secret["data"]["v"] == "YXBw").then_some(()));
    test.cluster.wait_gone(&secret("team-b"));
    test.cluster.must(&["delete", "clusterexternalsecret", "shared"]);
    test.cluster.wait_gone(&secret("team-a"));
}

/// A ClusterExternalSecret `many` that selects the namespaces of a team.
fn many() -> Value {
    json!({"apiVersion": VERSION, "kind": "ClusterExternalSecret", "metadata": {"name": "many"},
    "spec": {
        "namespaceSelectors": [{"matchLabels": {"team": "yes"}}],
        "externalSecretSpec": {
            "refreshInterval": "1h",
            "secretStoreRef": {"name": "cluster-store", "kind": "ClusterSecretStore"},
            "data": [{"secretKey": "v", "remoteRef": {"key": "db", "property": "username"}}],
        },
    }})
}

fn of_team(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": "yes"}}})
}

/// In how many namespaces it is provisioned.
fn provisioned(cluster: &Cluster) -> usize {
    let path = format!("/apis/{VERSION}/clusterexternalsecrets/many");
    let namespaces = cluster
        .get(&path)
        .map(|object| object["status"]["provisionedNamespaces"].clone());
    namespaces
        .and_then(|names| names.as_array().map(Vec::len))
        .unwrap_or_default()
}

#[test]
fn a_new_namespace_causes_no_request_for_existing_ones() {
    let Some(test) = TestCluster::start() else { return };
    let cluster = &test.cluster;
    let namespaces: Vec<Value> = (0..40).map(|number| of_team(&format!("team-{number}"))).collect();
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": namespaces}).to_string());
    let operator = fixture::operator(cluster, &[]);
    cluster.apply(&many().to_string());
    let all = |count| wait_until(|| (provisioned(cluster) == count).then_some(()));
    assert!(all(40).is_some(), "{}", operator.log());
    // When each has its Secret, no reconcile runs any more.
    for number in 0..40 {
        let secret = format!("/api/v1/namespaces/team-{number}/secrets/many");
        cluster.wait_for(&secret, |secret| (secret["data"]["v"] == "YXBw").then_some(()));
    }
    let before = gets(cluster);
    cluster.apply(&of_team("one-more").to_string());
    assert!(all(41).is_some(), "{}", operator.log());
    let cost = gets(cluster) - before;
    assert!(cost < 10.0, "{cost} ExternalSecrets were read for one more");
}

/// How many requests for single ExternalSecrets the API server has counted.
fn gets(cluster: &Cluster) -> f64 {
    let metrics = cluster.must(&["get", "--raw", "/metrics"]);
    let counts = metrics.lines().filter(|line| {
        let words = ["resource=\"externalsecrets\"", "verb=\"GET\""];
        line.starts_with("apiserver_request_total") && words.iter().all(|word| line.contains(word))
    });
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn external_secrets_are_deleted_although_the_status_was_lost() {
    let Some(test) = TestCluster::start() else { return };
    let cluster = &test.cluster;
    for name in ["stays", "leaves"] {
        cluster.apply(&of_team(name).to_string());
    }
    // An ExternalSecret of the same name without an owner, in a namespace that is not selected.
    cluster.must(&["create", "namespace", "foreign"]);
    let mut foreign = test.manifest("many", "store", "simple", "a");
    foreign["metadata"]["namespace"] = json!("foreign");
    cluster.apply(&foreign.to_string());
    let external_secret = |namespace: &str| fixture::path(namespace, "externalsecrets", "many", VERSION);
    let operator = fixture::operator(cluster, &[]);
    cluster.apply(&many().to_string());
    for namespace in ["leaves", "stays"] {
        cluster.wait_for(&external_secret(namespace), |_| Some(()));
    }
    drop(operator);

    cluster.must(&["label", "namespace", "leaves", "team=no", "--overwrite"]);
    let forget = r#"{"status": {"provisionedNamespaces": null}}"#;
    cluster.must(&[
        "patch",
        "clusterexternalsecret",
        "many",
        "--subresource=status",
        "--type=merge",
        "-p",
        forget,
    ]);
    let _operator = fixture::operator(cluster, &[]);
    cluster.wait_gone(&external_secret("leaves"));
    for kept in ["stays", "foreign"] {
        cluster.wait_for(&external_secret(kept), |_| Some(()));
    }
}
