//! Answers that several modules give, and what handlers say of their answers.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use tokio::sync::OwnedSemaphorePermit;

/// How many bytes of an answer are in memory from the start.
#[derive(Clone, Copy)]
pub(crate) struct InMemory(pub(crate) usize);

/// In an answer: the place among the large bodies that its request has. It is kept until the answer, which may be as large,
/// is sent.
#[derive(Clone)]
pub(crate) struct LargeBodyPermit(pub(crate) Arc<OwnedSemaphorePermit>);

/// A JSON answer from bytes that are JSON already.
pub(crate) fn json(body: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(crate) fn heartbeat_body() -> Response {
    text(".", "text/plain; charset=utf-8")
}

pub(crate) fn metrics_body(metrics: String) -> Response {
    // OpenMetrics reads as the older format too, and Connect promises text/plain.
    text(metrics, "text/plain; version=0.0.4; charset=utf-8")
}

fn text(body: impl IntoResponse, kind: &'static str) -> Response {
    let mut response = body.into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
