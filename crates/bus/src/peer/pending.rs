//! The calls of this side that wait for their answers.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::{CallError, NOT_SENT};

type CallResult = Result<Bytes, CallError>;

/// The calls that wait for their answers, and whether the link has ended.
pub(super) struct Pending {
    permits: Arc<Semaphore>,
    calls: Mutex<Calls>,
    closed: watch::Sender<bool>,
}

struct Calls {
    open: bool,
    next: u64,
    waiting: HashMap<u64, Call>,
}

struct Call {
    caller: oneshot::Sender<CallResult>,
    /// Whether it was sent, so that the other side may carry it out.
    sent: bool,
    /// Held until the answer arrives, even if the caller gave up: until then, the call takes a place in the other side's
    /// queue.
    _permit: OwnedSemaphorePermit,
}

impl Pending {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limit)),
            calls: Mutex::new(Calls {
                open: true,
                next: 1,
                waiting: HashMap::new(),
            }),
            closed: watch::Sender::new(false),
        }
    }

    /// Waits until one more call may be in flight.
    pub(super) async fn permit(&self) -> Result<OwnedSemaphorePermit, CallError> {
        Arc::clone(&self.permits).acquire_owned().await.map_err(|_| NOT_SENT)
    }

    /// Adds a call. Returns its number and the receiver of its result.
    pub(super) fn register(
        &self,
        permit: OwnedSemaphorePermit,
    ) -> Result<(u64, oneshot::Receiver<CallResult>), CallError> {
        let mut calls = self.calls.lock();
        if !calls.open {
            return Err(NOT_SENT);
        }
        let number = calls.next;
        calls.next += 1;
        let (caller, outcome) = oneshot::channel();
        calls.waiting.insert(
            number,
            Call {
                caller,
                sent: false,
                _permit: permit,
            },
        );
        Ok((number, outcome))
    }

    /// Marks a call as sent, just before it is written. Returns `false` if the caller gave up: then it must not be written.
    pub(super) fn about_to_send(&self, number: u64) -> bool {
        let mut calls = self.calls.lock();
        match calls.waiting.get_mut(&number) {
            Some(call) if !call.caller.is_closed() => {
                call.sent = true;
                true
            }
            _ => {
                calls.waiting.remove(&number);
                false
            }
        }
    }

    /// Gives a call its result. Returns `false` if there is no such call.
    pub(super) fn resolve(&self, number: u64, outcome: CallResult) -> bool {
        let call = self.calls.lock().waiting.remove(&number);
        match call {
            // An error means that the caller gave up.
            Some(call) => {
                let _ = call.caller.send(outcome);
                true
            }
            None => false,
        }
    }

    /// Fails all calls, also those that wait to be sent and every later one, because the link has ended.
    pub(super) fn close(&self) {
        self.permits.close();
        let waiting = {
            let mut calls = self.calls.lock();
            calls.open = false;
            std::mem::take(&mut calls.waiting)
        };
        for call in waiting.into_values() {
            let _ = call.caller.send(Err(CallError::Disconnected {
                maybe_executed: call.sent,
            }));
        }
        self.closed.send_replace(true);
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    pub(super) async fn closed(&self) {
        // This never fails, because the sender is a part of `self`.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }
}
