//! An item's history, which Connect does not have: the list of versions, and the restore of one.

use axum::Json;
use axum::response::Response;
use serde::Serialize;
use sidevault_model::activity::Action;
use sidevault_model::{Commit, Timestamp};
use sidevault_store::Command;

use crate::caller::Caller;
use crate::error::ApiError;
use crate::request_body::large_body_permit;

use super::items::{item_id, version_number, write};
use super::path::Path;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    version: u32,
    updated_at: Timestamp,
    /// The Git commit that the version comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<Commit>,
}

/// The versions, newest first. The first one is the current version.
pub(super) async fn list(
    mut caller: Caller,
    Path((vault, item)): Path<(String, String)>,
) -> Result<Json<Vec<Version>>, ApiError> {
    let entry = caller.readable(&vault).await?;
    let item = item_id(&mut caller, entry.vault.id, &item).await?;
    let versions = caller.store().await?.versions(entry.vault.id, item).await?;
    if versions.is_empty() {
        return Err(ApiError::not_found("item", item));
    }
    Ok(Json(
        versions
            .into_iter()
            .map(|kept| Version {
                version: kept.version,
                updated_at: kept.updated_at,
                commit: kept.commit,
            })
            .collect(),
    ))
}

/// Stores an old version's content as a new version. The token needs the rights to read and to write, as for PATCH.
pub(super) async fn restore(
    mut caller: Caller,
    Path((vault, item, version)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let entry = caller.editable(&vault).await?;
    let vault = entry.vault.id;
    let item = item_id(&mut caller, vault, &item).await?;
    let version = version_number(&version)?;
    // The response is as large as that version.
    let old = caller.store().await?.item_version(vault, item, version).await?;
    let bytes = old.map_or(0, |old| old.json().len() as u64);
    let permit = large_body_permit(&caller.api, Some(bytes)).await?;
    let command = Command::RestoreItem {
        vault,
        item,
        version,
        by: caller.editor(),
    };
    write(&caller, &entry, Action::Update, command, permit).await
}
