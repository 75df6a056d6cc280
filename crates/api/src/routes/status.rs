//! `/heartbeat`, `/health` and `/metrics`. They need no token, except for details that name or count what is stored.

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

/// 200 even before any token was used: a new Pod must become ready before a client can send one. A request with a valid token
/// gets the details.
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
        let message = "sync is not connected: reads go on, nothing can be written";
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
            dependencies.push(
                Dependency::new("sqlite", DependencyStatus::Active).with_message("Connected to ./1password.sqlite"),
            );
        }
        None => dependencies.push(
            Dependency::new("sqlite", DependencyStatus::Initialized)
                .with_message("the database does not exist yet; sync makes it"),
        ),
    }
    if let Some((since, error)) = api.store_error() {
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
        Some(store) => {
            api.metrics.store(store);
            store.snapshot().await.ok()
        }
        None => None,
    };
    metrics_body(api.metrics.encode(snapshot.as_deref(), api.link.is_up(), details))
}
