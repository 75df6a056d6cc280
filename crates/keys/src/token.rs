//! What an access token says, once it is believed; and on the wire (RFC 7519, with the claims Connect tokens carry).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sidevault_model::{Access, Timestamp, VaultId};

/// Longest token in bytes. A header line of an HTTP request rarely may be longer.
pub const MAX_TOKEN_LEN: usize = 16 * 1024;

pub(crate) const ISSUER: &str = "sidevault";
/// Connect's own audience: tools that look at tokens know it.
pub(crate) const AUDIENCE: &str = "com.1password.connect";

/// Longest id of a token in bytes. Ids that Sidevault makes have 26.
const MAX_JTI_LEN: usize = 64;

/// Connect's permission bits for "may read items" and "may write items". Its other bits are ignored.
const READ: u64 = 16;
const WRITE: u64 = 32;

/// The last second of the year 9999, the last that RFC 3339 can write.
const LAST_SECOND: i64 = 253_402_300_799;

/// A verified access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token's own id: what the activity log records and what is revoked.
    pub jti: String,
    /// What the administrator called it.
    pub name: String,
    /// The key that signed it.
    pub kid: String,
    /// What it may do, vault by vault.
    pub vaults: BTreeMap<VaultId, Access>,
    /// Those of `vaults` whose id was computed from the vault's name because `token create` had no store or no such vault in
    /// it. The token opens such an id only until it is retired (docs/tokens.md).
    pub by_name: BTreeSet<VaultId>,
    /// When it was issued, to the second.
    pub issued_at: Timestamp,
    /// From when on it is refused, to the second; `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// Why a token was refused. The text is for this server's log; clients get [`public_message`](Self::public_message).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_LEN`].
    #[error("token is longer than {MAX_TOKEN_LEN} bytes")]
    TooLong,
    /// No JWT, or one without the claims a token needs. Mostly a token that was cut while copying.
    #[error("token is not a complete JWT with the claims of an access token (cut while copying?)")]
    Malformed,
    /// Another algorithm than ES256.
    #[error("token is signed with an algorithm other than ES256")]
    Algorithm,
    /// Signed by a key that is not in the credentials.
    #[error("token is signed by key {kid:?}, which these credentials do not accept (made for another server?)")]
    UnknownKey {
        /// The key id the token names; empty if it names none or one of impossible form.
        kid: String,
    },
    /// Altered, or forged.
    #[error("token signature is wrong")]
    Signature,
    /// For another service.
    #[error("token is not meant for a Connect server: wrong `aud`")]
    Audience,
    /// By another kind of issuer.
    #[error("token was not issued by Sidevault: wrong `iss`")]
    Issuer,
    /// Its time is over.
    #[error("token {name:?} (jti {jti}) expired at {at}")]
    Expired {
        /// The token's name.
        name: String,
        /// The token's id.
        jti: String,
        /// When it expired.
        at: Timestamp,
    },
    /// Its time has not come: `nbf` or `iat` lies in the future. Mostly a clock that is wrong.
    #[error("token {name:?} (jti {jti}) is not valid before {at} (is a clock wrong?)")]
    NotYetValid {
        /// The token's name.
        name: String,
        /// The token's id.
        jti: String,
        /// From when on it is valid.
        at: Timestamp,
    },
}

impl TokenError {
    /// What a client is told: one of the two texts that Connect clients and their users know. It gives nothing away
    /// that helps to forge a token.
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
    /// Checked by the JWT library, as is `aud`; so they are only ever written here.
    #[serde(skip_deserializing)]
    pub(crate) iss: &'static str,
    #[serde(skip_deserializing)]
    pub(crate) aud: [&'static str; 1],
    /// The key id of the issuer, where Connect names the server.
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
    /// Features.
    #[serde(rename = "1password.com/fts", default)]
    pub(crate) features: Vec<String>,
    /// Vaults.
    #[serde(rename = "1password.com/vts")]
    pub(crate) vaults: Vec<VaultClaim>,
}

/// Rights on one vault.
#[derive(Serialize, Deserialize)]
pub(crate) struct VaultClaim {
    #[serde(rename = "u")]
    vault: String,
    #[serde(rename = "a")]
    bits: u64,
    /// How the maker named the vault, if not by its id. Connect's tokens don't have this member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<NamedBy>,
}

/// Any other word makes the whole token malformed, and so refused.
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
    /// The token these claims make, whether or not its time is right.
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

/// A JWT's NumericDate as a point in time.
pub(crate) fn at_second(seconds: i64) -> Result<Timestamp, TokenError> {
    match seconds {
        0..=LAST_SECOND => Ok(Timestamp::from_millis(seconds * 1000)),
        _ => Err(TokenError::Malformed),
    }
}
