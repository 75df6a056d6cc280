//! The other side of a link: call it, tell it things, answer it.
//!
//! One task runs a link. It reads frames and hands them out, and it writes what the [`Peer`] and the [`Reply`]s put
//! into its queues. Nothing in it can grow without bound: a side has at most 1,024 calls unanswered, the receiver
//! has room for as many, and who wants to send more waits.

mod link;
mod pending;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::connection::Connection;
use crate::frame::MAX_MESSAGE;
use pending::Pending;

/// How many calls of one side may be unanswered at a time.
const MAX_IN_FLIGHT: usize = 1024;

/// Room for messages that wait to be written.
const OUTGOING: usize = 64;

/// Room for received messages that wait to be taken: all calls the other side may have in flight, and some notices.
const INCOMING: usize = MAX_IN_FLIGHT + 64;

/// Why a call got no answer, or a notice was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The link is gone.
    #[error("the link to the other side is down{}", if *.maybe_executed { " (the request may have been carried out)" } else { "" })]
    Disconnected {
        /// `false`: the request was certainly not carried out. `true`: it was sent, and nobody knows.
        maybe_executed: bool,
    },
    /// The other side took the request and dropped it: it failed, or is shutting down. It may have been carried out.
    #[error("the other side gave no answer")]
    Unanswered,
    /// The request is longer than [`MAX_MESSAGE`].
    #[error("the message is longer than {MAX_MESSAGE} bytes")]
    TooLarge,
}

/// What the other side sent.
#[derive(Debug)]
pub enum Incoming {
    /// It waits for an answer.
    Request {
        /// What it asks.
        body: Bytes,
        /// Where the answer goes.
        reply: Reply,
    },
    /// It waits for nothing.
    Notice(Bytes),
}

/// A handle on the other side of a link. Cheap to clone.
///
/// The link ends when the connection breaks, or when nobody on this side uses it any more: all `Peer`s, all
/// [`Reply`]s and the receiver of [`start`] are gone.
#[derive(Clone)]
pub struct Peer {
    pending: Arc<Pending>,
    outgoing: mpsc::Sender<Outgoing>,
    _in_use: InUse,
}

/// Held by all that keep a link alive.
type InUse = mpsc::Sender<Infallible>;

/// What waits to be written; answers have a queue of their own.
enum Outgoing {
    Call { number: u64, body: Bytes },
    Notice(Bytes),
}

/// An answer on its way: the call's number, and the body if there is one.
type ReplyFrame = (u64, Option<Bytes>);

/// Starts a link: returns the handle on the other side and what the other side sends.
///
/// Take from the receiver steadily and work in other tasks: while it is full, no answer to this side's own calls
/// gets through either. Must be called within a tokio runtime.
pub fn start(connection: Connection) -> (Peer, mpsc::Receiver<Incoming>) {
    let (outgoing, outgoing_queue) = mpsc::channel(OUTGOING);
    let (incoming, incoming_queue) = mpsc::channel(INCOMING);
    let (in_use, users) = mpsc::channel(1);
    let pending = Arc::new(Pending::new(MAX_IN_FLIGHT));
    tokio::spawn(link::run(
        connection,
        link::Queues {
            pending: Arc::clone(&pending),
            outgoing: outgoing_queue,
            incoming,
            in_use: in_use.clone(),
            users,
        },
    ));
    (
        Peer {
            pending,
            outgoing,
            _in_use: in_use,
        },
        incoming_queue,
    )
}

impl Peer {
    /// Asks the other side something. Many calls may be in flight, and they are answered in any order. There is no
    /// time limit: dropping the future gives up on the answer, and on the call itself if it was not sent yet.
    ///
    /// # Errors
    /// See [`CallError`]. When the link goes down, every call fails at once.
    pub async fn call(&self, body: Bytes) -> Result<Bytes, CallError> {
        if body.len() > MAX_MESSAGE {
            return Err(CallError::TooLarge);
        }
        let permit = self.pending.permit().await?;
        let place = self.outgoing.reserve().await.map_err(|_| NOT_SENT)?;
        let (number, answer) = self.pending.register(permit)?;
        place.send(Outgoing::Call { number, body });
        answer
            .await
            .unwrap_or(Err(CallError::Disconnected { maybe_executed: true }))
    }

    /// Tells the other side something. `Ok` means that it will be sent if the link holds; notices arrive in the
    /// order in which they were accepted here.
    ///
    /// # Errors
    /// [`CallError::Disconnected`] if the link is down, [`CallError::TooLarge`].
    pub async fn notify(&self, body: Bytes) -> Result<(), CallError> {
        if body.len() > MAX_MESSAGE {
            return Err(CallError::TooLarge);
        }
        self.outgoing.send(Outgoing::Notice(body)).await.map_err(|_| NOT_SENT)
    }

    /// Waits until the link is down.
    pub async fn closed(&self) {
        self.pending.closed().await;
    }

    /// Whether the link is down.
    pub fn is_closed(&self) -> bool {
        self.pending.is_closed()
    }
}

const NOT_SENT: CallError = CallError::Disconnected { maybe_executed: false };

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Where the answer to a request goes. Dropped without [`send`](Self::send), it lets the caller know that there will
/// be none.
pub struct Reply {
    number: u64,
    /// Without a bound, so that answering never waits; the calls in flight bound it all the same.
    answers: Option<mpsc::UnboundedSender<ReplyFrame>>,
    _in_use: Option<InUse>,
}

impl Reply {
    /// Answers. Never waits; if the link is down, the answer is lost, and the caller knows that by itself. An answer
    /// longer than [`MAX_MESSAGE`] is not sent: the caller gets [`CallError::Unanswered`].
    pub fn send(mut self, body: Bytes) {
        if body.len() > MAX_MESSAGE {
            tracing::error!(bytes = body.len(), "an answer is too long for the bus and was dropped");
            return;
        }
        if let Some(answers) = self.answers.take() {
            // An error means that the link is down.
            let _ = answers.send((self.number, Some(body)));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(answers) = self.answers.take() {
            let _ = answers.send((self.number, None));
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({})", self.number)
    }
}

#[cfg(test)]
mod tests;
