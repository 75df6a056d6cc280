//! A link to the other side: calls, answers and notices.
//!
//! One task runs a link. It reads frames and hands out their messages, and it writes the messages that the [`Peer`] and the
//! [`Reply`]s put into its queues. All of these have bounds: a side has at most 1,024 calls without an answer, the channel of
//! received messages has room for as many, and further senders wait.

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

/// How many calls of one side may wait for their answers at a time.
const MAX_IN_FLIGHT: usize = 1024;

/// How many messages may wait to be written.
const OUTGOING: usize = 64;

/// How many received messages may wait in the channel: all calls that the other side may have in flight, and some notices.
const INCOMING: usize = MAX_IN_FLIGHT + 64;

/// Why a call got no answer, or a notice was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The link has ended.
    #[error("the link to the other side is down{}", if *.maybe_executed { " (the request may have been carried out)" } else { "" })]
    Disconnected {
        /// `false` if the request was certainly not carried out. `true` if it was sent, so that the other side may have
        /// carried it out.
        maybe_executed: bool,
    },
    /// The other side received the request and dropped it, because it failed or is stopping. The request may have been
    /// carried out.
    #[error("the other side gave no answer")]
    Unanswered,
    /// The request is longer than [`MAX_MESSAGE`].
    #[error("the message is longer than {MAX_MESSAGE} bytes")]
    TooLarge,
}

/// A message from the other side.
#[derive(Debug)]
pub enum Incoming {
    /// A request. The other side waits for an answer.
    Request {
        /// The body of the request.
        body: Bytes,
        /// Sends the answer.
        reply: Reply,
    },
    /// A notice, which has no answer.
    Notice(Bytes),
}

/// A handle on the other side of a link. Cheap to clone.
///
/// The link ends when the connection breaks, or when this side has dropped all of its `Peer`s, all [`Reply`]s and the receiver
/// of [`start`].
#[derive(Clone)]
pub struct Peer {
    pending: Arc<Pending>,
    outgoing: mpsc::Sender<Outgoing>,
    _in_use: InUse,
}

/// A clone is held by every `Peer` and `Reply`. The link ends when all clones are dropped.
type InUse = mpsc::Sender<Infallible>;

/// A message that waits to be written. Answers have a queue of their own.
enum Outgoing {
    Call { number: u64, body: Bytes },
    Notice(Bytes),
}

/// An answer that waits to be written: the number of the call, and the body. `None` means that there will be no answer.
type ReplyFrame = (u64, Option<Bytes>);

/// Starts a link. Returns a handle on the other side and a receiver of its messages.
///
/// Receive messages without delay and handle them in other tasks: while the channel is full, this side's own calls get no
/// answers, either. Must be called within a tokio runtime.
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
    /// Sends a request and waits for its answer. Many calls may be in flight, and they are answered in any order. There is no
    /// time limit. If the future is dropped, the answer is ignored, and the request is not sent if it still waits.
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

    /// Sends a notice. `Ok` means that it waits to be sent and will arrive if the link lasts. Notices arrive in the order of
    /// these calls.
    ///
    /// # Errors
    /// [`CallError::Disconnected`] if the link is down, [`CallError::TooLarge`].
    pub async fn notify(&self, body: Bytes) -> Result<(), CallError> {
        if body.len() > MAX_MESSAGE {
            return Err(CallError::TooLarge);
        }
        self.outgoing.send(Outgoing::Notice(body)).await.map_err(|_| NOT_SENT)
    }

    /// Waits until the link has ended.
    pub async fn closed(&self) {
        self.pending.closed().await;
    }

    /// Whether both are handles on the same link.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pending, &other.pending)
    }

    /// Whether the link has ended.
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

/// Sends the answer to a request. If it is dropped without [`send`](Self::send), the caller gets
/// [`CallError::Unanswered`].
pub struct Reply {
    number: u64,
    /// The channel is unbounded, so that an answer never waits. The bound on calls in flight bounds it, too.
    answers: Option<mpsc::UnboundedSender<ReplyFrame>>,
    _in_use: Option<InUse>,
}

impl Reply {
    /// Sends the answer, without waiting. If the link has ended, the answer is lost, and the caller has got an error. An
    /// answer longer than [`MAX_MESSAGE`] is not sent: the caller gets [`CallError::Unanswered`].
    pub fn send(mut self, body: Bytes) {
        if body.len() > MAX_MESSAGE {
            tracing::error!(bytes = body.len(), "an answer is too long for the bus and was dropped");
            return;
        }
        if let Some(answers) = self.answers.take() {
            // An error means that the link has ended.
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
