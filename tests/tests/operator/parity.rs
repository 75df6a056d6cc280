//! The same ExternalSecrets, given to the real External Secrets controller and to ours on the same API server: the same
//! Secrets, byte for byte, and the same conditions.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use sidevault_tests::cluster::{Cluster, controllers, definitions};
use sidevault_tests::pair::wait_until;

use super::world::{self, World};

/// Of these the oldest release says nothing at all.
const SILENT: [&str; 2] = ["extract-none", "find-nothing"];

/// What the oldest release's definitions make something else of: they drop fields that came later.
const DROPPED: [&str; 6] = [
    "Secret existing-too",
    "Secret nul-refused",
    "Secret rewrite-merge",
    "Secret rewrite-merge-conflict",
    "Secret rewrite-merge-json",
    "Secret template-metadata",
];

/// What is compared of the whole namespace: by kind and name.
type Snapshot = BTreeMap<String, Value>;

#[test]
fn the_secrets_and_conditions_are_those_of_the_real_controller() {
    let Some(controllers) = controllers() else { return };
    let world = World::start();
    for controller in controllers {
        let release = release(&controller);
        let Some(cluster) = Cluster::start() else { return };
        cluster.install_definitions(&definitions(&controller));
        let version = world::version(&cluster);
        world.prepare(&cluster, &version, "parity");

        let mut running = cluster.run_external_secrets(&controller, &[]);
        world.wait_stores(&cluster, "parity");
        let names = apply(&cluster, &version);
        assert!(
            names.len() >= 60,
            "only {} of the cases are valid for {release}",
            names.len()
        );
        let theirs = settle(&cluster, &names, &running.log());
        running.terminate();
        clear(&cluster);
        world.prepare(&cluster, &version, "parity");

        let operator = world::operator(&cluster, &[]);
        world.wait_stores(&cluster, "parity");
        assert_eq!(apply(&cluster, &version), names);
        let ours = settle(&cluster, &names, &operator.log());

        if std::env::var_os("SIDEVAULT_RECORD").is_some() {
            let text = serde_json::to_string_pretty(&theirs).expect("JSON");
            std::fs::write(recording(&release), text + "\n").expect("a file");
        }
        assert_same(&release, &theirs, &ours);
    }
}

/// Releases that can't be had as a Go module can't be built wherever the tests run: what they made was written down.
#[test]
fn the_secrets_and_conditions_are_those_that_other_releases_were_seen_to_make() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.install_definitions(&world::definitions());
    let world = World::start();
    world.prepare(&cluster, world::VERSION, "parity");
    let operator = world::operator(&cluster, &[]);
    world.wait_stores(&cluster, "parity");
    let names = apply(&cluster, world::VERSION);
    let ours = settle(&cluster, &names, &operator.log());
    for release in ["eso-v2.9.0", "eso-v0.9.11"] {
        let text = std::fs::read_to_string(recording(release)).expect("the recording");
        let theirs: Snapshot = serde_json::from_str(&text).expect("a recording");
        let (mut theirs, mut ours) = (theirs, ours.clone());
        if release.contains("v0.9.") {
            // Its definitions refuse some of the cases, and drop what they do not know from others.
            theirs.retain(|key, _| !DROPPED.contains(&key.as_str()));
            ours.retain(|key, _| theirs.contains_key(key));
        }
        assert_same(release, &theirs, &ours);
    }
}

/// Where is written down what a release made of the cases.
fn recording(release: &str) -> std::path::PathBuf {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operator/recorded");
    Path::new(directory).join(format!("{release}.json"))
}

fn assert_same(release: &str, theirs: &Snapshot, ours: &Snapshot) {
    let differences = compare(release, theirs, ours);
    let external_secrets = theirs.keys().filter(|key| key.starts_with("ExternalSecret "));
    println!(
        "{release}: {} objects compared, {} of them ExternalSecrets",
        theirs.len(),
        external_secrets.count()
    );
    assert!(
        differences.is_empty(),
        "{release} and ours differ:\n{}",
        differences.join("\n")
    );
}

#[test]
fn secrets_that_the_real_controller_made_are_taken_over_as_they_are() {
    let Some(controllers) = controllers() else { return };
    let world = World::start();
    for controller in controllers {
        let Some(cluster) = Cluster::start() else { return };
        cluster.install_definitions(&definitions(&controller));
        let version = world::version(&cluster);
        // The oldest release hashes otherwise, so its Secrets are written once more.
        if version.ends_with("v1beta1") {
            continue;
        }
        world.prepare(&cluster, &version, "parity");
        let mut running = cluster.run_external_secrets(&controller, &[]);
        world.wait_stores(&cluster, "parity");
        let names = apply(&cluster, &version);
        settle(&cluster, &names, &running.log());
        let before = revisions(&cluster);
        running.terminate();

        let operator = world::operator(&cluster, &[]);
        // Each is looked at once at the start; the count comes last.
        let address = std::net::SocketAddr::new(cluster.address(), 8090);
        let looked_at = || {
            let request = sidevault_tests::wire::Request::new("GET", "/metrics").bytes();
            let metrics = sidevault_tests::wire::exchange(address, &request).ok()?.text();
            let counts = metrics
                .lines()
                .filter(|line| line.starts_with("externalsecret_sync_calls_total{"));
            (counts.count() >= names.len()).then_some(())
        };
        assert!(
            wait_until(looked_at).is_some(),
            "not all were looked at\n{}",
            operator.log()
        );
        assert_eq!(
            revisions(&cluster),
            before,
            "a Secret was written though nothing changed"
        );
    }
}

fn release(controller: &Path) -> String {
    controller.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Applies the cases in the version the cluster serves. Gives the names of those its definitions accept.
fn apply(cluster: &Cluster, version: &str) -> Vec<String> {
    let cases = include_str!("cases.yaml").replace("external-secrets.io/v1", version);
    let path = cluster.path("cases.yaml");
    std::fs::write(&path, cases).expect("a file");
    // Fields that a release does not know are dropped, for both alike; values it does not know are refused.
    let output = cluster.kubectl(&[
        "apply",
        "--validate=false",
        "-n",
        "parity",
        "-f",
        &path.to_string_lossy(),
    ]);
    if version.ends_with("/v1") {
        let refused = String::from_utf8_lossy(&output.stderr)
            .lines()
            .filter(|line| line.contains("invalid"))
            .count();
        assert!(refused <= 3, "{}", String::from_utf8_lossy(&output.stderr));
    }
    let list = cluster
        .get(&world::path("parity", "externalsecrets", "", version))
        .expect("a list");
    let items = list["items"].as_array().expect("items").iter();
    items
        .map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// Waits until every ExternalSecret has a condition, and tells what there is then.
fn settle(cluster: &Cluster, names: &[String], log: &str) -> Snapshot {
    let version = world::version(cluster);
    let list = world::path("parity", "externalsecrets", "", &version);
    let mut missing = Vec::new();
    let mut look = || {
        let items = cluster.get(&list)?["items"].as_array()?.clone();
        missing = items
            .iter()
            .filter(|item| item["status"]["conditions"].as_array().is_none_or(Vec::is_empty))
            .map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned())
            .filter(|name| !(version.ends_with("v1beta1") && SILENT.contains(&name.as_str())))
            .collect();
        (missing.is_empty() && items.len() == names.len()).then_some(items)
    };
    // The real controller tries what fails again and again before it comes to the rest.
    let settled = wait_until(&mut look)
        .or_else(|| wait_until(&mut look))
        .or_else(|| wait_until(&mut look));
    let items = settled.unwrap_or_else(|| panic!("without a condition: {missing:?}\n{log}"));
    let mut snapshot = Snapshot::new();
    for item in items {
        let name = item["metadata"]["name"].as_str().unwrap_or_default();
        let conditions: Vec<Value> = item["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|condition| {
                json!([
                    condition["type"],
                    condition["status"],
                    condition["reason"],
                    condition["message"]
                ])
            })
            .collect();
        let told = json!({
            "conditions": conditions,
            "binding": item["status"]["binding"]["name"],
            "syncedResourceVersion": item["status"]["syncedResourceVersion"],
            "finalizers": item["metadata"]["finalizers"],
        });
        snapshot.insert(format!("ExternalSecret {name}"), told);
    }
    let secrets = cluster.get("/api/v1/namespaces/parity/secrets").expect("a list");
    for mut secret in secrets["items"].as_array().cloned().unwrap_or_default() {
        let meta = secret["metadata"].take();
        let mut owners = meta["ownerReferences"].clone();
        // Objects that are made anew have other uids; that it is the owner's is checked here.
        for owner in owners.as_array_mut().into_iter().flatten() {
            let path = world::path(
                "parity",
                "externalsecrets",
                owner["name"].as_str().unwrap_or_default(),
                &version,
            );
            assert_eq!(cluster.get(&path).expect("the owner")["metadata"]["uid"], owner["uid"]);
            owner["uid"] = Value::Null;
        }
        secret["metadata"] = json!({
            "labels": meta["labels"],
            "annotations": meta["annotations"],
            "ownerReferences": owners,
            "finalizers": meta["finalizers"],
        });
        let name = meta["name"].as_str().unwrap_or_default();
        // Made anew for each world, and by none of the two.
        if name != "connect-token" {
            snapshot.insert(format!("Secret {name}"), secret);
        }
    }
    snapshot
}

/// Removes everything but the world.
fn clear(cluster: &Cluster) {
    cluster.kubectl(&[
        "patch",
        "secret",
        "template-metadata",
        "-n",
        "parity",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ]);
    // The controller that would take its finalizers away is gone.
    let list = cluster.must(&["get", "externalsecrets", "-n", "parity", "-o", "name"]);
    for name in list.lines() {
        let patch = r#"{"metadata":{"finalizers":null}}"#;
        cluster.must(&["patch", name, "-n", "parity", "--type=merge", "-p", patch]);
    }
    cluster.must(&["delete", "externalsecrets", "--all", "-n", "parity"]);
    cluster.must(&["delete", "secrets", "--all", "-n", "parity"]);
}

fn revisions(cluster: &Cluster) -> BTreeMap<String, String> {
    let secrets = cluster.get("/api/v1/namespaces/parity/secrets").expect("a list");
    let secrets = secrets["items"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |secret: &Value| {
        (
            text(&secret["metadata"]["name"]),
            text(&secret["metadata"]["resourceVersion"]),
        )
    };
    secrets.iter().map(of).collect()
}

fn compare(release: &str, theirs: &Snapshot, ours: &Snapshot) -> Vec<String> {
    let keys: std::collections::BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let mut differences = Vec::new();
    for key in keys {
        let (mut left, mut right) = (theirs.get(key).cloned(), ours.get(key).cloned());
        for side in [&mut left, &mut right].into_iter().flatten() {
            world::forget_what_releases_differ_in(release, side);
        }
        if left != right && !world::is_later(key, release) {
            let show = |side: Option<Value>| side.map_or("nothing".to_owned(), |side| side.to_string());
            differences.push(format!("{key}\n  theirs: {}\n  ours:   {}", show(left), show(right)));
        }
    }
    differences
}
