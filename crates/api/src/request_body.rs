//! Bodies of writes, read within the limits of size and time, and only once the handler asks for them.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::OwnedSemaphorePermit;

use crate::api::Api;
use crate::error::ApiError;
use crate::limits;

/// A request's body that is not read yet. A handler first checks what the token may do, and then calls [`Self::read`]: so a
/// request that is refused anyway holds no permit for a large body. The bytes are taken as JSON whatever the content type
/// says.
pub(crate) struct RequestBody(Body);

impl<S: Sync> FromRequest<S> for RequestBody {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(request.into_body()))
    }
}

impl RequestBody {
    /// Reads the whole body. If the body may be large, returns its permit as well, which the handler keeps until the answer,
    /// which may be as large, is sent.
    ///
    /// # Errors
    /// 413 for more than [`limits::MAX_BODY_BYTES`], 408 after [`limits::BODY_TIMEOUT`], 400 if the client sends less than it
    /// announced, 503 if [`large_body_permit`] finds no permit.
    pub(crate) async fn read(self, api: &Api) -> Result<(Bytes, Option<OwnedSemaphorePermit>), ApiError> {
        let too_large = || {
            let message = format!(
                "the body is larger than {} bytes, the most an item may have",
                limits::MAX_BODY_BYTES
            );
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        };
        // A body with a larger Content-Length is refused before it arrives.
        if self.0.size_hint().lower() > limits::MAX_BODY_BYTES as u64 {
            return Err(too_large());
        }
        let permit = large_body_permit(api, self.0.size_hint().upper()).await?;
        let body = Limited::new(self.0, limits::MAX_BODY_BYTES).collect();
        match tokio::time::timeout(limits::BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => Ok((body.to_bytes(), permit)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(ApiError::bad_request("the body did not arrive whole")),
            Err(_) => Err(late()),
        }
    }

    /// Reads a body of at most `most` bytes, which is small enough to need no permit. For requests without a token.
    ///
    /// # Errors
    /// 413 for more bytes, 408 after [`limits::BODY_TIMEOUT`], 400 if the client sends less than it announced.
    pub(crate) async fn read_small(self, most: usize) -> Result<Bytes, ApiError> {
        let too_large = || {
            let message = format!("the body is larger than {most} bytes");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        };
        if self.0.size_hint().lower() > most as u64 {
            return Err(too_large());
        }
        match tokio::time::timeout(limits::BODY_TIMEOUT, Limited::new(self.0, most).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(ApiError::bad_request("the body did not arrive whole")),
            Err(_) => Err(late()),
        }
    }
}

/// 408.
fn late() -> ApiError {
    let message = format!(
        "the body did not arrive within {} seconds",
        limits::BODY_TIMEOUT.as_secs()
    );
    ApiError::new(StatusCode::REQUEST_TIMEOUT, message)
}

/// A permit for a body, or an item, of at most `bytes` bytes. None for a small one, which needs no permit. A body whose size
/// is not announced (`bytes` is None) counts as large.
///
/// # Errors
/// 503 if all [`limits::MAX_LARGE_BODIES`] permits are in use for [`limits::BODY_TIMEOUT`].
pub(crate) async fn large_body_permit(api: &Api, bytes: Option<u64>) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
    if bytes.is_some_and(|bytes| bytes <= limits::MAX_SMALL_BODY_BYTES as u64) {
        return Ok(None);
    }
    let permit = api.large_bodies.clone().acquire_owned();
    match tokio::time::timeout(limits::BODY_TIMEOUT, permit).await {
        Ok(Ok(permit)) => Ok(Some(permit)),
        _ => Err(ApiError::unavailable(format!(
            "the server is handling {} bodies of more than {} bytes, the most it handles at once. Try again later",
            limits::MAX_LARGE_BODIES,
            limits::MAX_SMALL_BODY_BYTES
        ))),
    }
}
