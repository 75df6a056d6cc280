//! Rows that are not in memory, looked up together.
//!
//! The way to SQLite's thread and back takes longer than reading a row does. So whoever waits for
//! a connection leaves its key with the others, and who gets one asks for all of them at once:
//! under load one query answers many, as one commit does for many writers.

use std::sync::{Mutex, MutexGuard};

use sidevault_model::VaultId;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, ValueRef};
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::StoreError;
use crate::sqlite::Connections;

/// The most keys of one query. Each number of keys is a statement that SQLite keeps prepared.
const MOST: usize = 8;

/// Rows whose sealed column is larger, in bytes, are not looked up together: a few of the largest would fill the memory.
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

/// The rows with a key; `None` if one is too large to be looked up together with others.
type Found<L> = Result<Option<Vec<L>>, StoreError>;

struct Waiting<L: Lookup> {
    vault: VaultId,
    key: L::Key,
    found: oneshot::Sender<Found<L>>,
}

impl<L: Lookup> Default for Lookups<L> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
        }
    }
}

impl<L: Lookup> Lookups<L> {
    /// The rows with this key, in no order, as they are after this was called. `None` if they are large: then they are
    /// for [`find_alone`].
    pub(super) async fn find(&self, connections: &Connections, vault: VaultId, key: L::Key) -> Found<L> {
        'again: loop {
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
                        match found.try_recv() {
                            Ok(found) => return found,
                            Err(TryRecvError::Closed) => continue 'again,
                            Err(TryRecvError::Empty) => {}
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
        let keys: Vec<_> = batch.iter().map(|one| (one.vault, one.key)).collect();
        for (one, found) in batch.into_iter().zip(ask(&keys, conn).await?) {
            // Whoever asked may be gone.
            let _gone = one.found.send(found);
        }
        Ok(true)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting<L>>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The rows with one key, however large they are.
pub(super) async fn find_alone<L: Lookup>(
    conn: &mut SqliteConnection,
    vault: VaultId,
    key: L::Key,
) -> Result<Vec<L>, StoreError> {
    let found = ask(&[(vault, key)], conn).await?.pop();
    Ok(found.transpose()?.flatten().unwrap_or_default())
}

async fn ask<L: Lookup>(keys: &[(VaultId, L::Key)], conn: &mut SqliteConnection) -> Result<Vec<Found<L>>, StoreError> {
    let mut query = QueryBuilder::new("");
    for (n, (vault, key)) in keys.iter().enumerate() {
        query.push(if n > 0 { " UNION ALL SELECT " } else { "SELECT " });
        query.push(n).push(" AS n, ").push(L::COLUMNS).push(", ");
        let sealed = L::SEALED;
        match keys.len() {
            1 => query.push(sealed),
            _ => query.push(format_args!(
                "CASE WHEN length({sealed}) <= {LARGE} THEN {sealed} END AS {sealed}"
            )),
        };
        query.push(" FROM items WHERE vault_id = ");
        query.push_bind(vault.as_str().to_owned()).push(L::CONDITION);
        L::push(key, &mut query);
    }
    let rows = query.build().fetch_all(conn).await?;
    let mut found: Vec<Found<L>> = keys.iter().map(|_| Ok(Some(Vec::new()))).collect();
    for row in &rows {
        let Some(found) = found.get_mut(row.try_get::<u32, _>("n")? as usize) else {
            continue;
        };
        if row.try_get_raw(L::SEALED)?.is_null() {
            *found = Ok(None);
            continue;
        }
        match (L::read(row), found) {
            (Ok(row), Ok(Some(rows))) => rows.push(row),
            (Ok(_), _) => {}
            (Err(error), found) => *found = Err(error),
        }
    }
    Ok(found)
}
