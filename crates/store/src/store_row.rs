//! The table `store`, which has one row.

use sidevault_model::Timestamp;
use sqlx::Row as _;

use crate::StoreError;
use crate::connection::Connection;
use crate::row::number;

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
    /// The lowest version that a changed item gets. A restore sets it, so that no version comes a second time.
    pub(crate) min_version: u32,
}

impl StoreRow {
    /// Reads the row. It is missing until a writer has opened the store for the first time.
    pub(crate) async fn read(conn: &mut Connection) -> Result<Option<Self>, StoreError> {
        let row = sqlx::query("SELECT state, written_at, unwiped, min_version FROM store")
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
            min_version: number(&row, "min_version")?,
        }))
    }

    /// Writes the row.
    pub(crate) async fn write(self, conn: &mut Connection) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO store (one, state, written_at, unwiped, min_version) VALUES (1, $1, $2, $3, $4)
             ON CONFLICT (one) DO UPDATE
             SET state = excluded.state, written_at = excluded.written_at, unwiped = excluded.unwiped,
                 min_version = excluded.min_version",
        )
        .bind(self.state.word())
        .bind(self.written_at.as_millis())
        .bind(i64::from(self.is_unwiped))
        .bind(i64::from(self.min_version))
        .execute(conn)
        .await?;
        Ok(())
    }
}
