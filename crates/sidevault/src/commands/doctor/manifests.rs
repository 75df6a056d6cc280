//! `sidevault doctor -f`: reads manifests, and says what in them will not work.

mod edits;
mod external_secrets;
mod items;
mod network;
mod stores;
mod workloads;

use std::path::{Path, PathBuf};

use self::edits::{Change, Edit};
use super::{Finding, Findings, Level, Place, report};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::input;
use crate::manifests::tree::{self, Node, Value};
use crate::manifests::{Object, Objects};

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// How many files are read at most.
const MAX_FILES: usize = 10_000;
/// How deep directories are nested at most.
const MAX_DEPTH: usize = 32;

/// A file that was read.
struct Manifest {
    path: PathBuf,
    /// Its path below the directory that the command names: where `--fix` writes it.
    below: PathBuf,
    text: String,
    edits: Vec<Edit>,
}

/// What the checks found.
struct Checked {
    files: Vec<Manifest>,
    findings: Findings,
}

impl Checked {
    fn add(&mut self, check: &'static str, level: Level, (file, line): (usize, usize), cause: String, fix: &str) {
        self.findings.0.push(Finding {
            check,
            level,
            cause,
            fix: Some(fix.to_owned()),
            place: self.files.get(file).map(|file| Place {
                file: file.path.clone(),
                line,
            }),
        });
    }

    fn fail(&mut self, check: &'static str, object: &Object, at: &Node, cause: &str, fix: &str) {
        let cause = format!("{}: {cause}", object.title());
        self.add(check, Level::Fail, (object.file, at.line), cause, fix);
    }

    fn warn(&mut self, check: &'static str, object: &Object, at: &Node, cause: &str, fix: &str) {
        let cause = format!("{}: {cause}", object.title());
        self.add(check, Level::Warn, (object.file, at.line), cause, fix);
    }

    /// Notes a correction for `--fix`.
    fn edit(&mut self, file: usize, line: usize, change: Change) {
        if let Some(file) = self.files.get_mut(file) {
            file.edits.push(Edit { line, change });
        }
    }
}

/// Checks the manifests in these files and directories.
///
/// # Errors
/// [`Failure::Found`] if something in them will not work; [`Failure::Failed`] if a path can't be read, or a corrected file not
/// be written.
pub(super) async fn run(
    paths: &[PathBuf],
    fix: Option<&Path>,
    json: bool,
    environment: &Environment,
) -> Result<(), Failure> {
    let mut checked = Checked {
        files: read(paths)?,
        findings: Findings::default(),
    };
    let objects = check(&mut checked);
    items::check(&objects, &mut checked, environment).await;
    checked.findings.0.sort_by(|a, b| {
        let key = |finding: &Finding| finding.place.as_ref().map(|place| (place.file.clone(), place.line));
        key(a).cmp(&key(b))
    });
    // Two stores may name the same Secret.
    checked
        .findings
        .0
        .dedup_by(|a, b| a.cause == b.cause && a.place == b.place);
    if checked.findings.0.is_empty() {
        let (files, objects) = (checked.files.len(), objects.0.len());
        checked.findings.ok(
            "manifests",
            format!("nothing to say about {objects} objects in {files} files"),
        );
    }
    if let Some(directory) = fix {
        write_corrected(&checked.files, directory)?;
    }
    report(&checked.findings, json)
}

/// All checks that need no server.
fn check(checked: &mut Checked) -> Objects {
    let mut objects = Vec::new();
    for number in 0..checked.files.len() {
        match tree::parse(&checked.files[number].text) {
            Ok(documents) => {
                for document in documents {
                    collect(number, document, &mut objects, checked);
                }
            }
            Err(flaw) => checked.add(
                "yaml",
                Level::Fail,
                (number, flaw.line),
                format!("the file is not YAML: {}", flaw.problem),
                "correct the line; kubectl apply --dry-run=client -f FILE reads it the same way",
            ),
        }
    }
    let objects = Objects(objects);
    stores::check(&objects, checked);
    external_secrets::check(&objects, checked);
    workloads::check(&objects, checked);
    network::check(&objects, checked);
    objects
}

/// Adds the objects of a document. A list has several.
fn collect(file: usize, document: Node, objects: &mut Vec<Object>, checked: &mut Checked) {
    let is_list = document.text_at("kind").is_some_and(|kind| kind.ends_with("List"));
    if is_list && document.at("items").is_some() {
        for item in document.all("items") {
            objects.extend(Object::read(file, item.clone()));
        }
        return;
    }
    if let Some(line) = lost_indentation(&document) {
        checked.add(
            "yaml",
            Level::Fail,
            (file, line),
            "the file has lost its indentation: metadata is empty, and what belongs below it stands beside it"
                .to_owned(),
            "indent what belongs below metadata, spec and the others by two spaces more than its parent",
        );
        return;
    }
    objects.extend(Object::read(file, document));
}

/// The line at which a text that was copied from a web page shows that it lost its indentation.
fn lost_indentation(document: &Node) -> Option<usize> {
    document.entry("kind")?;
    let (key, metadata) = document.entry("metadata")?;
    let is_empty = matches!(&metadata.value, Value::Scalar(text) if text.is_empty());
    (is_empty && document.entry("name").is_some()).then_some(key.line)
}

/// Reads the files, and those in the directories whose names end in `.yaml` or `.yml`.
fn read(paths: &[PathBuf]) -> Result<Vec<Manifest>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let below = PathBuf::from(path.file_name().unwrap_or_default());
        if path.is_dir() {
            read_directory(path, Path::new(""), 0, &mut files)?;
        } else {
            files.push(read_file(path, below)?);
        }
    }
    if files.is_empty() {
        return Err(Failure::NotFound(
            "no manifests: the directories have no files that end in .yaml or .yml".to_owned(),
        ));
    }
    Ok(files)
}

fn read_directory(directory: &Path, below: &Path, depth: usize, files: &mut Vec<Manifest>) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| Failure::Failed(format!("{}: {error}", directory.display()));
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.file_name());
    }
    entries.sort();
    for name in entries {
        let (path, below) = (directory.join(&name), below.join(&name));
        let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            if depth == MAX_DEPTH {
                return Err(Failure::Failed(format!("{}: it is nested too deep", path.display())));
            }
            read_directory(&path, &below, depth + 1, files)?;
        } else if is_yaml && path.is_file() {
            if files.len() == MAX_FILES {
                return Err(Failure::Failed(format!(
                    "there are more than {MAX_FILES} files: name a smaller directory"
                )));
            }
            files.push(read_file(&path, below)?);
        }
    }
    Ok(())
}

fn read_file(path: &Path, below: PathBuf) -> Result<Manifest, Failure> {
    let unreadable = |cause: String| Failure::Failed(format!("{}: {cause}", path.display()));
    let bytes = input::file(path, MAX_FILE_BYTES).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".to_owned()))?;
    Ok(Manifest {
        path: path.to_owned(),
        below,
        text,
        edits: Vec::new(),
    })
}

/// Writes the files that have corrections below another directory. No file is replaced.
fn write_corrected(files: &[Manifest], directory: &Path) -> Result<(), Failure> {
    for file in files.iter().filter(|file| !file.edits.is_empty()) {
        let path = directory.join(&file.below);
        let failed = |error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut out = std::fs::File::create_new(&path).map_err(failed)?;
        std::io::Write::write_all(&mut out, edits::apply(&file.text, &file.edits).as_bytes()).map_err(failed)?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings about one file, as `line check cause`, and the corrected file.
    fn checked(text: &str) -> (Vec<String>, String) {
        let mut checked = Checked {
            files: vec![Manifest {
                path: "m.yaml".into(),
                below: "m.yaml".into(),
                text: text.to_owned(),
                edits: Vec::new(),
            }],
            findings: Findings::default(),
        };
        check(&mut checked);
        let line = |finding: &Finding| finding.place.as_ref().map_or(0, |place| place.line);
        let mut shown: Vec<(usize, String)> = checked
            .findings
            .0
            .iter()
            .map(|finding| {
                (
                    line(finding),
                    format!("{} {} {}", line(finding), finding.check, finding.cause),
                )
            })
            .collect();
        shown.sort();
        let corrected = edits::apply(text, &checked.files[0].edits);
        (shown.into_iter().map(|(_, text)| text).collect(), corrected)
    }

    fn assert_found(text: &str, expected: &[&str]) -> String {
        let (found, corrected) = checked(text);
        let matches = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a.starts_with(b));
        assert!(matches, "found {found:#?}\nexpected {expected:#?}");
        corrected
    }

    const STORE: &str = "apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: s, namespace: a}
spec:
  provider:
    onepassword:
      connectHost: http://connect:8080
      vaults: {v: 1}
      auth:
        secretRef:
          connectToken: # short
            name: t
            key: token
---
apiVersion: v1
kind: Secret
metadata: {name: t, namespace: a}
stringData: {token: a.b.c}
---
apiVersion: v1
kind: Service
metadata: {name: connect, namespace: a}
spec:
  selector: {app: connect}
  ports: [{port: 8080, targetPort: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: connect, namespace: a}
spec:
  selector: {matchLabels: {app: connect}}
  template:
    metadata: {labels: {app: connect}}
    spec:
      containers:
        - {name: api, ports: [{name: http, containerPort: 8080}]}
";

    #[test]
    fn the_short_spelling_of_the_token_is_corrected_and_comments_stay() {
        let corrected = assert_found(
            STORE,
            &["11 store SecretStore a/s: the definitions of External Secrets"],
        );
        assert!(
            corrected.contains("          connectTokenSecretRef: # short\n"),
            "{corrected}"
        );
        assert_found(&corrected, &[]);
    }

    #[test]
    fn a_store_without_vaults_or_with_a_token_that_is_none() {
        let text = STORE
            .replace("connectToken:", "connectTokenSecretRef:")
            .replace("vaults: {v: 1}", "vaults: {}")
            .replace("a.b.c", "YOUR_TOKEN");
        let (found, _) = checked(&text);
        assert!(!found.concat().contains("YOUR_TOKEN"), "{found:?}");
        assert_found(
            &text,
            &[
                "8 store SecretStore a/s: it names no vault",
                "18 token Secret a/t: the value of token",
            ],
        );
    }

    #[test]
    fn cluster_external_secrets_are_checked_like_external_secrets() {
        let text = "apiVersion: external-secrets.io/v1
kind: ClusterExternalSecret
metadata: {name: many}
spec:
  namespaces: [a]
  externalSecretName: of-many
  externalSecretSpec:
    secretStoreRef: {name: gone, kind: ClusterSecretStore}
    target:
      type: Opaque
    data: [{secretKey: x, remoteRef: {key: k}}]
    dataFrom: [{find: {name: {regexp: \"(\"}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: a}
spec:
  containers:
    - name: c
      env: [{name: E, valueFrom: {secretKeyRef: {name: of-many, key: x}}}]
";
        let store = "8 store ClusterExternalSecret many: its store ClusterSecretStore gone";
        let target = "10 target ClusterExternalSecret many: the definitions";
        let pattern = "12 find ClusterExternalSecret many: its pattern";
        let corrected = assert_found(text, &[store, target, pattern]);
        assert!(
            corrected.contains("      template:\n        type: Opaque\n"),
            "{corrected}"
        );
        // Without dataFrom the keys are known, and so is a namespace that has no such Secret.
        let known = text
            .replace("    dataFrom: [{find: {name: {regexp: \"(\"}}}]\n", "")
            .replace("key: x}}}", "key: y}}}");
        let key = "19 secret Pod a/p: ClusterExternalSecret many makes the Secret of-many without the key y";
        assert_found(&known, &[store, target, key]);
        let elsewhere = known.replace("namespaces: [a]", "namespaces: [b]");
        let other = "19 secret Pod a/p: the Secret of-many is made by ClusterExternalSecret many, which is in another";
        assert_found(&elsewhere, &[store, target, other]);
    }

    #[test]
    fn a_find_needs_a_store_and_a_push_secret_a_secret_with_its_keys() {
        let text = "apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: e, namespace: a}
spec: {dataFrom: [{find: {path: x}}]}
---
apiVersion: external-secrets.io/v1alpha1
kind: PushSecret
metadata: {name: p, namespace: a}
spec:
  selector:
    secret: {name: s}
  data: [{match: {secretKey: k, remoteRef: {remoteKey: i}}}]
";
        assert_found(
            text,
            &[
                "4 store ExternalSecret a/e: it names no store",
                "11 push PushSecret a/p: the Secret s, whose values it writes, is not in these files",
            ],
        );
        let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: a}\nstringData: {other: x}\n";
        let (found, _) = checked(&format!("{text}{secret}"));
        let lacks = "12 push PushSecret a/p: the Secret s has no key k; Secret a/s gives it other";
        assert!(found.iter().any(|line| line == lacks), "{found:?}");
        assert!(checked(&format!("{text}{}", secret.replace("other", "k"))).0.len() == 1);
    }

    #[test]
    fn merge_keys_are_read_as_kubectl_reads_them() {
        let text = "x-store: &store {name: s, kind: ClusterSecretStore}
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: e, namespace: a}
spec:
  secretStoreRef:
    <<: *store
  data: [{secretKey: x, remoteRef: {key: k}}]
";
        assert_found(
            text,
            &["7 store ExternalSecret a/e: its store ClusterSecretStore s is not in these files"],
        );
    }

    #[test]
    fn services_and_ports_must_fit() {
        let text = STORE.replace("connectToken:", "connectTokenSecretRef:");
        assert_found(
            &text.replace("http://connect:8080", "http://connect:9090"),
            &["7 service SecretStore a/s: the Service connect has no port 9090"],
        );
        assert_found(
            &text.replace("name: http, ", ""),
            &["25 service Service a/connect: no container of Deployment a/connect has the port http"],
        );
        assert_found(
            &text.replace("metadata: {labels: {app: connect}}", "metadata: {labels: {app: other}}"),
            &[
                "24 service Service a/connect: its selector selects no Pod",
                "33 workload Deployment a/connect: its selector",
            ],
        );
    }

    #[test]
    fn indentation_that_was_lost_is_named() {
        assert_found(
            "apiVersion: v1\nkind: Secret\nmetadata:\nname: x\nnamespace: y\n",
            &["3 yaml the file has lost its indentation"],
        );
        assert_found("a: [", &["2 yaml the file is not YAML"]);
    }
}
