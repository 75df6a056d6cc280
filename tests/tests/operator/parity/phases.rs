//! The three phases of the comparison: the cases are applied; then the cases, their items and their Secrets are changed;
//! then the cases are deleted.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, Running};
use sidevault_tests::pair::wait_until;
use sidevault_tests::wire::{Request, exchange};

use super::fixture::{self, TestServer};
use super::matrix;
use super::snapshot::{self, Snapshot};

/// `parity` has the cases; the others are selected by ClusterExternalSecrets.
pub(super) const NAMESPACES: [&str; 4] = ["parity", "team-a", "team-b", "team-c"];

/// ExternalSecrets to which the oldest release adds no condition.
const SILENT: [&str; 2] = ["extract-none", "find-nothing"];

/// The state after each phase, by the phase's name.
pub(super) type Snapshots = BTreeMap<String, Snapshot>;

/// One operator, the real controller or ours, with a cluster and a Connect server of its own.
pub(super) struct TestOperator {
    pub(super) cluster: Cluster,
    pub(super) server: TestServer,
    pub(super) version: String,
    operator: Running,
    metrics: u16,
}

impl TestOperator {
    /// `start_operator` starts the operator, and returns the port of its metrics. `None` if the cluster's programs were not
    /// built.
    pub(super) fn start(definitions: &Path, start_operator: impl FnOnce(&Cluster) -> (Running, u16)) -> Option<Self> {
        let cluster = Cluster::start()?;
        cluster.install_definitions(definitions);
        let version = fixture::version(&cluster);
        let server = TestServer::start();
        server.prepare(&cluster, &version, "parity");
        let (operator, metrics) = start_operator(&cluster);
        server.wait_stores(&cluster, "parity");
        Some(Self {
            cluster,
            server,
            version,
            operator,
            metrics,
        })
    }

    /// Ends the operator, but not the cluster.
    pub(super) fn end_operator(&mut self) {
        self.operator.terminate();
    }

    /// Runs all phases.
    pub(super) fn run_phases(&self) -> Snapshots {
        let mut snapshots = Snapshots::new();
        let mut add = |phase: &str, snapshot| {
            snapshots.insert(phase.to_owned(), snapshot);
        };
        let names = self.apply();
        let mut applied = self.wait_for_conditions(&names);
        // Events are written asynchronously, and may come later than the status.
        for state in applied.values_mut().filter_map(Value::as_object_mut) {
            state.remove("events");
        }
        add("1 applied", applied);
        self.edit(&names);
        self.change();
        add("2 changed", self.refresh_until_stable(&names));
        self.delete();
        add("3 deleted", snapshot::take(&self.cluster, &self.server));
        snapshots
    }

    /// Applies the cases. Returns the names of those in the namespace `parity` that the release's definitions accept.
    pub(super) fn apply(&self) -> Vec<String> {
        // The API server drops fields that the release's definitions lack, and refuses values that they do not allow.
        let matrix = json!({"apiVersion": "v1", "kind": "List", "items": matrix::cases(&self.version)});
        self.apply_text(include_str!("../cluster-cases.yaml"), &[]);
        self.apply_text(include_str!("../cases.yaml"), &["-n", "parity"]);
        self.apply_text(&matrix.to_string(), &["-n", "parity"]);
        let items = self.external_secrets("parity");
        items.iter().map(|item| name(item).to_owned()).collect()
    }

    fn apply_text(&self, text: &str, more: &[&str]) {
        let path = self.cluster.path("applied.yaml");
        std::fs::write(
            &path,
            text.replace("external-secrets.io/v1\"", &format!("{}\"", self.version)),
        )
        .expect("a file");
        let path = path.to_string_lossy();
        let arguments = ["apply", "--validate=false", "-f", &path];
        let output = self.cluster.kubectl(&[&arguments, more].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        let is_other = |line: &&str| line.to_lowercase().starts_with("error") && !line.contains("(Invalid)");
        let other: Vec<&str> = errors.lines().filter(is_other).collect();
        assert!(other.is_empty(), "{errors}");
    }

    fn external_secrets(&self, namespace: &str) -> Vec<Value> {
        let list = self
            .cluster
            .get(&fixture::path(namespace, "externalsecrets", "", &self.version));
        let list = list.unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until every ExternalSecret has a condition, and returns the state.
    pub(super) fn wait_for_conditions(&self, names: &[String]) -> Snapshot {
        let mut missing = Vec::new();
        let mut all_have_conditions = || {
            let of = |namespace: &&str| self.external_secrets(namespace);
            let items: Vec<Value> = NAMESPACES.iter().flat_map(of).collect();
            let clusters = self
                .cluster
                .get(&format!("/apis/{}/clusterexternalsecrets", self.version))?;
            missing = items
                .iter()
                .chain(clusters["items"].as_array()?)
                .filter(|item| item["status"]["conditions"].as_array().is_none_or(Vec::is_empty))
                .map(|item| name(item).to_owned())
                .filter(|name| !(self.is_oldest() && SILENT.contains(&name.as_str())))
                .collect();
            (missing.is_empty() && items.len() >= names.len()).then_some(())
        };
        let done = wait_until(&mut all_have_conditions);
        assert!(
            done.is_some(),
            "without a condition: {missing:?}\n{}",
            self.operator.log()
        );
        snapshot::take(&self.cluster, &self.server)
    }

    /// Changes the cases, and waits until each was reconciled.
    fn edit(&self, names: &[String]) {
        self.apply_text(include_str!("../edits.yaml"), &["-n", "parity"]);
        self.apply_text(include_str!("../cluster-edits.yaml"), &[]);
        let foreign = fixture::path("team-c", "externalsecrets", "ces-foreign", &self.version);
        self.cluster.delete(&foreign);
        self.force_sync(names, "none");
    }

    /// Changes the items and the Secrets.
    fn change(&self) {
        let server = &self.server;
        server.change("db", "password", "changed");
        server.edit("shifting", |item| {
            let fields = item["fields"].as_array_mut().expect("fields");
            fields.retain(|field| field["label"] != "b");
            fields[0]["value"] = json!("2");
        });
        server.edit("before", |item| item["title"] = json!("after"));
        for title in ["fleeting", "shared", "twin"] {
            server.remove(title);
        }
        server.add(
            r#"{"title":"late","category":"LOGIN","tags":["team"],"fields":[{"label":"late","value":"1"},{"label":"a","value":"9"}]}"#,
        );
        std::fs::write(server.file("rotating.yaml"), "current-key: rk-2\n").expect("a file");
        let read = || {
            let item = server.pair.item(&server.token, "infra", "rotating")?;
            item.to_string().contains("rk-2").then_some(())
        };
        wait_until(read).expect("sync reads the file");

        let templates = r#"{"data": {"conf": "changed={{ .u }}", "pairs": "a: {{ .u }}\nc: \"3\"\n"}}"#;
        let patch = ["patch", "configmap", "templates", "-n", "parity", "-p", templates];
        self.cluster.must(&patch);
        self.drift();
    }

    /// Changes the Secrets directly.
    fn drift(&self) {
        let external_secrets = self.external_secrets("parity");
        for (drift, patch) in matrix::drifts() {
            let has_drift = |name: &&str| {
                let is_generated = name.starts_with("drift-") || name.starts_with("refresh-");
                is_generated && name.ends_with(&format!("-{drift}"))
            };
            let names: Vec<&str> = external_secrets.iter().map(name).filter(has_drift).collect();
            for path in names.iter().map(|name| fixture::secret("parity", name)) {
                match &patch {
                    Value::Null => self.cluster.delete(&path),
                    patch => self.cluster.patch(&path, patch),
                }
            }
        }
    }

    /// Forces refreshes until they change nothing any more.
    fn refresh_until_stable(&self, names: &[String]) -> Snapshot {
        for _ in 0..10 {
            let [before, after] = ["one", "two"].map(|value| {
                self.force_sync(names, value);
                snapshot::take(&self.cluster, &self.server)
            });
            let [before, now] = [&before, &after].map(snapshot::without_force_sync);
            if before == now {
                return after;
            }
        }
        panic!("refreshes keep changing the state\n{}", self.operator.log());
    }

    /// Sets the annotation `force-sync` of all cases but `-alone`, and waits until each was reconciled with this value.
    fn force_sync(&self, names: &[String], value: &str) {
        let names: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !name.contains("-alone"))
            .collect();
        let synced = |object: &Value| object["status"]["syncedResourceVersion"].clone();
        let before = self.external_secrets("parity");
        let before: BTreeMap<&str, Value> = before.iter().map(|object| (name(object), synced(object))).collect();
        let counts = self.sync_counts();
        let patch = json!({"metadata": {"annotations": {"force-sync": value}}});
        let path = format!("/apis/{}/clusterexternalsecrets", self.version);
        for cluster in self.cluster.get(&path).expect("a list")["items"]
            .as_array()
            .expect("items")
        {
            self.cluster.patch(&format!("{path}/{}", name(cluster)), &patch);
        }
        for name in &names {
            let path = fixture::path("parity", "externalsecrets", name, &self.version);
            self.cluster.patch(&path, &patch);
        }
        let mut missing = Vec::new();
        let all = wait_until(|| {
            let now = self.sync_counts();
            let was_reconciled = |name: &str| now.get(name) > counts.get(name);
            missing = self
                .external_secrets("parity")
                .iter()
                .filter(|object| names.contains(&name(object)))
                .filter(|object| !was_reconciled(name(object)) || !self.is_up_to_date(object, &before[name(object)]))
                .map(|object| name(object).to_owned())
                .collect();
            missing.is_empty().then_some(())
        });
        assert!(all.is_some(), "not reconciled: {missing:?}\n{}", self.operator.log());
    }

    /// Whether an ExternalSecret's status has another version than `before`. If it fails, or is refreshed only once, its
    /// status keeps the version of the last refresh, so it counts as up to date.
    fn is_up_to_date(&self, object: &Value, before: &Value) -> bool {
        let (spec, status) = (&object["spec"], &object["status"]);
        let ready = status["conditions"].as_array().into_iter().flatten();
        let ready = ready
            .filter(|condition| condition["type"] == "Ready")
            .any(|condition| condition["status"] == "True");
        let once = spec["refreshPolicy"] == "CreatedOnce" || spec["refreshInterval"] == "0s";
        !ready || once || self.is_oldest() || status["syncedResourceVersion"] != *before
    }

    /// How often each ExternalSecret of the namespace `parity` was reconciled, by the operator's metrics.
    fn sync_counts(&self) -> BTreeMap<String, u64> {
        let request = Request::new("GET", "/metrics").bytes();
        let Ok(reply) = exchange((self.cluster.address(), self.metrics).into(), &request) else {
            return BTreeMap::new();
        };
        let text = reply.text();
        let of_line = |line: &str| {
            let rest = line.strip_prefix("externalsecret_sync_calls_total{")?;
            let (labels, count) = rest.split_once("} ")?;
            let label = |key: &str| labels.split(',').find_map(|label| label.strip_prefix(key));
            let name = label("name=")?.trim_matches('"').to_owned();
            (label("namespace=")? == "\"parity\"").then_some(())?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Some((name, count.parse::<f64>().ok()? as u64))
        };
        text.lines().filter_map(of_line).collect()
    }

    /// Deletes the cases, and waits until the garbage collector has deleted the Secrets that they own.
    fn delete(&self) {
        let clusters = format!("/apis/{}/clusterexternalsecrets", self.version);
        self.cluster.delete(&clusters);
        let all_gone = wait_until(|| (self.cluster.get(&clusters)?["items"] == json!([])).then_some(()));
        assert!(all_gone.is_some(), "ClusterExternalSecrets were not deleted");
        for namespace in NAMESPACES {
            self.cluster
                .delete(&fixture::path(namespace, "externalsecrets", "", &self.version));
        }
        let all_gone = wait_until(|| {
            NAMESPACES
                .iter()
                .all(|namespace| self.is_collected(namespace))
                .then_some(())
        });
        assert!(all_gone.is_some(), "Secrets whose owner is deleted were not deleted");
    }

    /// Whether no ExternalSecret is left, and no Secret with an owner, except Secrets that a finalizer keeps.
    fn is_collected(&self, namespace: &str) -> bool {
        let secrets = self
            .cluster
            .get(&format!("/api/v1/namespaces/{namespace}/secrets"))
            .unwrap_or_default();
        let Some(secrets) = secrets["items"].as_array() else {
            return false;
        };
        secrets.iter().all(|secret| {
            let meta = &secret["metadata"];
            meta["ownerReferences"].is_null() || !meta["deletionTimestamp"].is_null()
        }) && self.external_secrets(namespace).is_empty()
    }

    fn is_oldest(&self) -> bool {
        self.version.ends_with("v1beta1")
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}
