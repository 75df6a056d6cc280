//! The body of a response while it is sent: until the last byte is sent, its request is in progress, and its bytes count in
//! [`limits::MAX_UNSENT_BYTES`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::body::{Frame, SizeHint};

use crate::connections::{Busy, Exchange, Permits};
use crate::limits;

/// The body of a response.
pub(crate) struct Sending {
    body: Body,
    exchange: Arc<Exchange>,
    /// The wait for memory, of a body that is produced while it is sent.
    room: Option<BoxFuture<'static, Result<(), Busy>>>,
    /// The rest of the last frame of `body`, and its permits.
    rest: Bytes,
    permits: Option<Arc<Permits>>,
}

impl Sending {
    pub(crate) fn new(body: Body, exchange: Arc<Exchange>) -> Self {
        Self {
            body,
            exchange,
            room: None,
            rest: Bytes::new(),
            permits: None,
        }
    }

    /// The next piece of the last frame.
    fn piece(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            return None;
        }
        self.exchange.wait_for_client();
        let length = self.rest.len().min(limits::PIECE_BYTES);
        Some(Bytes::from_owner(Piece {
            bytes: self.rest.split_to(length),
            _permits: self.permits.clone(),
            exchange: self.exchange.clone(),
        }))
    }

    /// Of a body that is produced while it is sent: waits until there is memory for its next part. Other bodies are in memory
    /// already.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Busy>> {
        if hyper::body::Body::size_hint(&self.body).exact().is_some() {
            return Poll::Ready(Ok(()));
        }
        let connections = self.exchange.connections();
        if self.room.is_none() && connections.has_room_to_send(limits::PART_BYTES) {
            return Poll::Ready(Ok(()));
        }
        self.exchange.wait_for_server();
        let room = self
            .room
            .get_or_insert_with(|| connections.clone().room_to_send(limits::PART_BYTES).boxed());
        let outcome = ready!(room.poll_unpin(context));
        self.room = None;
        Poll::Ready(outcome)
    }
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(piece) = self.piece() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if ready!(self.poll_room(context)).is_err() {
            let error = io::Error::other("too many responses wait for clients that do not read them");
            return Poll::Ready(Some(Err(axum::Error::new(error))));
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => {
                self.exchange.wait_for_server();
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                let frame = match frame.into_data() {
                    Ok(bytes) => {
                        self.permits = self.exchange.take_permits(bytes.len()).map(Arc::new);
                        self.rest = bytes;
                        Frame::data(self.piece().unwrap_or_default())
                    }
                    Err(frame) => frame,
                };
                Poll::Ready(Some(Ok(frame)))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// Bytes that were handed to the HTTP library, which drops them once they are written to the connection, or the connection is
/// closed.
struct Piece {
    bytes: Bytes,
    _permits: Option<Arc<Permits>>,
    exchange: Arc<Exchange>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // The last reference ends the exchange.
        if Arc::strong_count(&self.exchange) > 1 {
            self.exchange.client_has_read();
        }
    }
}
