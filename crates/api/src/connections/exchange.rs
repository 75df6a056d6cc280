//! One request and its response, and the permits they hold.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::state::ConnectionState;
use super::{Busy, ConnectionPermit, Connections, Permits, Quota, kib};
use crate::limits;

/// A request and its response. It is in progress until the last reference is dropped, and every unsent part of the response
/// holds a reference.
pub(crate) struct Exchange {
    connections: Arc<Connections>,
    connection: Arc<ConnectionState>,
    number: u64,
    address: IpAddr,
    /// The permit to be in progress.
    request: OnceLock<Permits>,
    /// The permit of its large body.
    body: OnceLock<Arc<OwnedSemaphorePermit>>,
    /// The permits for its response's memory, until the response is handed to the HTTP library.
    response: Mutex<Option<Permits>>,
}

impl Exchange {
    pub(super) fn begin(permit: &ConnectionPermit) -> Arc<Self> {
        Arc::new(Self {
            connections: permit.connections.clone(),
            connection: permit.state.clone(),
            number: permit.state.progress.lock().begin(),
            address: permit.address,
            request: OnceLock::new(),
            body: OnceLock::new(),
            response: Mutex::default(),
        })
    }

    /// The client's address.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Takes the permit to be in progress.
    ///
    /// # Errors
    /// If there is none for [`limits::PERMIT_TIMEOUT`], or too many requests wait for one.
    pub(crate) async fn admit(&self) -> Result<(), Busy> {
        let permits = match self.try_acquire(|quota| &quota.requests, 1) {
            Some(permits) => permits,
            None => self.acquire(|quota| &quota.requests, 1, limits::PERMIT_TIMEOUT).await?,
        };
        // Each request is admitted once, so nothing is set yet.
        let _ = self.request.set(permits);
        Ok(())
    }

    /// Takes permits for a response of `bytes` bytes if there are enough now. Returns whether it did.
    pub(crate) fn try_reserve(&self, bytes: usize) -> bool {
        let count = kib(bytes);
        if count == 0 {
            return true;
        }
        let permits = self.try_acquire(|quota| &quota.unsent, count);
        permits.map(|permits| *self.response.lock() = Some(permits)).is_some()
    }

    /// Waits for permits for a response of `bytes` bytes.
    ///
    /// # Errors
    /// If there are too few for [`limits::MEMORY_TIMEOUT`], or too many requests wait for them.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<(), Busy> {
        let permits = self
            .acquire(|quota| &quota.unsent, kib(bytes), limits::MEMORY_TIMEOUT)
            .await?;
        *self.response.lock() = Some(permits);
        Ok(())
    }

    pub(super) fn try_acquire(&self, of: impl Fn(&Quota) -> &Arc<Semaphore>, count: u32) -> Option<Permits> {
        let [of_address, of_all] = [&*self.connection.quota, &self.connections.quota]
            .map(|quota| of(quota).clone().try_acquire_many_owned(count).ok());
        Some(Permits {
            _of_address: of_address?,
            _of_all: of_all?,
        })
    }

    async fn acquire(
        &self,
        of: impl Fn(&Quota) -> &Arc<Semaphore>,
        count: u32,
        patience: Duration,
    ) -> Result<Permits, Busy> {
        let (own, all) = (&*self.connection.quota, &self.connections.quota);
        let _waiting = (
            own.waiting.try_acquire().map_err(|_| Busy)?,
            all.waiting.try_acquire().map_err(|_| Busy)?,
        );
        let deadline = Instant::now() + patience;
        let connections = &self.connections;
        let own = connections.acquire(of(own), count, deadline, Some(self.connection.group));
        let _of_address = own.await?;
        let _of_all = connections.acquire(of(all), count, deadline, None).await?;
        Ok(Permits { _of_address, _of_all })
    }

    /// Keeps the permit of a large body until the response is sent.
    pub(crate) fn keep(&self, body: Arc<OwnedSemaphorePermit>) {
        // A request has one body, so nothing is set yet.
        let _ = self.body.set(body);
    }

    /// The permits that were reserved for the response; else permits for `bytes` bytes of it, if they take any and there are
    /// enough.
    pub(crate) fn take_permits(&self, bytes: usize) -> Option<Permits> {
        let count = kib(bytes);
        if count == 0 {
            return None;
        }
        let reserved = self.response.lock().take();
        reserved.or_else(|| self.try_acquire(|quota| &quota.unsent, count))
    }

    /// All connections of the listener.
    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Notes that the response goes on only when the client reads.
    pub(crate) fn wait_for_client(&self) {
        self.connection.progress.lock().wait_for_client(self.number);
    }

    /// Notes that the client has read some of the response, or that the operating system took it for the client.
    pub(crate) fn client_has_read(&self) {
        self.connection.progress.lock().client_has_read(self.number);
    }

    /// Notes that the client has read all that it was sent, so that the server has to act.
    pub(crate) fn wait_for_server(&self) {
        self.connection.progress.lock().wait_for_server(self.number);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.connection.progress.lock().end(self.number);
    }
}
