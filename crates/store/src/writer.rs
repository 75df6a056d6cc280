//! The one writer. A [`Batch`] is a transaction: many commands, one wait for the disk.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sidevault_keys::{DataKey, IndexKey, KeyEncryptionKey};
use sidevault_model::{ApiRequest, FileId, Item, ItemId, Timestamp, VaultId, filter};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, SqliteConnection, Transaction};

use crate::activity::KEPT_RECORDS;
use crate::command::VaultInfo;
use crate::keyring::{Keyring, STORE, VaultKey};
use crate::place::{Part, Place};
use crate::seal::{self, VaultNames};
use crate::{DATABASE_FILE, StoreError, TokenRecord, sqlite};

/// Size of a file's chunks before sealing, in bytes.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// How many changes are kept for readers that resume; each takes about 150 bytes.
const KEPT_CHANGES: i64 = 100_000;

/// A data key seals this often before a new one takes over: far below the 2^32 at which random
/// 96-bit nonces stop being safe (NIST SP 800-38D, 8.3).
const SEALS_PER_KEY: i64 = 1 << 28;

/// How a [`Writer`] keeps things.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// How many versions of an item are kept, the present one included. At least 1.
    pub history: u32,
    /// How often a data key seals before it is replaced. Lower only to test rotation.
    pub seals_per_key: i64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            history: 20,
            seals_per_key: SEALS_PER_KEY,
        }
    }
}

/// What changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// An item is new.
    ItemCreated,
    /// An item has a new version.
    ItemUpdated,
    /// An item is gone.
    ItemDeleted,
    /// A vault is new, has another name, or is gone.
    VaultChanged,
    /// A token was registered or revoked.
    TokenChanged,
}

impl ChangeKind {
    /// As the `changes` table and `/v1/events` spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ItemCreated => "item.created",
            Self::ItemUpdated => "item.updated",
            Self::ItemDeleted => "item.deleted",
            Self::VaultChanged => "vault.changed",
            Self::TokenChanged => "token.changed",
        }
    }
}

/// A change of one batch, numbered at commit. The vault is empty for tokens, the item for
/// vaults and tokens, the version 0 where there is none.
struct Change {
    kind: ChangeKind,
    vault: String,
    item: String,
    version: u32,
    titles: [Option<[u8; 32]>; 2],
}

/// The store's only writer. Holds a lock in the data directory for as long as it lives.
pub struct Writer {
    conn: SqliteConnection,
    state: State,
    _lock: File,
}

struct State {
    keyring: Keyring,
    options: WriterOptions,
    vaults: BTreeMap<VaultId, VaultState>,
    store_key: SealKey,
    next_change: i64,
    next_activity: i64,
    activity_records: i64,
    /// A batch was dropped half-way: what is in memory may be ahead of the database.
    stale: bool,
}

struct VaultState {
    info: VaultInfo,
    key: SealKey,
    index: Arc<IndexKey>,
}

struct SealKey {
    key: Arc<DataKey>,
    seals: i64,
    saved: i64,
}

impl Writer {
    /// Opens or creates the store in `dir` and runs its migrations.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process writes, [`StoreError::Directory`] if the
    /// directory can't be used, [`StoreError::WrongKeys`] for another credentials file's store.
    pub async fn open(dir: &Path, kek: KeyEncryptionKey, options: WriterOptions) -> Result<Self, StoreError> {
        let lock = lock(dir)?;
        let mut conn = sqlite::open_writer(&dir.join(DATABASE_FILE)).await?;
        let keyring = Keyring::new(kek);
        let state = State::load(&mut conn, keyring, options).await?;
        Ok(Self {
            conn,
            state,
            _lock: lock,
        })
    }

    /// Starts a transaction.
    pub async fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        if self.state.stale {
            self.state.reload(&mut self.conn).await?;
        }
        let tx = sqlx::Connection::begin_with(&mut self.conn, "BEGIN IMMEDIATE").await?;
        self.state.stale = true;
        Ok(Batch {
            tx,
            state: &mut self.state,
            touched: BTreeMap::new(),
            changes: Vec::new(),
        })
    }

    /// Closes the database, and moves the write-ahead log into it if this was the last user.
    pub async fn close(self) -> Result<(), StoreError> {
        sqlite::close(self.conn).await
    }

    /// SQLite's own verdict on the database: `ok`, or what is wrong.
    pub async fn integrity_check(&mut self) -> Result<String, StoreError> {
        Ok(sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_one(&mut self.conn)
            .await?)
    }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let unusable = |cause| StoreError::Directory {
        path: dir.to_owned(),
        uid: rustix::process::geteuid().as_raw(),
        cause,
    };
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let path = dir.join("writer.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(PathBuf::from(dir))),
        Err(TryLockError::Error(cause)) => Err(StoreError::Io { path, cause }),
    }
}

impl State {
    async fn load(conn: &mut SqliteConnection, keyring: Keyring, options: WriterOptions) -> Result<Self, StoreError> {
        let mut found = keyring.load(conn, STORE).await?;
        let store_key = match found.pop() {
            Some(VaultKey::Seal { key, seals }) => SealKey {
                key,
                seals,
                saved: seals,
            },
            _ => {
                let (key, wrapped) = keyring.new_data_key(STORE);
                insert_key(conn, STORE, &key, "seal", wrapped).await?;
                SealKey {
                    key,
                    seals: 0,
                    saved: 0,
                }
            }
        };
        let mut state = Self {
            keyring,
            options,
            vaults: BTreeMap::new(),
            store_key,
            next_change: 1,
            next_activity: 1,
            activity_records: 0,
            stale: false,
        };
        state.reload(conn).await?;
        Ok(state)
    }

    async fn reload(&mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        self.vaults.clear();
        let rows = sqlx::query("SELECT id, source, sealed FROM vaults")
            .fetch_all(&mut *conn)
            .await?;
        for row in rows {
            let text: String = row.try_get("id")?;
            let id = VaultId::parse(&text).map_err(|_| StoreError::corrupt("vault id"))?;
            let place = Place::vault(&text);
            let keys = self.keyring.load(conn, &text).await?;
            let names: VaultNames =
                seal::from_json(&place, &self.keyring.open(&place, row.try_get::<&[u8], _>("sealed")?)?)?;
            let info = VaultInfo {
                id,
                name: names.name,
                source: row.try_get("source")?,
            };
            let (mut seal, mut index) = (None, None);
            for key in keys {
                match key {
                    VaultKey::Seal { key, seals } => {
                        seal = Some(SealKey {
                            key,
                            seals,
                            saved: seals,
                        })
                    }
                    VaultKey::Index(key) => index = Some(Arc::new(key)),
                }
            }
            let (Some(key), Some(index)) = (seal, index) else {
                return Err(StoreError::corrupt(format!("keys of vault {id}")));
            };
            self.vaults.insert(id, VaultState { info, key, index });
        }
        self.next_change = 1 + max(conn, "SELECT MAX(seq) FROM changes").await?;
        self.next_activity = 1 + max(conn, "SELECT MAX(seq) FROM activity").await?;
        self.activity_records = max(conn, "SELECT SUM(records) FROM activity").await?;
        self.stale = false;
        Ok(())
    }
}

async fn max(conn: &mut SqliteConnection, sql: &'static str) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar::<_, Option<i64>>(sql)
        .fetch_one(conn)
        .await?
        .unwrap_or(0))
}

async fn insert_key(
    conn: &mut SqliteConnection,
    vault: &str,
    key: &DataKey,
    purpose: &str,
    wrapped: Vec<u8>,
) -> Result<(), StoreError> {
    insert_wrapped(conn, vault, key.id().0.cast_signed(), purpose, wrapped).await
}

async fn insert_wrapped(
    conn: &mut SqliteConnection,
    vault: &str,
    key_id: i64,
    purpose: &str,
    wrapped: Vec<u8>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO vault_keys (vault_id, key_id, purpose, wrapped, seals, created_at) VALUES ($1, $2, $3, $4, 0, $5)",
    )
    .bind(vault)
    .bind(key_id)
    .bind(purpose)
    .bind(wrapped)
    .bind(Timestamp::now().as_millis())
    .execute(conn)
    .await?;
    Ok(())
}

/// What a batch did to a vault, written once at commit.
#[derive(Default)]
struct Touched {
    items: i64,
}

/// A transaction. Dropping it without [`Batch::commit`] changes nothing.
pub struct Batch<'w> {
    tx: Transaction<'w, Sqlite>,
    state: &'w mut State,
    touched: BTreeMap<VaultId, Touched>,
    changes: Vec<Change>,
}

impl Batch<'_> {
    /// All vaults, by id.
    pub fn vaults(&self) -> impl Iterator<Item = &VaultInfo> {
        self.state.vaults.values().map(|vault| &vault.info)
    }

    /// A vault, if there is one by this id.
    pub fn vault(&self, id: VaultId) -> Option<&VaultInfo> {
        self.state.vaults.get(&id).map(|vault| &vault.info)
    }

    /// A new, empty vault with keys of its own. The id must be free.
    pub async fn create_vault(
        &mut self,
        info: VaultInfo,
        description: Option<String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = info.id.as_str();
        let (key, wrapped) = self.state.keyring.new_data_key(id);
        insert_key(&mut self.tx, id, &key, "seal", wrapped).await?;
        let (index, wrapped) = self.state.keyring.new_index_key(id);
        // An index key never seals; its row needs an id that no data key has.
        insert_wrapped(&mut self.tx, id, 0, "index", wrapped).await?;
        let names = seal::to_json(&VaultNames {
            name: info.name.clone(),
            description,
        });
        let mut key = SealKey {
            key,
            seals: 0,
            saved: 0,
        };
        let sealed = key.seal(&Place::vault(id), &names);
        sqlx::query(
            "INSERT INTO vaults (id, source, sealed, attribute_version, content_version, items, created_at, updated_at)
             VALUES ($1, $2, $3, 1, 1, 0, $4, $4)",
        )
        .bind(id)
        .bind(&info.source)
        .bind(sealed)
        .bind(now.as_millis())
        .execute(&mut *self.tx)
        .await?;
        self.note_vault(info.id);
        self.state.vaults.insert(
            info.id,
            VaultState {
                info,
                key,
                index: Arc::new(index),
            },
        );
        Ok(())
    }

    /// Another name for a vault. Nothing happens if there is no such vault.
    pub async fn rename_vault(&mut self, id: VaultId, name: &str, now: Timestamp) -> Result<(), StoreError> {
        let place = Place::vault(id.as_str());
        let Some(vault) = self.state.vaults.get_mut(&id) else {
            return Ok(());
        };
        let old: Vec<u8> = sqlx::query_scalar("SELECT sealed FROM vaults WHERE id = $1")
            .bind(id.as_str())
            .fetch_one(&mut *self.tx)
            .await?;
        let mut names: VaultNames = seal::from_json(&place, &self.state.keyring.open(&place, &old)?)?;
        names.name = name.to_owned();
        vault.info.name = name.to_owned();
        let sealed = vault.key.seal(&place, &seal::to_json(&names));
        sqlx::query(
            "UPDATE vaults SET sealed = $2, attribute_version = attribute_version + 1, updated_at = $3 WHERE id = $1",
        )
        .bind(id.as_str())
        .bind(sealed)
        .bind(now.as_millis())
        .execute(&mut *self.tx)
        .await?;
        self.note_vault(id);
        Ok(())
    }

    /// Removes a vault and all in it, its keys included: nothing of it can be opened again.
    pub async fn delete_vault(&mut self, id: VaultId) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM file_chunks WHERE content_id IN (SELECT content_id FROM files WHERE vault_id = $1)",
            "DELETE FROM files WHERE vault_id = $1",
            "DELETE FROM item_versions WHERE vault_id = $1",
            "DELETE FROM items WHERE vault_id = $1",
            "DELETE FROM activity WHERE vault_id = $1",
            "DELETE FROM vault_keys WHERE vault_id = $1",
            "DELETE FROM vaults WHERE id = $1",
        ] {
            sqlx::query(sql).bind(id.as_str()).execute(&mut *self.tx).await?;
        }
        self.state.vaults.remove(&id);
        self.touched.remove(&id);
        self.note_vault(id);
        Ok(())
    }

    /// A vault's items, each with the origin it was inserted with.
    pub async fn origins(&mut self, vault: VaultId) -> Result<Vec<(ItemId, Option<String>)>, StoreError> {
        let rows = sqlx::query("SELECT id, origin FROM items WHERE vault_id = $1")
            .bind(vault.as_str())
            .fetch_all(&mut *self.tx)
            .await?;
        rows.iter()
            .map(|row| Ok((item_id(row)?, row.try_get("origin")?)))
            .collect()
    }

    /// The items of one origin.
    pub async fn items_of(&mut self, vault: VaultId, origin: &str) -> Result<Vec<ItemId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM items WHERE vault_id = $1 AND origin = $2")
            .bind(vault.as_str())
            .bind(origin)
            .fetch_all(&mut *self.tx)
            .await?;
        rows.iter().map(item_id).collect()
    }

    /// An item as it is now, within this batch.
    pub async fn item(&mut self, vault: VaultId, item: ItemId) -> Result<Option<Item>, StoreError> {
        let row = sqlx::query("SELECT version, detail FROM items WHERE vault_id = $1 AND id = $2")
            .bind(vault.as_str())
            .bind(item.as_str())
            .fetch_optional(&mut *self.tx)
            .await?;
        self.open_item(vault, item, row)
    }

    /// An item as it was at `version`.
    pub async fn item_version(
        &mut self,
        vault: VaultId,
        item: ItemId,
        version: u32,
    ) -> Result<Option<Item>, StoreError> {
        let row = sqlx::query(
            "SELECT version, detail FROM item_versions WHERE vault_id = $1 AND item_id = $2 AND version = $3
             UNION ALL SELECT version, detail FROM items WHERE vault_id = $1 AND id = $2 AND version = $3",
        )
        .bind(vault.as_str())
        .bind(item.as_str())
        .bind(i64::from(version))
        .fetch_optional(&mut *self.tx)
        .await?;
        self.open_item(vault, item, row)
    }

    fn open_item(&self, vault: VaultId, item: ItemId, row: Option<SqliteRow>) -> Result<Option<Item>, StoreError> {
        let Some(row) = row else { return Ok(None) };
        let version = row.try_get::<u32, _>("version")?;
        let place = Place::item(vault, item, version, Part::Detail);
        let plaintext = self.state.keyring.open(&place, row.try_get("detail")?)?;
        seal::parse_detail(&place, &plaintext).map(Some)
    }

    /// A new item. Its vault must exist and its id be free. `origin` is what a source knows it
    /// by, nothing readable; None for an item whose truth is here.
    pub async fn insert_item(&mut self, item: &Item, origin: Option<&str>) -> Result<(), StoreError> {
        let sealed = self.seal_item(item)?;
        sqlx::query(
            "INSERT INTO items (vault_id, id, version, state, title_hash, created_at, updated_at, summary, detail,
                                origin)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(item.vault.as_str())
        .bind(item.id.as_str())
        .bind(i64::from(item.version))
        .bind(state_text(item))
        .bind(&sealed.title_hash[..])
        .bind(item.created_at.as_millis())
        .bind(item.updated_at.as_millis())
        .bind(sealed.summary)
        .bind(sealed.detail)
        .bind(origin)
        .execute(&mut *self.tx)
        .await?;
        self.touched.entry(item.vault).or_default().items += active(item);
        self.note_item(ChangeKind::ItemCreated, item, [Some(sealed.title_hash), None]);
        Ok(())
    }

    /// A new version of `old`, which joins the history.
    pub async fn update_item(&mut self, old: &Item, new: &Item) -> Result<(), StoreError> {
        let sealed = self.seal_item(new)?;
        let old_title = self.title_hash(old.vault, &old.title)?;
        if self.state.options.history > 1 {
            sqlx::query(
                "INSERT INTO item_versions (vault_id, item_id, version, updated_at, detail)
                 SELECT vault_id, id, version, updated_at, detail FROM items WHERE vault_id = $1 AND id = $2",
            )
            .bind(old.vault.as_str())
            .bind(old.id.as_str())
            .execute(&mut *self.tx)
            .await?;
        }
        let oldest_kept = i64::from(new.version) - i64::from(self.state.options.history) + 1;
        if oldest_kept > 1 {
            sqlx::query("DELETE FROM item_versions WHERE vault_id = $1 AND item_id = $2 AND version < $3")
                .bind(old.vault.as_str())
                .bind(old.id.as_str())
                .bind(oldest_kept)
                .execute(&mut *self.tx)
                .await?;
        }
        sqlx::query(
            "UPDATE items SET version = $3, state = $4, title_hash = $5, updated_at = $6, summary = $7, detail = $8
             WHERE vault_id = $1 AND id = $2",
        )
        .bind(new.vault.as_str())
        .bind(new.id.as_str())
        .bind(i64::from(new.version))
        .bind(state_text(new))
        .bind(&sealed.title_hash[..])
        .bind(new.updated_at.as_millis())
        .bind(sealed.summary)
        .bind(sealed.detail)
        .execute(&mut *self.tx)
        .await?;
        self.touched.entry(new.vault).or_default().items += active(new) - active(old);
        self.note_item(ChangeKind::ItemUpdated, new, [Some(old_title), Some(sealed.title_hash)]);
        Ok(())
    }

    /// Removes an item with its history and files, for good (Connect 1.1.0).
    pub async fn delete_item(&mut self, old: &Item) -> Result<(), StoreError> {
        let title = self.title_hash(old.vault, &old.title)?;
        for sql in [
            "DELETE FROM file_chunks WHERE content_id IN
             (SELECT content_id FROM files WHERE vault_id = $1 AND item_id = $2)",
            "DELETE FROM files WHERE vault_id = $1 AND item_id = $2",
            "DELETE FROM item_versions WHERE vault_id = $1 AND item_id = $2",
            "DELETE FROM items WHERE vault_id = $1 AND id = $2",
        ] {
            sqlx::query(sql)
                .bind(old.vault.as_str())
                .bind(old.id.as_str())
                .execute(&mut *self.tx)
                .await?;
        }
        self.touched.entry(old.vault).or_default().items -= active(old);
        self.note_item(ChangeKind::ItemDeleted, old, [Some(title), None]);
        Ok(())
    }

    /// Seals chunk `n` (from 0, each but the last [`CHUNK_BYTES`] long) of a file's content.
    ///
    /// A content that no item's file points at by the end is cleaned up by
    /// [`Batch::drop_orphaned_contents`].
    pub async fn put_chunk(&mut self, vault: VaultId, content: FileId, n: i64, bytes: &[u8]) -> Result<(), StoreError> {
        let sealed = self
            .vault_state(vault)?
            .key
            .seal(&Place::chunk(vault, content, n), bytes);
        sqlx::query("INSERT INTO file_chunks (content_id, n, sealed) VALUES ($1, $2, $3)")
            .bind(content.as_str())
            .bind(n)
            .bind(sealed)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// How many chunks of a content are there.
    pub async fn chunks(&mut self, content: FileId) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM file_chunks WHERE content_id = $1")
            .bind(content.as_str())
            .fetch_one(&mut *self.tx)
            .await?;
        Ok(count)
    }

    /// Removes a content that no file points at.
    pub async fn drop_content(&mut self, content: FileId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM file_chunks WHERE content_id = $1")
            .bind(content.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// The contents of an item's files.
    pub async fn contents(&mut self, vault: VaultId, item: ItemId) -> Result<BTreeMap<FileId, FileId>, StoreError> {
        let rows = sqlx::query("SELECT id, content_id FROM files WHERE vault_id = $1 AND item_id = $2")
            .bind(vault.as_str())
            .bind(item.as_str())
            .fetch_all(&mut *self.tx)
            .await?;
        let id = |row: &SqliteRow, column: &str| -> Result<FileId, StoreError> {
            FileId::parse(row.try_get(column)?).map_err(|_| StoreError::corrupt("file id"))
        };
        rows.iter()
            .map(|row| Ok((id(row, "id")?, id(row, "content_id")?)))
            .collect()
    }

    /// Gives an item's file this content; what it had before is dropped.
    pub async fn set_file(
        &mut self,
        vault: VaultId,
        item: ItemId,
        file: FileId,
        content: FileId,
    ) -> Result<(), StoreError> {
        self.remove_file(vault, item, file).await?;
        sqlx::query("INSERT INTO files (vault_id, item_id, id, content_id) VALUES ($1, $2, $3, $4)")
            .bind(vault.as_str())
            .bind(item.as_str())
            .bind(file.as_str())
            .bind(content.as_str())
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Removes a file's content.
    pub async fn remove_file(&mut self, vault: VaultId, item: ItemId, file: FileId) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM file_chunks WHERE content_id IN
             (SELECT content_id FROM files WHERE vault_id = $1 AND item_id = $2 AND id = $3)",
            "DELETE FROM files WHERE vault_id = $1 AND item_id = $2 AND id = $3",
        ] {
            sqlx::query(sql)
                .bind(vault.as_str())
                .bind(item.as_str())
                .bind(file.as_str())
                .execute(&mut *self.tx)
                .await?;
        }
        Ok(())
    }

    /// Removes contents that an interrupted ingestion left behind.
    pub async fn drop_orphaned_contents(&mut self) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM file_chunks WHERE content_id NOT IN (SELECT content_id FROM files)")
            .execute(&mut *self.tx)
            .await?;
        Ok(done.rows_affected())
    }

    /// Adds requests to the activity log, and drops the oldest beyond 100,000.
    /// Requests that name a vault that is gone are left out.
    pub async fn add_activity(&mut self, requests: &[ApiRequest]) -> Result<(), StoreError> {
        let mut by_vault: HashMap<VaultId, Vec<&ApiRequest>> = HashMap::new();
        for request in requests {
            by_vault.entry(request.resource.vault.id).or_default().push(request);
        }
        for (vault, records) in by_vault {
            if !self.state.vaults.contains_key(&vault) {
                continue;
            }
            let seq = self.state.next_activity;
            self.state.next_activity += 1;
            let place = Place::activity(vault.as_str(), seq);
            let sealed = self.vault_state(vault)?.key.seal(&place, &seal::to_json(&records));
            let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
            sqlx::query("INSERT INTO activity (seq, vault_id, records, sealed) VALUES ($1, $2, $3, $4)")
                .bind(seq)
                .bind(vault.as_str())
                .bind(count)
                .bind(sealed)
                .execute(&mut *self.tx)
                .await?;
            self.state.activity_records += count;
        }
        while self.state.activity_records > KEPT_RECORDS {
            let Some(row) = sqlx::query("SELECT seq, records FROM activity ORDER BY seq LIMIT 1")
                .fetch_optional(&mut *self.tx)
                .await?
            else {
                break;
            };
            sqlx::query("DELETE FROM activity WHERE seq = $1")
                .bind(row.try_get::<i64, _>("seq")?)
                .execute(&mut *self.tx)
                .await?;
            self.state.activity_records -= row.try_get::<i64, _>("records")?;
        }
        Ok(())
    }

    /// Makes a token known by name. One that is known stays as it is, revoked ones revoked.
    pub async fn register_token(&mut self, record: &TokenRecord) -> Result<(), StoreError> {
        let known: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tokens WHERE jti = $1")
            .bind(&record.jti)
            .fetch_one(&mut *self.tx)
            .await?;
        if known == 0 {
            self.insert_token(record, None).await?;
        }
        Ok(())
    }

    /// Refuses a token from now on.
    pub async fn revoke_token(&mut self, jti: &str, expires_at: Option<i64>, now: Timestamp) -> Result<(), StoreError> {
        let done = sqlx::query("UPDATE tokens SET revoked_at = $2 WHERE jti = $1 AND revoked_at IS NULL")
            .bind(jti)
            .bind(now.as_millis())
            .execute(&mut *self.tx)
            .await?;
        if done.rows_affected() == 0 {
            let known: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tokens WHERE jti = $1")
                .bind(jti)
                .fetch_one(&mut *self.tx)
                .await?;
            if known == 0 {
                self.insert_token(&TokenRecord::unseen(jti, expires_at), Some(now))
                    .await?;
            }
        }
        self.changes.push(Change {
            kind: ChangeKind::TokenChanged,
            vault: String::new(),
            item: String::new(),
            version: 0,
            titles: [None, None],
        });
        Ok(())
    }

    async fn insert_token(&mut self, record: &TokenRecord, revoked_at: Option<Timestamp>) -> Result<(), StoreError> {
        let sealed = self
            .state
            .store_key
            .seal(&Place::token(&record.jti), &seal::to_json(record));
        sqlx::query("INSERT INTO tokens (jti, sealed, expires_at, revoked_at) VALUES ($1, $2, $3, $4)")
            .bind(&record.jti)
            .bind(sealed)
            .bind(record.expires_at.map(Timestamp::as_millis))
            .bind(revoked_at.map(Timestamp::as_millis))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Makes all of it durable: when this returns, it is on disk. Returns the number of the
    /// newest change.
    pub async fn commit(mut self) -> Result<i64, StoreError> {
        let now = Timestamp::now().as_millis();
        self.write_changes(now).await?;
        for (vault, touched) in std::mem::take(&mut self.touched) {
            sqlx::query(
                "UPDATE vaults SET content_version = content_version + 1, items = items + $2, updated_at = $3
                 WHERE id = $1",
            )
            .bind(vault.as_str())
            .bind(touched.items)
            .bind(now)
            .execute(&mut *self.tx)
            .await?;
        }
        self.save_seals().await?;
        self.tx.commit().await?;
        self.state.stale = false;
        Ok(self.state.next_change - 1)
    }

    async fn write_changes(&mut self, now: i64) -> Result<(), StoreError> {
        let first = self.state.next_change;
        for change in &self.changes {
            let [old, new] = &change.titles;
            sqlx::query(
                "INSERT INTO changes (seq, at, kind, vault_id, item_id, version, title_hash, other_title_hash)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(self.state.next_change)
            .bind(now)
            .bind(change.kind.as_str())
            .bind(&change.vault)
            .bind(&change.item)
            .bind(i64::from(change.version))
            .bind(old.as_ref().map(|hash| &hash[..]))
            .bind(
                new.as_ref()
                    .filter(|hash| Some(*hash) != old.as_ref())
                    .map(|hash| &hash[..]),
            )
            .execute(&mut *self.tx)
            .await?;
            self.state.next_change += 1;
        }
        // Pruned rarely: once per thousand changes.
        if first / 1000 != self.state.next_change / 1000 {
            sqlx::query("DELETE FROM changes WHERE seq < $1")
                .bind(self.state.next_change - KEPT_CHANGES)
                .execute(&mut *self.tx)
                .await?;
        }
        Ok(())
    }

    /// Writes how often each key has sealed by now, and replaces the ones that are worn.
    async fn save_seals(&mut self) -> Result<(), StoreError> {
        let State {
            keyring,
            options,
            vaults,
            store_key,
            ..
        } = &mut *self.state;
        let keys = vaults.iter_mut().map(|(id, vault)| (id.as_str(), &mut vault.key));
        for (vault, key) in keys.chain([(STORE, store_key)]) {
            if key.seals == key.saved {
                continue;
            }
            sqlx::query("UPDATE vault_keys SET seals = $3 WHERE vault_id = $1 AND key_id = $2")
                .bind(vault)
                .bind(key.key.id().0.cast_signed())
                .bind(key.seals)
                .execute(&mut *self.tx)
                .await?;
            key.saved = key.seals;
            if key.seals >= options.seals_per_key {
                let (fresh, wrapped) = keyring.new_data_key(vault);
                insert_key(&mut self.tx, vault, &fresh, "seal", wrapped).await?;
                *key = SealKey {
                    key: fresh,
                    seals: 0,
                    saved: 0,
                };
            }
        }
        Ok(())
    }

    fn vault_state(&mut self, vault: VaultId) -> Result<&mut VaultState, StoreError> {
        self.state
            .vaults
            .get_mut(&vault)
            .ok_or_else(|| StoreError::corrupt(format!("vault {vault} is not known")))
    }

    fn title_hash(&mut self, vault: VaultId, title: &str) -> Result<[u8; 32], StoreError> {
        Ok(self.vault_state(vault)?.index.hash(filter::fold(title).as_bytes()))
    }

    fn seal_item(&mut self, item: &Item) -> Result<SealedItem, StoreError> {
        let title_hash = self.title_hash(item.vault, &item.title)?;
        let key = &mut self.vault_state(item.vault)?.key;
        let place = |part| Place::item(item.vault, item.id, item.version, part);
        Ok(SealedItem {
            title_hash,
            summary: key.seal(&place(Part::Summary), &item.summary_json()),
            detail: key.seal(&place(Part::Detail), &seal::detail(item)),
        })
    }

    fn note_vault(&mut self, id: VaultId) {
        self.changes.push(Change {
            kind: ChangeKind::VaultChanged,
            vault: id.as_str().to_owned(),
            item: String::new(),
            version: 0,
            titles: [None, None],
        });
    }

    fn note_item(&mut self, kind: ChangeKind, item: &Item, titles: [Option<[u8; 32]>; 2]) {
        self.changes.push(Change {
            kind,
            vault: item.vault.as_str().to_owned(),
            item: item.id.as_str().to_owned(),
            version: item.version,
            titles,
        });
    }
}

impl SealKey {
    fn seal(&mut self, place: &Place, plaintext: &[u8]) -> Vec<u8> {
        self.seals += 1;
        self.key.seal(place.bytes(), plaintext)
    }
}

struct SealedItem {
    title_hash: [u8; 32],
    summary: Vec<u8>,
    detail: Vec<u8>,
}

fn item_id(row: &SqliteRow) -> Result<ItemId, StoreError> {
    ItemId::parse(row.try_get("id")?).map_err(|_| StoreError::corrupt("item id"))
}

fn active(item: &Item) -> i64 {
    i64::from(item.state.is_none())
}

fn state_text(item: &Item) -> Option<&'static str> {
    item.state.map(|state| state.as_str())
}
