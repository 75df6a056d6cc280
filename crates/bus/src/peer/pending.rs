//! The calls of this side that have no answer yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::{CallError, NOT_SENT};

type CallResult = Result<Bytes, CallError>;

/// Calls waiting for their answers, and whether the link is still there.
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
    /// Whether it was put on the wire, so that the other side may act on it.
    sent: bool,
    /// Kept until the answer is here even if the caller has gone: the other side's queue counts the call till then.
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

    /// Waits until there is room for one more call.
    pub(super) async fn permit(&self) -> Result<OwnedSemaphorePermit, CallError> {
        Arc::clone(&self.permits).acquire_owned().await.map_err(|_| NOT_SENT)
    }

    /// Gives a call its number, and the caller the place where its outcome will appear.
    pub(super) fn register(
        &self,
        permit: OwnedSemaphorePermit,
    ) -> Result<(u64, oneshot::Receiver<CallResult>), CallError> {
        let mut calls = self.calls();
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

    /// Called just before a call is written. `false`: the caller has given up, so do not write it.
    pub(super) fn about_to_send(&self, number: u64) -> bool {
        let mut calls = self.calls();
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

    /// Hands an outcome to the caller. `false`: there is no such call.
    pub(super) fn resolve(&self, number: u64, outcome: CallResult) -> bool {
        let call = self.calls().waiting.remove(&number);
        match call {
            // The caller may have given up; then nobody wants the outcome.
            Some(call) => {
                let _ = call.caller.send(outcome);
                true
            }
            None => false,
        }
    }

    /// The link is down: fails all calls, those that wait for room too, and every later one.
    pub(super) fn close(&self) {
        self.permits.close();
        let waiting = {
            let mut calls = self.calls();
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
        // An error would mean that the sender is gone, and it is part of `self`.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        // No code that can panic runs under this lock, so the map is whole even if a thread died.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
