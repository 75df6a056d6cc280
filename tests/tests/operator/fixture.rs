//! A Connect server with items, a cluster with stores that name it, and the operator.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, Running};
use sidevault_tests::pair::{ServerPair, binary, wait_until};
use sidevault_tests::tools::find_in_cluster;
use sidevault_tests::wire::{Reply, Request, exchange};

/// Items of the local vault `apps`.
const ITEMS: &[&str] = &[
    r#"{"title":"db","category":"LOGIN","tags":["prod"],"sections":[{"id":"net","label":"network"}],"fields":[
        {"label":"username","value":"app"},{"id":"password","label":"password","purpose":"PASSWORD","value":"grün & 'quoted'"},
        {"label":"api token","value":"t0ken"},{"label":"a.b","value":"dotted"},{"label":"größe","value":"42"},
        {"label":"empty","value":""},{"label":"host","value":"db.example","section":{"id":"net"}},
        {"label":"notes","value":"line 1\nline 2\n"}]}"#,
    r#"{"title":"simple","category":"LOGIN","tags":["team"],"fields":[{"label":"a","value":"1"},{"label":"b","value":"2"}]}"#,
    r#"{"title":"simple2","category":"LOGIN","tags":["team"],"fields":[{"label":"b","value":"3"},{"label":"c","value":"4"}]}"#,
    r#"{"title":"doubled","category":"LOGIN","fields":[{"label":"x","value":"1"},{"label":"x","value":"2"}]}"#,
    r#"{"title":"twin","category":"LOGIN","fields":[{"label":"password","value":"1"}]}"#,
    r#"{"title":"twin","category":"LOGIN","fields":[{"label":"password","value":"2"}]}"#,
    r#"{"title":"say \"hi\"","category":"LOGIN","fields":[{"label":"password","value":"hi"}]}"#,
    r#"{"title":"schlüssel ✓","category":"LOGIN","fields":[{"label":"password","value":"ja"}]}"#,
    r#"{"title":"shared","category":"LOGIN","fields":[{"label":"who","value":"apps"}]}"#,
    r#"{"title":"encoded","category":"LOGIN","fields":[{"label":"b64","value":"aGVsbG8="},{"label":"b64url","value":"_-8="},
        {"label":"plain","value":"not base64!"},{"label":"nul","value":"AAE="}]}"#,
    r#"{"title":"objects","category":"LOGIN","fields":[{"label":"one","value":"{\"x\":\"1\",\"y\":{\"z\":[1,\"<b>\"]}}"},
        {"label":"two","value":"{\"x\":2,\"t\":true,\"f\":1.5,\"n\":null}"}]}"#,
    r#"{"title":"shifting","category":"LOGIN","fields":[{"label":"a","value":"1"},{"label":"b","value":"1"}]}"#,
    r#"{"title":"fleeting","category":"LOGIN","fields":[{"label":"a","value":"f"}]}"#,
    r#"{"title":"before","category":"LOGIN","fields":[{"label":"password","value":"named"}]}"#,
];

/// A server with the local vault `apps` and the directory vault `infra`.
pub(crate) struct TestServer {
    pub(crate) pair: ServerPair,
    pub(crate) token: String,
    directory: tempfile::TempDir,
}

impl TestServer {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let files = directory.path().join("infra");
        fs::create_dir(&files).expect("a directory");
        fs::write(files.join("shared.yaml"), "who: infra\n").expect("a file");
        fs::write(files.join("ca.pem"), "-----BEGIN CERTIFICATE-----\n\u{1}binary\u{2}\n").expect("a file");
        fs::write(files.join("rotating.yaml"), "current-key: rk-1\n").expect("a file");
        let dir = files.to_string_lossy().into_owned();
        let pair = ServerPair::start(&["--vault", "apps", "--dir", &dir], &[]);
        let token = pair.token("operator", &["apps=read,write", "infra=read"]);
        wait_until(|| pair.item(&token, "infra", "shared")).expect("the directory is read");
        let server = Self { pair, token, directory };
        ITEMS.iter().for_each(|item| server.add(item));
        server
    }

    /// The path of a file of the vault `infra`.
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("infra").join(name)
    }

    /// Changes the value of a field of an item of `apps`.
    pub(crate) fn change(&self, title: &str, field: &str, value: &str) {
        self.edit(title, |item| {
            let fields = item["fields"].as_array_mut().expect("fields");
            let field = fields
                .iter_mut()
                .find(|known| known["label"] == field)
                .expect("the field");
            field["value"] = json!(value);
        });
    }

    /// Changes an item of `apps`.
    pub(crate) fn edit(&self, title: &str, change: impl FnOnce(&mut Value)) {
        let mut item = self.pair.item(&self.token, "apps", title).expect("the item");
        change(&mut item);
        self.ask("PUT", &target(&item), &item.to_string(), 200);
    }

    /// Deletes an item of `apps`.
    pub(crate) fn remove(&self, title: &str) {
        let item = self.pair.item(&self.token, "apps", title).expect("the item");
        self.ask("DELETE", &target(&item), "", 204);
    }

    /// Creates an item in `apps`.
    pub(crate) fn add(&self, item: &str) {
        self.ask("POST", "/v1/vaults/apps/items", item, 200);
    }

    fn ask(&self, method: &str, target: &str, body: &str, status: u16) {
        let answer = self.pair.ask(&self.token, method, target, body).expect("an answer");
        assert_eq!(answer.status, status, "{method} {body}: {}", answer.text());
    }

    /// The server's URL.
    pub(crate) fn host(&self) -> String {
        format!("http://{}", self.pair.address())
    }

    /// Creates a namespace with stores, templates, and Secrets that ExternalSecrets are to merge into.
    pub(crate) fn prepare(&self, cluster: &Cluster, version: &str, namespace: &str) {
        // The namespace may exist already.
        let _ = cluster.kubectl(&["create", "namespace", namespace]);
        let token = |name: &str, namespace: &str, token: &str| {
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
                "stringData": {"token": token}})
        };
        let secret = |name: &str| {
            json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                "metadata": {"name": name, "namespace": namespace, "labels": {"mine": "yes"}},
                "stringData": {"kept": "kept", "v": "old"}})
        };
        let templates = json!({"conf": "user={{ .u }}", "pairs": "a: {{ .u }}\nb: \"2\"\n"});
        let objects = [
            token("connect-token", namespace, &self.token),
            token("wrong-token", namespace, "nonsense"),
            secret("existing"),
            secret("existing-too"),
            secret("existing-three"),
            secret("existing-four"),
            secret("existing-five"),
            secret("existing-six"),
            secret("existing-seven"),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "templates", "namespace": namespace},
                "data": templates}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "templates", "namespace": namespace},
                "stringData": templates}),
            self.store(
                version,
                "SecretStore",
                "store",
                Some(namespace),
                namespace,
                "connect-token",
            ),
            self.store(
                version,
                "SecretStore",
                "broken",
                Some(namespace),
                namespace,
                "wrong-token",
            ),
            self.store(
                version,
                "ClusterSecretStore",
                "cluster-store",
                None,
                namespace,
                "connect-token",
            ),
            {
                let name = "elsewhere-only";
                let mut store = self.store(version, "ClusterSecretStore", name, None, namespace, "connect-token");
                store["spec"]["conditions"] = json!([{"namespaces": ["elsewhere"]}]);
                store
            },
        ];
        cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
    }

    /// A store that names this server.
    pub(crate) fn store(
        &self,
        version: &str,
        kind: &str,
        name: &str,
        namespace: Option<&str>,
        token_namespace: &str,
        token: &str,
    ) -> Value {
        let mut reference = json!({"name": token, "key": "token"});
        let mut meta = json!({"name": name});
        match namespace {
            Some(namespace) => meta["namespace"] = json!(namespace),
            None => reference["namespace"] = json!(token_namespace),
        }
        json!({"apiVersion": version, "kind": kind, "metadata": meta, "spec": {"provider": {"onepassword": {
            "connectHost": self.host(),
            "vaults": {"apps": 1, "infra": 2},
            "auth": {"secretRef": {"connectTokenSecretRef": reference}},
        }}}})
    }

    /// Waits until the stores have their conditions. Before that, ExternalSecrets that use them may fail.
    pub(crate) fn wait_stores(&self, cluster: &Cluster, namespace: &str) {
        let version = version(cluster);
        for (store, ready) in [("store", "True"), ("broken", "False")] {
            cluster.wait_for(&path(namespace, "secretstores", store, &version), |store| {
                (store["status"]["conditions"][0]["status"] == ready).then_some(())
            });
        }
    }
}

fn target(item: &Value) -> String {
    format!("/v1/vaults/apps/items/{}", item["id"].as_str().expect("an id"))
}

/// A cluster with our own resource definitions, the server's stores in a namespace, and our operator.
pub(crate) struct TestCluster {
    pub(crate) cluster: Cluster,
    pub(crate) server: TestServer,
    pub(crate) namespace: &'static str,
    /// The API version of External Secrets that the definitions prefer.
    pub(crate) version: String,
}

impl TestCluster {
    /// `None` if the cluster's programs were not built.
    pub(crate) fn start() -> Option<Self> {
        Self::with(&definitions())
    }

    /// The same with the definitions in this directory.
    pub(crate) fn with(definitions: &Path) -> Option<Self> {
        let cluster = Cluster::start()?;
        cluster.install_definitions(definitions);
        let version = version(&cluster);
        let server = TestServer::start();
        let namespace = "apps";
        server.prepare(&cluster, &version, namespace);
        Some(Self {
            cluster,
            server,
            namespace,
            version,
        })
    }

    /// Applies an ExternalSecret that puts a field of an item into a Secret of its name.
    pub(crate) fn external_secret(&self, name: &str, store: &str, item: &str, field: &str) {
        self.cluster.apply(&self.manifest(name, store, item, field).to_string());
    }

    /// Adds a store for the server at `address`, with the same vaults and token.
    pub(crate) fn add_store(&self, name: &str, address: SocketAddr) {
        let namespace = Some(self.namespace);
        let mut store = self
            .server
            .store(&self.version, "SecretStore", name, namespace, "", "connect-token");
        store["spec"]["provider"]["onepassword"]["connectHost"] = json!(format!("http://{address}"));
        self.cluster.apply(&store.to_string());
    }

    pub(crate) fn manifest(&self, name: &str, store: &str, item: &str, field: &str) -> Value {
        json!({"apiVersion": self.version, "kind": "ExternalSecret",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"refreshInterval": "1h", "secretStoreRef": {"name": store},
                "data": [{"secretKey": "v", "remoteRef": {"key": item, "property": field}}]}})
    }

    /// Forces a refresh of an ExternalSecret by its annotation `force-sync`.
    pub(crate) fn force_sync(&self, name: &str) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let annotation = format!("force-sync={}", since.expect("a clock").as_nanos());
        let annotate = ["annotate", "externalsecret", name, "-n", self.namespace, "--overwrite"];
        self.cluster.must(&[&annotate, &[annotation.as_str()][..]].concat());
    }

    /// Waits until the key `v` of a Secret has this value.
    pub(crate) fn wait_value(&self, secret: &str, value: &str) {
        let path = format!("/api/v1/namespaces/{}/secrets/{secret}", self.namespace);
        let encoded = STANDARD.encode(value);
        self.cluster
            .wait_for(&path, |secret| (secret["data"]["v"] == json!(encoded)).then_some(()));
    }

    /// Waits until the condition of an ExternalSecret has this status, and returns the condition.
    pub(crate) fn wait_ready(&self, name: &str, status: &str) -> Value {
        let path = path(self.namespace, "externalsecrets", name, &self.version);
        self.cluster.wait_for(&path, |object| {
            let condition = &object["status"]["conditions"][0];
            (condition["status"] == status).then(|| condition.clone())
        })
    }

    /// Waits until there is an event about an object with this reason and a message that contains `what`.
    pub(crate) fn wait_event(&self, name: &str, reason: &str, what: &str) -> Value {
        let path = format!("/api/v1/namespaces/{}/events", self.namespace);
        self.cluster.wait_for(&path, |events| {
            let mut events = events["items"].as_array()?.iter();
            let event = events.find(|event| {
                let says = event["message"].as_str().is_some_and(|message| message.contains(what));
                event["involvedObject"]["name"] == name && event["reason"] == reason && says
            });
            event.cloned()
        })
    }

    /// The present state of an ExternalSecret.
    pub(crate) fn get(&self, name: &str) -> Value {
        self.cluster
            .get(&path(self.namespace, "externalsecrets", name, &self.version))
            .expect("the ExternalSecret")
    }

    /// Sets a field of an item of the vault `apps`.
    pub(crate) fn set_field(&self, title: &str, label: &str, value: &str) {
        self.server.change(title, label, value);
    }
}

/// The API version that our own definitions prefer.
pub(crate) const VERSION: &str = "external-secrets.io/v1";

/// A directory with our own resource definitions.
pub(crate) fn definitions() -> std::path::PathBuf {
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/sidevault/files/crds");
    let directory = tempfile::tempdir().expect("a directory").keep();
    for entry in fs::read_dir(crds).expect("the definitions") {
        let path = entry.expect("an entry").path();
        if path.file_name().is_some_and(|name| name != "kustomization.yaml") {
            fs::copy(&path, directory.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    directory
}

/// Starts our operator.
pub(crate) fn operator(cluster: &Cluster, arguments: &[&str]) -> Running {
    cluster.run("operator", &mut command(cluster, METRICS, arguments))
}

/// The port of the metrics of [`operator`]. The port of its health is two higher.
pub(crate) const METRICS: u16 = 8090;

/// A command that starts our operator with its metrics on `port` of the cluster's address, and its health on `port` + 2.
pub(crate) fn command(cluster: &Cluster, port: u16, arguments: &[&str]) -> Command {
    let address = cluster.address();
    let mut command = Command::new(binary());
    command.arg("operator");
    command.args([
        format!("--metrics-addr={address}:{port}"),
        format!("--health-addr={address}:{}", port + 2),
    ]);
    command.args(arguments).env("SIDEVAULT_LOG_FORMAT", "json");
    command
}

/// An operator's response, or `None` if the connection fails.
pub(crate) fn ask(cluster: &Cluster, port: u16, path: &str) -> Option<Reply> {
    exchange((cluster.address(), port).into(), &Request::new("GET", path).bytes()).ok()
}

/// The sum of an operator's series whose names and labels begin with `prefix`; 0 if there is none.
pub(crate) fn metric(cluster: &Cluster, port: u16, prefix: &str) -> f64 {
    let text = ask(cluster, port, "/metrics")
        .map(|reply| reply.text())
        .unwrap_or_default();
    let series = text.lines().filter(|line| line.starts_with(prefix));
    series
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// The chart's manifests for the namespace `external-secrets`, with `operator.create=true` and these values. `None`, with
/// a line on standard error, if helm was not built.
pub(crate) fn chart(values: &[&str]) -> Option<String> {
    let helm = find_in_cluster(&["helm"])?.join("helm");
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/sidevault");
    let mut command = Command::new(helm);
    command.args([
        "template",
        "sidevault",
        chart,
        "--namespace=external-secrets",
        "--kube-version=1.34.0",
    ]);
    command.arg("--set=operator.create=true,operator.installCRDs=false");
    command.args(values.iter().map(|value| format!("--set={value}")));
    let output = command.output().expect("helm runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("text"))
}

/// Installs the operator's roles from the chart, and returns a command that starts the operator with the chart's arguments
/// and service account.
pub(crate) fn installed(cluster: &Cluster, values: &[&str]) -> Option<Command> {
    let manifests = chart(values)?;
    let is_grant = |document: &&str| {
        let kinds = [
            "ServiceAccount",
            "Role",
            "RoleBinding",
            "ClusterRole",
            "ClusterRoleBinding",
        ];
        kinds
            .iter()
            .any(|kind| document.lines().any(|line| line == format!("kind: {kind}")))
    };
    let grants: Vec<&str> = manifests.split("\n---").filter(is_grant).collect();
    // The namespace may exist already.
    let _ = cluster.kubectl(&["create", "namespace", "external-secrets"]);
    cluster.apply(&grants.join("\n---\n"));
    let account = manifests
        .lines()
        .find_map(|line| line.trim().strip_prefix("serviceAccountName: "));
    let account = account.expect("a service account");
    let flags = manifests.lines().filter_map(|line| line.trim().strip_prefix("- --"));
    let flags: Vec<String> = flags.map(|flag| format!("--{flag}")).collect();
    assert!(flags.iter().any(|flag| flag.starts_with("--concurrent")), "{flags:?}");
    // The chart's addresses are those of a Pod.
    let flags = flags.iter().filter(|flag| !flag.contains("-addr=")).map(String::as_str);
    let mut command = command(cluster, METRICS, &flags.collect::<Vec<_>>());
    command.env("KUBECONFIG", cluster.kubeconfig_for("external-secrets", account));
    command.env("POD_NAMESPACE", "external-secrets");
    Some(command)
}

/// Fails if the operator's log has a request that the API server refused for lack of rights.
pub(crate) fn assert_nothing_forbidden(operator: &Running) {
    let log = operator.log();
    let refused: Vec<&str> = log
        .lines()
        .filter(|line| line.to_lowercase().contains("forbidden"))
        // The API server refuses to create objects in a namespace that is being deleted, whatever the rights are.
        .filter(|line| !line.contains("is being terminated"))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// A value of a Secret, decoded.
pub(crate) fn value(secret: &Value, key: &str) -> Option<String> {
    let bytes = STANDARD.decode(secret["data"][key].as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

/// The field managers of an object, or of a subresource of it.
pub(crate) fn managers(object: &Value, subresource: &str) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let entries = entries.filter(|entry| entry["subresource"].as_str().unwrap_or_default() == subresource);
    entries
        .filter_map(|entry| entry["manager"].as_str().map(str::to_owned))
        .collect()
}

/// The path of a Secret.
pub(crate) fn secret(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}")
}

/// The newest version of ExternalSecrets that the cluster serves.
pub(crate) fn version(cluster: &Cluster) -> String {
    let group = cluster
        .get("/apis/external-secrets.io")
        .expect("the definitions are served");
    group["preferredVersion"]["groupVersion"]
        .as_str()
        .expect("a version")
        .to_owned()
}

/// The path of an object of External Secrets, or of all objects of a kind if `name` is empty.
pub(crate) fn path(namespace: &str, plural: &str, name: &str, version: &str) -> String {
    let path = format!("/apis/{version}/namespaces/{namespace}/{plural}/{name}");
    path.trim_end_matches('/').to_owned()
}

/// Removes the values that differ between releases of External Secrets. The operator has those of the newest release.
pub(crate) fn remove_values_that_differ_between_releases(release: &str, object: &mut Value) {
    if let Some(events) = object["events"].as_array_mut() {
        // Written if an item is deleted during a refresh, so not in every run.
        let is_by_chance = |event: &Value| event[2].as_str().unwrap_or_default().contains("404: item ID not found");
        events.retain(|event| !is_by_chance(event));
        if events.is_empty() {
            object["events"] = Value::Null;
        }
    }
    if !release.contains("v2.") {
        // To add a finalizer, older releases wrote the whole object, with durations as Go formats them. That changed the
        // generation.
        if let Some(version) = object["syncedResourceVersion"].as_str() {
            object["syncedResourceVersion"] = json!(version.split_once('-').map(|(_, hash)| hash));
        }
        if let Some(made) = object.get_mut("created object") {
            made["spec"]["refreshInterval"] = Value::Null;
        }
    }
    if release.contains("v0.9") {
        // v0.9 has no finalizers on ExternalSecrets, and no PushSecret for this provider.
        object["finalizers"] = Value::Null;
        object["capabilities"] = Value::Null;
        // Events have other messages.
        object["events"] = Value::Null;
        // Not set if there was nothing to write.
        object["refreshed"] = Value::Null;
        // v0.9 hashes with MD5, later releases with SHA3-224. Conditions have other messages.
        object["syncedResourceVersion"] = Value::Null;
        object["conditions"] = Value::Null;
        object["binding"] = Value::Null;
        if object["immutable"] == false
            && let Some(object) = object.as_object_mut()
        {
            object.remove("immutable");
        }
        for (part, key) in [
            ("annotations", "reconcile.external-secrets.io/data-hash"),
            ("labels", "reconcile.external-secrets.io/created-by"),
            ("labels", "reconcile.external-secrets.io/managed"),
        ] {
            if let Some(entries) = object["metadata"][part].as_object_mut() {
                entries.remove(key);
            }
            if object["metadata"][part]
                .as_object()
                .is_some_and(serde_json::Map::is_empty)
            {
                object["metadata"][part] = Value::Null;
            }
        }
        // kubectl's copy of the manifest names the API version.
        if let Some(applied) =
            object["metadata"]["annotations"].get_mut("kubectl.kubernetes.io/last-applied-configuration")
            && let Some(text) = applied.as_str()
        {
            *applied = json!(text.replace("external-secrets.io/v1beta1", VERSION));
        }
        for owner in object["metadata"]["ownerReferences"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            owner["apiVersion"] = Value::Null;
        }
    }
}

/// Whether the operator behaves as a later release in this case, and so has to differ from `release`.
pub(crate) fn follows_a_later_release(key: &str, release: &str) -> bool {
    let name = key.split(' ').next_back().unwrap_or_default();
    match release {
        release if release.contains("v2.") => false,
        // v0.9 has no `field/`, `file/` and tags, and no error for a key that a template lacks.
        release if release.contains("v0.9") => {
            let later = [
                "field-prefix",
                "file-prefix",
                "find-by-tags",
                "find-by-tag-and-name",
                "template-missing-key",
                "template-token-type",
            ];
            // Edited cases, refresh policies and immutable Secrets work as in later releases.
            let parts = [
                "edit-",
                "refresh-",
                "immutable",
                "createormerge",
                "team-",
                "ClusterExternalSecret",
            ];
            later.contains(&name) || parts.iter().any(|part| key.contains(part))
        }
        // These releases refuse the case until it is edited, so it misses the earlier refreshes.
        _ if name == "edit-createormerge-to-owner" => true,
        // Since 2.x, a Secret of the type for service account tokens is refused, because the API server would put a token
        // into it.
        _ => name == "template-token-type",
    }
}
