//! The readers' connections.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::StoreError;
use crate::connection::Connection;
use crate::database::Database;

/// A pool of connections for readers. Each is used by one caller at a time.
///
/// This is not sqlx's pool, because that one asks each connection whether it is alive before and after every use. With
/// SQLite each such question takes as long as a query does: both go to the connection's thread and back.
pub(crate) struct ConnectionPool {
    shared: Arc<Shared>,
    size: u32,
    permits: Arc<Semaphore>,
}

struct Shared {
    database: Database,
    idle: Mutex<Vec<Connection>>,
    /// Grows when all connections that exist become useless. A connection of an earlier generation is not used again.
    generation: AtomicU64,
}

/// A connection that goes back to the pool when this is dropped.
pub(crate) struct PooledConnection {
    /// None only while this is dropped.
    conn: Option<Connection>,
    generation: u64,
    shared: Arc<Shared>,
    permit: Option<OwnedSemaphorePermit>,
}

impl ConnectionPool {
    /// A pool of at most `size` connections, of which one is opened now.
    pub(crate) async fn open(database: Database, size: u32) -> Result<Self, StoreError> {
        let pool = Self {
            shared: Arc::new(Shared {
                database,
                idle: Mutex::default(),
                generation: AtomicU64::new(0),
            }),
            size,
            permits: Arc::new(Semaphore::new(size as usize)),
        };
        drop(pool.acquire().await?);
        Ok(pool)
    }

    /// Waits until a connection is free, and opens one if the pool has fewer than it may have.
    pub(crate) async fn acquire(&self) -> Result<PooledConnection, StoreError> {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        let generation = self.shared.generation.load(Ordering::Acquire);
        let idle = self.shared.idle.lock().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => self.shared.database.connect_reader().await?,
        };
        let mut conn = PooledConnection {
            conn: Some(conn),
            generation,
            shared: self.shared.clone(),
            permit: Some(permit),
        };
        if conn.needs_transactions() {
            conn.run("BEGIN READ ONLY").await?;
        }
        Ok(conn)
    }

    /// How many connections are in use, and how many there may be.
    pub(crate) fn usage(&self) -> (u32, u32) {
        let free = u32::try_from(self.permits.available_permits()).unwrap_or(self.size);
        (self.size.saturating_sub(free), self.size)
    }

    /// Replaces all connections by new ones, to the database that the configuration names now. If `check` refuses that
    /// database, the old connections stay.
    pub(crate) async fn reopen(
        &self,
        check: impl AsyncFnOnce(&mut Connection) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut fresh = self.shared.database.connect_reader().await?;
        check(&mut fresh).await?;
        self.shared.discard_idle();
        self.shared.idle.lock().push(fresh);
        Ok(())
    }

    /// Closes all connections, each as soon as nobody uses it.
    pub(crate) async fn close(&self) {
        let all = self.permits.acquire_many(self.size).await;
        self.permits.close();
        let idle = std::mem::take(&mut *self.shared.idle.lock());
        for conn in idle {
            // An error loses nothing: nothing was written through this connection.
            conn.close().await.ok();
        }
        drop(all);
    }
}

impl Shared {
    fn discard_idle(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.idle.lock().clear();
    }

    fn give_back(&self, mut conn: Connection, generation: u64) {
        conn.shrink_buffers();
        if conn.is_broken() {
            // The database ended, or can't be reached: then the other connections are useless, too.
            self.discard_idle();
        } else {
            let mut idle = self.idle.lock();
            if generation == self.generation.load(Ordering::Acquire) {
                idle.push(conn);
            }
        }
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        if !conn.needs_transactions() || conn.is_broken() {
            return self.shared.give_back(conn, self.generation);
        }
        let (shared, generation, permit) = (self.shared.clone(), self.generation, self.permit.take());
        tokio::spawn(async move {
            // An error breaks the connection, which is then not used again.
            conn.run("COMMIT").await.ok();
            shared.give_back(conn, generation);
            drop(permit);
        });
    }
}

impl Deref for PooledConnection {
    type Target = Connection;

    #[expect(clippy::expect_used, reason = "only `drop` takes the connection out")]
    fn deref(&self) -> &Connection {
        self.conn.as_ref().expect("a connection until it is dropped")
    }
}

impl DerefMut for PooledConnection {
    #[expect(clippy::expect_used, reason = "only `drop` takes the connection out")]
    fn deref_mut(&mut self) -> &mut Connection {
        self.conn.as_mut().expect("a connection until it is dropped")
    }
}
