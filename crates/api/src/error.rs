//! Errors as HTTP responses. Connect's clients read `{"status", "message"}` on every path, and some search the message for
//! words like "not found": a message has such words only if it means them.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use sidevault_model::{ErrorBody, Invalid, InvalidFilter};
use sidevault_store::{CommandRefusal, FailureKind, StoreError};

/// An error response.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: String,
    cause: Option<String>,
}

/// In a response: why it is a server error, for the log line of the request.
#[derive(Clone)]
pub(crate) struct ErrorCause(pub(crate) String);

impl ApiError {
    /// A response with this status and message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            cause: None,
        }
    }

    /// 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 403. The message begins with the word by which External Secrets recognises this error.
    pub(crate) fn forbidden(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("Authorization: {message}"))
    }

    /// 404, with Connect's message.
    pub(crate) fn not_found(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} {id} not found"))
    }

    /// 503: nothing was done, and the same request may succeed in a moment.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// 500. The cause is for the log; the client does not get it. It must hold no title, value or token.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: "Internal server error. The server's log has the cause".to_owned(),
            cause: Some(cause.into()),
        }
    }

    /// 503: the database can't be used at the moment.
    pub(crate) fn store_unavailable() -> Self {
        Self::unavailable("the store can't be read at the moment. Try again")
    }

    /// Whether the status is 403.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
    }

    /// Whether the request can't be carried out for this token, however often it is sent.
    pub(crate) fn is_clients(&self) -> bool {
        self.status.is_client_error()
    }

    /// What to log: the cause of a server error, else the message.
    pub(crate) fn cause(&self) -> &str {
        self.cause.as_deref().unwrap_or(&self.message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody::new(self.status.as_u16(), self.message);
        let mut response = axum::Json(body).into_response();
        *response.status_mut() = self.status;
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(ErrorCause(cause));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if let StoreError::Unusable(_) = error {
            return Self {
                cause: Some(format!("the store can't be read: {error}")),
                ..Self::store_unavailable()
            };
        }
        Self::internal(format!("the store can't be read: {error}"))
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::bad_request(invalid.to_string())
    }
}

impl From<InvalidFilter> for ApiError {
    fn from(invalid: InvalidFilter) -> Self {
        Self::bad_request(invalid.to_string())
    }
}

impl From<CommandRefusal> for ApiError {
    fn from(refusal: CommandRefusal) -> Self {
        let status = match refusal.kind {
            FailureKind::Invalid => StatusCode::BAD_REQUEST,
            FailureKind::NotFound => StatusCode::NOT_FOUND,
            FailureKind::ReadOnly => StatusCode::FORBIDDEN,
            FailureKind::Exists | FailureKind::Conflict | FailureKind::Ephemeral => StatusCode::CONFLICT,
            FailureKind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            FailureKind::Standby | FailureKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            FailureKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, refusal.message)
    }
}
