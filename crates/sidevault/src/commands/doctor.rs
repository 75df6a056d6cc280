//! `sidevault doctor`: looks at everything that usually goes wrong, and says what to do.

mod keys;
mod local;
mod remote;

use serde::Serialize;

use crate::cli;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::output;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    /// What was seen, and why it is as it is.
    cause: String,
    /// One command, or one thing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// What was found so far.
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
        });
    }

    fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }
}

pub(crate) async fn run(arguments: &cli::Doctor, environment: &Environment) -> Result<(), Failure> {
    let installation = Installation::find(&arguments.place, environment);
    let mut findings = Findings::default();
    let credentials = keys::check(&mut findings, &installation);
    local::directory(&mut findings, environment, &installation);
    let mut api_is_up = false;
    remote::api(&mut findings, environment, &installation, &mut api_is_up).await;
    if let Some(credentials) = &credentials {
        local::store(&mut findings, &installation, credentials).await;
        keys::own_token(&mut findings, environment, &installation, credentials);
    }
    let sync_is_up = local::sync(&mut findings, &installation, credentials.as_ref()).await;
    local::ports(&mut findings, environment, api_is_up, sync_is_up).await;
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
            output::line(&format!(
                "{level}  {:<12} {}",
                finding.check,
                output::printable(&finding.cause)
            ))?;
            if let Some(fix) = &finding.fix {
                output::line(&format!("      {:<12} -> {fix}", ""))?;
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
