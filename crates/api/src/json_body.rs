//! Bodies of writes: JSON, whatever the content type says.

use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

use crate::api::Api;
use crate::error::ApiError;
use crate::limits;

/// A request's whole body, within the limits of size and time, and the place it takes if it is large: to be kept until the
/// answer to it, which may be as large, is sent.
pub(crate) struct JsonBody(pub(crate) Bytes, pub(crate) Option<OwnedSemaphorePermit>);

impl FromRequest<Arc<Api>> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let too_large = || {
            let message = format!(
                "the body is larger than {} bytes, the most an item may have",
                limits::BODY_BYTES
            );
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        };
        // What says that it is too large need not be waited for.
        if request.body().size_hint().lower() > limits::BODY_BYTES as u64 {
            return Err(too_large());
        }
        let place = place(api, request.body().size_hint().upper()).await?;
        let body = Limited::new(request.into_body(), limits::BODY_BYTES).collect();
        match tokio::time::timeout(limits::BODY_TIME, body).await {
            Ok(Ok(body)) => Ok(Self(body.to_bytes(), place)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(ApiError::bad_request("the body did not arrive whole")),
            Err(_) => Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not arrive within {} seconds", limits::BODY_TIME.as_secs()),
            )),
        }
    }
}

/// A place for a body of at most so many bytes; small ones need none. One whose size is not told counts as large.
///
/// # Errors
/// 503 if there is none for [`limits::BODY_TIME`].
pub(crate) async fn place(api: &Api, bytes: Option<u64>) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
    if bytes.is_some_and(|bytes| bytes <= limits::SMALL_BODY_BYTES as u64) {
        return Ok(None);
    }
    let place = api.large_bodies.clone().acquire_owned();
    match tokio::time::timeout(limits::BODY_TIME, place).await {
        Ok(Ok(place)) => Ok(Some(place)),
        _ => Err(ApiError::unavailable(format!(
            "{} bodies of more than {} bytes are in work, as many as may be at once. Try again later",
            limits::LARGE_BODIES,
            limits::SMALL_BODY_BYTES
        ))),
    }
}
