//! A copy of a store in PostgreSQL, from which an api reads, with and without the database.
//!
//! The copy is a SQLite database with the same tables and the same sealed rows. [`Replica::follow`] reads the change log from the
//! copy's newest change on, and replaces the rows of the items, vaults and tokens that changed. If that change is not in the log any
//! more, or the copy is new, all tables are compared, and the rows that differ are replaced.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use sidevault_model::{Timestamp, VaultId};
use tokio::sync::Mutex;

use crate::activity::{KEPT_BYTES, Share, Usage};
use crate::connection::Connection;
use crate::database::Database;
use crate::keyring::STORE;
use crate::postgres::{self, PostgresServer};
use crate::sqlite::{self, WriterLock};
use crate::store_row::{StoreRow, StoreState};
use crate::tables::{
    self, ACTIVITY, CHANGES, FILE_CHUNKS, FILES, ITEM_VERSIONS, ITEMS, PAGE, RETIRED_VAULT_IDS, Rows, TABLES, TOKENS,
    TableRow, VAULT_KEYS, VAULTS, Value,
};
use crate::{StoreError, migrations};

/// How often the copy notes that it is up to date although nothing has changed. After a restart without the database, the copy's age
/// is too large by this time at most.
const NOTE_INTERVAL: Duration = Duration::from_secs(10);

/// How long a reader's transaction may keep SQLite from removing a deleted vault from the write-ahead log. Then it is tried again.
const WIPE_WAIT: Duration = Duration::from_millis(100);

/// A copy of a store, and the connection to the original.
pub(crate) struct Replica {
    database: Database,
    copy: Arc<Mutex<Copy>>,
    /// When the copy was last up to date.
    fresh_at: RwLock<Instant>,
}

struct Copy {
    server: PostgresServer,
    /// None after an error.
    source: Option<Connection>,
    target: Connection,
    /// The row of the copy's table `store`.
    row: StoreRow,
    activity: Usage,
    /// An error may have left a transaction open, in which `row` and `activity` are ahead of the copy.
    is_stale: bool,
    /// Keeps other processes from writing to the directory.
    _lock: WriterLock,
}

impl Replica {
    /// Opens the copy in a directory, or makes one. A copy that is complete is used even if the database can't be reached.
    ///
    /// # Errors
    /// [`StoreError::Occupied`] if the directory holds a store that is no copy; [`StoreError::Locked`] if another process has it; the
    /// errors of the database if the copy is not complete.
    pub(crate) async fn open(server: &PostgresServer, dir: PathBuf) -> Result<Self, StoreError> {
        let lock = WriterLock::take(&dir)?;
        let mut target = sqlite::open_writer(&dir).await?;
        // What a power failure takes from the copy is in the database.
        target.run("PRAGMA synchronous = NORMAL").await?;
        let row = match StoreRow::read(&mut target).await? {
            Some(row) if row.state == StoreState::Complete => return Err(StoreError::Occupied),
            Some(row) => row,
            None => StoreRow {
                state: StoreState::Incomplete,
                written_at: Timestamp::from_millis(0),
                is_unwiped: false,
                min_version: 0,
            },
        };
        let now = Instant::now();
        let replica = Self {
            database: Database::Sqlite(dir),
            fresh_at: RwLock::new(now.checked_sub(age_of(row)).unwrap_or(now)),
            copy: Arc::new(Mutex::new(Copy {
                server: server.clone(),
                source: None,
                activity: Usage::load(&mut target).await?,
                target,
                row,
                is_stale: false,
                _lock: lock,
            })),
        };
        match replica.follow().await {
            Err(error) if row.state == StoreState::Replica => {
                tracing::warn!(%error, age = ?replica.age(), "reads are answered from the copy as it is");
                Ok(replica)
            }
            followed => followed.map(|()| replica),
        }
    }

    /// The copy.
    pub(crate) fn database(&self) -> Database {
        self.database.clone()
    }

    /// For how long the copy may be out of date.
    pub(crate) fn age(&self) -> Duration {
        self.fresh_at.read().elapsed()
    }

    /// Copies what was committed before this call.
    ///
    /// # Errors
    /// If the database can't be read, or the copy can't be written. The copy stays as it was after its last complete transaction.
    pub(crate) async fn follow(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        let mut copy = self.copy.clone().lock_owned().await;
        // Another task may have begun to follow, and finished, while this one waited.
        if *self.fresh_at.read() >= asked {
            return Ok(());
        }
        let begun = Instant::now();
        // A task of its own, because the caller may be a request that is given up in the middle of a transaction.
        let followed = tokio::spawn(async move { copy.follow().await });
        followed
            .await
            .map_err(|_| StoreError::Unusable(sqlx::Error::WorkerCrashed))??;
        *self.fresh_at.write() = begun;
        Ok(())
    }
}

/// How far [`Copy::copy_changes`] came.
enum Progress {
    UpToDate,
    More,
    /// The copy's newest change is not in the log.
    Diverged,
}

impl Copy {
    async fn follow(&mut self) -> Result<(), StoreError> {
        let mut source = match self.source.take() {
            Some(source) => source,
            None => {
                let mut source = self.server.connect().await?;
                self.server.check_readable(&mut source).await?;
                source
            }
        };
        if self.is_stale {
            // Fails if SQLite has ended the transaction by itself, or none was open.
            self.target.run("ROLLBACK").await.ok();
            self.activity = Usage::load(&mut self.target).await?;
            self.row = StoreRow::read(&mut self.target).await?.unwrap_or(self.row);
        }
        self.is_stale = true;
        self.follow_with(&mut source).await?;
        self.is_stale = false;
        self.source = Some(source);
        Ok(())
    }

    async fn follow_with(&mut self, source: &mut Connection) -> Result<(), StoreError> {
        loop {
            source.run(postgres::BEGIN_SNAPSHOT).await?;
            let progress = self.copy_changes(source).await?;
            source.run("COMMIT").await?;
            match progress {
                Progress::UpToDate => break,
                Progress::More => {}
                Progress::Diverged => self.compare_all(source).await?,
            }
        }
        if self.row.is_unwiped && sqlite::empty_log(&mut self.target, WIPE_WAIT).await? {
            self.row.is_unwiped = false;
            self.row.write(&mut self.target).await?;
        }
        if age_of(self.row) >= NOTE_INTERVAL {
            self.note_freshness().await?;
        }
        Ok(())
    }

    /// Copies the rows of a page of changes, and a page of the activity log. Both are read in one snapshot of the database, so that
    /// the rows of an item belong together.
    async fn copy_changes(&mut self, source: &mut Connection) -> Result<Progress, StoreError> {
        let Some(known) = CHANGES.rows().last(&mut self.target).await? else {
            return Ok(Progress::Diverged);
        };
        let before = [Value::Number(Some(known[0].as_number() - 1))];
        let mut changes = CHANGES.rows().after(&before).page(source).await?;
        if changes.first() != Some(&known) {
            return Ok(Progress::Diverged);
        }
        changes.remove(0);
        let newest = ACTIVITY.rows().last(&mut self.target).await?;
        let rows = ACTIVITY.rows();
        let activity = newest
            .as_deref()
            .map_or(rows, |newest| rows.after(newest))
            .page(source)
            .await?;
        if changes.is_empty() && activity.is_empty() {
            return Ok(Progress::UpToDate);
        }
        self.target.run(sqlite::BEGIN).await?;
        self.copy_changed(source, &changes).await?;
        self.copy_activity(source, &activity).await?;
        self.note_freshness().await?;
        self.target.run("COMMIT").await?;
        let is_last = changes.len() < PAGE - 1 && activity.len() < PAGE;
        Ok(if is_last { Progress::UpToDate } else { Progress::More })
    }

    async fn copy_changed(&mut self, source: &mut Connection, changes: &[TableRow]) -> Result<(), StoreError> {
        let target = &mut self.target;
        let (mut vaults, mut items) = (BTreeSet::new(), BTreeSet::new());
        for change in changes {
            let text = |column| CHANGES.value(change, column).as_text();
            match (text("vault_id"), text("item_id")) {
                ("", _) => {
                    TOKENS.rows().replace(source, target).await?;
                    // The key that seals tokens.
                    vaults.insert(STORE);
                }
                (vault, "") => {
                    RETIRED_VAULT_IDS.rows().replace(source, target).await?;
                    vaults.insert(vault);
                }
                (vault, item) => {
                    vaults.insert(vault);
                    items.insert([vault, item]);
                }
            }
        }
        let vaults: Vec<TableRow> = vaults.into_iter().map(|vault| vec![Value::text(vault)]).collect();
        let items: Vec<TableRow> = items.into_iter().map(|item| item.map(Value::text).into()).collect();
        if !vaults.is_empty() {
            self.copy_vaults(source, &vaults).await?;
        }
        if !items.is_empty() {
            self.copy_items(source, &items).await?;
        }
        CHANGES.insert(&mut self.target, changes).await?;
        tables::delete_old_changes(&mut self.target).await
    }

    /// Copies the rows of vaults and their keys, and deletes vaults that the database does not have any more.
    async fn copy_vaults(&mut self, source: &mut Connection, vaults: &[TableRow]) -> Result<(), StoreError> {
        let known = VAULTS.rows().of(vaults).page(&mut self.target).await?;
        VAULTS.rows().of(vaults).replace(source, &mut self.target).await?;
        self.copy_keys(source, vaults).await?;
        let target = &mut self.target;
        let kept = VAULTS.rows().of(vaults).page(target).await?;
        for vault in known {
            if kept.iter().any(|kept| kept[0] == vault[0]) {
                continue;
            }
            tables::delete_vault(target, vault[0].as_text()).await?;
            if let Ok(id) = VaultId::parse(vault[0].as_text()) {
                self.activity.remove_vault(id);
            }
            self.row.is_unwiped = true;
        }
        Ok(())
    }

    /// Copies the keys of vaults. If a vault has lost a data key, all its rows were sealed anew, which is not in the change log: then
    /// they are copied again.
    async fn copy_keys(&mut self, source: &mut Connection, vaults: &[TableRow]) -> Result<(), StoreError> {
        let keys = VAULT_KEYS.rows().of(vaults);
        let before = key_ids(keys, &mut self.target).await?;
        keys.replace(source, &mut self.target).await?;
        let after = key_ids(keys, &mut self.target).await?;
        let resealed: BTreeSet<&str> = before.difference(&after).map(|(vault, _)| vault.as_str()).collect();
        if resealed.is_empty() {
            return Ok(());
        }
        // What the old keys seal is deleted, and they are.
        self.row.is_unwiped = true;
        let vaults: Vec<TableRow> = resealed.into_iter().map(|vault| vec![Value::text(vault)]).collect();
        if vaults.contains(&vec![Value::text(STORE)]) {
            TOKENS.rows().replace(source, &mut self.target).await?;
        }
        for table in [&ITEMS, &ITEM_VERSIONS] {
            table.rows().of(&vaults).replace(source, &mut self.target).await?;
        }
        for vault in &vaults {
            for content in contents(&mut self.target, std::slice::from_ref(vault)).await? {
                let chunks = [vec![Value::text(&content)]];
                FILE_CHUNKS.rows().of(&chunks).replace(source, &mut self.target).await?;
            }
        }
        if let Some(newest) = ACTIVITY.rows().last(&mut self.target).await? {
            ACTIVITY.rows().up_to(&newest).replace(source, &mut self.target).await?;
            self.activity = Usage::load(&mut self.target).await?;
        }
        Ok(())
    }

    /// Copies the rows of items, their versions, and the contents of their files.
    async fn copy_items(&mut self, source: &mut Connection, items: &[TableRow]) -> Result<(), StoreError> {
        let target = &mut self.target;
        let before = contents(target, items).await?;
        for table in [&ITEMS, &ITEM_VERSIONS, &FILES] {
            table.rows().of(items).replace(source, target).await?;
        }
        let after = contents(target, items).await?;
        for gone in before.difference(&after) {
            FILE_CHUNKS.rows().of(&[vec![Value::text(gone)]]).delete(target).await?;
        }
        // A content never changes: each version of a file has another one.
        for new in after.difference(&before) {
            FILE_CHUNKS
                .rows()
                .of(&[vec![Value::text(new)]])
                .replace(source, target)
                .await?;
        }
        Ok(())
    }

    async fn copy_activity(&mut self, source: &mut Connection, batches: &[TableRow]) -> Result<(), StoreError> {
        let vault_of = |batch| ACTIVITY.value(batch, "vault_id").as_text();
        let vaults: BTreeSet<&str> = batches.iter().map(|batch| vault_of(batch)).collect();
        if vaults.is_empty() {
            return Ok(());
        }
        let vaults: Vec<TableRow> = vaults.into_iter().map(|vault| vec![Value::text(vault)]).collect();
        // A batch may be sealed with a key that is newer than the vault's newest change.
        self.copy_keys(source, &vaults).await?;
        ACTIVITY.insert(&mut self.target, batches).await?;
        for batch in batches {
            let value = |column| ACTIVITY.value(batch, column);
            let (token, kind, bytes) = (
                value("token").as_bytes(),
                value("kind").as_number(),
                value("bytes").as_number(),
            );
            self.activity
                .add(Share::new(token, vault_of(batch), kind)?, bytes.unsigned_abs());
        }
        // The writer deletes batches by the same rule.
        self.activity.limit(&mut self.target, KEPT_BYTES).await
    }

    /// Compares all tables, and replaces the rows that differ. The change log comes last but for the activity log: until then the copy
    /// is not taken for one that follows it.
    ///
    /// # Errors
    /// [`StoreError::AnotherStore`] if the database holds another store, for example because the one that was copied is lost, and sync
    /// has made a new one: the copy may be all that is left.
    async fn compare_all(&mut self, source: &mut Connection) -> Result<(), StoreError> {
        within(source, migrations::check_readable).await?;
        tracing::info!("the copy is compared with the database, row by row");
        let store = [vec![Value::text(STORE)]];
        let theirs = within(source, async |source| VAULT_KEYS.rows().of(&store).page(source).await).await?;
        let ours = VAULT_KEYS.rows().of(&store).page(&mut self.target).await?;
        // The store's index key is made with the store, and never replaced: its time tells stores apart.
        let made_at = |keys: &[TableRow]| {
            let index = keys
                .iter()
                .find(|row| VAULT_KEYS.value(row, "purpose").as_text() == "index");
            index.and_then(|row| VAULT_KEYS.value(row, "created_at").number())
        };
        let is_same = made_at(&ours).is_some() && made_at(&ours) == made_at(&theirs);
        if self.row.state == StoreState::Replica && !is_same {
            return Err(StoreError::AnotherStore);
        }
        // Rows that change from now on are copied again, because the changes after this one are followed then.
        let newest = within(source, async |source| CHANGES.rows().last(source).await).await?;
        let row = within(source, StoreRow::read).await?;
        let (Some(newest), Some(row)) = (newest, row) else {
            return Err(StoreError::Missing(self.server.to_string()));
        };
        for table in TABLES.into_iter().filter(|table| table.name != CHANGES.name) {
            self.compare(source, table.rows()).await?;
        }
        tables::delete_orphaned_contents(&mut self.target).await?;
        self.compare(source, CHANGES.rows().up_to(&newest)).await?;
        CHANGES.rows().after(&newest).delete(&mut self.target).await?;
        self.activity = Usage::load(&mut self.target).await?;
        self.row.state = StoreState::Replica;
        self.row.min_version = row.min_version;
        self.row.is_unwiped = true;
        self.note_freshness().await?;
        tracing::info!("the copy is complete");
        Ok(())
    }

    /// Makes rows of the copy equal to those of the database, page by page.
    async fn compare(&mut self, source: &mut Connection, all: Rows<'_>) -> Result<(), StoreError> {
        let mut last: Option<TableRow> = None;
        loop {
            let rest = last.as_deref().map_or(all, |last| all.after(last));
            let rows = within(source, async |source| rest.page(source).await).await?;
            let is_end = rows.len() < PAGE;
            // The same part of the table in the copy.
            let part = if is_end {
                rest
            } else {
                rows.last().map_or(rest, |end| rest.up_to(end))
            };
            if part.page(&mut self.target).await? != rows || is_end {
                self.target.run(sqlite::BEGIN).await?;
                part.delete(&mut self.target).await?;
                all.table().insert(&mut self.target, &rows).await?;
                self.target.run("COMMIT").await?;
            }
            if is_end {
                return Ok(());
            }
            last = rows.into_iter().next_back();
        }
    }

    async fn note_freshness(&mut self) -> Result<(), StoreError> {
        self.row.written_at = Timestamp::now();
        self.row.write(&mut self.target).await
    }
}

/// How long ago a copy was last up to date.
fn age_of(row: StoreRow) -> Duration {
    let age = Timestamp::now().as_millis() - row.written_at.as_millis();
    Duration::from_millis(age.try_into().unwrap_or(0))
}

/// The ids of data keys, each with its vault.
async fn key_ids(keys: Rows<'_>, conn: &mut Connection) -> Result<BTreeSet<(String, i64)>, StoreError> {
    let mut ids = BTreeSet::new();
    let add = |row: &TableRow| {
        let value = |column| VAULT_KEYS.value(row, column);
        if value("purpose").as_text() == "seal" {
            ids.insert((value("vault_id").as_text().to_owned(), value("key_id").as_number()));
        }
        Ok(())
    };
    keys.each(conn, add).await?;
    Ok(ids)
}

/// The ids of the contents of these items' files, or of the files of all items of these vaults.
async fn contents(conn: &mut Connection, items: &[TableRow]) -> Result<BTreeSet<String>, StoreError> {
    let mut contents = BTreeSet::new();
    let mut last: Option<TableRow> = None;
    loop {
        let rows = FILES.rows().of(items);
        let rows = last.as_deref().map_or(rows, |last| rows.after(last)).page(conn).await?;
        contents.extend(
            rows.iter()
                .map(|row| FILES.value(row, "content_id").as_text().to_owned()),
        );
        if rows.len() < PAGE {
            return Ok(contents);
        }
        last = rows.into_iter().next_back();
    }
}

/// Reads in a transaction of its own: a pooler may give each transaction another connection.
async fn within<T>(
    source: &mut Connection,
    read: impl AsyncFnOnce(&mut Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    source.run(postgres::BEGIN_SNAPSHOT).await?;
    let value = read(source).await?;
    source.run("COMMIT").await?;
    Ok(value)
}
