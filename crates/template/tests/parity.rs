//! Renders the table of `tests/template` and compares the output with that of External Secrets' engine.
//!
//! `golden.json` contains the engine's output, so that this test does not need Go. If Go is there, another test runs
//! the engine itself (`tests/template/run.sh`).

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde::Deserialize;
use sidevault_template::limits::MAX_WORK;
use sidevault_template::{Budget, Template, TemplateError, Value, Values};

#[derive(Deserialize)]
struct Table {
    fixtures: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    template: String,
    #[serde(default)]
    data: BTreeMap<String, String>,
    #[serde(default)]
    data64: BTreeMap<String, String>,
    #[serde(default)]
    fixtures: Vec<String>,
    /// For outputs that differ at every run: a regular expression that both outputs must match.
    shape: Option<String>,
    /// Whether the text of the error must be the engine's too.
    #[serde(default)]
    exact: bool,
}

#[derive(Deserialize, Clone, PartialEq)]
struct EngineOutput {
    output: Option<String>,
    output64: Option<String>,
    error: Option<String>,
}

impl EngineOutput {
    fn bytes(&self) -> Option<Vec<u8>> {
        match (&self.output, &self.output64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(packed)) => Some(STANDARD.decode(packed).expect("base64")),
            _ => None,
        }
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/template")
}

fn table() -> Table {
    let text = fs::read(directory().join("cases.json")).expect("the cases");
    serde_json::from_slice(&text).expect("a table of cases")
}

fn golden() -> BTreeMap<String, EngineOutput> {
    let text = fs::read(directory().join("golden.json")).expect("the golden file");
    serde_json::from_slice(&text).expect("the engine's outputs")
}

impl Case {
    fn render(&self, fixtures: &BTreeMap<String, String>) -> Result<Vec<u8>, TemplateError> {
        // Without optimisation some cases take longer than the time limit of a rendering.
        let mut budget = Budget::new(MAX_WORK, Duration::from_secs(3600));
        let mut data = Values::new();
        for (key, value) in &self.data {
            data.insert(key.clone(), Value::from(value.as_str()));
        }
        for (key, value) in &self.data64 {
            data.insert(key.clone(), Value::from(STANDARD.decode(value).expect("base64")));
        }
        for name in &self.fixtures {
            data.insert(name.clone(), Value::from(fixtures[name].as_str()));
        }
        // The engine names a template after its key, which is `t` in `run.sh`.
        Template::parse("t", &self.template)?.render_with(&data, SystemTime::now(), &mut budget)
    }

    /// How the output differs from the engine's, if it does.
    fn difference(&self, ours: &Result<Vec<u8>, TemplateError>, theirs: &EngineOutput) -> Option<String> {
        match (ours, theirs.bytes()) {
            (Ok(ours), Some(theirs)) => {
                let fits = match &self.shape {
                    Some(shape) => {
                        let shape = Regex::new(shape).expect("a shape");
                        [ours, &theirs]
                            .iter()
                            .all(|text| shape.is_match(&String::from_utf8_lossy(text)))
                    }
                    None => *ours == theirs,
                };
                (!fits).then(|| {
                    format!(
                        "ours   {:?}\ntheirs {:?}",
                        String::from_utf8_lossy(ours),
                        String::from_utf8_lossy(&theirs)
                    )
                })
            }
            (Err(ours), None) => {
                let theirs = theirs.error.clone().unwrap_or_default();
                let same = theirs.ends_with(&format!(": {ours}"));
                (self.exact && !same).then(|| format!("ours   {ours}\ntheirs {theirs}"))
            }
            (Ok(ours), None) => Some(format!(
                "ours   {:?}\ntheirs failed: {}",
                String::from_utf8_lossy(ours),
                theirs.error.clone().unwrap_or_default()
            )),
            (Err(ours), Some(theirs)) => Some(format!(
                "ours failed: {ours}\ntheirs {:?}",
                String::from_utf8_lossy(&theirs)
            )),
        }
    }
}

fn check(outputs: &BTreeMap<String, EngineOutput>) {
    let table = table();
    let mut wrong = Vec::new();
    for case in &table.cases {
        let Some(theirs) = outputs.get(&case.name) else {
            continue;
        };
        let ours = case.render(&table.fixtures);
        if let Some(difference) = case.difference(&ours, theirs) {
            wrong.push(format!("== {}: {}\n{difference}", case.name, case.template));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_case_renders_as_in_golden_json() {
    let golden = golden();
    for case in &table().cases {
        assert!(
            golden.contains_key(&case.name),
            "{} is not in golden.json; see tests/template/README.md",
            case.name
        );
    }
    check(&golden);
}

/// Runs `tests/template/run.sh`, which builds the engine. Returns `None` without Go.
fn engine(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    if Command::new("go").arg("version").output().is_err() {
        let said = "SKIPPED: no Go, so the template engine of External Secrets was not run";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{said}");
        // `eprintln!` would be captured by the test harness.
        writeln!(std::io::stderr(), "{said}").ok();
        return None;
    }
    let mut child = Command::new("sh")
        .arg(directory().join("run.sh"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run.sh runs");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input)
        .expect("it is read");
    let output = child.wait_with_output().expect("run.sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

/// Also lets Go read a trust store that this crate wrote.
#[test]
fn every_case_renders_as_in_the_engine_run_now() {
    let Some(printed) = engine(&["--print"], b"") else {
        return;
    };
    let outputs: BTreeMap<String, EngineOutput> = serde_json::from_slice(&printed).expect("the engine's outputs");
    check(&outputs);

    let template = r#"{{ pemTruststoreToPKCS12Pass (print .root .intermediate) "pässwörd" }}"#;
    let fixtures = table().fixtures;
    let data = ["root", "intermediate"].map(|name| (name.to_owned(), Value::from(fixtures[name].as_str())));
    let template = Template::parse("trust", template).expect("a template");
    let store = template.render(&data.into()).expect("a trust store");
    let subjects = engine(&["--trust-store", "pässwörd"], &store).expect("Go is there");
    assert_eq!(String::from_utf8_lossy(&subjects).lines().count(), 2);
}

#[test]
fn every_function_has_a_case() {
    let table = table();
    let templates: Vec<&str> = table.cases.iter().map(|case| case.template.as_str()).collect();
    let templates = templates.join("\n");
    let missing: Vec<_> = sidevault_template::function_names()
        .iter()
        .filter(|name| {
            let called = Regex::new(&format!(r"[^.$\w]{name}[^\w]")).expect("a name");
            !called.is_match(&templates)
        })
        .collect();
    assert!(missing.is_empty(), "no case calls {missing:?}");
}
