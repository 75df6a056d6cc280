//! The chart and the kustomization for a store in PostgreSQL: api and sync in Pods of their own.

use serde_json::{Value, json};

use super::{cluster, deploy, documents, kinds, rendered, values};

/// How long the api lets requests in progress end after the signal to stop, in seconds.
const DRAIN_SECONDS: i64 = 25;

/// The manifests of the chart with the example's values and these.
fn chart(more: &[&str]) -> Option<Vec<Value>> {
    let example = deploy("helm/sidevault/examples/postgres.yaml").display().to_string();
    Some(documents(&rendered(&[&["-f", &example][..], more].concat())?))
}

/// The manifests of the chart and of the kustomization, as far as the programs to render them were built.
fn both() -> Vec<Vec<Value>> {
    let overlay = || {
        let path = deploy("kustomize/overlays/postgres").display().to_string();
        Some(documents(&cluster()?.must(&["kustomize", &path])))
    };
    chart(&[]).into_iter().chain(overlay()).collect()
}

fn named<'a>(manifests: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = kinds(manifests, kind)
        .into_iter()
        .find(|object| object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn api(manifests: &[Value]) -> &Value {
    named(manifests, "Deployment", "onepassword-connect")
}

fn sync(manifests: &[Value]) -> &Value {
    named(manifests, "StatefulSet", "onepassword-connect-sync")
}

/// The spec of a workload's Pods, which have one container of the server's.
fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// The value of an environment variable of the first container, `""` if it is not set.
fn variable<'a>(workload: &'a Value, name: &str) -> &'a str {
    let all = pod(workload)["containers"][0]["env"].as_array().unwrap();
    let found = all.iter().find(|variable| variable["name"] == name);
    found.map_or("", |variable| variable["value"].as_str().unwrap())
}

/// Asserts that the apis connect to every Pod of sync, by a name that a Service gives it, on the port of the bus.
fn assert_each_api_connects_to_each_sync(manifests: &[Value]) {
    let sync = sync(manifests);
    let name = sync["metadata"]["name"].as_str().unwrap();
    let service = sync["spec"]["serviceName"].as_str().unwrap();
    let port = variable(sync, "OP_BUS_PORT");
    let expected: Vec<String> = (0..sync["spec"]["replicas"].as_u64().unwrap())
        .map(|number| format!("{name}-{number}.{service}:{port}"))
        .collect();
    assert!(expected.len() > 1, "{expected:?}");
    let peers: Vec<&str> = variable(api(manifests), "OP_BUS_PEERS").split(',').collect();
    assert_eq!(peers, expected);
    assert_eq!(variable(sync, "OP_BUS_PEERS"), "");

    let service = named(manifests, "Service", service);
    assert_eq!(service["spec"]["clusterIP"], "None");
    assert_eq!(
        service["spec"]["selector"]["app"],
        sync["spec"]["template"]["metadata"]["labels"]["app"]
    );
    let ports = service["spec"]["ports"].as_array().unwrap();
    assert!(
        ports.iter().any(|one| one["port"].as_u64() == port.parse().ok()),
        "{service}"
    );
}

#[test]
fn each_api_connects_to_each_sync() {
    for manifests in both() {
        assert_each_api_connects_to_each_sync(&manifests);
    }
    if let Some(three) = chart(&["--set=connect.sync.replicas=3"]) {
        assert_each_api_connects_to_each_sync(&three);
    }
}

#[test]
fn the_url_is_in_a_file_that_all_pods_mount_and_in_no_environment() {
    for manifests in both() {
        for workload in [api(&manifests), sync(&manifests)] {
            assert_eq!(variable(workload, "SIDEVAULT_STORE"), "/etc/sidevault-store/url");
            let container = &pod(workload)["containers"][0];
            assert!(!container["env"].to_string().contains("valueFrom"), "{container}");
            let mounts = container["volumeMounts"].as_array().unwrap();
            let store = mounts.iter().find(|mount| mount["mountPath"] == "/etc/sidevault-store");
            assert_eq!(store.unwrap()["name"], "store");
            let volumes = pod(workload)["volumes"].as_array().unwrap();
            let volume = volumes.iter().find(|volume| volume["name"] == "store").unwrap();
            assert_eq!(volume["projected"]["sources"][0]["secret"]["name"], "sidevault-store");
        }
    }
}

#[test]
fn only_sync_gets_the_sources_and_the_age_key() {
    let git = deploy("helm/sidevault/examples/git.yaml").display().to_string();
    let Some(manifests) = chart(&["-f", &git]) else { return };
    let parts = |workload| {
        let names = |list: &str| -> Vec<String> {
            let all = pod(workload)[list].as_array().unwrap().iter();
            all.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
        };
        (names("containers"), names("volumes"))
    };
    let (containers, volumes) = parts(sync(&manifests));
    assert_eq!(containers, ["connect-sync", "git-sync"]);
    for name in ["sources", "age-key", "git"] {
        assert!(volumes.contains(&name.to_owned()), "{volumes:?}");
    }
    let (containers, volumes) = parts(api(&manifests));
    assert_eq!(containers, ["connect-api"]);
    assert_eq!(volumes, ["shared-data", "tmp", "credentials", "store"]);
}

#[test]
fn an_api_can_keep_a_copy_of_the_database() {
    let Some(manifests) = chart(&["--set=store.postgres.replica.enabled=true"]) else {
        return;
    };
    let directory = variable(api(&manifests), "SIDEVAULT_REPLICA");
    let mounts = &pod(api(&manifests))["containers"][0]["volumeMounts"];
    let mounts = mounts.as_array().unwrap().iter();
    let mount = mounts
        .clone()
        .find(|mount| directory.starts_with(mount["mountPath"].as_str().unwrap()));
    assert_eq!(mount.unwrap()["name"], "replica");
    let volumes = pod(api(&manifests))["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "replica").unwrap();
    assert_eq!(volume["emptyDir"]["sizeLimit"], "1Gi");
    let sync = pod(sync(&manifests)).to_string();
    assert!(!sync.contains("replica"), "only apis read the copy: {sync}");
}

#[test]
fn apis_serve_until_they_get_no_more_requests_and_are_replaced_only_by_ready_ones() {
    for manifests in both() {
        let api = api(&manifests);
        let spec = &api["spec"];
        assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
        let pod = pod(api);
        let container = &pod["containers"][0];
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/health");
        let command = &container["lifecycle"]["preStop"]["exec"]["command"];
        let [program, pause]: [String; 2] = serde_json::from_value(command.clone()).unwrap();
        assert_eq!(program, "sleep");
        let needed = pause.parse::<i64>().unwrap() + DRAIN_SECONDS;
        assert!(pod["terminationGracePeriodSeconds"].as_i64().unwrap() > needed);
        // The autoscaler sets it; a number here would undo that with every upgrade.
        assert!(spec["replicas"].is_null(), "{spec}");
        let scaled = &named(&manifests, "HorizontalPodAutoscaler", "onepassword-connect")["spec"];
        assert_eq!(
            scaled["scaleTargetRef"],
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "onepassword-connect"})
        );
        assert!(scaled["minReplicas"].as_u64() >= Some(2), "{scaled}");
    }
    let Some(without) = chart(&["--set=connect.hpa.enabled=false"]) else {
        return;
    };
    assert_eq!(api(&without)["spec"]["replicas"], 2);
}

#[test]
fn the_pods_of_api_and_of_sync_are_spread_and_not_evicted_at_once() {
    for manifests in both() {
        for workload in [api(&manifests), sync(&manifests)] {
            let name = workload["metadata"]["name"].as_str().unwrap();
            let label = &workload["spec"]["template"]["metadata"]["labels"]["app"];
            let budget = &named(&manifests, "PodDisruptionBudget", name)["spec"];
            assert_eq!(budget["maxUnavailable"], 1, "{name}");
            assert_eq!(budget["selector"]["matchLabels"]["app"], *label);
            let spread = pod(workload)["topologySpreadConstraints"].as_array().unwrap();
            let keys: Vec<&Value> = spread.iter().map(|one| &one["topologyKey"]).collect();
            assert_eq!(
                keys,
                ["topology.kubernetes.io/zone", "kubernetes.io/hostname"],
                "{name}"
            );
            for one in spread {
                assert_eq!(one["labelSelector"]["matchLabels"]["app"], *label);
            }
        }
    }
}

#[test]
fn the_network_policies_let_the_api_reach_the_bus_and_the_database() {
    let everything = values("values-all.yaml");
    let Some(manifests) = chart(&[
        "-f",
        &everything,
        "--set=connect.dataVolume.claim.create=false",
        "--set=networkPolicy.databasePort=6432",
    ]) else {
        return;
    };
    let peer = |workload: &Value| {
        let label = &workload["spec"]["template"]["metadata"]["labels"]["app"];
        json!([{"podSelector": {"matchLabels": {"app": label}}}])
    };
    let policy = &named(&manifests, "NetworkPolicy", "onepassword-connect-access")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let bus = json!([{"protocol": "TCP", "port": 11220}]);
    let egress = policy["egress"].as_array().unwrap();
    assert_eq!(egress[0], json!({"to": peer(sync(&manifests)), "ports": bus}));
    assert_eq!(egress[1], json!({"ports": [{"protocol": "TCP", "port": 6432}]}));
    let dns = egress[2]["ports"].as_array().unwrap();
    assert!(dns.contains(&json!({"protocol": "UDP", "port": 53})), "{dns:?}");
    assert_eq!(egress.len(), 3);

    let policy = &named(&manifests, "NetworkPolicy", "onepassword-connect-sync-access")["spec"];
    assert_eq!(policy["podSelector"]["matchLabels"]["app"], "onepassword-connect-sync");
    let ingress = policy["ingress"].as_array().unwrap();
    assert_eq!(ingress[0], json!({"from": peer(api(&manifests)), "ports": bus}));
    assert_eq!(ingress[1]["ports"], json!([{"protocol": "TCP", "port": 8081}]));
    assert_eq!(ingress.len(), 2);
}
