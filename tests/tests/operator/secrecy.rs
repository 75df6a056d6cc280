//! No event, status or log line contains a value of a Secret, even if the API server's error message does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::fixture::{self, TestCluster};
use super::front::{forward, serve};

/// A value that the API server quotes when it refuses a Secret with it.
const VALUE: &str = "hunter2!S3CRET#VALUE";

fn assert_without_value(text: &str) {
    for form in [VALUE, "hunter2", &STANDARD.encode(VALUE)] {
        assert!(!text.contains(form), "{text}");
    }
}

#[test]
fn api_server_messages_about_secrets_are_not_repeated() {
    let Some(test) = TestCluster::start() else { return };
    let cluster = &test.cluster;
    test.set_field("simple", "a", VALUE);
    // A policy whose message quotes the Secret.
    let policies = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "chatty"}, "spec": {
                "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"],
                    "operations": ["CREATE", "UPDATE"]}]},
                "matchConditions": [{"name": "denied", "expression": "object.metadata.name.startsWith('denied')"}],
                "validations": [{"expression": "false",
                    "messageExpression": "'it holds ' + object.data.v"}]}},
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "chatty"}, "spec": {"policyName": "chatty", "validationActions": ["Deny"]}},
    ]});
    cluster.apply(&policies.to_string());
    let operator = fixture::operator(cluster, &["--log-level=debug"]);
    let apply = |name: &str, template: Value| {
        let mut manifest = test.manifest(name, "store", "simple", "a");
        manifest["spec"]["target"] = json!({"template": template});
        cluster.apply(&manifest.to_string());
    };
    apply(
        "in-a-label",
        json!({"metadata": {"labels": {"x": "{{ .v }}"}}, "data": {"y": "z"}}),
    );
    apply(
        "in-an-annotations-key",
        json!({"templateFrom": [{"target": "Annotations", "literal": "\"{{ .v }}\": x"}]}),
    );
    apply("as-a-key", json!({"templateFrom": [{"literal": "\"{{ .v }}\": x"}]}));
    apply(
        "as-a-key-of-a-list",
        json!({"templateFrom": [{"literal": "\"{{ .v }}\": [x]"}]}),
    );
    // A new policy takes effect after a moment, so try until it does.
    let denied = "the ValidatingAdmissionPolicy \"chatty\"";
    for attempt in 0.. {
        let name = format!("denied-{attempt}");
        test.external_secret(&name, "store", "simple", "a");
        let condition = cluster.wait_for(
            &fixture::path(test.namespace, "externalsecrets", &name, &test.version),
            |object| {
                let condition = &object["status"]["conditions"][0];
                condition.is_object().then(|| condition.clone())
            },
        );
        if condition["status"] == "False" {
            test.wait_event(&name, "UpdateFailed", denied);
            break;
        }
    }
    test.wait_event("in-a-label", "UpdateFailed", "metadata.labels (invalid value)");
    test.wait_event(
        "in-an-annotations-key",
        "UpdateFailed",
        "metadata.annotations (invalid value)",
    );
    test.wait_event("as-a-key", "UpdateFailed", "data[…] (invalid value)");
    test.wait_event("as-a-key-of-a-list", "UpdateFailed", "its entry 1");
    for path in [
        format!("/api/v1/namespaces/{}/events", test.namespace),
        fixture::path(test.namespace, "externalsecrets", "", &test.version),
    ] {
        let text = cluster.get(&path).expect("a list").to_string();
        assert_without_value(&text);
    }
    let metrics = fixture::ask(cluster, fixture::METRICS, "/metrics")
        .expect("metrics")
        .text();
    assert!(metrics.contains("externalsecret_sync_calls_error"), "{metrics}");
    for text in [operator.log(), metrics] {
        assert_without_value(&text);
    }
}

/// Both a server that quotes the values that it refuses, and a server that is no Connect server.
#[test]
fn connect_server_messages_about_values_are_not_repeated() {
    let Some(test) = TestCluster::start() else { return };
    let (cluster, namespace) = (&test.cluster, test.namespace);
    let upstream = test.server.pair.address();
    let quoting = serve(move |request| {
        if request.starts_with(b"POST ") {
            let message = format!("{VALUE} is no value");
            Some(refusal(400, &json!({"status": 400, "message": message})))
        } else {
            forward(upstream, request)
        }
    });
    test.add_store("quoting", quoting);
    // An answer in the form of the API server's errors.
    let internal = serve(|_| Some(refusal(403, &json!({"kind": "Status", "code": 403, "message": VALUE}))));
    test.add_store("internal", internal);
    let operator = fixture::operator(cluster, &["--log-level=debug", "--enable-flood-gate=false"]);
    let meta = |name: &str| json!({"name": name, "namespace": namespace});
    cluster.apply(
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta("source"), "stringData": {"v": VALUE}})
            .to_string(),
    );
    cluster.apply(
        &json!({"apiVersion": "external-secrets.io/v1alpha1", "kind": "PushSecret", "metadata": meta("pushed"),
            "spec": {"secretStoreRefs": [{"name": "quoting"}], "selector": {"secret": {"name": "source"}},
                "data": [{"match": {"secretKey": "v", "remoteRef": {"remoteKey": "refused"}}}]}})
        .to_string(),
    );
    test.external_secret("asking", "internal", "simple", "a");
    test.wait_event("pushed", "Errored", "status 400: the server refused");
    test.wait_event("asking", "UpdateFailed", "status 403: Forbidden");
    test.wait_event("internal", "InvalidProviderConfig", "status 403: Forbidden");
    for path in [
        format!("/api/v1/namespaces/{namespace}/events"),
        fixture::path(namespace, "externalsecrets", "", &test.version),
        fixture::path(namespace, "secretstores", "", &test.version),
        fixture::path(namespace, "pushsecrets", "", "external-secrets.io/v1alpha1"),
    ] {
        assert_without_value(&cluster.get(&path).expect("a list").to_string());
    }
    assert_without_value(&operator.log());
}

fn refusal(status: u16, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
