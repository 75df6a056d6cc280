//! Loads rows that are not in the cache, several in one query.
//!
//! A query's way to the connection's thread and back takes longer than reading a row does. So every task that waits for a
//! connection leaves its key in a common list, and the task that gets a connection loads all of them in one query: under load
//! one query answers many tasks, as one commit serves many writers.

use parking_lot::Mutex;
use sidevault_model::VaultId;
use sqlx::any::AnyRow;
use sqlx::{Any, Encode, Row as _, Type, ValueRef as _};
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::StoreError;
use crate::connection::Connection;
use crate::connection_pool::ConnectionPool;
use crate::row::number;
use crate::statement::Statement;

/// The most keys of one query. SQLite keeps one prepared statement for each number of keys.
const MAX_KEYS: usize = 8;

/// Rows whose sealed column is larger, in bytes, are not loaded together with others: a few of the largest would fill the
/// memory.
const MAX_SHARED_BYTES: usize = 64 << 10;

/// A row of the table `items` that is found by its vault and one more column.
pub(super) trait ItemRow: Sized + Send + 'static {
    /// The value of that column.
    type Key: Copy + Send + Sync;
    /// The columns to read, besides `SEALED`.
    const COLUMNS: &'static str;
    /// The column that may be large.
    const SEALED: &'static str;
    /// The condition on the column; the key's value follows it.
    const CONDITION: &'static str;
    /// The key as a value of the query.
    fn value(key: &Self::Key) -> impl Encode<'_, Any> + Type<Any>;
    fn read(row: &AnyRow) -> Result<Self, StoreError>;
}

/// Loads the rows of one kind.
pub(super) struct BatchLoader<R: ItemRow> {
    /// The keys that no query has yet.
    waiting: Mutex<Vec<Waiting<R>>>,
}

/// The rows with a key. `None` if one is too large to be loaded together with others.
type Loaded<R> = Result<Option<Vec<R>>, StoreError>;

struct Waiting<R: ItemRow> {
    vault: VaultId,
    key: R::Key,
    reply: oneshot::Sender<Loaded<R>>,
}

impl<R: ItemRow> Default for BatchLoader<R> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
        }
    }
}

impl<R: ItemRow> BatchLoader<R> {
    /// The rows with this key, in no order, as they are after this call began. `None` if they are large: then [`load_alone`]
    /// reads them.
    pub(super) async fn load(&self, connections: &ConnectionPool, vault: VaultId, key: R::Key) -> Loaded<R> {
        'again: loop {
            let (reply, mut loaded) = oneshot::channel();
            self.waiting.lock().push(Waiting { vault, key, reply });
            tokio::select! {
                biased;
                loaded = &mut loaded => match loaded {
                    Ok(loaded) => return loaded,
                    // The task that took the key failed or was cancelled: try again.
                    Err(_) => continue,
                },
                conn = connections.acquire() => {
                    let mut conn = conn?;
                    // Keys of other tasks may come first in the list, even of tasks that were cancelled.
                    while self.load_batch(&mut conn).await? {
                        match loaded.try_recv() {
                            Ok(loaded) => return loaded,
                            Err(TryRecvError::Closed) => continue 'again,
                            Err(TryRecvError::Empty) => {}
                        }
                    }
                }
            }
            // No keys are waiting, so another task's query contains ours: wait for its result.
            if let Ok(loaded) = loaded.await {
                return loaded;
            }
        }
    }

    /// Loads the rows of the first keys in the list, and sends each task its rows. False if there are no keys.
    async fn load_batch(&self, conn: &mut Connection) -> Result<bool, StoreError> {
        let batch: Vec<_> = {
            let mut waiting = self.waiting.lock();
            waiting.retain(|one| !one.reply.is_closed());
            let count = waiting.len().min(MAX_KEYS);
            waiting.drain(..count).collect()
        };
        if batch.is_empty() {
            return Ok(false);
        }
        let keys: Vec<_> = batch.iter().map(|one| (one.vault, one.key)).collect();
        for (one, loaded) in batch.into_iter().zip(query(&keys, conn).await?) {
            // The task may have been cancelled since.
            one.reply.send(loaded).ok();
        }
        Ok(true)
    }
}

/// The rows with one key, however large they are.
pub(super) async fn load_alone<R: ItemRow>(
    conn: &mut Connection,
    vault: VaultId,
    key: R::Key,
) -> Result<Vec<R>, StoreError> {
    let loaded = query(&[(vault, key)], conn).await?.pop();
    Ok(loaded.transpose()?.flatten().unwrap_or_default())
}

/// The rows of each key. Of several keys, those with a large row get `None`.
async fn query<R: ItemRow>(keys: &[(VaultId, R::Key)], conn: &mut Connection) -> Result<Vec<Loaded<R>>, StoreError> {
    let mut query = Statement::new("");
    for (n, (vault, key)) in keys.iter().enumerate() {
        query.push(if n > 0 { " UNION ALL SELECT " } else { "SELECT " });
        query.push(n).push(" AS n, ").push(R::COLUMNS).push(", ");
        let sealed = R::SEALED;
        match keys.len() {
            1 => query.push(sealed),
            _ => query.push(format_args!(
                "CASE WHEN length({sealed}) <= {MAX_SHARED_BYTES} THEN {sealed} END AS {sealed}"
            )),
        };
        query.push(" FROM items WHERE vault_id = ");
        query.bind(vault.as_str())?.push(R::CONDITION);
        query.bind(R::value(key))?;
    }
    let rows = query.fetch_all(conn).await?;
    let mut loaded: Vec<Loaded<R>> = keys.iter().map(|_| Ok(Some(Vec::new()))).collect();
    for row in &rows {
        let Some(of_key) = loaded.get_mut(number::<usize>(row, "n")?) else {
            continue;
        };
        if row.try_get_raw(R::SEALED)?.is_null() {
            *of_key = Ok(None);
            continue;
        }
        match (R::read(row), of_key) {
            (Ok(row), Ok(Some(rows))) => rows.push(row),
            (Ok(_), _) => {}
            (Err(error), of_key) => *of_key = Err(error),
        }
    }
    Ok(loaded)
}
