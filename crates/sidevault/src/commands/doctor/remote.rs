//! The api, as its clients see it.

use std::time::Duration;

use sidevault_client::{Client, ClientBuilder, ClientError};
use sidevault_model::Dependency;

use super::Findings;
use crate::commands::item::{host, token};
use crate::environment::Environment;
use crate::output::printable;

/// `/health`: reachable, which version, and how its parts are.
pub(super) async fn api(findings: &mut Findings, environment: &Environment, is_up: &mut bool) {
    let host = host(environment);
    let client = match client(&host, environment) {
        Ok(client) => client,
        Err(error) => {
            findings.fail(
                "api",
                format!("OP_CONNECT_HOST: {error}"),
                "export OP_CONNECT_HOST=http://localhost:8080",
            );
            return;
        }
    };
    let health = match client.health().await {
        Ok(health) => health,
        Err(error) => {
            *is_up = !error.is_unreachable();
            let fix = match error {
                ClientError::Unreachable(_) => "start `sidevault api`, or set OP_CONNECT_HOST to where it is",
                _ => "see the log of the api",
            };
            findings.fail("api", format!("{host}: {error}"), fix);
            return;
        }
    };
    *is_up = true;
    findings.ok(
        "api",
        format!("{host}: {} {}", printable(&health.name), printable(&health.version)),
    );
    for part in &health.dependencies {
        dependency(findings, part);
    }
}

fn client(host: &str, environment: &Environment) -> Result<Client, ClientError> {
    // `/health` needs no token; the client does.
    let token = token(environment).unwrap_or_else(|_| "none".to_owned());
    ClientBuilder::new(host, token)
        .timeout(Duration::from_secs(5))
        .connect_timeout(Duration::from_secs(2))
        .build()
}

fn dependency(findings: &mut Findings, part: &Dependency) {
    let message = part.message.as_deref().unwrap_or_default();
    let what = format!(
        "{} is {} {}",
        printable(&part.service),
        printable(&part.status),
        printable(message)
    );
    let what = what.trim_end().to_owned();
    match part.status.as_str() {
        // What a fresh server says before the first client came.
        "ACTIVE" | "TOKEN_NEEDED" if !message.contains("WARNING") => findings.ok("health", what),
        "ACTIVE" | "TOKEN_NEEDED" | "INITIALIZED" => findings.warn("health", what, "curl $OP_CONNECT_HOST/health"),
        "DEGRADED" => findings.warn("health", what, "correct the files it names; the others are served"),
        _ => findings.fail("health", what, "see the log of sync"),
    }
}
