//! What one operator is put through: cases are applied, then they and all around them change, then they are deleted.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, Running};
use sidevault_tests::pair::wait_until;
use sidevault_tests::wire::{Request, exchange};

use super::fixture::{self, TestServer};
use super::matrix;
use super::snapshot::{self, Snapshot};

/// Where it plays: `parity`, and those that ClusterExternalSecrets meet.
pub(super) const NAMESPACES: [&str; 4] = ["parity", "team-a", "team-b", "team-c"];

/// Of these the oldest release says nothing at all.
const SILENT: [&str; 2] = ["extract-none", "find-nothing"];

/// What there was after each act.
pub(super) type Play = BTreeMap<String, Snapshot>;

/// A cluster and a world of its own for one operator.
pub(super) struct TestOperator {
    pub(super) cluster: Cluster,
    pub(super) world: TestServer,
    pub(super) version: String,
    operator: Running,
    metrics: u16,
}

impl TestOperator {
    /// `start` starts the operator, and says at which port it serves metrics. `None` if the cluster's programs were not
    /// built.
    pub(super) fn set(definitions: &Path, start: impl FnOnce(&Cluster) -> (Running, u16)) -> Option<Self> {
        let cluster = Cluster::start()?;
        cluster.install_definitions(definitions);
        let version = fixture::version(&cluster);
        let world = TestServer::start();
        world.prepare(&cluster, &version, "parity");
        let (operator, metrics) = start(&cluster);
        world.wait_stores(&cluster, "parity");
        Some(Self {
            cluster,
            world,
            version,
            operator,
            metrics,
        })
    }

    /// Ends the operator. The cluster goes on.
    pub(super) fn end_operator(&mut self) {
        self.operator.terminate();
    }

    /// All acts.
    pub(super) fn play(&self) -> Play {
        let mut play = Play::new();
        let mut seen = |act: &str, snapshot| {
            play.insert(act.to_owned(), snapshot);
        };
        let names = self.apply();
        let mut applied = self.settle(&names);
        // Events are written on the side, and may come later than what they tell of.
        for told in applied.values_mut().filter_map(Value::as_object_mut) {
            told.remove("events");
        }
        seen("1 applied", applied);
        self.edit(&names);
        self.change();
        seen("2 changed", self.look_at_all(&names));
        self.delete();
        seen("3 deleted", snapshot::take(&self.cluster, &self.world));
        play
    }

    /// Applies the cases. Gives the names of those in the namespace `parity` that the release's definitions accept.
    pub(super) fn apply(&self) -> Vec<String> {
        // Fields that a release does not know are dropped, for both alike; values it does not know are refused.
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

    /// Waits until every ExternalSecret has a condition, and tells what there is then.
    pub(super) fn settle(&self, names: &[String]) -> Snapshot {
        let mut missing = Vec::new();
        let mut look = || {
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
        let settled = wait_until(&mut look);
        assert!(
            settled.is_some(),
            "without a condition: {missing:?}\n{}",
            self.operator.log()
        );
        snapshot::take(&self.cluster, &self.world)
    }

    /// Changes the cases, and waits until that is seen: what is pushed to ours comes later, as what is polled does.
    fn edit(&self, names: &[String]) {
        self.apply_text(include_str!("../edits.yaml"), &["-n", "parity"]);
        self.apply_text(include_str!("../cluster-edits.yaml"), &[]);
        let foreign = fixture::path("team-c", "externalsecrets", "ces-foreign", &self.version);
        self.cluster.delete(&foreign);
        self.force_sync(names, "none");
    }

    /// Changes the items and the Secrets.
    fn change(&self) {
        let world = &self.world;
        world.change("db", "password", "changed");
        world.edit("shifting", |item| {
            let fields = item["fields"].as_array_mut().expect("fields");
            fields.retain(|field| field["label"] != "b");
            fields[0]["value"] = json!("2");
        });
        world.edit("before", |item| item["title"] = json!("after"));
        for title in ["fleeting", "shared", "twin"] {
            world.remove(title);
        }
        world.add(
            r#"{"title":"late","category":"LOGIN","tags":["team"],"fields":[{"label":"late","value":"1"},{"label":"a","value":"9"}]}"#,
        );
        std::fs::write(world.file("rotating.yaml"), "current-key: rk-2\n").expect("a file");
        let read = || {
            let item = world.pair.item(&world.token, "infra", "rotating")?;
            item.to_string().contains("rk-2").then_some(())
        };
        wait_until(read).expect("the file is read");

        let templates = r#"{"data": {"conf": "changed={{ .u }}", "pairs": "a: {{ .u }}\nc: \"3\"\n"}}"#;
        let patch = ["patch", "configmap", "templates", "-n", "parity", "-p", templates];
        self.cluster.must(&patch);
        self.drift();
    }

    /// Changes the Secrets by hand.
    fn drift(&self) {
        let external_secrets = self.external_secrets("parity");
        for (drift, patch) in matrix::drifts() {
            let is_meant = |name: &&str| {
                let of_matrix = name.starts_with("drift-") || name.starts_with("refresh-");
                of_matrix && name.ends_with(&format!("-{drift}"))
            };
            let names: Vec<&str> = external_secrets.iter().map(name).filter(is_meant).collect();
            for path in names.iter().map(|name| fixture::secret("parity", name)) {
                match &patch {
                    Value::Null => self.cluster.delete(&path),
                    patch => self.cluster.patch(&path, patch),
                }
            }
        }
    }

    /// Has everything looked at until that changes nothing more.
    fn look_at_all(&self, names: &[String]) -> Snapshot {
        for _ in 0..10 {
            let [before, after] = ["one", "two"].map(|word| {
                self.force_sync(names, word);
                snapshot::take(&self.cluster, &self.world)
            });
            let [before, now] = [&before, &after].map(snapshot::without_words);
            if before == now {
                return after;
            }
        }
        panic!("it never settles\n{}", self.operator.log());
    }

    /// Annotates all but those that are to be left alone, and waits until each was looked at with this very annotation.
    fn force_sync(&self, names: &[String], word: &str) {
        let names: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !name.contains("-alone"))
            .collect();
        let synced = |object: &Value| object["status"]["syncedResourceVersion"].clone();
        let before = self.external_secrets("parity");
        let before: BTreeMap<&str, Value> = before.iter().map(|object| (name(object), synced(object))).collect();
        let looks = self.looks();
        let patch = json!({"metadata": {"annotations": {"force-sync": word}}});
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
            let now = self.looks();
            let looked_at = |name: &str| now.get(name) > looks.get(name);
            missing = self
                .external_secrets("parity")
                .iter()
                .filter(|object| names.contains(&name(object)))
                .filter(|object| !looked_at(name(object)) || !self.is_level(object, &before[name(object)]))
                .map(|object| name(object).to_owned())
                .collect();
            missing.is_empty().then_some(())
        });
        assert!(all.is_some(), "not looked at: {missing:?}\n{}", self.operator.log());
    }

    /// Whether an ExternalSecret's status is of what it is now, as far as the status tells: one that fails, or is read
    /// but once, keeps the version it was last read at.
    fn is_level(&self, object: &Value, before: &Value) -> bool {
        let (spec, status) = (&object["spec"], &object["status"]);
        let ready = status["conditions"].as_array().into_iter().flatten();
        let ready = ready
            .filter(|condition| condition["type"] == "Ready")
            .any(|condition| condition["status"] == "True");
        let once = spec["refreshPolicy"] == "CreatedOnce" || spec["refreshInterval"] == "0s";
        !ready || once || self.is_oldest() || status["syncedResourceVersion"] != *before
    }

    /// How often each of the namespace `parity` was looked at.
    fn looks(&self) -> BTreeMap<String, u64> {
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

    /// Deletes what was applied, and waits until that has taken along what it takes.
    fn delete(&self) {
        let clusters = format!("/apis/{}/clusterexternalsecrets", self.version);
        self.cluster.delete(&clusters);
        let all_gone = wait_until(|| (self.cluster.get(&clusters)?["items"] == json!([])).then_some(()));
        assert!(all_gone.is_some(), "ClusterExternalSecrets stay");
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
        assert!(all_gone.is_some(), "Secrets stay whose owner is gone");
    }

    /// Whether no Secret has an owner any more, but those that wait for somebody's finalizer.
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
