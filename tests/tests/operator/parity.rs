//! The same ExternalSecrets, given to the real External Secrets controller and to ours: the same Secrets, byte for byte,
//! the same conditions and the same events, when they are applied, when all around them changes, and when they go.

mod acts;
mod matrix;
mod open;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use sidevault_tests::cluster::{Cluster, Running, controllers, definitions};
use sidevault_tests::pair::wait_until;

use super::fixture;
use acts::{Play, TestOperator};

/// What the oldest release's definitions make something else of: they drop fields that came later.
const DROPPED: [&str; 8] = [
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
            let Some(stage) = TestOperator::set(&definitions, original) else {
                return;
            };
            record(&release, &stage.play());
            continue;
        }
        // Each has a cluster and a server of its own, so neither waits for the other.
        let (theirs, ours) = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| Some(TestOperator::set(&definitions, original)?.play()));
            let ours = TestOperator::set(&definitions, ours).map(|stage| stage.play());
            (theirs.join().expect("no panic"), ours)
        });
        let (Some(theirs), Some(ours)) = (theirs, ours) else {
            return;
        };
        differences.extend(compare(&release, &theirs, &ours));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Releases that can't be had as a Go module can't be built wherever the tests run: what they made was written down.
#[test]
fn secrets_and_conditions_equal_the_recorded_ones_of_other_releases() {
    let Some(stage) = TestOperator::set(&fixture::definitions(), ours) else {
        return;
    };
    let ours = stage.play();
    let mut differences = Vec::new();
    for release in ["eso-v2.9.0", "eso-v0.9.11"] {
        let text = std::fs::read_to_string(recording(release)).expect("the recording");
        let theirs: Play = serde_json::from_str(&text).expect("a recording");
        let (mut theirs, mut ours) = (theirs, ours.clone());
        if release.contains("v0.9") {
            // Its definitions refuse some of the cases, and drop what they do not know from others.
            for (act, theirs) in &mut theirs {
                let Some(ours) = ours.get_mut(act) else { continue };
                theirs.retain(|key, _| !DROPPED.contains(&key.as_str()));
                ours.retain(|key, _| theirs.contains_key(key));
            }
        }
        differences.extend(compare(release, &theirs, &ours));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn original(cluster: &Cluster, controller: &Path) -> (Running, u16) {
    // Its own limit on what it asks the API server would be most of the time this takes.
    let limits = ["--client-qps=1000", "--client-burst=1000"];
    (cluster.run_external_secrets(controller, &limits), 8080)
}

fn ours(cluster: &Cluster) -> (Running, u16) {
    (fixture::operator(cluster, &[]), fixture::METRICS)
}

/// One object a line, so that a recording that is made anew shows what changed.
fn record(release: &str, play: &Play) {
    let act = |(name, snapshot): (&String, &snapshot::Snapshot)| {
        let objects = snapshot
            .iter()
            .map(|(key, told)| format!("{}: {told}", Value::from(key.as_str())));
        let objects: Vec<String> = objects.collect();
        format!("{}: {{\n{}\n}}", Value::from(name.as_str()), objects.join(",\n"))
    };
    let acts: Vec<String> = play.iter().map(act).collect();
    std::fs::write(recording(release), format!("{{\n{}\n}}\n", acts.join(",\n"))).expect("a file");
}

/// Where is written down what a release made of the cases.
fn recording(release: &str) -> std::path::PathBuf {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operator/recorded");
    Path::new(directory).join(format!("{release}.json"))
}

#[test]
fn secrets_of_the_real_controller_are_taken_over_unchanged() {
    let Some(controllers) = controllers() else { return };
    // The oldest releases hash otherwise, so their Secrets are written once more.
    for controller in controllers
        .iter()
        .filter(|controller| !release(controller).contains("v0.9"))
    {
        let Some(mut stage) = TestOperator::set(&definitions(controller), |cluster| original(cluster, controller))
        else {
            return;
        };
        let names = stage.apply();
        stage.settle(&names);
        stage.end_operator();
        let cluster = &stage.cluster;
        let before = revisions(cluster);

        let operator = fixture::operator(cluster, &[]);
        // Each is looked at once at the start; the count comes last.
        let looked_at = || {
            let metrics = fixture::ask(cluster, fixture::METRICS, "/metrics")?.text();
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
            revisions(cluster),
            before,
            "a Secret was written though nothing changed"
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

fn compare(release: &str, theirs: &Play, ours: &Play) -> Vec<String> {
    let of_kind =
        |snapshot: &snapshot::Snapshot| snapshot.keys().filter(|key| key.starts_with("ExternalSecret ")).count();
    for (act, snapshot) in theirs {
        let (all, external_secrets) = (snapshot.len(), of_kind(snapshot));
        println!("{release}: {act}: {all} objects compared, {external_secrets} of them ExternalSecrets");
    }
    assert!(theirs["1 applied"].len() > 150, "too few objects for {release}");
    // Events are written on the side: which of them are there when one looks depends on the machine, so they are
    // compared only by hand.
    let with_events = std::env::var_os("SIDEVAULT_COMPARE_EVENTS").is_some();
    let mut differences = Vec::new();
    for (act, theirs) in theirs {
        let ours = &ours[act];
        let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        for key in keys {
            let (mut left, mut right) = (theirs.get(key).cloned(), ours.get(key).cloned());
            for side in [&mut left, &mut right].into_iter().flatten() {
                fixture::forget_what_releases_differ_in(release, side);
                if let (false, Some(told)) = (with_events, side.as_object_mut()) {
                    told.remove("events");
                }
            }
            if !fixture::is_later(key, release) {
                let place = format!("{release}: {act}: {key}");
                differences.extend(places(&place, left.as_ref(), right.as_ref()));
            }
        }
    }
    differences.retain(|difference| !open::is_known(difference));
    differences
}

/// Where two values differ.
fn places(place: &str, theirs: Option<&Value>, ours: Option<&Value>) -> Vec<String> {
    if theirs == ours {
        return Vec::new();
    }
    if let (Some(Value::Object(theirs)), Some(Value::Object(ours))) = (theirs, ours) {
        let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        let of_key = |key: &String| places(&format!("{place} /{key}"), theirs.get(key), ours.get(key));
        return keys.into_iter().flat_map(of_key).collect();
    }
    let show = |side: Option<&Value>| side.map_or("nothing".to_owned(), Value::to_string);
    vec![format!(
        "{place}\n    theirs: {}\n    ours:   {}",
        show(theirs),
        show(ours)
    )]
}
