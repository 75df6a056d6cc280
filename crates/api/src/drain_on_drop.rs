//! The rest of a request's body that no handler read.
//!
//! When a request is answered before its body has arrived, as one with an invalid token is, hyper closes the connection. A
//! client that has sent its next request on that connection then gets no answer. Go's server, which Connect is built on, reads
//! the rest of the body first, up to a limit. So does this server.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::limits;

/// The body of a request. When this is dropped, the rest of the body is read and thrown away, up to
/// [`limits::MAX_UNREAD_BODY_BYTES`] and [`limits::UNREAD_BODY_TIMEOUT`].
pub(crate) struct DrainOnDrop(Option<Incoming>);

impl DrainOnDrop {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for DrainOnDrop {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for DrainOnDrop {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else {
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
