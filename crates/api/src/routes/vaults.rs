//! `GET /v1/vaults` and `GET /v1/vaults/{vault}`.

use axum::Json;
use http::Uri;
use sidevault_model::Vault;
use sidevault_model::activity::Action;
use sidevault_model::filter::{self, Attributes, Filter, Subject};

use crate::caller::Caller;
use crate::error::ApiError;

use super::path::Path;
use super::query::query;

/// The vaults in the token's scope that match the filter, oldest first, then by id.
pub(super) async fn list(mut caller: Caller, uri: Uri) -> Result<Json<Vec<Vault>>, ApiError> {
    let text = query(&uri, "filter").next().unwrap_or_default();
    let wanted = Filter::parse(&text, Subject::Vaults)?;
    let mut found = matching(&caller, &wanted);
    if found.is_empty() && caller.misses_vaults() && caller.retry_after_initial_sync().await? {
        found = matching(&caller, &wanted);
    }
    found.sort_by_key(|vault| (vault.created_at, vault.id));
    Ok(Json(found))
}

fn matching(caller: &Caller, wanted: &Filter) -> Vec<Vault> {
    let vaults = || caller.vaults_in_scope().map(|entry| entry.vault.clone());
    let is_wanted = |vault: &Vault| {
        wanted.matches(&Attributes {
            title: &vault.name,
            id: vault.id.as_str(),
            ..Attributes::default()
        })
    };
    let hits: Vec<Vault> = vaults().filter(is_wanted).collect();
    let Some(title) = wanted.exact_title() else { return hits };
    if hits.is_empty() {
        // The op CLI looks for an id by a name filter.
        return vaults().filter(|vault| vault.id.as_str() == title).collect();
    }
    filter::prefer_exact(hits, title, |vault| &vault.name)
}

pub(super) async fn one(mut caller: Caller, Path(vault): Path<String>) -> Result<Json<Vault>, ApiError> {
    let entry = caller.readable(&vault).await?;
    caller.record_success(Action::Read, entry.vault.id, None, None);
    Ok(Json(entry.vault.clone()))
}
