//! An item's parts and how two of its versions differ, both without values. Connect does not have them.
//!
//! The activity log has such a request as a read of the vault. So a record of a read of an item means that values were sent.

use axum::response::Response;
use http::{HeaderValue, Uri, header};
use sidevault_model::activity::Action;
use sidevault_model::{Item, VaultId};
use sidevault_store::StoredItem;

use crate::caller::Caller;
use crate::error::ApiError;
use crate::outline::{Differences, Outline};
use crate::request_body::large_body_permit;
use crate::responses::json;

use super::items::{item_id, read, tag_of, version_of};
use super::path::Path;
use super::query::query;

/// The item, or with `?version=N` that version of it.
pub(super) async fn one(
    mut caller: Caller,
    Path((vault, item)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let vault = caller.readable(&vault).await?.vault.id;
    let id = item_id(&mut caller, vault, &item).await?;
    let found = match query(&uri, "version").next() {
        None => read(&mut caller, vault, id).await?,
        Some(version) => version_of(&caller, vault, id, &version).await?,
    };
    let bytes = found.json().len() as u64;
    // A parsed item needs more memory than its JSON.
    let _permit = large_body_permit(&caller.api, Some(bytes)).await?;
    let mut response = answer(&caller, vault, &Outline::of(&parsed(&found)?))?;
    // An item with a one-time password has no entity tag itself, because its code changes. Its outline has one for `If-Match`.
    if let Ok(tag) = HeaderValue::try_from(tag_of(&found)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// How a version differs from the one that `?with=N` names.
pub(super) async fn differences(
    mut caller: Caller,
    Path((vault, item, version)): Path<(String, String, String)>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let vault = caller.readable(&vault).await?.vault.id;
    let id = item_id(&mut caller, vault, &item).await?;
    let with = query(&uri, "with").next();
    let with = with.ok_or_else(|| ApiError::bad_request("the query names no version to compare with: add ?with=N"))?;
    let (after, before) = (
        version_of(&caller, vault, id, &version).await?,
        version_of(&caller, vault, id, &with).await?,
    );
    let bytes = after.json().len() + before.json().len();
    let _permit = large_body_permit(&caller.api, Some(bytes as u64)).await?;
    let (after, before) = (parsed(&after)?, parsed(&before)?);
    answer(&caller, vault, &Differences::between(&before, &after))
}

fn parsed(found: &StoredItem) -> Result<Item, ApiError> {
    Item::from_json(found.json()).map_err(|_| ApiError::internal("an item in the store is not valid"))
}

fn answer(caller: &Caller, vault: VaultId, body: &impl serde::Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(body).map_err(|error| ApiError::internal(error.to_string()))?;
    caller.record_success(Action::Read, vault, None, None);
    Ok(json(body))
}
