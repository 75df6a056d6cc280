//! What is known of a request beside the request itself.

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue};
use sidevault_keys::Token;
use tracing::Span;

use crate::route::{NO_ROUTE, Route};

/// The header with a request's id, in requests and in responses.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header with the number of the newest change: in requests that want to see that change, and in the responses to them and to
/// writes.
pub(crate) const SEQUENCE: HeaderName = HeaderName::from_static("sidevault-sequence");

/// The most bytes of a request id that is taken over from a client.
const MAX_ID_BYTES: usize = 64;

/// What is known of a request beside the request itself.
pub(crate) struct RequestContext {
    pub(crate) id: RequestId,
    /// The client's address.
    pub(crate) remote: IpAddr,
    /// The token, once its signature is checked.
    pub(crate) token: OnceLock<Arc<Token>>,
    /// Whether the activity log has this request. A response that had to wait for memory is produced twice, and recorded
    /// once.
    pub(crate) is_recorded: AtomicBool,
    /// Whether the request's write was carried out, and this api could not read the store after it.
    pub(crate) is_unseen: AtomicBool,
    route: OnceLock<Route>,
}

impl RequestContext {
    /// For a request with these headers from this address.
    pub(crate) fn new(headers: &HeaderMap, remote: IpAddr) -> Self {
        Self {
            id: RequestId::of(headers),
            remote,
            token: OnceLock::new(),
            is_recorded: AtomicBool::new(false),
            is_unseen: AtomicBool::new(false),
            route: OnceLock::new(),
        }
    }

    /// Sets the route. Only the first call counts: a response that had to wait for memory is routed twice.
    pub(crate) fn set_route(&self, route: Route) {
        self.route.get_or_init(|| route);
    }

    /// The route; [`NO_ROUTE`] before it is set.
    pub(crate) fn route(&self) -> Route {
        self.route.get().cloned().unwrap_or(NO_ROUTE)
    }

    /// The span of this request. Every line that is logged in it has the fields `request_id` and `route`.
    pub(crate) fn span(&self) -> Span {
        tracing::info_span!("request", request_id = %self.id, route = &*self.route())
    }
}

/// A request's id.
pub(crate) enum RequestId {
    /// The client's.
    Given(HeaderValue),
    /// A random one. It becomes text only where that is needed.
    New(uuid::Uuid),
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given(id) => f.write_str(id.to_str().unwrap_or_default()),
            Self::New(id) => id.fmt(f),
        }
    }
}

impl RequestId {
    /// The client's id if it is short and could not forge a log line or a header; else a new one.
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).filter(|id| {
            let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(byte);
            (1..=MAX_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(harmless)
        });
        match given {
            Some(id) => Self::Given(id.clone()),
            None => Self::New(uuid::Builder::from_random_bytes(rand::random()).into_uuid()),
        }
    }

    /// For the response. None is not expected: a UUID is a valid header.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        match self {
            Self::Given(id) => Some(id.clone()),
            Self::New(id) => {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                HeaderValue::from_str(id.as_hyphenated().encode_lower(&mut text)).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_that_could_forge_a_log_line_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("abc-1"));
        assert_eq!(RequestId::of(&headers).to_string(), "abc-1");
        for bad in ["a b", "a\"b", "{}"] {
            headers.insert(REQUEST_ID, HeaderValue::from_str(bad).unwrap());
            assert_eq!(RequestId::of(&headers).to_string().len(), 36, "{bad}");
        }
    }
}
