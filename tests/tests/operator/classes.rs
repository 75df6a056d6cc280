//! This operator and the real External Secrets in one cluster: each reconciles the stores of its own class and provider, and
//! what uses them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, controllers, definitions};
use sidevault_tests::pair::wait_until;

use super::fixture::{self, METRICS, TestCluster, TestServer, VERSION};

const NAMESPACE: &str = "classes";
/// The field managers of the two.
const OURS: &str = "sidevault-operator";
const THEIRS: &str = "external-secrets-v0.20";

/// A cluster with External Secrets' definitions, and stores of both classes.
fn start() -> Option<TestCluster> {
    let controller = controllers()?.swap_remove(0);
    let cluster = Cluster::start()?;
    cluster.install_definitions(&definitions(&controller));
    cluster.must(&["create", "namespace", NAMESPACE]);
    let server = TestServer::start();
    let token = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "connect-token", "namespace": NAMESPACE},
        "stringData": {"token": server.token}});
    let mut objects = vec![token];
    for class in ["ours", "theirs"] {
        for (kind, namespace) in [("SecretStore", Some(NAMESPACE)), ("ClusterSecretStore", None)] {
            let mut store = server.store(VERSION, kind, class, namespace, NAMESPACE, "connect-token");
            store["spec"]["controller"] = json!(class);
            objects.push(store);
        }
    }
    cluster.apply(&list(&objects));
    Some(TestCluster {
        cluster,
        server,
        namespace: NAMESPACE,
        version: VERSION.to_owned(),
    })
}

fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

fn manifest(test: &TestCluster, name: &str, kind: &str, store: &str) -> Value {
    let mut manifest = test.manifest(name, store, "simple", "a");
    manifest["spec"]["secretStoreRef"]["kind"] = json!(kind);
    manifest["spec"]["refreshInterval"] = json!("1s");
    manifest
}

#[test]
fn each_of_two_controllers_reconciles_its_own_class() {
    let Some(test) = start() else { return };
    let cluster = &test.cluster;
    let controller = controllers().expect("it is there").swap_remove(0);
    let start_theirs = || cluster.run_external_secrets(&controller, &["--controller-class=theirs"]);
    let start_ours = || fixture::operator(cluster, &["--controller-class=ours"]);
    let (mut theirs, mut ours) = (start_theirs(), start_ours());
    let names = [
        ("by-ours", "SecretStore", "ours"),
        ("by-theirs", "SecretStore", "theirs"),
        ("by-our-cluster", "ClusterSecretStore", "ours"),
        ("by-their-cluster", "ClusterSecretStore", "theirs"),
    ];
    cluster.apply(&list(
        &names.map(|(name, kind, store)| manifest(&test, name, kind, store)),
    ));
    for (name, ..) in names {
        test.wait_value(name, "1");
        test.wait_ready(name, "True");
    }
    for (name, kind, class) in names {
        let who: BTreeSet<_> = [if class == "ours" { OURS } else { THEIRS }.to_owned()].into();
        let store = match kind {
            "SecretStore" => fixture::path(NAMESPACE, "secretstores", class, VERSION),
            _ => format!("/apis/{VERSION}/clustersecretstores/{class}"),
        };
        let object = test.get(name);
        // External Secrets adds its finalizer to every ExternalSecret, also to those it does not reconcile.
        let reported: BTreeSet<_> = fixture::managers(&object, "status").into_iter().collect();
        assert_eq!(reported, who, "{name}");
        assert_eq!(writers(&object).contains(OURS), class == "ours", "{name}");
        assert_eq!(writers(&cluster.get(&store).expect("the store")), who, "{kind} {class}");
        assert_eq!(reporters(cluster, "ExternalSecret", name), who, "{name}");
        assert_eq!(reporters(cluster, kind, class), who, "{kind} {class}");
    }

    // While only one of the two runs, it recreates its own Secrets and not the other's.
    let delete = |names: &[&str]| {
        for name in names {
            cluster.must(&["delete", "secret", name, "-n", NAMESPACE]);
        }
    };
    let there = |name: &str| cluster.get(&fixture::secret(NAMESPACE, name)).is_some();
    theirs.terminate();
    delete(&["by-theirs", "by-their-cluster", "by-ours", "by-our-cluster"]);
    for name in ["by-ours", "by-our-cluster"] {
        test.wait_value(name, "1");
    }
    test.set_field("simple", "a", "2");
    for name in ["by-ours", "by-our-cluster"] {
        test.wait_value(name, "2");
    }
    assert!(!there("by-theirs") && !there("by-their-cluster"), "ours made theirs");

    ours.terminate();
    let _theirs = start_theirs();
    delete(&["by-ours", "by-our-cluster"]);
    for name in ["by-theirs", "by-their-cluster"] {
        test.wait_value(name, "2");
    }
    test.set_field("simple", "a", "3");
    for name in ["by-theirs", "by-their-cluster"] {
        test.wait_value(name, "3");
    }
    assert!(!there("by-ours") && !there("by-our-cluster"), "theirs made ours");

    // An ExternalSecret whose store changes to our class is reconciled.
    let _ours = start_ours();
    test.wait_value("by-ours", "3");
    cluster.apply(&manifest(&test, "by-theirs", "SecretStore", "ours").to_string());
    test.set_field("simple", "a", "4");
    let found = wait_until(|| writers(&test.get("by-theirs")).contains(OURS).then_some(()));
    assert!(found.is_some(), "{:#}", test.get("by-theirs"));
    test.wait_value("by-theirs", "4");
}

/// Also if no other controller runs.
#[test]
fn stores_of_other_providers_are_ignored() {
    let Some(test) = start() else { return };
    let cluster = &test.cluster;
    let providers = [
        ("fake", json!({"fake": {"data": [{"key": "simple", "value": "faked"}]}})),
        (
            "vault",
            json!({"vault": {"server": "http://127.0.0.1:1", "path": "secret", "version": "v2",
                "auth": {"tokenSecretRef": {"name": "connect-token", "key": "token"}}}}),
        ),
    ];
    let mut objects = Vec::new();
    for (provider, spec) in &providers {
        for (whose, class) in [("nobody", ""), ("ours", "ours")] {
            let name = format!("{provider}-of-{whose}");
            let store = |kind: &str, meta: Value| {
                json!({"apiVersion": VERSION, "kind": kind, "metadata": meta,
                    "spec": {"controller": class, "provider": spec}})
            };
            objects.push(store("SecretStore", json!({"name": name, "namespace": NAMESPACE})));
            objects.push(store("ClusterSecretStore", json!({"name": name})));
            objects.push(manifest(&test, &format!("uses-{name}"), "SecretStore", &name));
            objects.push(manifest(
                &test,
                &format!("uses-cluster-{name}"),
                "ClusterSecretStore",
                &name,
            ));
        }
    }
    // One value from our store and one from another's: such an ExternalSecret is managed elsewhere.
    let mut mixed = test.manifest("mixed", "ours", "simple", "a");
    mixed["spec"]["data"][0]["sourceRef"] = json!({"storeRef": {"name": "fake-of-nobody"}});
    objects.push(mixed);
    cluster.apply(&list(&objects));
    let is_foreign = |text: &str| ["fake", "vault-of", "mixed"].iter().any(|word| text.contains(word));
    let foreign = || {
        let mut found = Vec::new();
        for path in [
            fixture::path(NAMESPACE, "externalsecrets", "", VERSION),
            fixture::path(NAMESPACE, "secretstores", "", VERSION),
            format!("/apis/{VERSION}/clustersecretstores"),
        ] {
            let list = cluster.get(&path).expect("a list");
            found.extend(list["items"].as_array().cloned().unwrap_or_default());
        }
        found.retain(|object| object["metadata"]["name"].as_str().is_some_and(is_foreign));
        found
    };
    let before = foreign();
    assert_eq!(before.len(), objects.len());

    let operator = fixture::operator(cluster, &["--controller-class=ours"]);
    cluster.apply(&manifest(&test, "own", "SecretStore", "ours").to_string());
    test.wait_value("own", "1");
    // They are reconciled again when they change, without any effect.
    for name in ["uses-fake-of-ours", "mixed"] {
        for word in ["force-sync=1", "force-sync-"] {
            cluster.must(&["annotate", "externalsecret", name, "-n", NAMESPACE, word]);
        }
    }
    for value in ["2", "3"] {
        test.set_field("simple", "a", value);
        test.wait_value("own", value);
    }
    let idle = wait_until(|| {
        let depth = |name: &str| fixture::metric(cluster, METRICS, &format!("workqueue_depth{{name=\"{name}\""));
        (["externalsecret", "secretstore", "clustersecretstore"].map(depth) == [0.0; 3]).then_some(())
    });
    assert!(idle.is_some(), "not idle");

    // Setting and removing an annotation changed the managed fields.
    let bare = |mut objects: Vec<Value>| {
        for object in &mut objects {
            object["metadata"]["managedFields"].take();
            object["metadata"]["resourceVersion"].take();
        }
        objects
    };
    assert_eq!(bare(foreign()), bare(before));
    let secrets = cluster.get(&format!("/api/v1/namespaces/{NAMESPACE}/secrets"));
    let secrets = secrets.expect("a list")["items"].take();
    let secrets: BTreeSet<_> = secrets
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|secret| secret["metadata"]["name"].as_str())
        .collect();
    assert_eq!(secrets, ["connect-token", "own"].into());
    let events = events(cluster);
    let about = events
        .iter()
        .filter_map(|event| event["involvedObject"]["name"].as_str());
    let about: Vec<_> = about.filter(|name| is_foreign(name)).collect();
    assert!(about.is_empty(), "{about:?}");
    let metrics = fixture::ask(cluster, METRICS, "/metrics").expect("metrics").text();
    let series = metrics
        .lines()
        .filter(|line| line.contains("_status_condition{") || line.contains("_error{"));
    let series: Vec<_> = series.filter(|line| is_foreign(line)).collect();
    assert!(series.is_empty(), "{series:?}");
    let log = operator.log();
    assert!(!is_foreign(&log), "{log}");
    // Objects of other controllers can be deleted, because they have no finalizer of ours.
    cluster.must(&["delete", "externalsecret", "mixed", "-n", NAMESPACE, "--timeout=60s"]);
    cluster.must(&[
        "delete",
        "secretstore",
        "fake-of-ours",
        "-n",
        NAMESPACE,
        "--timeout=60s",
    ]);
}

/// The field managers of an object and its subresources, without the test's own.
fn writers(object: &Value) -> BTreeSet<String> {
    let managers = ["", "status"].map(|subresource| fixture::managers(object, subresource));
    let managers = managers.into_iter().flatten();
    managers.filter(|manager| manager != "kubectl").collect()
}

/// The field managers of the events about an object. The component in the events is the same for both controllers, so that
/// filters by component find our events, too.
fn reporters(cluster: &Cluster, kind: &str, name: &str) -> BTreeSet<String> {
    let about = |event: &&Value| event["involvedObject"]["kind"] == kind && event["involvedObject"]["name"] == name;
    events(cluster).iter().filter(about).flat_map(writers).collect()
}

fn events(cluster: &Cluster) -> Vec<Value> {
    let events = cluster.get("/api/v1/events").expect("events");
    events["items"].as_array().cloned().unwrap_or_default()
}
