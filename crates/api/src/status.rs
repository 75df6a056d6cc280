//! The status routes of sync, on a port of its own.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderName, HeaderValue, StatusCode};
use sidevault_model::{CONNECT_VERSION, ServerHealth};
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::responses::{heartbeat_body, metrics_body};
use crate::server::{Listener, serve_router};

/// The status of a process.
pub trait StatusSource: Send + Sync + 'static {
    /// The body of `/health`.
    fn health(&self) -> ServerHealth;
    /// The body of `/metrics`, in Prometheus' text format.
    fn metrics(&self) -> String;
}

/// Serves `/heartbeat`, `/health` and `/metrics` until `stop`.
pub async fn status_server(source: Arc<dyn StatusSource>, listener: Listener, stop: CancellationToken) {
    let router = Router::new()
        .route("/heartbeat", get(async || heartbeat_body()))
        .route(
            "/health",
            get(async |State(source): State<Arc<dyn StatusSource>>| Json(source.health())),
        )
        .route(
            "/metrics",
            get(async |State(source): State<Arc<dyn StatusSource>>| metrics_body(source.metrics())),
        )
        .fallback(async || {
            ApiError::new(
                StatusCode::NOT_FOUND,
                "path not found: this is the port of sync, which serves only /heartbeat, /health and /metrics",
            )
        })
        .layer(axum::middleware::map_response(with_version))
        .with_state(source);
    serve_router(router, listener, stop).await;
}

async fn with_version(mut response: Response) -> Response {
    let name = HeaderName::from_static("1password-connect-version");
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(CONNECT_VERSION));
    response
}
