//! The connections of one listener: how many there may be, how many of one address, and how long a peer may keep them
//! waiting.
//!
//! A server can't tell an honest stranger from another one. So a new connection is not turned away because others came
//! first: connections that wait for their peer (for a request, or until it takes its answer) are closed to make room, and
//! those of the address that holds the most come first. And one address can have half of all there is, at the most.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use crate::limits;

mod closed;

pub(crate) use closed::{CloseReason, ClosedConnections};

/// How many connections are closed at once when there is no room: looking for them takes time.
const ROOM: usize = 32;

/// How often a request or answer that waits for room looks for a connection that can be closed.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The connections of a listener, and what they hold.
pub(crate) struct Connections {
    table: Mutex<Table>,
    requests: usize,
    room: Room,
    is_full: AtomicBool,
    closed: ClosedConnections,
}

/// What requests use of the limits: counted once for all connections, and once for each address.
struct Room {
    /// Requests in work. A request is in work until its answer is sent whole.
    requests: Arc<Semaphore>,
    /// KiB of answers in memory that are not sent yet.
    unsent: Arc<Semaphore>,
    /// Requests that wait for `requests` or `unsent`.
    waiting: Semaphore,
}

impl Room {
    fn new(requests: usize, unsent_bytes: usize, waiting: usize) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(requests)),
            unsent: Arc::new(Semaphore::new(unsent_bytes >> 10)),
            waiting: Semaphore::new(waiting),
        }
    }
}

/// Permits for one request or answer, from the limits of its address and from those of all connections.
pub(crate) struct Taken {
    _of_address: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Table {
    open: HashMap<u64, Arc<Held>>,
    groups: HashMap<IpAddr, Group>,
    next: u64,
}

/// The connections from one address.
struct Group {
    connections: usize,
    room: Arc<Room>,
}

impl Table {
    fn remove(&mut self, number: u64) {
        // A connection that was closed to make room was removed then.
        let Some(held) = self.open.remove(&number) else { return };
        if let Some(group) = self.groups.get_mut(&held.group) {
            group.connections -= 1;
            if group.connections == 0 {
                self.groups.remove(&held.group);
            }
        }
    }

    /// How many connections there are from an address.
    fn count(&self, group: IpAddr) -> usize {
        self.groups.get(&group).map_or(0, |group| group.connections)
    }

    fn close(&mut self, number: u64) {
        if let Some(held) = self.open.get(&number) {
            held.closing.notify_one();
        }
        self.remove(number);
    }

    /// Closes some connections that wait for their peer: those of the addresses with the most connections first, and of
    /// one address those that have waited longest. Returns how many it closed.
    fn make_room(&mut self, group: Option<IpAddr>) -> usize {
        let now = Instant::now();
        let mut waiting: Vec<_> = self
            .open
            .iter()
            .filter(|(_, held)| group.is_none_or(|group| held.group == group))
            .filter_map(|(number, held)| {
                let since = held.turns().gives_way_since(now)?;
                Some((Reverse(self.count(held.group)), since, *number))
            })
            .collect();
        waiting.sort_unstable();
        waiting.truncate(ROOM);
        for (.., number) in &waiting {
            self.close(*number);
        }
        waiting.len()
    }
}

/// Refused: too many requests are in work, or too many answers wait for clients to read them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Connections {
    /// For a listener that has at most `requests` requests in work, and counts the connections that it closes in `closed`.
    pub(crate) fn new(requests: usize, closed: ClosedConnections) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            requests,
            room: Room::new(requests, limits::UNSENT_BYTES, limits::WAITING),
            is_full: AtomicBool::new(false),
            closed,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A place for a connection from this address. None if all places belong to connections that are being served.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let group = group(address);
        let mut table = self.table();
        let of_group = table.count(group);
        let count = table.open.len();
        let is_full = of_group >= limits::CONNECTIONS_OF_ONE || count >= limits::CONNECTIONS;
        let has_room = if is_full {
            let of_this_address = (of_group >= limits::CONNECTIONS_OF_ONE).then_some(group);
            let closed = table.make_room(of_this_address);
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
                "there are too many connections: those that wait for their clients are closed"
            );
        } else if count < limits::CONNECTIONS_OF_ONE / 2 {
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
            room: Arc::new(Room::new(
                self.requests.div_ceil(2),
                limits::UNSENT_BYTES / 2,
                limits::WAITING / 2,
            )),
        });
        entry.connections += 1;
        let held = Arc::new(Held::new(group, entry.room.clone()));
        table.open.insert(number, held.clone());
        Some(Place {
            connections: self.clone(),
            held,
            number,
            address,
        })
    }

    /// Closes connections that wait for their peer, of any address. Called when the process has too many open files.
    pub(crate) fn make_room(&self) {
        let closed = self.table().make_room(None);
        self.closed.count(CloseReason::OpenFiles, closed);
    }

    /// Closes the connection whose peer has not taken an answer for longest, if there is one.
    fn close_unread(&self, group: Option<IpAddr>) {
        let now = Instant::now();
        let mut table = self.table();
        let unread = table
            .open
            .iter()
            .filter(|(_, held)| group.is_none_or(|group| held.group == group))
            .filter_map(|(number, held)| Some((held.turns().unread_since(now)?, *number)));
        if let Some((_, number)) = unread.min() {
            table.close(number);
            self.closed.count(CloseReason::UnreadLimit, 1);
        }
    }

    /// Waits for permits of a limit that is reached, and meanwhile closes connections whose peers read nothing.
    async fn obtain(
        &self,
        semaphore: &Arc<Semaphore>,
        count: u32,
        deadline: Instant,
        group: Option<IpAddr>,
    ) -> Result<OwnedSemaphorePermit, Busy> {
        let mut permit = pin!(semaphore.clone().acquire_many_owned(count));
        loop {
            match timeout(LOOK_AGAIN, &mut permit).await {
                Ok(permit) => return permit.map_err(|_| Busy),
                Err(_) if Instant::now() >= deadline => return Err(Busy),
                Err(_) => self.close_unread(group),
            }
        }
    }

    /// Waits until answers can be produced that may be this large each.
    pub(crate) async fn room_to_send(self: Arc<Self>, bytes: usize) -> Result<(), Busy> {
        let deadline = Instant::now() + limits::ROOM_TIME;
        self.obtain(&self.room.unsent, kib(bytes), deadline, None)
            .await
            .map(drop)
    }

    /// Whether [`Self::room_to_send`] would wait.
    pub(crate) fn has_room_to_send(&self, bytes: usize) -> bool {
        self.room.unsent.available_permits() >= kib(bytes) as usize
    }
}

/// Addresses of IPv6 count by their /64: that is what one customer has at the least (RFC 6177).
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address => address,
    }
}

/// How much of the room for answers an answer of `bytes` bytes takes: none if it is small, because the limit of requests in
/// work bounds small answers; at most the share of one address, so that a larger answer can be sent at all.
fn kib(bytes: usize) -> u32 {
    match bytes {
        0..=limits::SMALL_ANSWER_BYTES => 0,
        bytes => u32::try_from(bytes.min(limits::UNSENT_BYTES / 2).div_ceil(1 << 10)).unwrap_or(u32::MAX),
    }
}

/// A connection's place, given back when it is dropped.
pub(crate) struct Place {
    connections: Arc<Connections>,
    held: Arc<Held>,
    number: u64,
    address: IpAddr,
}

impl Place {
    /// Waits until the connection has to make room.
    pub(crate) async fn closing(&self) {
        self.held.closing.notified().await;
    }

    /// Waits until the peer has kept the connection waiting for so long, and counts that.
    pub(crate) async fn overdue(&self, patience: Duration) {
        loop {
            let now = Instant::now();
            let (since, is_idle) = {
                let turns = self.held.turns();
                (turns.waits_since(), turns.open == 0)
            };
            match since {
                Some(since) if since + patience <= now => {
                    let reason = if is_idle {
                        CloseReason::RequestTimeout
                    } else {
                        CloseReason::AnswerTimeout
                    };
                    return self.count_closed(reason);
                }
                Some(since) => sleep_until(since + patience).await,
                // A wait that begins from now on ends later than this.
                None => sleep_until(now + patience).await,
            }
        }
    }

    /// Counts that this connection is closed.
    pub(crate) fn count_closed(&self, reason: CloseReason) {
        self.connections.closed.count(reason, 1);
    }

    /// Whether there is no request in work.
    pub(crate) fn is_idle(&self) -> bool {
        self.held.turns().open == 0
    }

    /// Begins a request on this connection.
    pub(crate) fn begin(&self) -> Arc<Exchange> {
        let number = {
            let mut turns = self.held.turns();
            turns.open += 1;
            turns.next += 1;
            turns.next
        };
        Arc::new(Exchange {
            connections: self.connections.clone(),
            held: self.held.clone(),
            number,
            address: self.address,
            request: OnceLock::new(),
            body: OnceLock::new(),
            answer: Mutex::default(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table().remove(self.number);
    }
}

/// One connection, as the table of all connections holds it.
struct Held {
    group: IpAddr,
    room: Arc<Room>,
    turns: Mutex<Turns>,
    closing: Notify,
}

impl Held {
    fn new(group: IpAddr, room: Arc<Room>) -> Self {
        Self {
            group,
            room,
            turns: Mutex::new(Turns {
                open: 0,
                idle: Instant::now(),
                untaken: BTreeMap::new(),
                next: 0,
            }),
            closing: Notify::new(),
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Whether the server or the peer has to act next on a connection.
struct Turns {
    /// Requests in work, until their answers are sent whole.
    open: usize,
    /// Since when no request is in work.
    idle: Instant,
    /// Answers that can't go on before the peer reads, each with the time since when.
    untaken: BTreeMap<u64, Instant>,
    next: u64,
}

impl Turns {
    /// Since when the peer has to act: to send a request, or to read an answer. None if the server has to.
    fn waits_since(&self) -> Option<Instant> {
        match self.open {
            0 => Some(self.idle),
            _ => self.untaken.values().min().copied(),
        }
    }

    /// Since when the peer has left an answer unread: if it read nothing of any answer for [`limits::UNREAD_GRACE`], or
    /// nothing of one for [`limits::LEFT_ASIDE_GRACE`]. None for answers that are just being sent.
    fn unread_since(&self, now: Instant) -> Option<Instant> {
        let oldest = self.untaken.values().min().copied()?;
        let newest = self.untaken.values().max().copied()?;
        let is_unread = now.duration_since(newest) >= limits::UNREAD_GRACE
            || now.duration_since(oldest) >= limits::LEFT_ASIDE_GRACE;
        is_unread.then_some(oldest)
    }

    /// Since when the connection may be closed to make room: it has no request in work, or an answer is left unread.
    fn gives_way_since(&self, now: Instant) -> Option<Instant> {
        match self.open {
            0 => Some(self.idle),
            _ => self.unread_since(now),
        }
    }
}

/// A request and its answer. It is in work until the last reference is dropped, and every unsent part of the answer holds
/// one.
pub(crate) struct Exchange {
    connections: Arc<Connections>,
    held: Arc<Held>,
    number: u64,
    address: IpAddr,
    /// Its place among the requests in work.
    request: OnceLock<Taken>,
    /// The place of its large body.
    body: OnceLock<Arc<OwnedSemaphorePermit>>,
    /// Its answer's share of the room for answers, until that is sent.
    answer: Mutex<Option<Taken>>,
}

impl Exchange {
    /// Where the request comes from.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Takes a place among the requests in work.
    ///
    /// # Errors
    /// If there is none for longer than [`limits::PLACE_TIME`], or too many wait for one.
    pub(crate) async fn admit(&self) -> Result<(), Busy> {
        let taken = match self.try_to_take(|room| &room.requests, 1) {
            Some(taken) => taken,
            None => self.take(|room| &room.requests, 1, limits::PLACE_TIME).await?,
        };
        // Set once: each request is admitted once.
        let _ = self.request.set(taken);
        Ok(())
    }

    /// Takes room for an answer of so many bytes if there is some at once.
    pub(crate) fn try_to_afford(&self, bytes: usize) -> bool {
        let count = kib(bytes);
        if count == 0 {
            return true;
        }
        let taken = self.try_to_take(|room| &room.unsent, count);
        taken.map(|taken| *self.answer() = Some(taken)).is_some()
    }

    /// Takes room for an answer of so many bytes.
    ///
    /// # Errors
    /// If there is none for longer than [`limits::ROOM_TIME`], or too many wait for it.
    pub(crate) async fn afford(&self, bytes: usize) -> Result<(), Busy> {
        let taken = self.take(|room| &room.unsent, kib(bytes), limits::ROOM_TIME).await?;
        *self.answer() = Some(taken);
        Ok(())
    }

    fn try_to_take(&self, of: impl Fn(&Room) -> &Arc<Semaphore>, count: u32) -> Option<Taken> {
        let [of_address, of_all] =
            [&*self.held.room, &self.connections.room].map(|room| of(room).clone().try_acquire_many_owned(count).ok());
        Some(Taken {
            _of_address: of_address?,
            _of_all: of_all?,
        })
    }

    async fn take(&self, of: impl Fn(&Room) -> &Arc<Semaphore>, count: u32, patience: Duration) -> Result<Taken, Busy> {
        let (own, all) = (&*self.held.room, &self.connections.room);
        let _waiting = (
            own.waiting.try_acquire().map_err(|_| Busy)?,
            all.waiting.try_acquire().map_err(|_| Busy)?,
        );
        let deadline = Instant::now() + patience;
        let connections = &self.connections;
        let own = connections.obtain(of(own), count, deadline, Some(self.held.group));
        let _of_address = own.await?;
        let _of_all = connections.obtain(of(all), count, deadline, None).await?;
        Ok(Taken { _of_address, _of_all })
    }

    /// Keeps the place of a large body until the answer to it is sent.
    pub(crate) fn keep(&self, body: Arc<OwnedSemaphorePermit>) {
        // A request has one body.
        let _ = self.body.set(body);
    }

    /// The room that was taken for the answer, or room for so many bytes of it if there is some.
    pub(crate) fn room(&self, bytes: usize) -> Option<Taken> {
        let taken = self.answer().take();
        taken.or_else(|| self.try_to_take(|room| &room.unsent, kib(bytes)))
    }

    /// All connections of the listener.
    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// The answer goes on only when the peer has taken what it was sent.
    pub(crate) fn waits_for_peer(&self) {
        self.held.turns().untaken.insert(self.number, Instant::now());
    }

    /// The peer has read all that was sent.
    pub(crate) fn waits_for_us(&self) {
        self.held.turns().untaken.remove(&self.number);
    }

    fn answer(&self) -> MutexGuard<'_, Option<Taken>> {
        self.answer.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut turns = self.held.turns();
        turns.untaken.remove(&self.number);
        turns.open -= 1;
        if turns.open == 0 {
            turns.idle = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests;
