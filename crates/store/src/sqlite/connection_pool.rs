//! The readers' connections.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, Semaphore, SemaphorePermit};

use super::{beside, explained, has_bytes, is_read_only, options};
use crate::StoreError;

/// A pool of connections for readers. Each is used by one caller at a time.
///
/// This is not sqlx's pool, because that one asks each connection whether it is alive before and after every use. With
/// SQLite each such question takes as long as a query does: both go to the connection's thread and back.
pub(crate) struct ConnectionPool {
    path: PathBuf,
    slots: Box<[Slot]>,
    /// As many permits as slots: who holds a permit finds a slot that is free.
    permits: Semaphore,
}

/// A connection, once it has been opened.
type Slot = Mutex<Option<SqliteConnection>>;

/// A connection that goes back to the pool when this is dropped.
pub(crate) struct PooledConnection<'a> {
    conn: MappedMutexGuard<'a, SqliteConnection>,
    _permit: SemaphorePermit<'a>,
}

impl ConnectionPool {
    /// A pool of at most `size` connections, of which one is opened now. The connections never write, but they open the
    /// database for reading and writing: while no writer runs, a reader must be able to recover the write-ahead log.
    pub(crate) async fn open(path: &Path, size: u32) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let pool = Self {
            path: path.to_owned(),
            slots: (0..size).map(|_| Slot::default()).collect(),
            permits: Semaphore::new(size as usize),
        };
        drop(pool.acquire().await?);
        Ok(pool)
    }

    /// Waits until a connection is free, and opens one if the pool has fewer than it may have.
    pub(crate) async fn acquire(&self) -> Result<PooledConnection<'_>, StoreError> {
        let permit = self.permits.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        loop {
            for slot in &self.slots {
                let Ok(mut slot) = slot.try_lock() else { continue };
                if slot.is_none() {
                    *slot = Some(self.connect().await?);
                }
                if let Ok(conn) = MutexGuard::try_map(slot, Option::as_mut) {
                    return Ok(PooledConnection { conn, _permit: permit });
                }
            }
        }
    }

    async fn connect(&self) -> Result<SqliteConnection, StoreError> {
        let options = options(&self.path).pragma("query_only", "ON");
        // On a read-only volume without a log the database's file is complete and can't change.
        let immutable = is_read_only(&self.path) && !has_bytes(&beside(&self.path, "-wal"));
        let conn = options.immutable(immutable).connect().await;
        conn.map_err(|error| explained(error.into(), &self.path))
    }

    /// Replaces all connections by new ones, to the files that the path names now. If `check` refuses those files, the old
    /// connections stay. Waits until every old connection that is in use has been given back.
    pub(crate) async fn reopen(
        &self,
        check: impl AsyncFnOnce(&mut SqliteConnection) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut fresh = self.connect().await?;
        check(&mut fresh).await?;
        let mut fresh = Some(fresh);
        for slot in &self.slots {
            // A slot is locked only by who holds a permit, so that who holds one finds a slot that is free.
            let _permit = self.permits.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
            if let Some(old) = std::mem::replace(&mut *slot.lock().await, fresh.take()) {
                // An error loses nothing: nothing was written through this connection.
                old.close().await.ok();
            }
        }
        Ok(())
    }

    /// Closes all connections, each as soon as nobody uses it.
    pub(crate) async fn close(&self) {
        self.permits.close();
        for slot in &self.slots {
            if let Some(conn) = slot.lock().await.take() {
                // An error loses nothing: nothing was written through this connection.
                conn.close().await.ok();
            }
        }
    }
}

impl Deref for PooledConnection<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.conn
    }
}

impl DerefMut for PooledConnection<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }
}
