//! What every request and every response gets, whatever the path. [`stack`] lists it from the outside in. The innermost part,
//! [`LimitedRoutes`], is about one request: its id, its limits, its time limit, its metrics and its log line.
//!
//! `tower-http` has layers for more of this. They are not used, because
//!
//! * `request_id` keeps the id in the request and in the response, which takes seven more allocations for each read;
//! * `timeout` starts a timer for each request, and answers without the JSON body that Connect's clients read;
//! * `limit` refuses a large body before the token is checked; here 401 and 403 come before 413 (`request_body.rs`);
//! * `catch_panic` boxes the body of each response;
//! * `trace` knows neither the route nor the token, which the log line names;
//! * `normalize_path` keeps slashes that are doubled inside a path;
//! * `compression` makes the length of a response depend on its content: who can write one field of an item could find out
//!   the others by how much shorter the response gets (as in the attack BREACH).

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use hyper::body::Incoming;
use sidevault_model::CONNECT_VERSION;
use sidevault_store::Reader;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::api::Api;
use crate::connections::{Busy, Exchange};
use crate::drain_on_drop::DrainOnDrop;
use crate::error::{ApiError, ErrorCause};
use crate::limits;
use crate::request_context::{REQUEST_ID, RequestContext, SEQUENCE};
use crate::responses::{InMemory, LargeBodyPermit};
use crate::routes;

const CONNECT_VERSION_HEADER: HeaderName = HeaderName::from_static("1password-connect-version");

/// A header that every browser sends, and no page can set.
pub(crate) const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(crate) const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A request as its connection hands it over: with its body, and its place among the requests in progress.
pub(crate) type Arriving = Request<(Incoming, Arc<Exchange>)>;

/// All that surrounds the routes, from the outside in. Never fails: errors become responses.
pub(crate) fn stack(
    api: Arc<Api>,
) -> impl Service<Arriving, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static {
    let routes = LimitedRoutes::new(api);
    ServiceBuilder::new()
        // Marks the token, so that `Debug` does not print it.
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
        .layer(SetResponseHeaderLayer::overriding(
            CONNECT_VERSION_HEADER,
            HeaderValue::from_static(CONNECT_VERSION),
        ))
        .map_request(without_extra_slashes)
        .service_fn(move |request| routes.clone().answer(request))
}

/// The routes, within the limits of each request.
#[derive(Clone)]
struct LimitedRoutes(Arc<Shared>);

struct Shared {
    api: Arc<Api>,
    router: Router,
}

impl LimitedRoutes {
    fn new(api: Arc<Api>) -> Self {
        let router = routes::router(api.clone());
        Self(Arc::new(Shared { api, router }))
    }

    /// Gives the request its id, answers it within the limits, counts and logs it.
    async fn answer(self, request: Arriving) -> Result<Response, Infallible> {
        let started = Instant::now();
        let (head, (body, exchange)) = request.into_parts();
        let request = Request::from_parts(head, body);
        let context = Arc::new(RequestContext::new(request.headers(), exchange.address()));
        let method = request.method().clone();
        let wants_sequence = request.headers().contains_key(SEQUENCE);
        let is_browsers = request.headers().contains_key(FETCH_SITE);
        let mut response = match admit(&request, &exchange).await {
            Ok(()) => self.within_time(context.clone(), request, &exchange).await,
            Err(error) => error.into_response(),
        };
        if is_browsers {
            harden(response.headers_mut());
        }
        if let Some(id) = context.id.header() {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let status = response.status();
        if status.is_success() && method.is_safe() {
            self.add_age(response.headers_mut());
        }
        let may_know = wants_sequence && context.token.get().is_some();
        if may_know || (status.is_success() && !method.is_safe()) {
            // Boxed, because most responses have no number.
            Box::pin(self.add_sequence(&context, method.is_safe(), response.headers_mut())).await;
        }
        let took = started.elapsed();
        let route = context.route();
        let cause = if status.is_server_error() {
            response.extensions_mut().remove()
        } else {
            None
        };
        log(&context, &route, &method, status, took, cause);
        if let Some(history) = &self.0.api.history {
            history.answered(&route, status, took);
        }
        self.0.api.metrics.answered(route, &method, status.as_u16(), took);
        Ok(response)
    }

    /// Adds the age of what was read (RFC 9111, 5.1) if the database could not be reached for a while.
    fn add_age(&self, headers: &mut HeaderMap) {
        let age = self.0.api.open_store().map_or(Duration::ZERO, Reader::age);
        if age >= limits::UNREPORTED_AGE {
            headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
        }
    }

    /// Adds the number of a change that is not older than what the request wrote or read. Reads have it only if they ask for it, by
    /// sending such a number: a row that was read may be newer than the snapshot, so the number costs a query. If the database does not
    /// answer in time, there is no number.
    async fn add_sequence(&self, context: &RequestContext, is_read: bool, headers: &mut HeaderMap) {
        let Some(store) = self.0.api.open_store() else { return };
        let is_covered = match is_read {
            true => {
                let caught_up = tokio::time::timeout(limits::SEQUENCE_TIMEOUT, store.catch_up()).await;
                matches!(caught_up, Ok(Ok(())))
            }
            false => !context.is_unseen.load(Ordering::Relaxed),
        };
        if is_covered {
            headers.insert(SEQUENCE, HeaderValue::from(store.sequence()));
        }
    }

    /// The response, or an error after [`limits::RESPONSE_TIMEOUT`] or a panic.
    async fn within_time(
        &self,
        context: Arc<RequestContext>,
        request: Request<Incoming>,
        exchange: &Exchange,
    ) -> Response {
        let answer = self.within_memory(context.clone(), request, exchange);
        let mut answer = pin!(AssertUnwindSafe(answer).catch_unwind());
        // A response from memory comes at once: only one that has to wait needs a timer.
        let answered = match futures_util::poll!(&mut answer) {
            Poll::Ready(answer) => Ok(answer),
            Poll::Pending => tokio::time::timeout(limits::RESPONSE_TIMEOUT, answer).await,
        };
        match answered {
            Ok(Ok(response)) => response,
            Ok(Err(_panic)) => {
                let cause = "the handler panicked: please report what was asked, and the lines before this one";
                ApiError::internal(cause).into_response()
            }
            Err(_elapsed) => ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                format!(
                    "no response was ready within {} seconds. Try again",
                    limits::RESPONSE_TIMEOUT.as_secs()
                ),
            )
            .into_response(),
        }
    }

    /// The response, once there is memory for it. A response for which there is none at first is dropped and produced again,
    /// because one that waits would hold the memory that it waits for.
    async fn within_memory(
        &self,
        context: Arc<RequestContext>,
        mut request: Request<Incoming>,
        exchange: &Exchange,
    ) -> Response {
        let Shared { api, router } = &*self.0;
        if let Some(response) = routes::without_router(api, &context, &request).await {
            let bytes = in_memory(&response);
            if exchange.try_reserve(bytes) {
                return response;
            }
            drop(response);
            if let Err(busy) = exchange.reserve(bytes).await {
                return busy.into_response();
            }
            let again = routes::without_router(api, &context, &request).await;
            return again
                .unwrap_or_else(|| ApiError::internal("the second attempt was routed elsewhere").into_response());
        }
        request.extensions_mut().insert(context);
        let again = request.method().is_safe().then(|| without_body(&request));
        let request = request.map(DrainOnDrop::new);
        let rest = request.body().rest();
        // Boxed, so that the future of the two reads above does not grow by the router's.
        let Ok(mut response) = Box::pin(router.clone().oneshot(request.map(Body::new))).await;
        // After a 408 the body is still on its way (RFC 9110, 15.5.9).
        if rest.may_be_too_long() || response.status() == StatusCode::REQUEST_TIMEOUT {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let large = response.extensions_mut().remove::<LargeBodyPermit>();
        let bytes = in_memory(&response);
        if exchange.try_reserve(bytes) {
            return response;
        }
        let Some(again) = again else {
            // A write can't be carried out again. The permit of its large body bounds its response as well.
            if let Some(LargeBodyPermit(permit)) = large {
                exchange.keep(permit);
            }
            return response;
        };
        drop(response);
        match exchange.reserve(bytes).await {
            Ok(()) => {
                // Boxed as above.
                let Ok(response) = Box::pin(router.clone().oneshot(again)).await;
                response
            }
            Err(busy) => busy.into_response(),
        }
    }
}

/// Adds what a browser has to know about a response, if the handler did not: that it must not be kept on disk, be read as another type,
/// or be used by other sites. Other clients do not read these headers, and may keep responses by their `ETag`.
fn harden(headers: &mut HeaderMap) {
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}

/// Refuses a request that is too large, or that finds too many others in progress. Such a request has no route yet.
async fn admit<B>(request: &Request<B>, exchange: &Exchange) -> Result<(), ApiError> {
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, str::len) > limits::MAX_URI_BYTES {
        let message = format!("the path and query are longer than {} bytes", limits::MAX_URI_BYTES);
        return Err(ApiError::new(StatusCode::URI_TOO_LONG, message));
    }
    let head: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if head > limits::MAX_HEADER_BYTES {
        let message = format!("the headers are longer than {} bytes", limits::MAX_HEADER_BYTES);
        return Err(ApiError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message));
    }
    exchange.admit().await.map_err(|_busy| too_many_requests())
}

/// 503, because [`limits::MAX_REQUESTS`] requests are in progress.
pub(crate) fn too_many_requests() -> ApiError {
    ApiError::unavailable("too many requests are in progress. Try again in a moment")
}

impl IntoResponse for Busy {
    fn into_response(self) -> Response {
        ApiError::unavailable("too many responses wait for clients that do not read them. Try again in a moment")
            .into_response()
    }
}

/// How many bytes of a response are in memory: those of the first part, if a handler said so; else those of the whole, if
/// its length is known.
fn in_memory(response: &Response) -> usize {
    match response.extensions().get() {
        Some(InMemory(bytes)) => *bytes,
        None => {
            let whole = hyper::body::Body::size_hint(response.body()).exact();
            whole.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
        }
    }
}

/// A copy of a request with a safe method, whose body means nothing (RFC 9110, 9.3.1).
fn without_body<B>(request: &Request<B>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    copy
}

fn without_extra_slashes(mut request: Arriving) -> Arriving {
    if let Some(uri) = normal_path(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

/// The URI with a path without doubled and trailing slashes, if the path has any. The Go SDK doubles the first slash, the JS
/// SDK adds a last one, and neither follows a redirect of a POST.
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

/// Logs one line a request, a successful read only at debug: there are thousands a second, and `/v1/activity` shows them.
/// The line never has a path, a query or a header, which hold titles and tokens.
fn log(
    context: &RequestContext,
    route: &str,
    method: &Method,
    status: StatusCode,
    took: Duration,
    cause: Option<ErrorCause>,
) {
    let error = cause.map(|ErrorCause(cause)| cause);
    let jti = context.token.get().map(|token| token.jti.as_str());
    let dur_ms = took.as_micros() as f64 / 1000.0;
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                request_id = %context.id, jti, route, %method, status = status.as_u16(), dur_ms, error,
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
    use super::*;

    fn normal(uri: &str) -> Option<String> {
        normal_path(&uri.parse().unwrap()).map(|uri| uri.to_string())
    }

    #[test]
    fn doubled_and_trailing_slashes_are_removed_and_the_query_stays() {
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
