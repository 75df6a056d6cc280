//! Access tokens: the content of a verified token, and the claims of the JWT (RFC 7519; the claims are those of Connect's tokens).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sidevault_model::{Access, Timestamp, VaultId};

/// The longest token in bytes. Most HTTP servers accept no longer header line.
pub const MAX_TOKEN_LEN: usize = 16 * 1024;

pub(crate) const ISSUER: &str = "sidevault";
/// The audience of Connect's tokens, which tools that inspect tokens know.
pub(crate) const AUDIENCE: &str = "com.1password.connect";

/// The longest id of a token in bytes. Ids that Sidevault makes have 26.
const MAX_JTI_LEN: usize = 64;

/// Connect's permission bits for reading and writing items. Other bits are ignored.
const READ: u64 = 16;
const WRITE: u64 = 32;

/// The last second of the year 9999: RFC 3339 can't express a later one.
const LAST_SECOND: i64 = 253_402_300_799;

/// A verified access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token's id. The activity log records it, and revocations name it.
    pub jti: String,
    /// The name that the administrator gave the token.
    pub name: String,
    /// The id of the key that signed the token.
    pub kid: String,
    /// The token's rights in each vault.
    pub vaults: BTreeMap<VaultId, Access>,
    /// The vaults of `vaults` whose id was computed from the vault's name, because `token create` had no store or the store had
    /// no such vault. The token opens such an id only until the id is retired (docs/tokens.md).
    pub by_name: BTreeSet<VaultId>,
    /// When the token was issued, to the second.
    pub issued_at: Timestamp,
    /// When the token expires, to the second. `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// Why a token was refused. The text is for the server's log. Clients get [`public_message`](Self::public_message).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is longer than [`MAX_TOKEN_LEN`].
    #[error("token is longer than {MAX_TOKEN_LEN} bytes")]
    TooLong,
    /// The text is no JWT, or lacks claims of an access token. Mostly the token was cut while it was copied.
    #[error("token is not a complete JWT with the claims of an access token (cut while copying?)")]
    Malformed,
    /// The algorithm is not ES256.
    #[error("token is signed with an algorithm other than ES256")]
    Algorithm,
    /// The key that signed the token is not in the credentials.
    #[error("token is signed by key {kid:?}, which these credentials do not accept (made for another server?)")]
    UnknownKey {
        /// The key id in the token. Empty if the token has none, or one that can't be a key id.
        kid: String,
    },
    /// The token was altered or forged.
    #[error("token signature is wrong")]
    Signature,
    /// The token is for another service.
    #[error("token is not meant for a Connect server: wrong `aud`")]
    Audience,
    /// Another product issued the token.
    #[error("token was not issued by Sidevault: wrong `iss`")]
    Issuer,
    /// The token has expired.
    #[error("token {name:?} (jti {jti}) expired at {at}")]
    Expired {
        /// The token's name.
        name: String,
        /// The token's id.
        jti: String,
        /// When it expired.
        at: Timestamp,
    },
    /// `nbf` or `iat` is in the future. Mostly a clock is wrong.
    #[error("token {name:?} (jti {jti}) is not valid before {at} (is a clock wrong?)")]
    NotYetValid {
        /// The token's name.
        name: String,
        /// The token's id.
        jti: String,
        /// When the token becomes valid.
        at: Timestamp,
    },
}

impl TokenError {
    /// The text for the client: one of the two texts that Connect's clients and their users know. It does not help to forge a
    /// token.
    pub fn public_message(&self) -> &'static str {
        match self {
            Self::Algorithm | Self::UnknownKey { .. } | Self::Signature => "Invalid token signature",
            _ => "Invalid bearer token",
        }
    }
}

/// The payload of the JWT.
#[derive(Serialize, Deserialize)]
pub(crate) struct Claims {
    /// `jsonwebtoken` checks `iss` and `aud` itself, so they are only written here, not read.
    #[serde(skip_deserializing)]
    pub(crate) iss: &'static str,
    #[serde(skip_deserializing)]
    pub(crate) aud: [&'static str; 1],
    /// The issuer's key id. Connect's tokens name the server here.
    #[serde(default)]
    pub(crate) sub: String,
    pub(crate) iat: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exp: Option<i64>,
    pub(crate) jti: String,
    #[serde(default)]
    pub(crate) name: String,
    /// What the token is for: always `vaultaccess`.
    #[serde(rename = "1password.com/fts", default)]
    pub(crate) features: Vec<String>,
    /// The rights in each vault.
    #[serde(rename = "1password.com/vts")]
    pub(crate) vaults: Vec<VaultClaim>,
}

/// The rights in one vault.
#[derive(Serialize, Deserialize)]
pub(crate) struct VaultClaim {
    #[serde(rename = "u")]
    vault: String,
    #[serde(rename = "a")]
    bits: u64,
    /// `name` if the administrator named the vault by its name and not by its id. Connect's tokens do not have this member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<NamedBy>,
}

/// Any other word makes the whole token malformed, so that it is refused.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum NamedBy {
    Name,
}

impl VaultClaim {
    pub(crate) fn new(vault: &VaultId, access: Access, by_name: bool) -> Self {
        let bits = if access.read { READ } else { 0 } | if access.write { WRITE } else { 0 };
        Self {
            vault: vault.as_str().to_owned(),
            bits,
            by: by_name.then_some(NamedBy::Name),
        }
    }

    fn read(&self) -> Result<(VaultId, Access), TokenError> {
        // Connect writes vault ids in capitals in some tokens.
        let vault = VaultId::parse(&self.vault.to_ascii_lowercase()).map_err(|_| TokenError::Malformed)?;
        Ok((
            vault,
            Access {
                read: self.bits & READ != 0,
                write: self.bits & WRITE != 0,
            },
        ))
    }
}

impl Claims {
    /// The token with these claims. This does not check the times.
    pub(crate) fn into_token(self, kid: String) -> Result<Token, TokenError> {
        if self.jti.len() > MAX_JTI_LEN {
            return Err(TokenError::Malformed);
        }
        let mut vaults = BTreeMap::new();
        let mut by_name = BTreeSet::new();
        for claim in &self.vaults {
            let (vault, access) = claim.read()?;
            if claim.by == Some(NamedBy::Name) {
                by_name.insert(vault);
            }
            let granted: &mut Access = vaults.entry(vault).or_default();
            *granted = Access {
                read: granted.read || access.read,
                write: granted.write || access.write,
            };
        }
        Ok(Token {
            kid,
            vaults,
            by_name,
            issued_at: at_second(self.iat)?,
            expires_at: self.exp.map(at_second).transpose()?,
            jti: self.jti,
            name: self.name,
        })
    }
}

/// A JWT's NumericDate as a timestamp.
pub(crate) fn at_second(seconds: i64) -> Result<Timestamp, TokenError> {
    match seconds {
        0..=LAST_SECOND => Ok(Timestamp::from_millis(seconds * 1000)),
        _ => Err(TokenError::Malformed),
    }
}
