//! Rights: the chart's roles are sufficient, and no manifest reaches Secrets of other namespaces or owners through the operator.

use serde_json::json;
use sidevault_tests::cluster::{Cluster, Running, controllers, definitions};
use sidevault_tests::pair::wait_until;

use super::fixture::{self, METRICS, TestCluster, VERSION};

#[test]
fn the_charts_roles_are_sufficient() {
    let Some(test) = TestCluster::start() else { return };
    let cluster = &test.cluster;
    let values = [
        "operator.leaderElect=true",
        "operator.autoRestart=true",
        "operator.defaultStore=ClusterSecretStore/cluster-store",
        "operator.log.level=debug",
    ];
    let Some(mut command) = fixture::installed(cluster, &values) else {
        return;
    };
    // Wait until this replica has the Lease.
    let operator = cluster.run("operator", &mut command);
    cluster.wait_for(
        "/apis/coordination.k8s.io/v1/namespaces/external-secrets/leases/external-secrets-controller",
        |lease| lease["spec"]["holderIdentity"].as_str().map(str::to_owned),
    );

    // Needs the rights for Secrets, a ConfigMap with a template, events and finalizers; all is deleted again.
    let mut templated = test.manifest("templated", "store", "db", "username");
    templated["spec"]["data"][0]["secretKey"] = json!("u");
    templated["spec"]["target"] = json!({"deletionPolicy": "Delete", "template": {
        "templateFrom": [{"configMap": {"name": "templates", "items": [{"key": "conf"}]}}]}});
    cluster.apply(&templated.to_string());
    let made = cluster.wait_for(&fixture::secret(test.namespace, "templated"), |secret| {
        fixture::value(secret, "conf")
    });
    assert_eq!(made, "user=app");
    test.wait_ready("templated", "True");
    let events = cluster.must(&[
        "get",
        "events",
        "-n",
        test.namespace,
        "--field-selector",
        "reason=Created",
    ]);
    assert!(events.contains("externalsecret/templated"), "{events}");
    cluster.must(&[
        "delete",
        "externalsecret",
        "templated",
        "-n",
        test.namespace,
        "--timeout=60s",
    ]);
    cluster.wait_gone(&fixture::secret(test.namespace, "templated"));

    // Needs the right to restart the workload that uses the Secret. It uses the default store.
    let mut default = test.manifest("default", "store", "simple", "a");
    default["metadata"]["annotations"] = json!({"operator.1password.io/auto-restart": "true"});
    default["spec"].as_object_mut().expect("a map").remove("secretStoreRef");
    cluster.apply(&default.to_string());
    test.wait_value("default", "1");
    let container = json!({"name": "app", "image": "app", "envFrom": [{"secretRef": {"name": "default"}}]});
    let labels = json!({"app": "web"});
    cluster.apply(
        &json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": test.namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [container]}}}})
        .to_string(),
    );
    test.set_field("simple", "a", "new");
    let web = format!("/apis/apps/v1/namespaces/{}/deployments/web", test.namespace);
    cluster.wait_for(&web, |web| {
        web["spec"]["template"]["metadata"]["annotations"]["operator.1password.io/last-restarted"]
            .as_str()
            .map(drop)
    });

    // A ClusterExternalSecret is created, changed and deleted.
    let spec = test.manifest("x", "x", "simple2", "c")["spec"].clone();
    let mut many = json!({"apiVersion": VERSION, "kind": "ClusterExternalSecret", "metadata": {"name": "many"},
        "spec": {"externalSecretName": "of-many", "namespaces": [test.namespace], "externalSecretSpec": spec}});
    many["spec"]["externalSecretSpec"]["secretStoreRef"] =
        json!({"kind": "ClusterSecretStore", "name": "cluster-store"});
    cluster.apply(&many.to_string());
    test.wait_value("of-many", "4");
    // With the finalizer of External Secrets 2.x, which has to be removed before the namespace can be deleted.
    let left = r#"{"metadata":{"finalizers":["externalsecrets.external-secrets.io/ces-many"]}}"#;
    cluster.must(&["patch", "namespace", test.namespace, "--type=merge", "-p", left]);
    many["spec"]["externalSecretSpec"]["data"][0]["remoteRef"]["property"] = json!("b");
    cluster.apply(&many.to_string());
    test.wait_value("of-many", "3");
    cluster.must(&["delete", "clusterexternalsecret", "many", "--timeout=60s"]);
    cluster.wait_gone(&fixture::path(test.namespace, "externalsecrets", "of-many", VERSION));
    cluster.wait_gone(&fixture::secret(test.namespace, "of-many"));

    // A PushSecret writes an item, and deletes it again.
    let store = json!([{"kind": "SecretStore", "name": "store"}]);
    cluster.apply(
        &json!({"apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret",
        "metadata": {"name": "pushed", "namespace": test.namespace},
        "spec": {"deletionPolicy": "Delete", "secretStoreRefs": store, "selector": {"secret": {"name": "existing"}},
            "data": [{"match": {"secretKey": "v", "remoteRef": {"remoteKey": "pushed", "property": "v"}}}]}})
        .to_string(),
    );
    let item = || test.server.pair.item(&test.server.token, "apps", "pushed");
    assert!(wait_until(item).is_some(), "{}", operator.log());
    cluster.must(&["delete", "pushsecret", "pushed", "-n", test.namespace, "--timeout=60s"]);
    assert!(
        wait_until(|| item().is_none().then_some(())).is_some(),
        "{}",
        operator.log()
    );

    cluster.must(&["delete", "namespace", test.namespace, "--timeout=60s"]);
    fixture::assert_nothing_forbidden(&operator);
}

#[test]
fn one_namespace_needs_no_cluster_role() {
    let Some(test) = TestCluster::start() else { return };
    let cluster = &test.cluster;
    test.server.prepare(cluster, VERSION, "elsewhere");
    let scope = format!("operator.scopedNamespace={}", test.namespace);
    let values = [
        "operator.scopedRBAC=true",
        &scope,
        "operator.leaderElect=true",
        "operator.log.level=debug",
    ];
    let Some(chart) = fixture::chart(&values) else { return };
    assert!(!chart.contains("kind: ClusterRole"), "{chart}");
    let Some(mut command) = fixture::installed(cluster, &values) else {
        return;
    };
    let operator = cluster.run("operator", &mut command);

    let mut elsewhere = test.manifest("one", "store", "simple", "a");
    elsewhere["metadata"]["namespace"] = json!("elsewhere");
    cluster.apply(&elsewhere.to_string());
    test.external_secret("one", "store", "simple", "a");
    test.wait_value("one", "1");
    test.wait_ready("one", "True");
    test.set_field("simple", "a", "new");
    test.wait_value("one", "new");
    cluster.must(&["delete", "externalsecret", "one", "-n", test.namespace, "--timeout=60s"]);
    cluster.wait_gone(&fixture::secret(test.namespace, "one"));

    let untouched = cluster
        .get(&fixture::path("elsewhere", "externalsecrets", "one", VERSION))
        .expect("it is there");
    assert!(
        untouched["status"].is_null() && untouched["metadata"]["finalizers"].is_null(),
        "{untouched:#}"
    );
    assert!(cluster.get(&fixture::secret("elsewhere", "one")).is_none());
    fixture::assert_nothing_forbidden(&operator);
    // The API server would refuse it, too.
    let account = cluster.kubeconfig_for("external-secrets", "external-secrets");
    for what in [
        ["get", "secrets", "-n", "elsewhere"],
        ["get", "externalsecrets", "-n", "elsewhere"],
    ] {
        let output = cluster.kubectl_as(&account, &what);
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("Forbidden"),
            "{what:?}"
        );
    }
}

/// As in External Secrets, a ClusterSecretStore can be used from the one namespace if the operator may list and watch it.
#[test]
fn cluster_stores_are_used_with_one_namespace_if_rights_allow() {
    let Some(test) = TestCluster::start() else { return };
    let cluster = &test.cluster;
    cluster.must(&["label", "namespace", test.namespace, "team=a"]);
    let conditions = r#"{"spec": {"conditions": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]}}"#;
    let patch = [
        "patch",
        "clustersecretstore",
        "cluster-store",
        "--type=merge",
        "-p",
        conditions,
    ];
    cluster.must(&patch);
    let scope = format!("operator.scopedNamespace={}", test.namespace);
    let values = [&scope, "operator.log.level=debug"];
    let Some(mut command) = fixture::installed(cluster, &values) else {
        return;
    };
    let operator = cluster.run("operator", &mut command);
    let mut manifest = test.manifest("one", "cluster-store", "simple", "a");
    manifest["spec"]["secretStoreRef"]["kind"] = json!("ClusterSecretStore");
    cluster.apply(&manifest.to_string());
    test.wait_value("one", "1");
    test.wait_ready("one", "True");

    cluster.must(&["label", "namespace", test.namespace, "--overwrite", "team=b"]);
    test.force_sync("one");
    test.wait_ready("one", "False");
    wait_for_failure_event(&test, "one", "denied by spec.condition");
    fixture::assert_nothing_forbidden(&operator);
}

/// The real controller and the operator refuse the same manifests with the same messages.
#[test]
fn no_manifest_reads_or_takes_over_secrets_of_others() {
    let Some(controllers) = controllers() else { return };
    let controller = &controllers[0];
    for ours in [false, true] {
        let Some(test) = TestCluster::with(&definitions(controller)) else {
            return;
        };
        let running = if ours {
            fixture::operator(&test.cluster, &[])
        } else {
            test.cluster.run_external_secrets(controller, &[])
        };
        a_token_of_another_namespace_is_not_used(&test, &running);
        a_secret_that_is_anothers_stays(&test);
        a_cluster_store_says_where_it_may_be_used(&test);
    }
}

fn a_token_of_another_namespace_is_not_used(test: &TestCluster, running: &Running) {
    let cluster = &test.cluster;
    // The namespace may exist already.
    let _ = cluster.kubectl(&["create", "namespace", "intruder"]);
    let mut store = test.server.store(
        VERSION,
        "SecretStore",
        "reaching",
        Some("intruder"),
        "",
        "connect-token",
    );
    let reference = &mut store["spec"]["provider"]["onepassword"]["auth"]["secretRef"]["connectTokenSecretRef"];
    reference["namespace"] = json!(test.namespace);
    cluster.apply(&store.to_string());
    let mut secret = test.manifest("stolen", "reaching", "db", "username");
    secret["metadata"]["namespace"] = json!("intruder");
    cluster.apply(&secret.to_string());
    let condition = |plural: &str, name: &str| {
        cluster.wait_for(&fixture::path("intruder", plural, name, VERSION), |object| {
            let condition = &object["status"]["conditions"][0];
            condition.is_object().then(|| condition.clone())
        })
    };
    let store = condition("secretstores", "reaching");
    assert_eq!(store["status"], "False", "{}", running.log());
    assert_eq!(
        (&store["reason"], &store["message"]),
        (&json!("InvalidProviderConfig"), &json!("unable to create client"))
    );
    let secret = condition("externalsecrets", "stolen");
    assert_eq!(
        (&secret["status"], &secret["reason"]),
        (&json!("False"), &json!("SecretSyncedError"))
    );
    assert!(cluster.get(&fixture::secret("intruder", "stolen")).is_none());
}

fn a_secret_that_is_anothers_stays(test: &TestCluster) {
    let cluster = &test.cluster;
    test.external_secret("owner", "store", "simple", "a");
    test.wait_value("owner", "1");
    test.wait_ready("owner", "True");
    let mut second = test.manifest("second", "store", "simple", "b");
    second["spec"]["target"] = json!({"name": "owner"});
    cluster.apply(&second.to_string());
    let condition = test.wait_ready("second", "False");
    assert_eq!(condition["message"], "target is owned by another ExternalSecret");
    test.wait_value("owner", "1");

    // A Secret that a controller of another kind owns.
    let config_map = cluster
        .get(&format!("/api/v1/namespaces/{}/configmaps/templates", test.namespace))
        .expect("it");
    let uid = config_map["metadata"]["uid"].clone();
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "templates", "uid": uid, "controller": true}]);
    cluster.apply(
        &json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "foreign", "namespace": test.namespace, "ownerReferences": owner},
        "stringData": {"v": "theirs"}})
        .to_string(),
    );
    test.external_secret("foreign", "store", "simple", "a");
    let condition = test.wait_ready("foreign", "False");
    assert_eq!(condition["message"], "failed to take ownership of target secret");
    test.wait_value("foreign", "theirs");
}

/// `kubectl describe` shows the current error, not an earlier one.
#[test]
fn events_name_the_current_error() {
    let Some(test) = TestCluster::start() else { return };
    let _operator = fixture::operator(&test.cluster, &[]);
    test.external_secret("wrong", "store", "no-such-item", "a");
    wait_for_failure_event(&test, "wrong", "no-such-item");
    test.external_secret("wrong", "store", "another-item", "a");
    wait_for_failure_event(&test, "wrong", "another-item");
}

/// With the rights of External Secrets' own ClusterRole, which has events of the core group only.
#[test]
fn core_group_events_are_written_if_only_those_are_allowed() {
    let Some(test) = TestCluster::start() else { return };
    let cluster = &test.cluster;
    let Some(mut command) = fixture::installed(cluster, &[]) else {
        return;
    };
    let roles: serde_json::Value =
        serde_json::from_str(&cluster.must(&["get", "clusterroles", "-o", "json"])).expect("JSON");
    let roles = roles["items"].as_array().expect("a list");
    let ours = roles.iter().filter(|role| {
        let name = role["metadata"]["name"].as_str().expect("a name");
        !name.starts_with("system:")
    });
    let right = ours.flat_map(|role| {
        role["rules"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
            .map(move |rule| (role, rule))
    });
    let groups = json!(["events.k8s.io"]);
    let (role, (index, _)) = right
        .into_iter()
        .find(|(_, (_, rule))| rule["apiGroups"] == groups)
        .expect("a right");
    let core = json!([{"op": "replace", "path": format!("/rules/{index}/apiGroups"), "value": [""]}]).to_string();
    let name = role["metadata"]["name"].as_str().expect("a name");
    cluster.must(&["patch", "clusterrole", name, "--type=json", "-p", &core]);
    let operator = cluster.run("operator", &mut command);
    test.external_secret("wrong", "store", "no-such-item", "a");
    wait_for_failure_event(&test, "wrong", "no-such-item");
    // The same failure again increases the count of the event.
    let force = ["external-secrets.io/force-sync=1", "--overwrite"];
    cluster.must(
        &[
            &["annotate", "externalsecret", "wrong", "-n", test.namespace],
            &force[..],
        ]
        .concat(),
    );
    let path = format!("/api/v1/namespaces/{}/events", test.namespace);
    cluster.wait_for(&path, |events| {
        let events = events["items"].as_array()?;
        let of_it = |event: &&serde_json::Value| event["reason"] == "UpdateFailed";
        (events.iter().find(of_it)?["count"].as_i64()? > 1).then_some(())
    });
    let log = operator.log();
    assert_eq!(
        log.matches("writes events of the core group instead").count(),
        1,
        "{log}"
    );
}

/// Waits for an event about a failure of an ExternalSecret whose message contains a text.
fn wait_for_failure_event(test: &TestCluster, name: &str, what: &str) {
    let selector = format!("involvedObject.name={name},reason=UpdateFailed");
    let found = wait_until(|| {
        let events = test
            .cluster
            .must(&["get", "events", "-n", test.namespace, "--field-selector", &selector]);
        events.contains(what).then_some(())
    });
    assert!(found.is_some(), "no event says {what}");
}

fn a_cluster_store_says_where_it_may_be_used(test: &TestCluster) {
    let mut denied = test.manifest("denied", "elsewhere-only", "simple", "a");
    denied["spec"]["secretStoreRef"]["kind"] = json!("ClusterSecretStore");
    test.cluster.apply(&denied.to_string());
    let condition = test.wait_ready("denied", "False");
    assert_eq!(condition["message"], "could not get secret data from provider");
    wait_for_failure_event(test, "denied", "denied by spec.condition");
    assert!(test.cluster.get(&fixture::secret(test.namespace, "denied")).is_none());
}

/// The operator knows every flag that the chart's Deployment can have.
#[test]
fn the_charts_flags_are_accepted() {
    let Some(test) = TestCluster::start() else { return };
    let values = [
        "operator.leaderElect=true",
        "operator.leaderElectionID=mine",
        "operator.controllerClass=mine",
        "operator.scopedNamespace=apps",
        "operator.processClusterStore=false",
        "operator.processClusterExternalSecret=false",
        "operator.processSecretStore=false",
        "operator.processPushSecret=false",
        "operator.storeRequeueInterval=1m",
        "operator.extendedMetricLabels=true",
        "operator.defaultStore=somewhere",
        "operator.autoRestart=true",
    ];
    let Some(mut command) = fixture::installed(&test.cluster, &values) else {
        return;
    };
    let operator = test.cluster.run("operator", &mut command);
    ready(&test.cluster, &operator);
    let lease = "/apis/coordination.k8s.io/v1/namespaces/external-secrets/leases/mine";
    test.cluster
        .wait_for(lease, |lease| lease["spec"]["holderIdentity"].as_str().map(drop));
    let running = wait_until(|| operator.log().contains("operator is running").then_some(()));
    assert!(running.is_some(), "{}", operator.log());
    fixture::assert_nothing_forbidden(&operator);
}

fn ready(cluster: &Cluster, operator: &Running) {
    let ready = wait_until(|| (fixture::ask(cluster, METRICS + 2, "/readyz")?.status == 200).then_some(()));
    assert!(ready.is_some(), "{}", operator.log());
}
