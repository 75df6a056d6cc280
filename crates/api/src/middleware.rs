//! The edge of the api: what every request and every answer gets, whatever its path.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use sidevault_model::CONNECT_VERSION;
use tower::ServiceExt;

use crate::api::Api;
use crate::connections::{Busy, Exchange};
use crate::error::ApiError;
use crate::limits;
use crate::request_context::{REQUEST_ID, RequestContext};
use crate::responses::{InMemory, LargeBodyPermit};
use crate::routes;
use crate::drain_on_drop::DrainOnDrop;

const CONNECT_VERSION_HEADER: HeaderName = HeaderName::from_static("1password-connect-version");

/// The whole api as one service for hyper.
#[derive(Clone)]
pub(crate) struct Middleware(Arc<Shared>);

struct Shared {
    api: Arc<Api>,
    router: Router,
}

impl Middleware {
    pub(crate) fn new(api: Arc<Api>) -> Self {
        let router = routes::router(api.clone());
        Self(Arc::new(Shared { api, router }))
    }

    /// Answers a request. Never fails: what goes wrong is an answer too.
    pub(crate) async fn answer(
        self,
        mut request: Request<hyper::body::Incoming>,
        exchange: Arc<Exchange>,
    ) -> Result<Response, Infallible> {
        let started = Instant::now();
        let context = Arc::new(RequestContext::new(request.headers(), exchange.address()));
        if let Some(uri) = normal_path(request.uri()) {
            *request.uri_mut() = uri;
        }
        let method = request.method().clone();
        let mut response = match admit(&request, &exchange).await {
            Ok(()) => self.dispatch(context.clone(), request, &exchange).await,
            Err(error) => error.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(CONNECT_VERSION_HEADER, HeaderValue::from_static(CONNECT_VERSION));
        if let Some(id) = context.id.header() {
            headers.insert(REQUEST_ID, id);
        }
        let took = started.elapsed();
        let status = response.status();
        let route = context.route();
        log(&route, &method, status, took, &context);
        self.0.api.metrics.answered(route, &method, status.as_u16(), took);
        Ok(response)
    }

    /// The answer, once there is room for it.
    async fn handle(
        &self,
        context: Arc<RequestContext>,
        mut request: Request<hyper::body::Incoming>,
        exchange: &Exchange,
    ) -> Response {
        let Shared { api, router, .. } = &*self.0;
        if let Some(response) = routes::without_router(api, &context, &request).await {
            let bytes = in_memory(&response);
            if exchange.try_reserve(bytes) {
                return response;
            }
            // An answer that waited in memory would be what the wait is to avoid.
            drop(response);
            if let Err(busy) = exchange.reserve(bytes).await {
                return busy.into_response();
            }
            let again = routes::without_router(api, &context, &request).await;
            return again.unwrap_or_else(|| ApiError::internal().into_response());
        }
        request.extensions_mut().insert(context);
        let again = request.method().is_safe().then(|| without_body(&request));
        let request = request.map(|body| Body::new(DrainOnDrop::new(body)));
        let Ok(mut response) = Box::pin(router.clone().oneshot(request)).await;
        let large = response.extensions_mut().remove::<LargeBodyPermit>();
        let bytes = in_memory(&response);
        if exchange.try_reserve(bytes) {
            return response;
        }
        let Some(again) = again else {
            // A write can't be carried out again. Its place among the large bodies bounds its answer as well.
            if let Some(LargeBodyPermit(permit)) = large {
                exchange.keep(permit);
            }
            return response;
        };
        drop(response);
        match exchange.reserve(bytes).await {
            Ok(()) => {
                let Ok(response) = Box::pin(router.clone().oneshot(again)).await;
                response
            }
            Err(busy) => busy.into_response(),
        }
    }

    async fn dispatch(
        &self,
        context: Arc<RequestContext>,
        request: Request<hyper::body::Incoming>,
        exchange: &Exchange,
    ) -> Response {
        let answer = self.handle(context, request, exchange);
        let mut answer = pin!(AssertUnwindSafe(answer).catch_unwind());
        // What is in memory is answered at once: only what is not needs a timer.
        let answered = match futures_util::poll!(&mut answer) {
            Poll::Ready(answer) => Ok(answer),
            Poll::Pending => tokio::time::timeout(limits::ANSWER_TIME, answer).await,
        };
        match answered {
            Ok(Ok(response)) => response,
            Ok(Err(_panic)) => {
                tracing::error!("a request met a bug: please report what was asked and the lines above");
                ApiError::internal().into_response()
            }
            Err(_elapsed) => {
                ApiError::new(StatusCode::GATEWAY_TIMEOUT, "no answer was found in time. Try again").into_response()
            }
        }
    }
}

/// Refuses what is too large, and what comes while too much is in work.
async fn admit<B>(request: &Request<B>, exchange: &Exchange) -> Result<(), ApiError> {
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, str::len) > limits::URI_BYTES {
        let message = format!("the path and query are longer than {} bytes", limits::URI_BYTES);
        return Err(ApiError::new(StatusCode::URI_TOO_LONG, message));
    }
    let head: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if head > limits::HEADER_BYTES {
        let message = format!("the headers are longer than {} bytes", limits::HEADER_BYTES);
        return Err(ApiError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message));
    }
    exchange.admit().await.map_err(|_busy| too_many_requests())
}

/// Says that too much is in work.
pub(crate) fn too_many_requests() -> ApiError {
    ApiError::unavailable("too many requests are in work already. Try again in a moment")
}

impl IntoResponse for Busy {
    fn into_response(self) -> Response {
        ApiError::unavailable("too many answers wait for clients that do not take them. Try again in a moment")
            .into_response()
    }
}

fn in_memory(response: &Response) -> usize {
    match response.extensions().get() {
        Some(InMemory(bytes)) => *bytes,
        None => {
            let whole = hyper::body::Body::size_hint(response.body()).exact();
            whole.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
        }
    }
}

/// The same request, to be answered once more; one that is safe means nothing by its body (RFC 9110, 9.3.1).
fn without_body<B>(request: &Request<B>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    copy
}

/// The path without doubled and trailing slashes, if it has any: the Go SDK doubles the first
/// one, the JS SDK adds a last one, and neither follows a redirect for a POST.
fn normal_path(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains("//") && (path.len() == 1 || !path.ends_with('/')) {
        return None;
    }
    let mut normal = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        normal.push('/');
        normal.push_str(segment);
    }
    if normal.is_empty() {
        normal.push('/');
    }
    if let Some(query) = uri.query() {
        normal.push('?');
        normal.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(normal).ok()?);
    Uri::from_parts(parts).ok()
}

/// One line a request. Reads that went well only at debug: there are thousands a second, and
/// `/v1/activity` knows them. Never a path, a query or a header: titles and tokens stand there.
fn log(route: &str, method: &http::Method, status: StatusCode, took: std::time::Duration, context: &RequestContext) {
    let jti = context.token.get().map(|token| token.jti.as_str());
    let dur_ms = took.as_micros() as f64 / 1000.0;
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                request_id = %context.id, jti, route, %method, status = status.as_u16(), dur_ms,
                "request"
            )
        };
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        line!(warn);
    } else if status.is_server_error() {
        line!(error);
    } else if status.is_client_error() || !method.is_safe() {
        line!(info);
    } else {
        line!(debug);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn normal(uri: &str) -> Option<String> {
        normal_path(&uri.parse().unwrap()).map(|uri| uri.to_string())
    }

    #[test]
    fn slashes_are_folded_and_the_query_stays() {
        assert_eq!(normal("/v1/vaults"), None);
        assert_eq!(normal("/"), None);
        assert_eq!(
            normal("/v1/vaults/?filter=a//b/").as_deref(),
            Some("/v1/vaults?filter=a//b/")
        );
        assert_eq!(normal("/v1//vaults///x/").as_deref(), Some("/v1/vaults/x"));
        assert_eq!(
            normal("http://host//v1/vaults").as_deref(),
            Some("http://host/v1/vaults")
        );
    }
}
