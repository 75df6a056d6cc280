//! Which handler answers which path. One file a resource.

mod activity;
pub(crate) mod conditional;
mod events;
mod files;
mod history;
mod items;
mod outline;
mod path;
mod query;
mod resolve;
mod status;
mod tokens;
mod vaults;
mod versions;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use http::{HeaderValue, Method, StatusCode, header};
use tracing::Instrument;

use crate::api::Api;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::page;
use crate::request_context::RequestContext;
use crate::route::{ITEM, ITEMS};

/// All routes. Each answers HEAD as it answers GET, without the body.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let page = if api.config.page {
        page::router()
            .route("/v1/history", get(history::show))
            .route("/v1/tokens", get(tokens::list))
            .route("/v1/tokens/self", get(tokens::own))
            .route("/v1/tokens/{jti}", delete(tokens::revoke))
    } else {
        Router::new()
    };
    page.route("/v1/activity", get(activity::list))
        .route("/v1/events", get(events::stream))
        .route("/v1/vaults", get(vaults::list))
        .route("/v1/vaults/{vault}", get(vaults::one))
        .route(ITEMS, get(items::list).post(items::create))
        .route(
            ITEM,
            get(items::one)
                .put(items::replace)
                .patch(items::patch)
                .delete(items::delete),
        )
        .route("/v1/vaults/{vault}/items/{item}/outline", get(outline::one))
        .route("/v1/vaults/{vault}/items/{item}/versions", get(versions::list))
        .route(
            "/v1/vaults/{vault}/items/{item}/versions/{version}/differences",
            get(outline::differences),
        )
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
        .route("/v1/resolve", post(resolve::resolve))
        .route("/heartbeat", get(status::heartbeat))
        .route("/v1/heartbeat", get(status::heartbeat))
        .route("/health", get(status::health))
        .route("/v1/health", get(status::health))
        .route("/metrics", get(status::metrics))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(in_span))
        .with_state(api)
}

/// Sets the request's route, for metrics and the log, and runs the handler in the request's span.
async fn in_span(
    matched: Option<MatchedPath>,
    Extension(context): Extension<Arc<RequestContext>>,
    request: Request,
    next: Next,
) -> Response {
    if let Some(matched) = matched {
        context.set_route(matched.as_str().to_owned().into());
    }
    next.run(request).instrument(context.span()).await
}

/// Answers the two reads that nearly all requests are, GET [`ITEMS`] and GET [`ITEM`], by the same handlers but without
/// axum's router: for each request the router clones itself, the parameters of the path, and all headers. Returns None for
/// any other request. `bench/` measures what that saves.
pub(crate) async fn without_router<B>(
    api: &Arc<Api>,
    context: &Arc<RequestContext>,
    request: &http::Request<B>,
) -> Option<Response> {
    let (uri, headers) = (request.uri(), request.headers());
    // Only the router decodes percent-encoding.
    if request.method() != Method::GET || uri.path().contains('%') {
        return None;
    }
    let mut segments = uri.path().strip_prefix("/v1/vaults/")?.split('/');
    let vault = segments.next().filter(|vault| !vault.is_empty())?;
    segments.next().filter(|segment| *segment == "items")?;
    let item = segments.next();
    if segments.next().is_some() || item == Some("") {
        return None;
    }
    context.set_route(if item.is_some() { ITEM } else { ITEMS }.into());
    let mut answer = pin!(async {
        let caller = Caller::of(api, context.clone(), headers).await?;
        match item {
            Some(item) => items::show(caller, vault, item, uri, headers).await,
            None => items::show_list(caller, vault, uri).await,
        }
    });
    // A response from memory comes at once. A span would cost it as much as the look-up, and the few lines that are logged
    // on this way have the request id as a field.
    let answer = match futures_util::poll!(&mut answer) {
        Poll::Ready(answer) => answer,
        Poll::Pending => answer.instrument(context.span()).await,
    };
    let mut response = answer.into_response();
    if response.status() == StatusCode::NOT_MODIFIED {
        // As the router does. hyper adds the length to all other answers.
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Some(response)
}

async fn no_such_path() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "path not found")
}

/// axum adds the header `Allow`.
async fn wrong_method(method: Method) -> ApiError {
    let message = format!("method {method} is not allowed on this path; the header Allow lists those that are");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
