//! The list of known tokens, and which of them are revoked. The signed tokens themselves are never stored.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sidevault_keys::Token;
use sidevault_model::{Access, Timestamp, VaultId};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::StoreError;
use crate::keyring::Keyring;
use crate::row_aad::RowAad;
use crate::seal::from_json;

/// What the store knows about a token. Nobody can make the token from it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    /// The token's id.
    pub jti: String,
    /// The token's name.
    pub name: String,
    /// The token's rights in each vault.
    pub vaults: BTreeMap<VaultId, Access>,
    /// The vaults of `vaults` that were granted by name: see [`Token::by_name`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub by_name: BTreeSet<VaultId>,
    /// When the token was issued.
    pub issued_at: Timestamp,
    /// When the token expires. `None`: never.
    pub expires_at: Option<Timestamp>,
    /// When the token was revoked. `None`: it is not.
    #[serde(default)]
    pub revoked_at: Option<Timestamp>,
}

impl From<&Token> for TokenRecord {
    fn from(token: &Token) -> Self {
        Self {
            jti: token.jti.clone(),
            name: token.name.clone(),
            vaults: token.vaults.clone(),
            by_name: token.by_name.clone(),
            issued_at: token.issued_at,
            expires_at: token.expires_at,
            revoked_at: None,
        }
    }
}

impl TokenRecord {
    /// A token that is revoked before it was used or registered, so that only its id is known.
    pub(crate) fn unseen(jti: &str, expires_at: Option<i64>) -> Self {
        Self {
            jti: jti.to_owned(),
            name: String::new(),
            vaults: BTreeMap::new(),
            by_name: BTreeSet::new(),
            issued_at: Timestamp::from_millis(0),
            expires_at: expires_at.map(Timestamp::from_millis),
            revoked_at: None,
        }
    }

    pub(crate) fn from_row(row: &AnyRow, keyring: &Keyring) -> Result<Self, StoreError> {
        let jti: String = row.try_get("jti")?;
        let revoked_at = row.try_get::<Option<i64>, _>("revoked_at")?.map(Timestamp::from_millis);
        let aad = RowAad::token(&jti, revoked_at);
        let record: Self = from_json(&aad, &keyring.open(&aad, row.try_get("sealed")?)?)?;
        Ok(Self { revoked_at, ..record })
    }
}
