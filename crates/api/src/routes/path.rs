//! Parameters of a request's path.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// The path's parameters, percent-decoded. axum's own extractor refuses a path with plain text, and Connect's clients read
/// JSON.
pub(super) struct Path<T>(pub(super) T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = <axum::extract::Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        // Handlers take as many strings as their route has parameters, so nothing but the encoding can be wrong.
        let axum::extract::Path(parameters) =
            path.map_err(|_| ApiError::bad_request("the path is not valid UTF-8 after percent-decoding"))?;
        Ok(Self(parameters))
    }
}
