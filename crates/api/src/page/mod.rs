//! The page for people at `/ui`: static files in the program, and the exchange of a one-time code for a token. All that the page
//! shows it asks the API for, with that token.

mod assets;
mod invitation;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::error::ApiError;
use crate::middleware::{FETCH_SITE, RESOURCE_POLICY};
use crate::request_body::RequestBody;
use crate::routes::conditional::is_known;
use assets::{ASSETS, Asset};
pub(crate) use invitation::Invitation;

/// The largest body with a one-time code, in bytes.
const MAX_CODE_BODY_BYTES: usize = 256;

/// What the page may do in a browser: load its own files, talk to its own server, and nothing else. It makes all elements by
/// `createElement`, so the browser can refuse to parse HTML at run time (`require-trusted-types-for`).
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; \
    trusted-types 'none'";

/// The routes of the page.
pub(crate) fn router() -> Router<Arc<Api>> {
    let files = ASSETS.iter().fold(Router::new(), |router, asset| {
        router.route(
            asset.path,
            get(move |headers: HeaderMap| async move { file(asset, &headers) }),
        )
    });
    files.route("/ui/session", post(session))
}

/// A file of the page. A browser keeps it, and asks each time whether it is still the same.
fn file(asset: &'static Asset, request: &HeaderMap) -> Response {
    let is_known = is_known(request, asset.tag());
    let accepts_gzip = request.get_all(header::ACCEPT_ENCODING).iter().any(|value| {
        let mut codings = value.to_str().unwrap_or_default().split(',');
        codings.any(|coding| coding.trim().eq_ignore_ascii_case("gzip"))
    });
    let mut response = match (is_known, accepts_gzip) {
        (true, _) => StatusCode::NOT_MODIFIED.into_response(),
        (false, true) => asset.compressed().into_response(),
        (false, false) => asset.content.into_response(),
    };
    let headers = response.headers_mut();
    if !is_known {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
        if accepts_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    if let Ok(tag) = HeaderValue::try_from(asset.tag()) {
        headers.insert(header::ETAG, tag);
    }
    for (name, value) in [
        (header::VARY, "Accept-Encoding"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            http::HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (RESOURCE_POLICY, "same-origin"),
        (
            http::HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Serialize)]
struct Session<'a> {
    token: &'a str,
}

/// Gives the token for a one-time code.
async fn session(State(api): State<Arc<Api>>, headers: HeaderMap, body: RequestBody) -> Result<Response, ApiError> {
    // A browser says so if another site's page sent this.
    if headers.get(FETCH_SITE).is_some_and(|site| site != "same-origin") {
        return Err(ApiError::forbidden("only the page itself may exchange its code"));
    }
    let body = body.read_small(MAX_CODE_BODY_BYTES).await?;
    let code: Code =
        serde_json::from_slice(&body).map_err(|_| ApiError::bad_request("the body must be {\"code\": \"…\"}"))?;
    let Some(token) = api.invitation.redeem(&code.code) else {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "this address was used already, or is too old. Use a token",
        ));
    };
    let mut response = Json(Session { token: &token }).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
