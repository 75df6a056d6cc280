//! The connections of one listener: how many may be open, how many of one address, and how long a client may keep one
//! waiting.
//!
//! The server can't tell an honest client from a hostile one. So it does not turn a new connection away because others came
//! first: it closes connections that wait for their clients (to send a request, or to read a response) to make room, those of
//! the address with the most connections first. One address gets at most half of every limit.

mod closed;
mod exchange;
mod state;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use crate::limits;
pub(crate) use closed::{CloseReason, ClosedConnections};
pub(crate) use exchange::Exchange;
use state::ConnectionState;

/// How many connections are closed at once to make room. More than one, because finding them means to look at all.
const CLOSED_AT_ONCE: usize = 32;

/// How often a request or response that waits for a permit looks for a connection to close.
const RECHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The connections of a listener, and the limits that their requests share.
pub(crate) struct Connections {
    table: Mutex<Table>,
    requests: usize,
    quota: Quota,
    /// Whether the log has said that the limit is reached.
    is_full: AtomicBool,
    closed: ClosedConnections,
}

/// The limits of requests. There is one quota for all connections, and one of half the size for each address.
struct Quota {
    /// Requests in progress. A request is in progress until its response is sent whole.
    requests: Arc<Semaphore>,
    /// KiB of responses in memory that are not sent yet.
    unsent: Arc<Semaphore>,
    /// Requests that wait for a permit of `requests` or `unsent`.
    waiting: Semaphore,
}

impl Quota {
    fn new(requests: usize, unsent_bytes: usize, waiting: usize) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(requests)),
            unsent: Arc::new(Semaphore::new(unsent_bytes >> 10)),
            waiting: Semaphore::new(waiting),
        }
    }
}

/// Permits for one request or response, from the quota of its address and from that of all connections.
pub(crate) struct Permits {
    _of_address: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Table {
    open: HashMap<u64, Arc<ConnectionState>>,
    groups: HashMap<IpAddr, Group>,
    next: u64,
}

/// The connections from one address, or one /64 of IPv6.
struct Group {
    connections: usize,
    quota: Arc<Quota>,
}

impl Table {
    fn remove(&mut self, number: u64) {
        // A connection that was closed to make room is removed already.
        let Some(state) = self.open.remove(&number) else { return };
        if let Some(group) = self.groups.get_mut(&state.group) {
            group.connections -= 1;
            if group.connections == 0 {
                self.groups.remove(&state.group);
            }
        }
    }

    /// How many connections of a group are open.
    fn count(&self, group: IpAddr) -> usize {
        self.groups.get(&group).map_or(0, |group| group.connections)
    }

    fn close(&mut self, number: u64) {
        if let Some(state) = self.open.get(&number) {
            state.closing.notify_one();
        }
        self.remove(number);
    }

    /// Closes some connections that wait for their clients: of the groups with the most connections first, and in a group
    /// those that have waited longest. With `group`, only connections of that group. Returns how many it closed.
    fn make_room(&mut self, group: Option<IpAddr>) -> usize {
        let now = Instant::now();
        let mut waiting: Vec<_> = self
            .open
            .iter()
            .filter(|(_, state)| group.is_none_or(|group| state.group == group))
            .filter_map(|(number, state)| {
                let since = state.progress.lock().closable_since(now)?;
                Some((Reverse(self.count(state.group)), since, *number))
            })
            .collect();
        waiting.sort_unstable();
        waiting.truncate(CLOSED_AT_ONCE);
        for (.., number) in &waiting {
            self.close(*number);
        }
        waiting.len()
    }
}

/// Refused: too many requests are in progress, or too many responses wait for clients to read them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Connections {
    /// For a listener that has at most `requests` requests in progress, and counts the connections that it closes in
    /// `closed`.
    pub(crate) fn new(requests: usize, closed: ClosedConnections) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            requests,
            quota: Quota::new(requests, limits::MAX_UNSENT_BYTES, limits::MAX_WAITING),
            is_full: AtomicBool::new(false),
            closed,
        })
    }

    /// A permit for a connection from this address. None if the limit is reached and every open connection is busy with a
    /// request.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<ConnectionPermit> {
        let group = group(address);
        let mut table = self.table.lock();
        let of_group = table.count(group);
        let count = table.open.len();
        let is_full = of_group >= limits::MAX_CONNECTIONS_PER_ADDRESS || count >= limits::MAX_CONNECTIONS;
        let has_room = if is_full {
            let only_this_group = (of_group >= limits::MAX_CONNECTIONS_PER_ADDRESS).then_some(group);
            let closed = table.make_room(only_this_group);
            self.closed.count(CloseReason::ConnectionLimit, closed);
            closed > 0
        } else {
            true
        };
        if is_full && !self.is_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                connections = count,
                of_this_address = of_group,
                %address,
                "there are too many connections: the server closes those that wait for their clients"
            );
        } else if count < limits::MAX_CONNECTIONS_PER_ADDRESS / 2 {
            self.is_full.store(false, Ordering::Relaxed);
        }
        if !has_room {
            self.closed.count(CloseReason::Refused, 1);
            return None;
        }
        let number = table.next;
        table.next += 1;
        let entry = table.groups.entry(group).or_insert_with(|| Group {
            connections: 0,
            quota: Arc::new(Quota::new(
                self.requests.div_ceil(2),
                limits::MAX_UNSENT_BYTES / 2,
                limits::MAX_WAITING / 2,
            )),
        });
        entry.connections += 1;
        let state = Arc::new(ConnectionState::new(group, entry.quota.clone()));
        table.open.insert(number, state.clone());
        Some(ConnectionPermit {
            connections: self.clone(),
            state,
            number,
            address,
        })
    }

    /// Closes connections that wait for their clients, because the process has too many open files to accept another one.
    pub(crate) fn free_descriptors(&self) {
        let closed = self.table.lock().make_room(None);
        self.closed.count(CloseReason::DescriptorLimit, closed);
    }

    /// Closes the connection whose client has left a response unread for longest, if there is one.
    fn close_unread(&self, group: Option<IpAddr>) {
        let now = Instant::now();
        let mut table = self.table.lock();
        let unread = table
            .open
            .iter()
            .filter(|(_, state)| group.is_none_or(|group| state.group == group))
            .filter_map(|(number, state)| Some((state.progress.lock().unread_since(now)?, *number)));
        if let Some((_, number)) = unread.min() {
            table.close(number);
            self.closed.count(CloseReason::UnreadLimit, 1);
        }
    }

    /// Waits for permits, and meanwhile closes connections whose clients leave responses unread.
    async fn acquire(
        &self,
        semaphore: &Arc<Semaphore>,
        count: u32,
        deadline: Instant,
        group: Option<IpAddr>,
    ) -> Result<OwnedSemaphorePermit, Busy> {
        let mut permit = pin!(semaphore.clone().acquire_many_owned(count));
        loop {
            match timeout(RECHECK_INTERVAL, &mut permit).await {
                Ok(permit) => return permit.map_err(|_| Busy),
                Err(_) if Instant::now() >= deadline => return Err(Busy),
                Err(_) => self.close_unread(group),
            }
        }
    }

    /// Waits until there is memory for `bytes` more bytes of responses.
    ///
    /// # Errors
    /// If there is none for [`limits::MEMORY_TIMEOUT`].
    pub(crate) async fn room_to_send(self: Arc<Self>, bytes: usize) -> Result<(), Busy> {
        let deadline = Instant::now() + limits::MEMORY_TIMEOUT;
        self.acquire(&self.quota.unsent, kib(bytes), deadline, None)
            .await
            .map(drop)
    }

    /// Whether [`Self::room_to_send`] would return at once.
    pub(crate) fn has_room_to_send(&self, bytes: usize) -> bool {
        self.quota.unsent.available_permits() >= kib(bytes) as usize
    }
}

/// What counts as one address: of IPv6 a /64, because that is the least that one customer gets (RFC 6177).
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address => address,
    }
}

/// How many KiB of the quota a response of `bytes` bytes takes. A small response takes none, because the limit of requests in
/// progress bounds those. A response larger than the quota of one address takes just that quota, so that it can be sent at
/// all.
fn kib(bytes: usize) -> u32 {
    match bytes {
        0..=limits::SMALL_RESPONSE_BYTES => 0,
        bytes => u32::try_from(bytes.min(limits::MAX_UNSENT_BYTES / 2).div_ceil(1 << 10)).unwrap_or(u32::MAX),
    }
}

/// The right to keep one connection open, given back when this is dropped.
pub(crate) struct ConnectionPermit {
    connections: Arc<Connections>,
    state: Arc<ConnectionState>,
    number: u64,
    address: IpAddr,
}

impl ConnectionPermit {
    /// Waits until this connection has to be closed to make room for another.
    pub(crate) async fn closing(&self) {
        self.state.closing.notified().await;
    }

    /// Waits until the client has kept this connection waiting for `patience`, and counts it as closed for that.
    pub(crate) async fn overdue(&self, patience: Duration) {
        loop {
            let now = Instant::now();
            let (since, is_idle) = {
                let progress = self.state.progress.lock();
                (progress.waits_since(), progress.is_idle())
            };
            match since {
                Some(since) if since + patience <= now => {
                    let reason = if is_idle {
                        CloseReason::RequestTimeout
                    } else {
                        CloseReason::ResponseTimeout
                    };
                    return self.count_closed(reason);
                }
                Some(since) => sleep_until(since + patience).await,
                // A wait that begins later than now ends later than this sleep.
                None => sleep_until(now + patience).await,
            }
        }
    }

    /// Counts this connection as closed.
    pub(crate) fn count_closed(&self, reason: CloseReason) {
        self.connections.closed.count(reason, 1);
    }

    /// Whether no request is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.progress.lock().is_idle()
    }

    /// Begins a request on this connection.
    pub(crate) fn begin(&self) -> Arc<Exchange> {
        Exchange::begin(self)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connections.table.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests;
