//! The status routes of sync, on a port of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sidevault_model::{CONNECT_VERSION, ServerHealth};
use tokio::sync::Semaphore;
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
    /// A forge's webhook for a source. `Ok` if the source asks its remote now, else the status and what is wrong.
    ///
    /// # Errors
    /// If the request is refused.
    fn webhook(&self, source: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), (StatusCode, &'static str)>;
}

/// The largest body of a webhook, in bytes. It is read as a whole, because the signature is over all of it.
const MAX_HOOK: usize = 5 << 20;
/// How long the body of a webhook may take.
const HOOK_TIME: Duration = Duration::from_secs(10);
/// How many webhooks are read at a time.
const HOOKS: usize = 4;

/// Serves `/heartbeat`, `/health`, `/metrics` and `/v1/hooks/SOURCE` until `stop`.
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
        .route("/v1/hooks/{source}", post(webhook))
        .fallback(async || {
            ApiError::new(
                StatusCode::NOT_FOUND,
                "path not found: this is the port of sync, which serves only /heartbeat, /health, /metrics and /v1/hooks/SOURCE",
            )
        })
        .layer(axum::middleware::map_response(with_version))
        .with_state(source);
    serve_router(router, listener, stop).await;
}

async fn webhook(
    State(source): State<Arc<dyn StatusSource>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    static READING: Semaphore = Semaphore::const_new(HOOKS);
    let Ok(_reading) = READING.try_acquire() else {
        return Err(ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many webhooks at a time: the source asks its remote at its next interval anyway",
        ));
    };
    let read = tokio::time::timeout(HOOK_TIME, to_bytes(body, MAX_HOOK)).await;
    let Ok(Ok(body)) = read else {
        return Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body has more than 5 MiB, or did not come within 10 s",
        ));
    };
    match source.webhook(&name, &headers, &body) {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err((status, problem)) => Err(ApiError::new(status, problem)),
    }
}

async fn with_version(mut response: Response) -> Response {
    let name = HeaderName::from_static("1password-connect-version");
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(CONNECT_VERSION));
    response
}
