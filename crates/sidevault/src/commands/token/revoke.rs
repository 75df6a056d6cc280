//! `sidevault token revoke` and `token revoked`: revocations in the store and on the revocation list.

use std::path::Path;

use sidevault_keys::{RevocationList, canonical_jti};
use sidevault_model::{Timestamp, printable};
use sidevault_store::{Command, TokenRecord};
use sidevault_sync::disk_of;

use super::{inspect, tokens};
use crate::admin;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::output;

const LIST_HINT: &str = "sidevault token revoke JTI --file PATH, where PATH is the api's SIDEVAULT_REVOKED_FILE, or \
                         revoked-tokens beside its credentials";

/// A token to revoke.
struct Target {
    jti: String,
    /// Empty if the name is not known.
    name: String,
    expires_at: Option<Timestamp>,
}

impl From<&TokenRecord> for Target {
    fn from(token: &TokenRecord) -> Self {
        Self {
            jti: token.jti.clone(),
            name: token.name.clone(),
            expires_at: token.expires_at,
        }
    }
}

/// Revokes tokens in the store.
pub(super) async fn in_store(wanted: &[String], installation: &Installation) -> Result<(), Failure> {
    let credentials = installation.credentials()?;
    let known = tokens(installation, &credentials).await?;
    // Look up all tokens first, so that a misspelt one is reported before any is revoked.
    let targets: Vec<Target> = wanted
        .iter()
        .map(|wanted| find(wanted, Some(&known)))
        .collect::<Result<_, _>>()?;
    for target in targets {
        let command = Command::RevokeToken {
            jti: target.jti.clone(),
            expires_at: target.expires_at.map(Timestamp::as_millis),
        };
        let done = admin::command(installation, &credentials, command).await;
        done.inspect_err(|_| eprintln!("note: the revocation list works without the store: {LIST_HINT}"))?;
        output::line(&format!("revoked {}", target.jti))?;
    }
    let disk = disk_of(&installation.database()?, &installation.data);
    if disk.is_ephemeral() {
        eprintln!(
            "note: {} is on {disk}, and revocations are lost with it. A revocation list outlives it: {LIST_HINT}",
            installation.data.display()
        );
    }
    Ok(())
}

/// Adds tokens to a revocation list. The store, if it is on this machine, is read for their names only.
pub(super) async fn on_list(wanted: &[String], path: &Path, installation: &Installation) -> Result<(), Failure> {
    let known = match installation.credentials() {
        Ok(credentials) if installation.has_store() => tokens(installation, &credentials).await.ok(),
        _ => None,
    };
    let targets: Vec<Target> = wanted
        .iter()
        .map(|wanted| find(wanted, known.as_deref()))
        .collect::<Result<_, _>>()?;
    let now = Timestamp::now();
    let entries: Vec<(String, String)> = targets.iter().map(|target| entry(target, now)).collect();
    extend(path, &entries)?;
    for target in targets {
        output::line(&format!("revoked {} in {}", target.jti, path.display()))?;
    }
    Ok(())
}

/// Prints the tokens that are revoked in the store, and adds them to a list.
pub(super) async fn export(out: Option<&Path>, installation: &Installation) -> Result<(), Failure> {
    let now = Timestamp::now();
    let entries: Vec<(String, String)> = tokens(installation, &installation.credentials()?)
        .await?
        .iter()
        .filter(|token| token.expires_at.is_none_or(|at| at > now))
        .filter_map(|token| Some(entry(&token.into(), token.revoked_at?)))
        .collect();
    if let Some(path) = out {
        extend(path, &entries)?;
    }
    output::line(RevocationList::render(&entries).trim_end())
}

/// A line of the list: a token's id, and as a comment its name, when it was revoked and when it expires.
fn entry(target: &Target, revoked_at: Timestamp) -> (String, String) {
    let mut comment = match target.name.as_str() {
        "" => String::new(),
        name => format!("{}, ", printable(name)),
    };
    comment += &format!("revoked {revoked_at}");
    if let Some(at) = target.expires_at {
        comment += &format!(", expires {at}");
    }
    (target.jti.clone(), comment)
}

fn extend(path: &Path, entries: &[(String, String)]) -> Result<(), Failure> {
    RevocationList::extend(path, entries).map_err(|error| {
        Failure::Failed(format!(
            "the revocation list {}: {error}; nothing was added",
            path.display()
        ))
    })
}

/// The token with this id, or the one with this name that was not revoked.
fn find(wanted: &str, known: Option<&[TokenRecord]>) -> Result<Target, Failure> {
    let jti = canonical_jti(wanted);
    let by_name: Vec<&TokenRecord> = known
        .unwrap_or_default()
        .iter()
        .filter(|token| token.name == wanted && token.revoked_at.is_none())
        .collect();
    let by_id = known
        .unwrap_or_default()
        .iter()
        .find(|token| Some(&token.jti) == jti.as_ref());
    match (by_id, by_name.as_slice(), jti) {
        (Some(token), ..) | (None, &[token], _) => Ok(token.into()),
        // Of a token that was never used or registered, the store does not know the name.
        (None, [], Some(jti)) => Ok(Target {
            jti,
            name: String::new(),
            expires_at: None,
        }),
        (None, [], None) => Err(unknown(wanted, known.is_some())),
        (None, several, _) => {
            let ids: Vec<&str> = several.iter().map(|token| token.jti.as_str()).collect();
            Err(Failure::Conflict(format!(
                "several tokens are named \"{}\": revoke each of them by its jti ({})",
                printable(wanted),
                ids.join(", ")
            )))
        }
    }
}

fn unknown(wanted: &str, has_store: bool) -> Failure {
    // If the argument is a token instead of a token's name, the message must not show it.
    if let Ok((_, claims)) = inspect::parts(wanted) {
        let jti = claims["jti"].as_str().and_then(canonical_jti).unwrap_or_default();
        return Failure::Usage(format!("this is a token, not its name: revoke it by its jti, {jti}"));
    }
    let wanted = printable(wanted);
    Failure::NotFound(if has_store {
        format!(
            "token \"{wanted}\" not found: the store knows a token's name once the token was used, or if the store could be \
             written when the token was made (sidevault token list). Revoke it by its jti, which `sidevault token inspect \
             TOKEN` shows"
        )
    } else {
        format!(
            "token \"{wanted}\" not found: there is no store here that knows tokens' names. Revoke it by its jti, which \
             `sidevault token inspect TOKEN` shows"
        )
    })
}
