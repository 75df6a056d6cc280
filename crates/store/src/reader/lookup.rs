//! Rows that are not in memory, looked up together.
//!
//! The way to SQLite's thread and back takes longer than reading a row does. So whoever waits for
//! a connection leaves its key with the others, and who gets one asks for all of them at once:
//! under load one query answers many, as one commit does for many writers.

use std::sync::{Mutex, MutexGuard};

use sidevault_model::VaultId;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, ValueRef};
use tokio::sync::oneshot;

use crate::StoreError;
use crate::sqlite::Connections;

/// The most keys of one query. Each number of keys is a statement that SQLite keeps prepared.
const MOST: usize = 8;

/// Rows whose sealed column is larger, in bytes, are read one at a time: few of the largest would fill the memory.
const LARGE: usize = 64 << 10;

/// Rows of `items` that are found by the vault and one column more.
pub(super) trait Lookup: Sized + Send + 'static {
    /// The value of that column.
    type Key: Copy + Send + Sync;
    /// What is read of a row, besides `SEALED`.
    const COLUMNS: &'static str;
    /// The column that may be large.
    const SEALED: &'static str;
    /// Ends where the key's value follows.
    const CONDITION: &'static str;
    /// Adds the key's value.
    fn push(key: &Self::Key, query: &mut QueryBuilder<Sqlite>);
    fn read(row: &SqliteRow) -> Result<Self, StoreError>;
}

/// The look-ups of one kind that wait for a connection.
pub(super) struct Lookups<L: Lookup> {
    waiting: Mutex<Vec<Waiting<L>>>,
}

struct Waiting<L: Lookup> {
    vault: VaultId,
    key: L::Key,
    found: oneshot::Sender<Result<Vec<L>, StoreError>>,
}

impl<L: Lookup> Default for Lookups<L> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
        }
    }
}

impl<L: Lookup> Lookups<L> {
    /// The rows with this key, in no order, as they are after this was called.
    pub(super) async fn find(
        &self,
        connections: &Connections,
        vault: VaultId,
        key: L::Key,
    ) -> Result<Vec<L>, StoreError> {
        loop {
            let (sender, mut found) = oneshot::channel();
            self.waiting().push(Waiting {
                vault,
                key,
                found: sender,
            });
            tokio::select! {
                biased;
                found = &mut found => match found {
                    Ok(found) => return found,
                    // Whoever took the key along failed or went away: it is asked for again.
                    Err(_) => continue,
                },
                lent = connections.lend() => {
                    let mut lent = lent?;
                    // Keys of those who went away may stand before this one.
                    while self.find_waiting(&mut lent).await? {
                        if let Ok(found) = found.try_recv() {
                            return found;
                        }
                    }
                }
            }
            // With no key left to ask for, this one is with someone who asks for it now.
            if let Ok(found) = found.await {
                return found;
            }
        }
    }

    /// Asks for the first few that wait. Says whether any did.
    async fn find_waiting(&self, conn: &mut SqliteConnection) -> Result<bool, StoreError> {
        let batch: Vec<_> = {
            let mut waiting = self.waiting();
            waiting.retain(|one| !one.found.is_closed());
            let count = waiting.len().min(MOST);
            waiting.drain(..count).collect()
        };
        if batch.is_empty() {
            return Ok(false);
        }
        let found = ask(&batch, &mut *conn).await?;
        for (one, found) in batch.into_iter().zip(found) {
            let found = match found {
                Some(found) => found,
                None => ask(std::slice::from_ref(&one), &mut *conn)
                    .await?
                    .pop()
                    .flatten()
                    .unwrap_or_else(|| Ok(Vec::new())),
            };
            // Whoever asked may be gone.
            let _gone = one.found.send(found);
        }
        Ok(true)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting<L>>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The rows of each key; `None` where one is too large to be read together with those of other keys.
async fn ask<L: Lookup>(
    keys: &[Waiting<L>],
    conn: &mut SqliteConnection,
) -> Result<Vec<Option<Result<Vec<L>, StoreError>>>, StoreError> {
    let mut query = QueryBuilder::new("");
    for (n, one) in keys.iter().enumerate() {
        query.push(if n > 0 { " UNION ALL SELECT " } else { "SELECT " });
        query.push(n).push(" AS n, ").push(L::COLUMNS).push(", ");
        if keys.len() == 1 {
            query.push(L::SEALED);
        } else {
            let sealed = L::SEALED;
            query.push(format_args!(
                "CASE WHEN length({sealed}) <= {LARGE} THEN {sealed} END AS {sealed}"
            ));
        }
        query.push(" FROM items WHERE vault_id = ");
        query.push_bind(one.vault.as_str().to_owned()).push(L::CONDITION);
        L::push(&one.key, &mut query);
    }
    let rows = query.build().fetch_all(conn).await?;
    let mut found: Vec<_> = keys.iter().map(|_| Some(Ok(Vec::new()))).collect();
    for row in &rows {
        let Some(found) = found.get_mut(row.try_get::<u32, _>("n")? as usize) else {
            continue;
        };
        if row.try_get_raw(L::SEALED)?.is_null() {
            *found = None;
            continue;
        }
        match (L::read(row), found) {
            (Ok(row), Some(Ok(rows))) => rows.push(row),
            (Ok(_), _) => {}
            (Err(error), found) => *found = Some(Err(error)),
        }
    }
    Ok(found)
}
