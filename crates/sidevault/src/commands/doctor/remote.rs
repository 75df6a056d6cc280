//! The api, as its clients see it.

use std::time::Duration;

use sidevault_client::{Client, ClientBuilder, ClientError};
use sidevault_model::{Dependency, DependencyStatus};

use super::Findings;
use crate::commands::item::{DEFAULT_HOST, host, token};
use crate::environment::Environment;
use crate::installation::Installation;
use crate::output::printable;
use crate::settings::{Role, Settings, TlsSetting};

/// `/health`: reachable, which version, and how its parts are.
pub(super) async fn api(
    findings: &mut Findings,
    environment: &Environment,
    installation: &Installation,
    is_up: &mut bool,
) {
    let host = host(environment, &installation.data).unwrap_or_else(|| own(environment));
    let client = match client(&host, environment, installation) {
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
            // A certificate that is not believed shows that something is there.
            let is_tls = error.is_certificate();
            *is_up = is_tls || !error.is_unreachable();
            let fix = match error {
                _ if is_tls => {
                    "export OP_CONNECT_HOST=https://NAME:PORT with a name in the certificate, and SSL_CERT_FILE if its authority is your own"
                }
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

/// Where an api with this environment listens.
fn own(environment: &Environment) -> String {
    match Settings::read(environment, Role::Api) {
        Ok(settings) if settings.tls != TlsSetting::Off => format!("https://localhost:{}", settings.https_port),
        Ok(settings) => format!("http://localhost:{}", settings.http_port),
        Err(_) => DEFAULT_HOST.to_owned(),
    }
}

fn client(host: &str, environment: &Environment, installation: &Installation) -> Result<Client, ClientError> {
    // `/health` needs no token; the client does.
    let token = token(environment, &installation.data).unwrap_or_else(|_| "none".to_owned());
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
        printable(part.status.as_str()),
        printable(message)
    );
    let what = what.trim_end().to_owned();
    match &part.status {
        // What a fresh server says before the first client came.
        DependencyStatus::Active | DependencyStatus::TokenNeeded if !message.contains("WARNING") => {
            findings.ok("health", what)
        }
        DependencyStatus::Active | DependencyStatus::TokenNeeded | DependencyStatus::Initialized => {
            findings.warn("health", what, "curl $OP_CONNECT_HOST/health")
        }
        DependencyStatus::Degraded => findings.warn(
            "health",
            what,
            "correct the files that it names (to a token: OP_CONNECT_TOKEN), or the log of sync; the others are served",
        ),
        DependencyStatus::Failed | DependencyStatus::Other(_) => findings.fail("health", what, "see the log of sync"),
    }
}
