//! A Connect server with items, and stores that name it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, Running, find_tools};
use sidevault_tests::pair::{ServerPair, binary, wait_until};
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

/// A pair with a local vault and a directory.
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
        let world = Self { pair, token, directory };
        ITEMS.iter().for_each(|item| world.add(item));
        world
    }

    /// A file of the directory that is the vault `infra`.
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("infra").join(name)
    }

    /// Gives a field of an item of `apps` another value.
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

    /// Puts one more item into `apps`.
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

    /// A namespace with stores, Secrets that are there already, and templates.
    pub(crate) fn prepare(&self, cluster: &Cluster, version: &str, namespace: &str) {
        let _there_or_not = cluster.kubectl(&["create", "namespace", namespace]);
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

    /// A store for this server.
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

    /// Waits until the stores were looked at: before that, what hangs on them may be tried in vain.
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
    pub(crate) world: TestServer,
    pub(crate) namespace: &'static str,
    /// The API version that its definitions prefer.
    pub(crate) version: String,
}

impl TestCluster {
    /// `None` if the cluster's programs were not built.
    pub(crate) fn set() -> Option<Self> {
        Self::with(&definitions())
    }

    /// The same with other definitions.
    pub(crate) fn with(definitions: &Path) -> Option<Self> {
        let cluster = Cluster::start()?;
        cluster.install_definitions(definitions);
        let version = version(&cluster);
        let world = TestServer::start();
        let namespace = "apps";
        world.prepare(&cluster, &version, namespace);
        Some(Self {
            cluster,
            world,
            namespace,
            version,
        })
    }

    /// Applies an ExternalSecret that puts fields of items into a Secret of its name.
    pub(crate) fn external_secret(&self, name: &str, store: &str, item: &str, field: &str) {
        self.cluster.apply(&self.manifest(name, store, item, field).to_string());
    }

    /// Adds a store for a server elsewhere, with the same vaults and token.
    pub(crate) fn add_store(&self, name: &str, address: SocketAddr) {
        let namespace = Some(self.namespace);
        let mut store = self
            .world
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

    /// Has an ExternalSecret read again, as its users do.
    pub(crate) fn force_sync(&self, name: &str) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let word = format!("force-sync={}", since.expect("a clock").as_nanos());
        let annotate = ["annotate", "externalsecret", name, "-n", self.namespace, "--overwrite"];
        self.cluster.must(&[&annotate, &[word.as_str()][..]].concat());
    }

    /// Waits until a Secret has a value.
    pub(crate) fn wait_value(&self, secret: &str, value: &str) {
        let path = format!("/api/v1/namespaces/{}/secrets/{secret}", self.namespace);
        let encoded = STANDARD.encode(value);
        self.cluster
            .wait_for(&path, |secret| (secret["data"]["v"] == json!(encoded)).then_some(()));
    }

    /// Waits until an ExternalSecret is ready, or is not.
    pub(crate) fn wait_ready(&self, name: &str, status: &str) -> Value {
        let path = path(self.namespace, "externalsecrets", name, &self.version);
        self.cluster.wait_for(&path, |object| {
            let condition = &object["status"]["conditions"][0];
            (condition["status"] == status).then(|| condition.clone())
        })
    }

    /// Waits until an event of an object has this reason and says something.
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

    /// An ExternalSecret as it is.
    pub(crate) fn get(&self, name: &str) -> Value {
        self.cluster
            .get(&path(self.namespace, "externalsecrets", name, &self.version))
            .expect("the ExternalSecret")
    }

    /// Sets a field of an item of the vault `apps`.
    pub(crate) fn set_field(&self, title: &str, label: &str, value: &str) {
        self.world.change(title, label, value);
    }
}

/// The version our own definitions prefer.
pub(crate) const VERSION: &str = "external-secrets.io/v1";

/// Our own resource definitions.
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

/// Where [`operator`] serves metrics. Health is two ports on.
pub(crate) const METRICS: u16 = 8090;

/// Our operator with its metrics on a port of the cluster's address, and its health two ports on.
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

/// What an operator answers, if it does.
pub(crate) fn ask(cluster: &Cluster, port: u16, path: &str) -> Option<Reply> {
    exchange((cluster.address(), port).into(), &Request::new("GET", path).bytes()).ok()
}

/// The sum of an operator's series that start with these words; 0 while there is none.
pub(crate) fn metric(cluster: &Cluster, port: u16, words: &str) -> f64 {
    let text = ask(cluster, port, "/metrics")
        .map(|reply| reply.text())
        .unwrap_or_default();
    let series = text.lines().filter(|line| line.starts_with(words));
    series
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// The chart as it would be installed in the namespace `external-secrets`, with these values besides
/// `operator.create=true`; `None`, said loudly, without helm.
pub(crate) fn chart(values: &[&str]) -> Option<String> {
    let helm = find_tools(&["helm"])?.join("helm");
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

/// Installs what the chart grants the operator, and gives the operator as the chart would start it, under that service
/// account and with the chart's flags.
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
    let _there_or_not = cluster.kubectl(&["create", "namespace", "external-secrets"]);
    cluster.apply(&grants.join("\n---\n"));
    let account = manifests
        .lines()
        .find_map(|line| line.trim().strip_prefix("serviceAccountName: "));
    let account = account.expect("a service account");
    let flags = manifests.lines().filter_map(|line| line.trim().strip_prefix("- --"));
    let flags: Vec<String> = flags.map(|flag| format!("--{flag}")).collect();
    assert!(flags.iter().any(|flag| flag.starts_with("--concurrent")), "{flags:?}");
    // The addresses are for a Pod of its own.
    let flags = flags.iter().filter(|flag| !flag.contains("-addr=")).map(String::as_str);
    let mut command = command(cluster, METRICS, &flags.collect::<Vec<_>>());
    command.env("KUBECONFIG", cluster.kubeconfig_for("external-secrets", account));
    command.env("POD_NAMESPACE", "external-secrets");
    Some(command)
}

/// Fails if the API server refused the operator anything.
pub(crate) fn assert_nothing_forbidden(operator: &Running) {
    let log = operator.log();
    let refused: Vec<&str> = log
        .lines()
        .filter(|line| line.to_lowercase().contains("forbidden"))
        // No right helps in a namespace that is being deleted.
        .filter(|line| !line.contains("is being terminated"))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// A value of a Secret, as it is.
pub(crate) fn value(secret: &Value, key: &str) -> Option<String> {
    let bytes = STANDARD.decode(secret["data"][key].as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

/// Who wrote an object, or a subresource of it.
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

/// The path of an object, or of all of a kind.
pub(crate) fn path(namespace: &str, plural: &str, name: &str, version: &str) -> String {
    let path = format!("/apis/{version}/namespaces/{namespace}/{plural}/{name}");
    path.trim_end_matches('/').to_owned()
}

/// Takes out what External Secrets itself changed between releases, and we have as the newest does.
pub(crate) fn forget_what_releases_differ_in(release: &str, object: &mut Value) {
    if let Some(events) = object["events"].as_array_mut() {
        // An item that goes while it is looked for.
        let is_chance = |event: &Value| event[2].as_str().unwrap_or_default().contains("404: item ID not found");
        events.retain(|event| !is_chance(event));
        if events.is_empty() {
            object["events"] = Value::Null;
        }
    }
    if !release.contains("v2.") {
        // Putting on a finalizer wrote the whole object, with its intervals in Go's words: that is another generation.
        if let Some(version) = object["syncedResourceVersion"].as_str() {
            object["syncedResourceVersion"] = json!(version.split_once('-').map(|(_, hash)| hash));
        }
        if let Some(made) = object.get_mut("as made") {
            made["spec"]["refreshInterval"] = Value::Null;
        }
    }
    if release.contains("v0.9") {
        // Finalizers on ExternalSecrets came later, and so did pushing.
        object["finalizers"] = Value::Null;
        object["capabilities"] = Value::Null;
        // Events had other words.
        object["events"] = Value::Null;
        // Not set then where there was nothing to write.
        object["refreshed"] = Value::Null;
        // MD5 then, SHA3-224 since; and conditions had other words.
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
        // What it was applied in.
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

/// Whether ours is meant to differ: as later releases do.
pub(crate) fn is_later(key: &str, release: &str) -> bool {
    let name = key.split(' ').next_back().unwrap_or_default();
    match release {
        release if release.contains("v2.") => false,
        // `field/`, `file/` and tags came later, and so did the error for a key that a template misses.
        release if release.contains("v0.9") => {
            let later = [
                "field-prefix",
                "file-prefix",
                "find-by-tags",
                "find-by-tag-and-name",
                "template-missing-key",
                "template-token-type",
            ];
            // What is done when a case is edited was settled later, as were refresh policies and what is immutable.
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
        // It is refused, and so is made only when it is edited, when others have long been looked at.
        _ if name == "edit-createormerge-to-owner" => true,
        // A Secret that the API server would put a service account's token into is refused since 2.x.
        _ => name == "template-token-type",
    }
}
