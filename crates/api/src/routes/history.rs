//! `/v1/history`: what happened in the last hours. Only an api that serves the page has this route.

use std::collections::BTreeSet;

use axum::Json;

use crate::caller::Caller;
use crate::error::ApiError;
use crate::history::Shown;

/// The requests to this api, and the sources of those vaults that the caller may read.
pub(super) async fn show(caller: Caller) -> Result<Json<Shown>, ApiError> {
    let history = caller.api.history.as_ref();
    let history = history.ok_or_else(|| ApiError::internal("there is a route of the page, but no history"))?;
    let readable = caller
        .vaults_in_scope()
        .filter(|entry| caller.access(entry.vault.id).read);
    let sources: BTreeSet<&str> = readable.map(|entry| entry.source.as_str()).collect();
    Ok(Json(history.shown(&sources)))
}
