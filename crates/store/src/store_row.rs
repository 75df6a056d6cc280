//! The table `store`, which has one row.

use sidevault_model::Timestamp;
use sqlx::Row as _;

use crate::StoreError;
use crate::connection::Connection;

/// What a database holds (`store.state`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StoreState {
    /// A store.
    Complete,
    /// A part of a store, because copying was interrupted. No process opens it.
    Incomplete,
    /// A copy of a store in PostgreSQL, which only [`crate::replica::Replica`] writes.
    Replica,
}

impl StoreState {
    fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete copy",
            Self::Replica => "replica",
        }
    }
}

/// The row.
#[derive(Clone, Copy)]
pub(crate) struct StoreRow {
    pub(crate) state: StoreState,
    pub(crate) written_at: Timestamp,
    /// Whether the write-ahead log may hold keys of a deleted vault.
    pub(crate) is_unwiped: bool,
}

impl StoreRow {
    /// Reads the row. It is missing until a writer has opened the store for the first time.
    pub(crate) async fn read(conn: &mut Connection) -> Result<Option<Self>, StoreError> {
        let row = sqlx::query("SELECT state, written_at, unwiped FROM store")
            .fetch_optional(conn)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let word: String = row.try_get("state")?;
        let states = [StoreState::Complete, StoreState::Incomplete, StoreState::Replica];
        let state = states.into_iter().find(|state| state.word() == word);
        Ok(Some(Self {
            state: state.ok_or_else(|| StoreError::corrupt("the state of the store"))?,
            written_at: Timestamp::from_millis(row.try_get("written_at")?),
            is_unwiped: row.try_get::<i64, _>("unwiped")? != 0,
        }))
    }

    /// Writes the row.
    pub(crate) async fn write(self, conn: &mut Connection) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO store (one, state, written_at, unwiped) VALUES (1, $1, $2, $3)
             ON CONFLICT (one) DO UPDATE
             SET state = excluded.state, written_at = excluded.written_at, unwiped = excluded.unwiped",
        )
        .bind(self.state.word())
        .bind(self.written_at.as_millis())
        .bind(i64::from(self.is_unwiped))
        .execute(conn)
        .await?;
        Ok(())
    }
}
