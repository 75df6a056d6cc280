//! Checks of the credentials file and of tokens.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sidevault_keys::{Credentials, CredentialsError, TokenError};
use sidevault_model::Timestamp;

use super::Findings;
use crate::environment::Environment;
use crate::installation::Installation;
use crate::server::token;

/// A token that expires within so many milliseconds (14 days) is a warning.
const SOON: i64 = 14 * 24 * 3600 * 1000;

/// Checks whether a server could use the credentials, and returns them.
pub(super) fn check(findings: &mut Findings, installation: &Installation) -> Option<Credentials> {
    let session = installation.session();
    let path = Path::new(&session);
    let is_file = path.is_file();
    if is_file {
        mode(findings, path);
    }
    match installation.credentials() {
        Ok(credentials) => {
            // OP_SESSION may hold the keys themselves, which must not be shown.
            let place = if is_file {
                session
            } else {
                "OP_SESSION holds them".to_owned()
            };
            findings.ok(
                "credentials",
                format!("{place}, installation {}", credentials.device_uuid()),
            );
            Some(credentials)
        }
        Err(failure) => {
            findings.fail("credentials", failure.to_string(), fix(installation));
            None
        }
    }
}

fn fix(installation: &Installation) -> &'static str {
    if !installation.has_keys() {
        return "export OP_SESSION=/path/to/1password-credentials.json";
    }
    match installation.fault() {
        Some(CredentialsError::WrongPassphrase) => {
            "put the right passphrase into the file SIDEVAULT_PASSPHRASE_FILE names"
        }
        Some(CredentialsError::PassphraseNeeded | CredentialsError::PassphraseFileMissing { .. }) => {
            "export SIDEVAULT_PASSPHRASE_FILE=/path/to/passphrase"
        }
        Some(CredentialsError::Missing { .. }) => "export OP_SESSION=/path/to/1password-credentials.json",
        _ => "copy the file again from where `sidevault init` wrote it",
    }
}

fn mode(findings: &mut Findings, path: &Path) {
    let Ok(metadata) = path.metadata() else { return };
    let mode = metadata.mode() & 0o777;
    let what = format!(
        "{} belongs to uid {} with mode {mode:04o}",
        path.display(),
        metadata.uid()
    );
    // A Secret volume in Kubernetes is group-readable where fsGroup is set.
    match mode & 0o007 {
        0 => findings.ok("key file", what),
        _ => findings.warn(
            "key file",
            format!("{what}: every user of this machine can read the keys"),
            format!("chmod 600 {}", path.display()),
        ),
    }
}

/// Checks the token that `sidevault item` would send.
pub(super) fn own_token(
    findings: &mut Findings,
    environment: &Environment,
    installation: &Installation,
    credentials: &Credentials,
) {
    let Ok((jwt, source)) = token(environment, &installation.data) else {
        return;
    };
    let now = Timestamp::now();
    match credentials.verifier().verify(jwt.trim(), now) {
        Ok(token) => match token.expires_at {
            Some(at) if at.as_millis() - now.as_millis() < SOON => findings.warn(
                "token",
                format!("\"{}\" expires at {at}", token.name),
                "sidevault token create NAME --vault VAULT=RIGHTS --expires 90d",
            ),
            _ => findings.ok("token", format!("\"{}\" in {source} is accepted", token.name)),
        },
        Err(error @ TokenError::NotYetValid { .. }) => findings.fail(
            "token",
            error.to_string(),
            format!("set the clock: this machine says it is {now}"),
        ),
        Err(error) => findings.fail(
            "token",
            format!("{source}: {error}"),
            "sidevault token create NAME --vault VAULT=RIGHTS, and set OP_CONNECT_TOKEN to it",
        ),
    }
}

/// Checks the tokens that the store knows, and whether this machine's clock is later than all of them.
pub(super) fn known_tokens(findings: &mut Findings, tokens: &[sidevault_store::TokenRecord]) {
    let now = Timestamp::now();
    let live = || tokens.iter().filter(|token| token.revoked_at.is_none());
    let ending: Vec<String> = live()
        .filter_map(|token| {
            let at = token.expires_at?;
            let left = at.as_millis() - now.as_millis();
            (0..SOON).contains(&left).then(|| format!("\"{}\" ({at})", token.name))
        })
        .collect();
    if ending.is_empty() {
        findings.ok(
            "tokens",
            format!("{} known, none expires within 14 days", live().count()),
        );
    } else {
        findings.warn(
            "tokens",
            format!("expire within 14 days: {}", ending.join(", ")),
            "sidevault token create NAME --vault VAULT=RIGHTS --expires 90d",
        );
    }
    let newest = live().map(|token| token.issued_at).max();
    match newest.filter(|at| at.as_millis() > now.as_millis() + 60_000) {
        Some(at) => findings.fail(
            "clock",
            format!("a token was issued at {at}, but here it is {now}: a clock is wrong"),
            "set this machine's clock, or the one where tokens are made",
        ),
        None => findings.ok("clock", format!("{now}, later than every token")),
    }
}
