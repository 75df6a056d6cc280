//! Checks of the api, as its clients see it.

use std::time::Duration;

use sidevault_client::{Client, ClientBuilder, ClientError};
use sidevault_model::{Dependency, DependencyStatus, printable};

use super::{Advice, Findings};
use crate::environment::Environment;
use crate::installation::Installation;
use crate::server::{DEFAULT_HOST, host, token};
use crate::settings::{Role, Settings, TlsSetting};

/// Checks whether the api answers, and the state of each part that `/health` lists. Returns whether an api listens.
pub(super) async fn api(
    findings: &mut Findings,
    environment: &Environment,
    installation: &Installation,
    advice: &Advice,
) -> bool {
    let host = host(environment, &installation.data).unwrap_or_else(|| own(environment));
    let client = match client(&host, environment, installation) {
        Ok(client) => client,
        Err(error) => {
            findings.fail(
                "api",
                format!("OP_CONNECT_HOST: {error}"),
                "export OP_CONNECT_HOST=http://localhost:8080",
            );
            return false;
        }
    };
    match client.health().await {
        Ok(health) => {
            findings.ok(
                "api",
                format!("{host}: {} {}", printable(&health.name), printable(&health.version)),
            );
            for part in &health.dependencies {
                dependency(findings, part, advice);
            }
            true
        }
        Err(error) => {
            let is_tls = error.is_certificate();
            let fix = if is_tls {
                "export OP_CONNECT_HOST=https://NAME:PORT with a name in the certificate, and SSL_CERT_FILE if its authority \
                 is your own"
                    .to_owned()
            } else if error.is_unreachable() && environment.get("OP_CONNECT_HOST").is_some() {
                "start that server, or set OP_CONNECT_HOST to another one".to_owned()
            } else if error.is_unreachable() {
                advice.start_api()
            } else {
                "see the log of the api".to_owned()
            };
            let message = error.to_string();
            let named = message.contains(host.as_str());
            let message = if named { message } else { format!("{host}: {message}") };
            findings.fail("api", message, fix);
            // A certificate that is not accepted shows that a server listens.
            is_tls || !error.is_unreachable()
        }
    }
}

/// The address on which an api with this environment listens.
fn own(environment: &Environment) -> String {
    match Settings::read(environment, Role::Api) {
        Ok(settings) if settings.tls != TlsSetting::Off => format!("https://localhost:{}", settings.https_port),
        Ok(settings) => format!("http://localhost:{}", settings.http_port),
        Err(_) => DEFAULT_HOST.to_owned(),
    }
}

fn client(host: &str, environment: &Environment, installation: &Installation) -> Result<Client, ClientError> {
    // `/health` needs no token; the client does.
    let token = token(environment, &installation.data).map_or_else(|_| "none".to_owned(), |(token, _)| token);
    ClientBuilder::new(host, token)
        .timeout(Duration::from_secs(5))
        .connect_timeout(Duration::from_secs(2))
        .build()
}

fn dependency(findings: &mut Findings, part: &Dependency, advice: &Advice) {
    let message = part.message.as_deref().unwrap_or_default();
    let what = format!("{} is {} {message}", part.service, part.status);
    let what = printable(what.trim_end());
    let is_source = !matches!(part.service.as_str(), "sqlite" | "sync" | "revocation list");
    match &part.status {
        // Connect says TOKEN_NEEDED until the first client came.
        DependencyStatus::Active | DependencyStatus::TokenNeeded => findings.ok("health", what),
        DependencyStatus::Initialized => findings.warn("health", what, "ask again in a moment: the part is starting"),
        DependencyStatus::Degraded if is_source => findings.fail(
            "health",
            what,
            format!(
                "correct the files that it names (they are named if OP_CONNECT_TOKEN is a token of this server; else {}). For \
                 files that no key opens: SOPS_AGE_KEY_FILE=FILE in the environment of sync, or --age-key-file FILE",
                advice.log()
            ),
        ),
        DependencyStatus::Degraded => findings.warn("health", what, advice.log()),
        DependencyStatus::Failed | DependencyStatus::Other(_) => findings.fail("health", what, advice.log()),
    }
}
