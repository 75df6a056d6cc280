//! Which handler answers which path. One file a resource.

mod activity;
mod conditional;
mod events;
mod files;
mod items;
mod status;
mod vaults;
mod versions;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};

use crate::api::Api;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::request_context::RequestContext;
use crate::route::Route;

pub(crate) fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/v1/activity", get(activity::list))
        .route("/v1/events", get(events::stream))
        .route("/v1/vaults", get(vaults::list))
        .route("/v1/vaults/{vault}", get(vaults::one))
        .route("/v1/vaults/{vault}/items", get(items::list).post(items::create))
        .route(
            "/v1/vaults/{vault}/items/{item}",
            get(items::one)
                .put(items::replace)
                .patch(items::patch)
                .delete(items::delete),
        )
        .route("/v1/vaults/{vault}/items/{item}/versions", get(versions::list))
        .route(
            "/v1/vaults/{vault}/items/{item}/versions/{version}/restore",
            post(versions::restore),
        )
        .route("/v1/vaults/{vault}/items/{item}/files", get(files::list))
        .route("/v1/vaults/{vault}/items/{item}/files/{file}", get(files::one))
        .route(
            "/v1/vaults/{vault}/items/{item}/files/{file}/content",
            get(files::content),
        )
        .route("/heartbeat", get(status::heartbeat))
        .route("/v1/heartbeat", get(status::heartbeat))
        .route("/health", get(status::health))
        .route("/v1/health", get(status::health))
        .route("/metrics", get(status::metrics))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

/// The two reads that nearly all requests are, by a shorter way to the same handlers: for each
/// request the router clones itself, the parameters of the path, and all headers.
/// None if the request is another one.
pub(crate) async fn read<B>(
    route: Route,
    api: &Arc<Api>,
    context: &Arc<RequestContext>,
    request: &http::Request<B>,
) -> Option<Response> {
    let (uri, headers) = (request.uri(), request.headers());
    // What is percent-encoded is the router's to decode.
    if request.method() != http::Method::GET || uri.path().contains('%') {
        return None;
    }
    let mut segments = uri.path().split('/').skip(3);
    let caller = Caller::of(api, context.clone(), headers);
    let answer = match (route, segments.next(), segments.nth(1)) {
        (Route::Items, Some(vault), None) => match caller.await {
            Ok(caller) => items::show_list(caller, vault, uri).await,
            Err(error) => Err(error),
        },
        (Route::Item, Some(vault), Some(item)) => match caller.await {
            Ok(caller) => items::show(caller, vault, item, uri, headers).await,
            Err(error) => Err(error),
        },
        _ => return None,
    };
    let mut response = answer.into_response();
    if response.status() == StatusCode::NOT_MODIFIED {
        // As the router does; all other answers get their length from hyper.
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Some(response)
}

async fn no_such_path() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "path not found")
}

async fn wrong_method(request: Request) -> impl IntoResponse {
    let allowed = Route::of(request.uri().path()).methods();
    let error = ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("method {} is not allowed here; allowed: {allowed}", request.method()),
    );
    ([(header::ALLOW, HeaderValue::from_static(allowed))], error)
}

/// The values of one parameter of a query, percent-decoded, `+` read as a blank as forms do.
pub(crate) fn query<'a>(uri: &'a http::Uri, name: &'a str) -> impl Iterator<Item = String> + 'a {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .filter(move |(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}
