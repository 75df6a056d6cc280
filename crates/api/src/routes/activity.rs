//! `GET /v1/activity`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Uri, header};
use sidevault_model::VaultId;

use crate::caller::Caller;
use crate::error::ApiError;

use super::query::query;

const DEFAULT_LIMIT: u32 = 50;

/// The most records in one response. A larger `limit` means this one.
const LARGEST_LIMIT: u32 = 1000;

/// The recorded requests for vaults that the token may read, newest first.
pub(super) async fn list(caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    let limit = number(&uri, "limit")?.unwrap_or(u64::from(DEFAULT_LIMIT));
    let offset = number(&uri, "offset")?.unwrap_or(0);
    if limit == 0 {
        return Err(ApiError::bad_request("limit must be at least 1"));
    }
    let limit = u32::try_from(limit).unwrap_or(LARGEST_LIMIT).min(LARGEST_LIMIT);
    let vaults: Vec<VaultId> = caller
        .vaults_in_scope()
        .map(|entry| entry.vault.id)
        .filter(|id| caller.access(*id).read)
        .collect();
    let page = caller.store().await?.activity(&vaults, offset, limit).await?;
    // As in Connect: counted from 1, and without a unit. A page without records has no first and last one.
    let range = match page.records.len() as u64 {
        0 => format!("*/{}", page.total),
        count => format!("{}-{}/{}", offset + 1, offset + count, page.total),
    };
    let mut response = Json(page.records).into_response();
    if let Ok(range) = HeaderValue::from_str(&range) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

fn number(uri: &Uri, name: &'static str) -> Result<Option<u64>, ApiError> {
    query(uri, name)
        .next()
        .map(|text| {
            text.parse()
                .map_err(|_| ApiError::bad_request(format!("{name} must be a whole number of at least 0")))
        })
        .transpose()
}
