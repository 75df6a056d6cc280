//! The right to write, which one process has at a time.

use std::path::PathBuf;

use super::reserve::Reserve;
use crate::connection::Connection;
use crate::database::Database;
use crate::postgres::Lease;
use crate::sqlite::{self, WriterLock};
use crate::{Space, StoreError};

/// If less than this many bytes are free when a writer opens the store, it releases the reserve first: SQLite creates files
/// beside the database when it opens the database.
const ROOM_TO_OPEN: u64 = 256 * 1024;

/// What makes a process the only writer, and what it has to look after in that place.
pub(crate) enum WriteRight {
    /// The lock on a file of the data directory.
    Sqlite {
        dir: PathBuf,
        reserve: Reserve,
        _lock: WriterLock,
    },
    Postgres(Lease),
}

impl WriteRight {
    /// Becomes the only writer, connects, and brings the schema up to date.
    pub(crate) async fn take(database: &Database) -> Result<(Connection, Self), StoreError> {
        match database {
            Database::Sqlite(dir) => {
                let lock = WriterLock::take(dir)?;
                let mut reserve = Reserve::new(dir);
                if Space::of(dir).is_some_and(|space| space.free < ROOM_TO_OPEN) {
                    reserve.release();
                }
                let conn = sqlite::open_writer(dir).await?;
                let dir = dir.clone();
                Ok((
                    conn,
                    Self::Sqlite {
                        dir,
                        reserve,
                        _lock: lock,
                    },
                ))
            }
            Database::Postgres(server) => {
                let (mut conn, lease) = server.take_lease().await?;
                let right = Self::Postgres(lease);
                if let Err(error) = server.migrate(&mut conn).await {
                    right.give_up(database).await;
                    return Err(error);
                }
                Ok((conn, right))
            }
        }
    }

    /// Commits the open transaction of the connection. When this returns, the transaction is on disk.
    ///
    /// # Errors
    /// After an error nothing was committed, except after [`StoreError::OutcomeUnknown`].
    pub(crate) async fn commit(&mut self, conn: &mut Connection) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { .. } => conn.run("COMMIT").await,
            Self::Postgres(lease) => lease.commit(conn).await,
        }
    }

    /// Lets another process have the right at once: a lease would otherwise last until it expires.
    pub(crate) async fn give_up(self, database: &Database) {
        let Self::Postgres(lease) = self else { return };
        let released = async {
            let mut conn = database.connect_writer().await?;
            lease.release(&mut conn).await?;
            conn.close().await
        };
        if let Err(error) = released.await {
            tracing::warn!(%error, "the lease could not be given back; a standby takes it when it expires");
        }
    }
}
