//! One connection, and whether its server or its client has to act next.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Quota;
use crate::limits;

/// A connection as the table of all connections holds it.
pub(super) struct ConnectionState {
    pub(super) group: IpAddr,
    pub(super) quota: Arc<Quota>,
    /// Notified when the connection has to be closed.
    pub(super) closing: Notify,
    pub(super) progress: Mutex<Progress>,
}

impl ConnectionState {
    pub(super) fn new(group: IpAddr, quota: Arc<Quota>) -> Self {
        Self {
            group,
            quota,
            closing: Notify::new(),
            progress: Mutex::new(Progress {
                in_progress: 0,
                idle_since: Instant::now(),
                unread: BTreeMap::new(),
                next: 0,
            }),
        }
    }
}

/// The requests of a connection.
pub(super) struct Progress {
    /// How many are in progress: until their responses are sent whole.
    in_progress: usize,
    /// When the last request ended, or the connection was accepted.
    idle_since: Instant,
    /// Responses that go on only when the client reads, by the requests' numbers, with the time when it last did.
    unread: BTreeMap<u64, Instant>,
    next: u64,
}

impl Progress {
    /// Begins a request. Returns its number.
    pub(super) fn begin(&mut self) -> u64 {
        self.in_progress += 1;
        self.next += 1;
        self.next
    }

    /// Ends a request.
    pub(super) fn end(&mut self, number: u64) {
        self.unread.remove(&number);
        self.in_progress -= 1;
        if self.in_progress == 0 {
            self.idle_since = Instant::now();
        }
    }

    /// Notes that a response goes on only when the client reads what was handed to the HTTP library. The time counts from the
    /// first such note: the library may take several pieces while the client reads nothing.
    pub(super) fn wait_for_client(&mut self, number: u64) {
        self.unread.entry(number).or_insert_with(Instant::now);
    }

    /// Notes that the client has read some of a response.
    pub(super) fn client_has_read(&mut self, number: u64) {
        if let Some(since) = self.unread.get_mut(&number) {
            *since = Instant::now();
        }
    }

    /// Notes that the client has read all of a response that there is so far.
    pub(super) fn wait_for_server(&mut self, number: u64) {
        self.unread.remove(&number);
    }

    /// Whether no request is in progress.
    pub(super) fn is_idle(&self) -> bool {
        self.in_progress == 0
    }

    /// Since when the client has to act: to send a request, or to read a response. None if the server has to act.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        if self.is_idle() {
            Some(self.idle_since)
        } else {
            self.unread.values().min().copied()
        }
    }

    /// Since when the client has left a response unread: if it read nothing of any response for [`limits::UNREAD_GRACE`], or
    /// nothing of one of them for [`limits::LEFT_ASIDE_GRACE`]. None if it is reading.
    pub(super) fn unread_since(&self, now: Instant) -> Option<Instant> {
        let oldest = self.unread.values().min().copied()?;
        let newest = self.unread.values().max().copied()?;
        let is_unread = now.duration_since(newest) >= limits::UNREAD_GRACE
            || now.duration_since(oldest) >= limits::LEFT_ASIDE_GRACE;
        is_unread.then_some(oldest)
    }

    /// Since when the connection may be closed to make room: no request is in progress, or a response is left unread.
    pub(super) fn closable_since(&self, now: Instant) -> Option<Instant> {
        if self.is_idle() {
            Some(self.idle_since)
        } else {
            self.unread_since(now)
        }
    }
}
