//! Bodies of writes: JSON, whatever the content type says.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::sync::Arc;

use crate::api::Api;
use crate::error::ApiError;
use crate::limits;

/// A request's whole body, within the limits of size and time.
pub(crate) struct JsonBody(pub(crate) Bytes);

impl FromRequest<Arc<Api>> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<Api>) -> Result<Self, ApiError> {
        let body = Limited::new(request.into_body(), limits::BODY_BYTES).collect();
        match tokio::time::timeout(limits::BODY_TIME, body).await {
            Ok(Ok(body)) => Ok(Self(body.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is larger than {} bytes, the most an item may have", limits::BODY_BYTES),
            )),
            Ok(Err(_)) => Err(ApiError::bad_request("the body did not arrive whole")),
            Err(_) => Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not arrive within {} seconds", limits::BODY_TIME.as_secs()),
            )),
        }
    }
}
