//! Quickstart's token: it covers all vaults, and later runs use it again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sidevault_keys::{Credentials, IssueError, Issuer, Token, TokenSpec, write_new};
use sidevault_model::{Access, Timestamp, VaultId};
use sidevault_store::{Command, TokenRecord, VaultEntry};
use zeroize::Zeroizing;

use super::keys::Keys;
use crate::exit::Failure;
use crate::installation::TOKEN_FILE;
use crate::output::shell_word;

/// When the published token was "issued": it must not change from run to run.
const DEV_ISSUED: Timestamp = Timestamp::from_millis(1_735_689_600_000);

/// The published token's id. Tokens with equal claims are equal texts.
const DEV_JTI: &str = "sidevaultdevelopmenttoken0";

/// A token, and how the store lists it.
pub(super) struct Issued {
    pub(super) jwt: Zeroizing<String>,
    pub(super) jti: String,
    /// Whether this token was made now.
    pub(super) is_new: bool,
    record: TokenRecord,
}

impl Issued {
    fn new((jwt, token): (Zeroizing<String>, Token), is_new: bool) -> Self {
        Self {
            jwt,
            jti: token.jti.clone(),
            is_new,
            record: TokenRecord::from(&token),
        }
    }

    /// The command that registers the token's name in the store.
    pub(super) fn registration(&self) -> Command {
        Command::RegisterToken(self.record.clone())
    }
}

/// The published token. It grants all rights in all vaults: there is nothing to protect in them.
pub(super) fn published(keys: &Keys, vaults: &[Arc<VaultEntry>]) -> Result<Issued, Failure> {
    let vaults = vaults
        .iter()
        .map(|entry| (entry.vault.id, Access::READ_WRITE))
        .collect();
    let spec = TokenSpec {
        name: "development".to_owned(),
        vaults,
        jti: Some(DEV_JTI.to_owned()),
        ..TokenSpec::default()
    };
    Ok(Issued::new(keys.issuer.issue(&spec, DEV_ISSUED)?, true))
}

/// The token in the data directory if it is valid and covers all vaults, else a new one, which replaces it there.
pub(super) fn kept(
    data: &Path,
    credentials: &Credentials,
    issuer: &Issuer,
    vaults: &[Arc<VaultEntry>],
) -> Result<Issued, Failure> {
    // Whether a directory can be written says its source, not the token.
    let wanted: BTreeMap<VaultId, Access> = vaults
        .iter()
        .map(|entry| (entry.vault.id, Access::READ_WRITE))
        .collect();
    let path = data.join(TOKEN_FILE);
    if let Ok(jwt) = std::fs::read_to_string(&path) {
        let jwt = Zeroizing::new(jwt.trim().to_owned());
        if let Ok(token) = credentials.verifier().verify(&jwt, Timestamp::now())
            && covers(&token, &wanted)
        {
            return Ok(Issued::new((jwt, token), false));
        }
    }
    let spec = TokenSpec {
        name: "quickstart".to_owned(),
        vaults: wanted,
        ..TokenSpec::default()
    };
    let issued = issuer.issue(&spec, Timestamp::now()).map_err(|error| match error {
        IssueError::TooManyVaults(count) => Failure::Config(format!(
            "a token can't hold rights on {count} vaults: serve fewer directories"
        )),
        error => error.into(),
    })?;
    let issued = Issued::new(issued, true);
    replace(&path, &issued.jwt)?;
    Ok(issued)
}

/// Tells the user about a new token in the token file.
pub(super) fn renewal_note(file: &Path) -> String {
    format!(
        "{} has a new token, which covers it. A shell that exported the old one: export OP_CONNECT_TOKEN=\"$(cat {})\"",
        file.display(),
        shell_word(&file.to_string_lossy())
    )
}

fn covers(token: &Token, wanted: &BTreeMap<VaultId, Access>) -> bool {
    wanted.iter().all(|(vault, access)| {
        let granted = token.vaults.get(vault).copied().unwrap_or_default();
        granted.intersect(*access) == *access
    })
}

/// Writes the token file. No other user can read it at any moment, and it is never half-written.
fn replace(path: &Path, jwt: &str) -> Result<(), Failure> {
    let fresh = path.with_extension("token.new");
    // A run that was killed between the two steps leaves this file behind.
    let _ = std::fs::remove_file(&fresh);
    write_new(&fresh, format!("{jwt}\n").as_bytes())?;
    Ok(std::fs::rename(&fresh, path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_covers_what_it_grants_at_least() {
        let keys = super::super::keys::published();
        let [a, b] = ["a", "b"].map(|name| keys.issuer.id_key().vault(name));
        let spec = TokenSpec {
            name: "x".into(),
            vaults: [(a, Access::READ_WRITE)].into(),
            ..TokenSpec::default()
        };
        let (_, token) = keys.issuer.issue(&spec, Timestamp::now()).unwrap();
        assert!(covers(&token, &[(a, Access::READ)].into()));
        assert!(!covers(&token, &[(a, Access::READ), (b, Access::READ)].into()));
    }

    #[test]
    fn the_published_token_is_the_same_each_time() {
        let make = || published(&super::super::keys::published(), &[]).unwrap();
        assert_eq!(make().jwt, make().jwt);
    }

    #[test]
    fn a_token_file_is_private_and_can_be_replaced() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TOKEN_FILE);
        replace(&path, "one").unwrap();
        replace(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
