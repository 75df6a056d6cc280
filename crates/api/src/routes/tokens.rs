//! `/v1/tokens`: the tokens that open the same vaults, and their revocation. Only an api that serves the page has these routes.

use std::collections::BTreeMap;

use axum::Json;
use http::StatusCode;
use serde::Serialize;
use sidevault_model::{Access, Timestamp, VaultId};
use sidevault_store::{Command, CommandAnswer, TokenRecord};

use crate::caller::Caller;
use crate::error::ApiError;

use super::path::Path;

/// A token, as far as the caller may know it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    jti: String,
    name: String,
    /// The rights in those vaults that the caller may read.
    vaults: BTreeMap<VaultId, Access>,
    issued_at: Timestamp,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    /// Whether the caller sent this token.
    is_caller: bool,
    can_revoke: bool,
}

/// The caller's own token.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Own {
    jti: String,
    name: String,
    vaults: Vec<OwnVault>,
    issued_at: Timestamp,
    expires_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnVault {
    id: VaultId,
    access: Access,
    /// The source that the vault comes from. None for a local vault.
    source: Option<String>,
}

/// Tokens with a right in a vault that the caller may read, oldest first.
pub(super) async fn list(caller: Caller) -> Result<Json<Vec<Shown>>, ApiError> {
    let known = caller.store().await?.tokens().await?;
    let shown = known.into_iter().filter_map(|record| {
        let vaults: BTreeMap<_, _> = rights(&caller, &record)
            .filter(|(vault, _)| caller.access(*vault).read)
            .collect();
        (!vaults.is_empty()).then(|| Shown {
            is_caller: record.jti == caller.token.jti,
            can_revoke: record.revoked_at.is_none() && may_revoke(&caller, &record),
            vaults,
            jti: record.jti,
            name: record.name,
            issued_at: record.issued_at,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
        })
    });
    Ok(Json(shown.collect()))
}

/// The caller's token: its rights, and where its vaults come from.
pub(super) async fn own(caller: Caller) -> Json<Own> {
    let vaults = caller.vaults_in_scope().map(|entry| OwnVault {
        id: entry.vault.id,
        access: caller.access(entry.vault.id),
        source: (!entry.is_local()).then(|| entry.source.clone()),
    });
    Json(Own {
        jti: caller.token.jti.clone(),
        name: caller.token.name.clone(),
        vaults: vaults.collect(),
        issued_at: caller.token.issued_at,
        expires_at: caller.token.expires_at,
    })
}

/// Revokes a token, for good.
///
/// # Errors
/// 404 if the caller may not know the token; 403 if the token has a right that the caller lacks, or opens a vault to which the
/// caller may not write.
pub(super) async fn revoke(caller: Caller, Path(jti): Path<String>) -> Result<StatusCode, ApiError> {
    let known = caller.store().await?.tokens().await?;
    let is_known =
        |record: &TokenRecord| record.jti == jti && rights(&caller, record).any(|(vault, _)| caller.access(vault).read);
    let record = known.into_iter().find(is_known);
    let record = record.ok_or_else(|| ApiError::not_found("token", "with this jti"))?;
    if !may_revoke(&caller, &record) {
        return Err(ApiError::forbidden(
            "a token revokes itself, and those tokens that open only vaults which it may read and write. Use `sidevault token \
             revoke` on the server for others",
        ));
    }
    let command = Command::RevokeToken {
        jti: record.jti.clone(),
        expires_at: record.expires_at.map(Timestamp::as_millis),
    };
    match caller.command_without_vault(&command).await? {
        CommandAnswer::Done => {
            tracing::info!(jti = record.jti, by = caller.token.jti, "a token was revoked");
            Ok(StatusCode::NO_CONTENT)
        }
        _ => Err(ApiError::internal("sync answered a revocation with something else")),
    }
}

/// The rights of a token, without those in vaults that a rename or deletion took from it.
fn rights<'a>(caller: &'a Caller, record: &'a TokenRecord) -> impl Iterator<Item = (VaultId, Access)> + 'a {
    let is_open = |vault: &VaultId| !(record.by_name.contains(vault) && caller.snapshot.is_retired(*vault));
    record
        .vaults
        .iter()
        .filter(move |(vault, _)| is_open(vault))
        .map(|(vault, access)| (*vault, *access))
}

/// A token that may read and write in a vault can destroy everything in it, so it gains nothing by revoking others there.
fn may_revoke(caller: &Caller, record: &TokenRecord) -> bool {
    let covers = || {
        let mut vaults = record.vaults.keys().peekable();
        vaults.peek().is_some() && vaults.all(|vault| caller.access(*vault) == Access::READ_WRITE)
    };
    record.jti == caller.token.jti || covers()
}
