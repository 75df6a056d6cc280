//! `/heartbeat`, `/health` and `/metrics`: no token needed, but for what names or counts what is stored.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use sidevault_model::{Dependency, DependencyStatus, ServerHealth};

use crate::api::Api;
use crate::caller::Caller;
use crate::responses::{heartbeat_body, metrics_body};

pub(super) async fn heartbeat() -> Response {
    heartbeat_body()
}

/// 200 whenever reads can be served, a token seen or not: a fresh Pod must become ready before
/// any client can send one. A token is welcome here too, counts as seen, and shows the details.
pub(super) async fn health(State(api): State<Arc<Api>>, caller: Option<Caller>) -> Response {
    let details = api.config.health_details || caller.is_some();
    let parts = dependencies(&api).into_iter().map(|part| part.shown(details));
    let mut response = Json(ServerHealth::api(parts.collect())).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn dependencies(api: &Api) -> Vec<Dependency> {
    let sync = if !api.link.is_up() {
        let message = "sync can't be reached: reads go on, nothing can be written";
        Dependency::new("sync", DependencyStatus::Failed).with_message(message)
    } else if api.tokens.any() {
        Dependency::new("sync", DependencyStatus::Active)
    } else {
        Dependency::new("sync", DependencyStatus::TokenNeeded).with_message("no token was used yet")
    };
    let mut dependencies = vec![sync];
    dependencies.extend(api.revoked.dependency());
    match api.link.dependencies() {
        Some(parts) => dependencies.extend(parts),
        None if api.open_store().is_some() => {
            let part = Dependency::new("sqlite", DependencyStatus::Active);
            dependencies.push(part.with_message("Connected to ./1password.sqlite"));
        }
        None => {
            let part = Dependency::new("sqlite", DependencyStatus::Initialized);
            dependencies.push(part.with_message("waiting for sync to make the database"));
        }
    }
    if let Some((since, error)) = api.trouble() {
        dependencies.retain(|part| part.service != "sqlite");
        let message = format!("the api can't read the store since {since}");
        let detail = format!("{message}: {error}");
        let part = Dependency::new("sqlite", DependencyStatus::Failed).with_message(message);
        dependencies.insert(1, part.with_detail(detail));
    }
    dependencies
}

pub(super) async fn metrics(State(api): State<Arc<Api>>, caller: Option<Caller>) -> Response {
    let details = api.config.health_details || caller.is_some();
    let snapshot = match api.open_store() {
        Some(store) => store.snapshot().await.ok(),
        None => None,
    };
    metrics_body(api.metrics.encode(snapshot.as_deref(), api.link.is_up(), details))
}
