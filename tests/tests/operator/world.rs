//! A Connect server with items, and stores that name it.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, Running};
use sidevault_tests::pair::{Pair, binary, wait_until};

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
];

/// A pair with a local vault and a directory.
pub(crate) struct World {
    pub(crate) pair: Pair,
    pub(crate) token: String,
    directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let files = directory.path().join("infra");
        fs::create_dir(&files).expect("a directory");
        fs::write(files.join("shared.yaml"), "who: infra\n").expect("a file");
        fs::write(files.join("ca.pem"), "-----BEGIN CERTIFICATE-----\n\u{1}binary\u{2}\n").expect("a file");
        fs::write(files.join("rotating.yaml"), "current-key: rk-1\n").expect("a file");
        let dir = files.to_string_lossy().into_owned();
        let pair = Pair::start(&["--vault", "apps", "--dir", &dir], &[]);
        let token = pair.token("operator", &["apps=read,write", "infra=read"]);
        for item in ITEMS {
            let answer = pair.ask(&token, "POST", "/v1/vaults/apps/items", item).expect("an answer");
            assert_eq!(answer.status, 200, "{item}");
        }
        wait_until(|| pair.item(&token, "infra", "shared")).expect("the directory is read");
        Self {
            pair,
            token,
            directory,
        }
    }

    /// A file of the directory that is the vault `infra`.
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("infra").join(name)
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
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "templates", "namespace": namespace},
                "data": templates}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "templates", "namespace": namespace},
                "stringData": templates}),
            self.store(version, "SecretStore", "store", Some(namespace), namespace, "connect-token"),
            self.store(version, "SecretStore", "broken", Some(namespace), namespace, "wrong-token"),
            self.store(version, "ClusterSecretStore", "cluster-store", None, namespace, "connect-token"),
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

/// A cluster with our own resource definitions, the server's stores in a namespace, and our operator.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) world: World,
    pub(crate) namespace: &'static str,
}

impl Stage {
    /// `None` if the cluster's programs were not built.
    pub(crate) fn set() -> Option<Self> {
        let cluster = Cluster::start()?;
        cluster.install_definitions(&definitions());
        let world = World::start();
        let namespace = "apps";
        world.prepare(&cluster, VERSION, namespace);
        Some(Self {
            cluster,
            world,
            namespace,
        })
    }

    /// Applies an ExternalSecret that puts fields of items into a Secret of its name.
    pub(crate) fn external_secret(&self, name: &str, store: &str, item: &str, field: &str) {
        self.cluster.apply(&self.manifest(name, store, item, field).to_string());
    }

    pub(crate) fn manifest(&self, name: &str, store: &str, item: &str, field: &str) -> Value {
        json!({"apiVersion": VERSION, "kind": "ExternalSecret",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"refreshInterval": "1h", "secretStoreRef": {"name": store},
                "data": [{"secretKey": "v", "remoteRef": {"key": item, "property": field}}]}})
    }

    /// Waits until a Secret has a value.
    pub(crate) fn wait_value(&self, secret: &str, value: &str) {
        let path = format!("/api/v1/namespaces/{}/secrets/{secret}", self.namespace);
        let encoded = STANDARD.encode(value);
        self.cluster.wait_for(&path, |secret| (secret["data"]["v"] == json!(encoded)).then_some(()));
    }

    /// Waits until an ExternalSecret is ready, or is not.
    pub(crate) fn wait_ready(&self, name: &str, status: &str) -> Value {
        self.cluster.wait_for(&path(self.namespace, "externalsecrets", name, VERSION), |object| {
            let condition = &object["status"]["conditions"][0];
            (condition["status"] == status).then(|| condition.clone())
        })
    }

    /// Sets a field of an item of the vault `apps`.
    pub(crate) fn set_field(&self, title: &str, label: &str, value: &str) {
        let pair = &self.world.pair;
        let item = pair.item(&self.world.token, "apps", title).expect("the item");
        let fields = item["fields"].as_array().cloned().unwrap_or_default();
        let field = fields.iter().find(|field| field["label"] == label).expect("the field");
        let patch = json!([{"op": "replace", "path": format!("/fields/{}/value", field["id"].as_str().expect("an id")),
            "value": value}]);
        let target = format!("/v1/vaults/apps/items/{}", item["id"].as_str().expect("an id"));
        let answer = pair.ask(&self.world.token, "PATCH", &target, &patch.to_string()).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// The version our own definitions prefer.
pub(crate) const VERSION: &str = "external-secrets.io/v1";

/// Our own resource definitions.
pub(crate) fn definitions() -> std::path::PathBuf {
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/crds");
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
    let address = cluster.address();
    let mut command = Command::new(binary());
    command.arg("operator");
    command.args([format!("--metrics-addr={address}:8090"), format!("--health-addr={address}:8092")]);
    command.args(arguments).env("SIDEVAULT_LOG_FORMAT", "json");
    cluster.run("operator", &mut command)
}

/// The newest version of ExternalSecrets that the cluster serves.
pub(crate) fn version(cluster: &Cluster) -> String {
    let group = cluster.get("/apis/external-secrets.io").expect("the definitions are served");
    group["preferredVersion"]["groupVersion"].as_str().expect("a version").to_owned()
}

/// The path of an object, or of all of a kind.
pub(crate) fn path(namespace: &str, plural: &str, name: &str, version: &str) -> String {
    let path = format!("/apis/{version}/namespaces/{namespace}/{plural}/{name}");
    path.trim_end_matches('/').to_owned()
}

/// Takes out what External Secrets itself changed between releases, and we have as the newest does.
pub(crate) fn forget_what_releases_differ_in(release: &str, object: &mut Value) {
    let newest = release.contains("v2.");
    if !newest {
        // Finalizers on ExternalSecrets came with 2.x.
        object["finalizers"] = Value::Null;
    }
    if release.contains("v0.9.") {
        // MD5 then, SHA3-224 since; and conditions had other words.
        object["syncedResourceVersion"] = Value::Null;
        object["conditions"] = Value::Null;
        for (part, key) in [
            ("annotations", "reconcile.external-secrets.io/data-hash"),
            ("labels", "reconcile.external-secrets.io/created-by"),
            ("labels", "reconcile.external-secrets.io/managed"),
        ] {
            if let Some(part) = object["metadata"][part].as_object_mut() {
                part.remove(key);
            }
        }
        for owner in object["metadata"]["ownerReferences"].as_array_mut().into_iter().flatten() {
            owner["apiVersion"] = Value::Null;
        }
    }
}

/// Whether ours is meant to differ, for the better.
pub(crate) fn is_better(key: &str, release: &str) -> bool {
    // A Secret that the API server would put a service account's token into: refused since 2.x, and by us.
    key.ends_with(" template-token-type") && !release.contains("v2.")
}
