//! `sidevault sops check`: compares files with the creation rules of `.sops.yaml`, without keys.

mod checked;
mod files;

use std::collections::BTreeSet;

use serde::Serialize;

use self::checked::{Checked, Finding};
use self::files::{Configs, list};
use crate::cli;
use crate::exit::Failure;
use crate::output::{self, Table};

/// The longest name of a key in the table, in characters: that of a key of `age-keygen`.
const LONGEST_KEY: usize = 62;

/// What the command found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The encrypted files, and the files with findings.
    files: Vec<Checked>,
    findings: usize,
}

/// Runs one of the sub-commands.
pub(crate) fn run(command: &cli::Sops) -> Result<(), Failure> {
    let cli::Sops::Check { paths, json } = command;
    let mut configs = Configs::default();
    let mut listed = BTreeSet::new();
    for path in paths {
        listed.extend(list(path)?);
    }
    let mut files = Vec::new();
    for file in listed {
        files.extend(checked::check(&file, configs.of(&file)?));
    }
    let findings = files.iter().map(|file| file.findings.len()).sum();
    let report = Report { files, findings };
    if *json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    if findings > 0 {
        let files = report.files.iter().filter(|file| !file.findings.is_empty()).count();
        return Err(Failure::Found(format!(
            "sops check: {findings} findings in {files} files"
        )));
    }
    Ok(())
}

fn print(report: &Report) -> Result<(), Failure> {
    let mut table = Table::new(["FILE", "ENCRYPTED TO", "RULE"]);
    for file in report.files.iter().filter(|file| !file.keys.is_empty()) {
        let groups = file
            .keys
            .iter()
            .map(|group| group.iter().map(|key| cut(key)).collect::<Vec<_>>().join(", "));
        let rule = file.rule.map_or("-".to_owned(), |rule| rule.to_string());
        table.row([file.path.clone(), groups.collect::<Vec<_>>().join(" and "), rule]);
    }
    if report.files.iter().any(|file| !file.keys.is_empty()) {
        table.print()?;
    }
    for file in &report.files {
        for finding in &file.findings {
            let text = format!("{}: {}", file.path, words(finding, &file.path));
            output::line(&sidevault_model::printable(&text))?;
        }
    }
    Ok(())
}

fn cut(key: &str) -> String {
    match key.char_indices().nth(LONGEST_KEY) {
        Some((end, _)) => format!("{}…", &key[..end]),
        None => key.to_owned(),
    }
}

/// A finding for people, with what to do.
fn words(finding: &Finding, path: &str) -> String {
    let file = output::shell_word(path);
    match finding {
        Finding::Plaintext { values, why } => format!(
            "{why}, and it is plaintext ({}). Encrypt it: sops encrypt --in-place {file}",
            values.join(", ")
        ),
        Finding::PlaintextValues { values } => format!(
            "these values of an encrypted file are plaintext: {}. Remove them, and set them with: sops edit {file}",
            values.join(", ")
        ),
        Finding::KeysDiffer { missing, extra } => {
            let list = |keys: &[String]| keys.iter().map(|key| cut(key)).collect::<Vec<_>>().join(", ");
            let parts = [("is not encrypted to", missing), ("is still encrypted to", extra)];
            let parts = parts.iter().filter(|(_, keys)| !keys.is_empty());
            let parts: Vec<String> = parts.map(|(words, keys)| format!("{words} {}", list(keys))).collect();
            let what = if parts.is_empty() {
                "has other groups of keys".to_owned()
            } else {
                parts.join(", and ")
            };
            format!("unlike its rule says, it {what}. Make it so: sops updatekeys {file}")
        }
        Finding::RuleDiffers { has, wanted } => format!(
            "it was encrypted with \"{has}\", and its rule has \"{wanted}\" now. Encrypt it anew: sops decrypt --in-place {file} && \
             sops encrypt --in-place {file}"
        ),
        Finding::NoRule { config } => format!("no creation rule of {config} matches it, so sops can't update its keys"),
        Finding::Damaged { error } => error.clone(),
    }
}
