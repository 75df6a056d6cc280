//! What is known of a request beside the request itself.

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue};
use sidevault_keys::Token;

use crate::route::{NO_ROUTE, Route};

/// The header that holds a request's id, in requests and in answers.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over from a client.
const LONGEST_ID: usize = 64;

/// What is known of a request beside the request itself.
#[derive(Default)]
pub(crate) struct RequestContext {
    pub(crate) id: RequestId,
    pub(crate) remote: Option<IpAddr>,
    /// The token, once it is known to be good.
    pub(crate) token: OnceLock<Arc<Token>>,
    /// Whether the activity log knows of it: an answer that had to wait for room is produced twice.
    pub(crate) is_recorded: AtomicBool,
    route: OnceLock<Route>,
}

impl RequestContext {
    /// For a request with these headers from this address.
    pub(crate) fn new(headers: &HeaderMap, remote: IpAddr) -> Self {
        Self {
            id: RequestId::of(headers),
            remote: Some(remote),
            ..Self::default()
        }
    }

    /// Notes the route. Only the first call counts: an answer that had to wait for room is routed twice.
    pub(crate) fn set_route(&self, route: Route) {
        self.route.get_or_init(|| route);
    }

    pub(crate) fn route(&self) -> Route {
        self.route.get().cloned().unwrap_or(NO_ROUTE)
    }
}

/// A request's id: the client's, or a new UUID.
#[derive(Default)]
pub(crate) enum RequestId {
    Given(HeaderValue),
    New(uuid::Uuid),
    #[default]
    None,
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given(id) => f.write_str(id.to_str().unwrap_or_default()),
            Self::New(id) => id.fmt(f),
            Self::None => Ok(()),
        }
    }
}

impl RequestId {
    /// Taken over only if it can do no harm in a log or a header.
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).filter(|id| {
            let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(byte);
            (1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(harmless)
        });
        match given {
            Some(id) => Self::Given(id.clone()),
            None => Self::New(uuid::Builder::from_random_bytes(rand::random()).into_uuid()),
        }
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        match self {
            Self::Given(id) => Some(id.clone()),
            Self::New(id) => {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                HeaderValue::from_str(id.as_hyphenated().encode_lower(&mut text)).ok()
            }
            Self::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_request_id_that_could_break_a_log_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("abc-1"));
        assert_eq!(RequestId::of(&headers).to_string(), "abc-1");
        for bad in ["a b", "a\"b", "{}"] {
            headers.insert(REQUEST_ID, HeaderValue::from_str(bad).unwrap());
            assert_eq!(RequestId::of(&headers).to_string().len(), 36, "{bad}");
        }
    }
}
