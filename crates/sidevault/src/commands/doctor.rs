//! `sidevault doctor`: checks what usually goes wrong with a server, and says what to do about it.

mod backups;
mod keys;
mod local;
mod manifests;
mod remote;

use std::path::PathBuf;

use serde::Serialize;

use crate::cli;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::{Deployment, Installation, quickstart_directory};
use crate::output;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// The result of one check, for people.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    /// What the check saw.
    cause: String,
    /// What to do: a command, or a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    /// The line of a manifest.
    #[serde(flatten)]
    place: Option<Place>,
}

/// A line of a file, counted from 1.
#[derive(Debug, PartialEq, Serialize)]
struct Place {
    file: PathBuf,
    line: usize,
}

/// The findings so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, check: &'static str, cause: impl Into<String>) {
        self.add(check, Level::Ok, cause.into(), None);
    }

    fn warn(&mut self, check: &'static str, cause: impl Into<String>, fix: impl Into<String>) {
        self.add(check, Level::Warn, cause.into(), Some(fix.into()));
    }

    fn fail(&mut self, check: &'static str, cause: impl Into<String>, fix: impl Into<String>) {
        self.add(check, Level::Fail, cause.into(), Some(fix.into()));
    }

    fn add(&mut self, check: &'static str, level: Level, cause: String, fix: Option<String>) {
        self.0.push(Finding {
            check,
            level,
            cause,
            fix,
            place: None,
        });
    }

    fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }
}

/// What to type to start a server, and where its log is.
struct Advice {
    deployment: Deployment,
    /// ` --data DIR`, if the data directory is not quickstart's usual one.
    data_argument: String,
}

impl Advice {
    fn new(installation: &Installation, environment: &Environment) -> Self {
        let data = &installation.data;
        let is_usual = *data == quickstart_directory(environment);
        Self {
            deployment: installation.deployment(),
            data_argument: if is_usual {
                String::new()
            } else {
                format!(" --data {}", data.display())
            },
        }
    }

    fn start(&self, process: &str) -> String {
        match self.deployment {
            Deployment::Quickstart => format!("sidevault quickstart{}", self.data_argument),
            Deployment::Pair => format!("sidevault {process}"),
            Deployment::Kubernetes => format!("kubectl logs POD -c connect-{process}, and kubectl describe pod POD"),
        }
    }

    fn start_api(&self) -> String {
        self.start("api")
    }

    fn start_sync(&self) -> String {
        self.start("sync")
    }

    /// The log of sync.
    fn log(&self) -> &'static str {
        match self.deployment {
            Deployment::Quickstart => "see the output of quickstart",
            Deployment::Pair => "see the log of sync",
            Deployment::Kubernetes => "kubectl logs POD -c connect-sync",
        }
    }
}

pub(crate) async fn run(arguments: &cli::Doctor, environment: &Environment) -> Result<(), Failure> {
    if !arguments.files.is_empty() {
        let (files, fix) = (&arguments.files, arguments.fix.as_deref());
        return manifests::run(files, fix, arguments.json, environment).await;
    }
    let installation = Installation::find(&arguments.place, environment);
    let advice = Advice::new(&installation, environment);
    let mut findings = Findings::default();
    let is_here = installation.data.exists() || installation.has_keys();
    let names_a_server = environment.get("OP_CONNECT_HOST").is_some();
    if !is_here && !names_a_server {
        findings.fail(
            "server",
            format!(
                "there is no server on this machine: no keys, and no data directory {}",
                installation.data.display()
            ),
            "sidevault quickstart makes one. For a server elsewhere: export OP_CONNECT_HOST=... OP_CONNECT_TOKEN=...",
        );
        return report(&findings, arguments.json);
    }
    let api_is_up = remote::api(&mut findings, environment, &installation, &advice).await;
    if !is_here {
        return report(&findings, arguments.json);
    }
    let credentials = keys::check(&mut findings, &installation);
    local::directory(&mut findings, environment, &installation);
    if let Some(credentials) = &credentials {
        local::store(&mut findings, &installation, credentials, &advice).await;
        keys::own_token(&mut findings, environment, &installation, credentials);
    }
    let sync_is_up = local::sync(&mut findings, &installation, credentials.as_ref(), &advice).await;
    // Quickstart's port is an argument, and it opens no other one.
    if advice.deployment != Deployment::Quickstart {
        local::ports(&mut findings, environment, api_is_up, sync_is_up).await;
    }
    report(&findings, arguments.json)
}

fn report(findings: &Findings, json: bool) -> Result<(), Failure> {
    if json {
        output::json(&findings.0)?;
    } else {
        for finding in &findings.0 {
            let level = match finding.level {
                Level::Ok => output::styled("ok  ", "32"),
                Level::Warn => output::styled("warn", "33"),
                Level::Fail => output::styled("FAIL", "31"),
            };
            let place = finding.place.as_ref();
            let place = place.map_or_else(String::new, |place| {
                format!("{}:{}: ", place.file.display(), place.line)
            });
            output::line(&format!(
                "{level}  {:<12} {}",
                finding.check,
                sidevault_model::printable(&format!("{place}{}", finding.cause))
            ))?;
            if let Some(fix) = &finding.fix {
                output::line(&format!("      {:<12} -> {}", "", sidevault_model::printable(fix)))?;
            }
        }
    }
    match findings.count(Level::Fail) {
        0 => Ok(()),
        failed => Err(Failure::Found(format!(
            "doctor: {failed} of {} checks failed",
            findings.0.len()
        ))),
    }
}
