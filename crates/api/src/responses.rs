//! Responses that several modules make, and notes of handlers on their responses for the middleware.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use tokio::sync::OwnedSemaphorePermit;

/// In a response that is sent part by part: how many bytes the first part has.
#[derive(Clone, Copy)]
pub(crate) struct InMemory(pub(crate) usize);

/// In the response to a large body: the permit of the body. It is kept until the response, which may be as large, is sent.
#[derive(Clone)]
pub(crate) struct LargeBodyPermit(pub(crate) Arc<OwnedSemaphorePermit>);

/// A response with this JSON text.
pub(crate) fn json(body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The response of `/heartbeat`.
pub(crate) fn heartbeat_body() -> Response {
    text(".", "text/plain; charset=utf-8")
}

/// The response of `/metrics`.
pub(crate) fn metrics_body(metrics: String) -> Response {
    // Connect's document says text/plain, and Prometheus reads OpenMetrics under that type as well.
    text(metrics, "text/plain; version=0.0.4; charset=utf-8")
}

fn text(body: impl IntoResponse, kind: &'static str) -> Response {
    let mut response = body.into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
