//! Compares the operator with the real External Secrets controller: from the same ExternalSecrets both must make the same
//! Secrets, byte for byte, and the same conditions, when the ExternalSecrets are applied, changed and deleted.

mod known_differences;
mod matrix;
mod paths;
mod phases;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use sidevault_tests::cluster::{Cluster, Running, controllers, definitions};
use sidevault_tests::pair::wait_until;

use super::fixture;
use phases::{Snapshots, TestOperator};

/// Secrets of cases with fields that the oldest release's definitions lack, so that the API server drops the fields.
const CASES_WITH_DROPPED_FIELDS: [&str; 8] = [
    "Secret existing-too",
    "Secret nul-refused",
    "Secret rewrite-merge",
    "Secret rewrite-merge-conflict",
    "Secret rewrite-merge-json",
    "Secret rewrite-merge-numbers",
    "Secret rewrite-merge-numbers-json",
    "Secret template-metadata",
];

#[test]
fn secrets_and_conditions_equal_those_of_the_real_controller() {
    let Some(controllers) = controllers() else { return };
    let mut differences = Vec::new();
    for controller in controllers {
        let release = release(&controller);
        let definitions = definitions(&controller);
        let original = |cluster: &Cluster| original(cluster, &controller);
        if std::env::var_os("SIDEVAULT_RECORD").is_some() {
            let Some(test) = TestOperator::start(&definitions, original) else {
                return;
            };
            record(&release, &test.run_phases());
            continue;
        }
        // Each has a cluster and a server of its own, so they can run at the same time.
        let (theirs, ours) = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| Some(TestOperator::start(&definitions, original)?.run_phases()));
            let ours = TestOperator::start(&definitions, ours).map(|test| test.run_phases());
            (theirs.join().expect("no panic"), ours)
        });
        let (Some(theirs), Some(ours)) = (theirs, ours) else {
            return;
        };
        differences.extend(compare(&release, &theirs, &ours));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// These releases are no Go modules, so `tests/cluster/build.sh` can't build them. Their results were recorded.
#[test]
fn secrets_and_conditions_equal_the_recorded_ones_of_other_releases() {
    let Some(test) = TestOperator::start(&fixture::definitions(), ours) else {
        return;
    };
    let ours = test.run_phases();
    let mut differences = Vec::new();
    for release in ["eso-v2.9.0", "eso-v0.9.11"] {
        let text = std::fs::read_to_string(recording(release)).expect("the recording");
        let theirs: Snapshots = serde_json::from_str(&text).expect("a recording");
        let (mut theirs, mut ours) = (theirs, ours.clone());
        if release.contains("v0.9") {
            // Its definitions refuse some of the cases, and lack fields of others.
            for (phase, theirs) in &mut theirs {
                let Some(ours) = ours.get_mut(phase) else { continue };
                theirs.retain(|key, _| !CASES_WITH_DROPPED_FIELDS.contains(&key.as_str()));
                ours.retain(|key, _| theirs.contains_key(key));
            }
        }
        differences.extend(compare(release, &theirs, &ours));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn original(cluster: &Cluster, controller: &Path) -> (Running, u16) {
    // With the default limits on its requests to the API server the test would take several times as long.
    let limits = ["--client-qps=1000", "--client-burst=1000"];
    (cluster.run_external_secrets(controller, &limits), 8080)
}

fn ours(cluster: &Cluster) -> (Running, u16) {
    (fixture::operator(cluster, &[]), fixture::METRICS)
}

/// Writes a recording with one object a line, so that a diff shows which objects a new recording changes.
fn record(release: &str, snapshots: &Snapshots) {
    let phase = |(name, snapshot): (&String, &snapshot::Snapshot)| {
        let objects = snapshot
            .iter()
            .map(|(key, state)| format!("{}: {state}", Value::from(key.as_str())));
        let objects: Vec<String> = objects.collect();
        format!("{}: {{\n{}\n}}", Value::from(name.as_str()), objects.join(",\n"))
    };
    let phases: Vec<String> = snapshots.iter().map(phase).collect();
    std::fs::write(recording(release), format!("{{\n{}\n}}\n", phases.join(",\n"))).expect("a file");
}

/// The path of a release's recording.
fn recording(release: &str) -> std::path::PathBuf {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operator/recorded");
    Path::new(directory).join(format!("{release}.json"))
}

#[test]
fn secrets_of_the_real_controller_are_taken_over_unchanged() {
    let Some(controllers) = controllers() else { return };
    // The oldest releases compute other hashes, so the operator has to write their Secrets.
    for controller in controllers
        .iter()
        .filter(|controller| !release(controller).contains("v0.9"))
    {
        let Some(mut test) = TestOperator::start(&definitions(controller), |cluster| original(cluster, controller))
        else {
            return;
        };
        let names = test.apply();
        test.wait_for_conditions(&names);
        test.end_operator();
        let cluster = &test.cluster;
        let before = revisions(cluster);

        let operator = fixture::operator(cluster, &[]);
        // Each is reconciled once at the start, and counted after its Secret was checked.
        let all_reconciled = || {
            let metrics = fixture::ask(cluster, fixture::METRICS, "/metrics")?.text();
            let counts = metrics
                .lines()
                .filter(|line| line.starts_with("externalsecret_sync_calls_total{"));
            (counts.count() >= names.len()).then_some(())
        };
        assert!(
            wait_until(all_reconciled).is_some(),
            "not all ExternalSecrets were reconciled\n{}",
            operator.log()
        );
        assert_eq!(
            revisions(cluster),
            before,
            "the operator wrote a Secret that was correct already"
        );
    }
}

fn release(controller: &Path) -> String {
    controller.file_name().expect("a name").to_string_lossy().into_owned()
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

fn compare(release: &str, theirs: &Snapshots, ours: &Snapshots) -> Vec<String> {
    let count_external_secrets =
        |snapshot: &snapshot::Snapshot| snapshot.keys().filter(|key| key.starts_with("ExternalSecret ")).count();
    for (phase, snapshot) in theirs {
        let (all, external_secrets) = (snapshot.len(), count_external_secrets(snapshot));
        println!("{release}: {phase}: {all} objects compared, {external_secrets} of them ExternalSecrets");
    }
    assert!(theirs["1 applied"].len() > 150, "too few objects for {release}");
    // Events are written asynchronously, so a snapshot may lack the last ones. They are compared only on request.
    let with_events = std::env::var_os("SIDEVAULT_COMPARE_EVENTS").is_some();
    let mut differences = Vec::new();
    for (phase, theirs) in theirs {
        let ours = &ours[phase];
        let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        for key in keys {
            let (mut left, mut right) = (theirs.get(key).cloned(), ours.get(key).cloned());
            for side in [&mut left, &mut right].into_iter().flatten() {
                fixture::remove_values_that_differ_between_releases(release, side);
                if let (false, Some(state)) = (with_events, side.as_object_mut()) {
                    state.remove("events");
                }
            }
            if !fixture::follows_a_later_release(key, release) {
                let path = format!("{release}: {phase}: {key}");
                differences.extend(differing_paths(&path, left.as_ref(), right.as_ref()));
            }
        }
    }
    differences.retain(|difference| !known_differences::is_known(difference));
    differences
}

/// The paths at which two values differ, with both values.
fn differing_paths(path: &str, theirs: Option<&Value>, ours: Option<&Value>) -> Vec<String> {
    if theirs == ours {
        return Vec::new();
    }
    if let (Some(Value::Object(theirs)), Some(Value::Object(ours))) = (theirs, ours) {
        let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        let of_key = |key: &String| differing_paths(&format!("{path} /{key}"), theirs.get(key), ours.get(key));
        return keys.into_iter().flat_map(of_key).collect();
    }
    let show = |side: Option<&Value>| side.map_or("nothing".to_owned(), Value::to_string);
    vec![format!(
        "{path}\n    theirs: {}\n    ours:   {}",
        show(theirs),
        show(ours)
    )]
}
