//! Checks one file against its creation rule.

use std::fs;
use std::path::Path;
use std::rc::Rc;

use serde::Serialize;
use sidevault_sops::{
    CreationRule, Document, Format, Identities, Inspected, Keys, MAX_FILE_BYTES, Value, inspect, read,
};

use super::files::Config;

/// A file that is encrypted, or has findings.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checked {
    pub(super) path: String,
    /// The groups of keys that it is encrypted to; empty if it is plaintext.
    pub(super) keys: Vec<Keys>,
    /// The number of its creation rule.
    pub(super) rule: Option<usize>,
    pub(super) findings: Vec<Finding>,
}

/// What is wrong with a file.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "finding", rename_all = "camelCase")]
pub(super) enum Finding {
    /// It should be encrypted.
    Plaintext {
        /// Some paths of values.
        values: Vec<String>,
        /// What says so.
        why: String,
    },
    /// Someone added values to an encrypted file without sops.
    PlaintextValues {
        /// Some paths of values.
        values: Vec<String>,
    },
    /// It is encrypted to other keys than its rule says.
    KeysDiffer {
        /// The keys that can't open it.
        missing: Vec<String>,
        /// The keys that can open it and should not.
        extra: Vec<String>,
    },
    /// Other values of it are encrypted than its rule says.
    RuleDiffers {
        /// The file's own rule.
        has: String,
        /// The rule of `.sops.yaml`.
        wanted: String,
    },
    /// It is encrypted, and no rule says to which keys.
    NoRule {
        /// The path of `.sops.yaml`.
        config: String,
    },
    /// It can't be read as an encrypted file.
    Damaged {
        /// What is wrong.
        error: String,
    },
}

/// Checks a file. Returns `None` if it is plaintext and may be.
pub(super) fn check(file: &Path, config: Option<(Rc<Config>, String)>) -> Option<Checked> {
    let rule = config.as_ref().and_then(|(config, path)| config.rules.for_path(path));
    let mut checked = Checked {
        path: file.to_string_lossy().into_owned(),
        keys: Vec::new(),
        rule: rule.map(|rule| rule.number),
        findings: Vec::new(),
    };
    let format = Format::from_path(file);
    let looked_at = load(file).map(|bytes| {
        let inspected = inspect(format, &bytes);
        (bytes, inspected)
    });
    match looked_at {
        Ok((_, Ok(Some(inspected)))) => {
            match (rule, &config) {
                (Some(rule), _) => compare(&inspected, format, rule, &mut checked.findings),
                (None, Some((config, _))) => checked.findings.push(Finding::NoRule {
                    config: config.path.display().to_string(),
                }),
                (None, None) => {}
            }
            if !inspected.plaintext.is_empty() {
                let values = inspected.plaintext;
                checked.findings.push(Finding::PlaintextValues { values });
            }
            checked.keys = inspected.groups;
        }
        Ok((bytes, Ok(None))) => checked.findings.extend(plaintext(file, format, &bytes, rule)),
        // Plaintext that is not valid, such as a template, is nothing to sops.
        Ok((bytes, Err(_))) if !says_encrypted(file) && !sidevault_sops::holds_mark(&bytes) => {}
        Ok((_, Err(error))) => checked.findings.push(Finding::Damaged {
            error: error.to_string(),
        }),
        Err(error) => checked.findings.push(Finding::Damaged { error }),
    }
    (!checked.keys.is_empty() || !checked.findings.is_empty()).then_some(checked)
}

/// Reads a file. Of a file that is larger than any encrypted one, nothing is read.
fn load(file: &Path) -> Result<Vec<u8>, String> {
    let read = || {
        let size = fs::metadata(file)?.len();
        if size > MAX_FILE_BYTES as u64 {
            Ok(Vec::new())
        } else {
            fs::read(file)
        }
    };
    read().map_err(|error: std::io::Error| error.to_string())
}

fn compare(file: &Inspected, format: Format, rule: &CreationRule, findings: &mut Vec<Finding>) {
    if rule.has_keys() && file.groups != rule.groups {
        let all = |groups: &[Keys]| groups.iter().flatten().cloned().collect::<Keys>();
        let (has, wanted) = (all(&file.groups), all(&rule.groups));
        findings.push(Finding::KeysDiffer {
            missing: wanted.difference(&has).cloned().collect(),
            extra: has.difference(&wanted).cloned().collect(),
        });
    }
    // sops encrypts a binary file as a whole, and notes its own default.
    let is_whole = format == Format::Binary && file.rule.is_default();
    if file.rule != rule.text && !is_whole {
        findings.push(Finding::RuleDiffers {
            has: file.rule.to_string(),
            wanted: rule.text.to_string(),
        });
    }
}

/// Whether a plaintext file should be encrypted: its name or a rule for files such as it says so, or it is a Kubernetes Secret in a tree
/// with rules.
fn plaintext(file: &Path, format: Format, bytes: &[u8], rule: Option<&CreationRule>) -> Option<Finding> {
    let name = file.file_name()?.to_str()?;
    if bytes.trim_ascii().is_empty() || is_template_or_note(name) {
        return None;
    }
    let named = says_encrypted(file);
    let selected = rule.is_some_and(CreationRule::is_selective);
    if !named && rule.is_none() {
        return None;
    }
    let why = match rule {
        Some(rule) if selected => format!("creation rule {} is for files such as this one", rule.number),
        _ if named => "its name says that it is encrypted".to_owned(),
        _ => "it is a Kubernetes Secret".to_owned(),
    };
    let documents = match read(format, bytes, &Identities::default()).ok()?.document {
        Document::Binary(_) if named || selected => {
            let values = vec!["the whole file".to_owned()];
            return Some(Finding::Plaintext { values, why });
        }
        Document::Binary(_) => return None,
        Document::Tree(documents) => documents,
    };
    let meant = documents.iter().filter(|document| match kind(document) {
        Some("Secret") => true,
        Some(_) => named,
        None => named || (selected && !name.starts_with("kustomization.")),
    });
    let values: Vec<String> = match rule {
        Some(rule) => meant.flat_map(|document| rule.would_seal(document)).collect(),
        None => meant
            .filter(|document| **document != Value::Null)
            .map(|_| "the whole file".to_owned())
            .collect(),
    };
    (!values.is_empty()).then_some(Finding::Plaintext { values, why })
}

/// The kind of a Kubernetes manifest.
fn kind(document: &Value) -> Option<&str> {
    document.get("apiVersion")?;
    document.get("kind")?.as_str()
}

/// Whether a file's name says that it is encrypted: `db.sops.yaml`, `db.enc`.
fn says_encrypted(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let is_ending = |part: &str| matches!(part, "sops" | "enc" | "encrypted");
    let mut parts = name.rsplit('.');
    let last = parts.next().unwrap_or_default();
    let is_format = Format::from_path(file) != Format::Binary;
    is_ending(last) || (is_format && parts.next().is_some_and(is_ending))
}

/// Whether a file is a template or an example of one that would be encrypted, or documents the tree.
fn is_template_or_note(name: &str) -> bool {
    const ENDINGS: [&str; 10] = [
        ".md",
        ".j2",
        ".tmpl",
        ".tpl",
        ".gotmpl",
        ".template",
        ".example",
        ".sample",
        ".dist",
        ".jinja",
    ];
    ENDINGS
        .iter()
        .any(|ending| name.ends_with(ending) || name.contains(&format!("{ending}.")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::files::{Configs, list};
    use super::*;

    const RULES: &str = "creation_rules:\n\
        - {path_regex: 'talos/.*\\.sops\\.ya?ml', age: age1t}\n\
        - {path_regex: 'kubernetes/.*\\.sops\\.ya?ml', encrypted_regex: '^(data|stringData)$', age: [age1a, age1b]}\n\
        - {path_regex: '\\.ya?ml$', encrypted_regex: '^(data|stringData)$', age: age1a}\n";
    const ENC: &str = "'ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]'";

    fn sealed(body: &str, keys: &[&str], rule: &str) -> String {
        let keys: Vec<String> = keys.iter().map(|key| format!("{{recipient: {key}, enc: x}}")).collect();
        format!(
            "{body}sops: {{mac: m, lastmodified: t, age: [{}], {rule}}}\n",
            keys.join(", ")
        )
    }

    /// The findings of a tree with these files, as Debug text, by file.
    fn findings(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut configs = Configs::default();
        let mut found = Vec::new();
        for file in list(dir.path()).unwrap() {
            if let Some(checked) = check(&file, configs.of(&file).unwrap()) {
                let path = file.strip_prefix(dir.path()).unwrap().display().to_string();
                found.extend(
                    checked
                        .findings
                        .iter()
                        .map(|finding| (path.clone(), format!("{finding:?}"))),
                );
            }
        }
        found
    }

    #[test]
    fn an_ordinary_tree_has_no_findings() {
        let rule = "encrypted_regex: '^(data|stringData)$'";
        let secret = sealed(
            &format!("apiVersion: v1\nkind: Secret\nstringData: {{a: {ENC}}}\n"),
            &["age1a", "age1b"],
            rule,
        );
        let talos = sealed(&format!("a: {ENC}\n"), &["age1t"], "unencrypted_suffix: _unencrypted");
        let found = findings(&[
            (".sops.yaml", RULES),
            (".gitignore", "/tmp\n"),
            ("tmp/kubernetes/a.sops.yaml", "a: plain\n"),
            ("kubernetes/apps/plex/secret.sops.yaml", &secret),
            (
                "kubernetes/apps/plex/kustomization.yaml",
                "resources: [secret.sops.yaml]\n",
            ),
            (
                "kubernetes/apps/plex/helmrelease.yaml",
                "apiVersion: a/v1\nkind: HelmRelease\nspec: {data: {a: b}}\n",
            ),
            (
                "kubernetes/apps/plex/cm.yaml",
                "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n",
            ),
            (
                "kubernetes/apps/plex/es.yaml",
                "apiVersion: v1\nkind: Secret\nstringData: {a: '${TOKEN}'}\n",
            ),
            ("templates/kubernetes/secret.sops.yaml.j2", "stringData: {a: #{ b }#}\n"),
            ("talos/secret.sops.yaml", &talos),
            ("Taskfile.yaml", "tasks: {}\n"),
            ("chart/templates/secret.yaml", "{{ if .Values.x }}\nkind: Secret\n"),
            ("README.md", "kubernetes/a.sops.yaml\n"),
            ("renovate.json", "{\"data\": 1}\n"),
        ]);
        assert_eq!(found, []);
    }

    #[test]
    fn each_fault_is_found() {
        let rule = "encrypted_regex: '^(data|stringData)$'";
        let body = format!("apiVersion: v1\nkind: Secret\nstringData: {{a: {ENC}}}\n");
        for (file, text, wanted) in [
            (
                "kubernetes/a.sops.yaml",
                "apiVersion: v1\nkind: Secret\nstringData: {a: b}\n".to_owned(),
                "Plaintext { values: [\"stringData.a\"], why: \"creation rule 2",
            ),
            ("kubernetes/b.sops.yaml", sealed(&body, &["age1a"], rule), "KeysDiffer { missing: [\"age1b\"], extra: [] }"),
            (
                "kubernetes/c.sops.yaml",
                sealed(&body, &["age1a", "age1b", "age1old"], rule),
                "KeysDiffer { missing: [], extra: [\"age1old\"] }",
            ),
            (
                "kubernetes/d.sops.yaml",
                sealed(&body, &["age1a", "age1b"], "encrypted_regex: ^data$"),
                "RuleDiffers { has: \"encrypted_regex: ^data$\"",
            ),
            (
                "kubernetes/e.sops.yaml",
                sealed(&body.replace("{a:", "{new: plain, a:"), &["age1a", "age1b"], rule),
                "PlaintextValues { values: [\"stringData.new\"] }",
            ),
            ("kubernetes/f.sops.yaml", body.clone(), "Damaged { error: \""),
            ("other/g.yaml", "apiVersion: v1\nkind: Secret\ndata: {a: Yg==}\n".to_owned(), "it is a Kubernetes Secret"),
            ("other/h.enc", "plain".to_owned(), "its name says that it is encrypted"),
            ("other/i.env", "A=ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]\nsops_mac=m\nsops_lastmodified=t\nsops_age__list_0__map_recipient=age1a\nsops_age__list_0__map_enc=x\n".to_owned(), "NoRule { config: \""),
        ] {
            let found = findings(&[(".sops.yaml", RULES), (file, &text)]);
            assert_eq!(found.len(), 1, "{file}: {found:?}");
            assert_eq!(found[0].0, file);
            assert!(found[0].1.contains(wanted), "{file}: {found:?}");
        }
    }

    #[test]
    fn the_nearest_sops_yaml_counts_and_a_bad_one_is_named() {
        let own = sealed(&format!("a: {ENC}\n"), &["age1own"], "unencrypted_suffix: _unencrypted");
        let rules = "creation_rules: [{age: age1own}]\n";
        let found = findings(&[
            (".sops.yaml", RULES),
            ("talos/.sops.yaml", rules),
            ("talos/a.sops.yaml", &own),
        ]);
        assert_eq!(found, []);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".sops.yaml"), "creation_rules: [{path_regex: '('}]\n").unwrap();
        let error = Configs::default()
            .of(&dir.path().join("a.yaml"))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(".sops.yaml: creation rule 1: path_regex"), "{error}");
    }
}
