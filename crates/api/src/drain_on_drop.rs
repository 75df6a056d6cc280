//! The rest of a request's body that no handler read.
//!
//! When a request is answered before its body has arrived, as one with an invalid token is, hyper closes the connection. A
//! client that has sent its next request on that connection then gets no answer. Go's server, which Connect is built on, reads
//! the rest of the body first, up to a limit. So does this server. If the rest may be longer, the response says that it is the last
//! of its connection (`Connection: close`), as Go's server does too.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::limits;

/// The body of a request. When this is dropped, the rest of the body is read and thrown away, up to
/// [`limits::MAX_UNREAD_BODY_BYTES`] and [`limits::UNREAD_BODY_TIMEOUT`].
pub(crate) struct DrainOnDrop {
    /// `None` once it is dropped.
    body: Option<Incoming>,
    rest: Rest,
}

/// What is known of a body's unread rest after the body was handed to a handler.
///
/// `None` for a body that is drained in any case. Else whether the body was read to its end.
#[derive(Clone)]
pub(crate) struct Rest(Option<Arc<AtomicBool>>);

impl DrainOnDrop {
    pub(crate) fn new(body: Incoming) -> Self {
        let may_be_long = body
            .size_hint()
            .upper()
            .is_none_or(|bytes| bytes > limits::MAX_UNREAD_BODY_BYTES as u64);
        Self {
            body: Some(body),
            rest: Rest(may_be_long.then(Arc::default)),
        }
    }

    /// Tells later, also after the body was dropped, what is left of it.
    pub(crate) fn rest(&self) -> Rest {
        self.rest.clone()
    }
}

impl Rest {
    /// Whether the rest may be too long to be drained, so that no other request can follow on an HTTP/1.1 connection.
    pub(crate) fn may_be_too_long(&self) -> bool {
        self.0.as_ref().is_some_and(|read| !read.load(Ordering::Relaxed))
    }
}

impl Body for DrainOnDrop {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *body).poll_frame(context);
        if let Some(read) = &self.rest.0
            && (matches!(polled, Poll::Ready(None)) || self.is_end_stream())
        {
            read.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for DrainOnDrop {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        let rest = async move {
            let mut left = limits::MAX_UNREAD_BODY_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    return;
                }
            }
        };
        tokio::spawn(tokio::time::timeout(limits::UNREAD_BODY_TIMEOUT, rest));
    }
}
