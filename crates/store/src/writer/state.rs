//! Loading the part of the database that the writer keeps in memory, and its keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sidevault_keys::{DataKey, IndexKey, KeyId};
use sidevault_model::{Timestamp, VaultId};
use sqlx::Row;

use super::{ChangeKind, SealKey, State, VaultState, WriterOptions};
use crate::StoreError;
use crate::activity::{TokenTag, Usage};
use crate::command::VaultInfo;
use crate::connection::Connection;
use crate::keyring::{Keyring, STORE, VaultKey};
use crate::row_aad::RowAad;
use crate::seal::{self, VaultNames};
use crate::store_row::{StoreRow, StoreState};

impl State {
    /// Reads the state, and notes this opening. The caller has begun a transaction, and commits it.
    pub(super) async fn load(
        conn: &mut Connection,
        keyring: Keyring,
        options: WriterOptions,
    ) -> Result<Self, StoreError> {
        let before = StoreRow::read(conn).await?;
        match before.map(|row| row.state) {
            Some(StoreState::Incomplete) => return Err(StoreError::Incomplete),
            Some(StoreState::Replica) => return Err(StoreError::Replica),
            Some(StoreState::Complete) | None => {}
        }
        let rewrapped = keyring.rewrap(conn).await?;
        let (store_key, store_index, _) = split(keyring.load(conn, STORE).await?);
        let store_key = match store_key {
            Some(key) => key,
            None => {
                let (key, wrapped) = keyring.new_data_key(STORE);
                insert_key(conn, STORE, &key, wrapped).await?;
                SealKey {
                    key,
                    seals: 0,
                    saved: 0,
                }
            }
        };
        let store_index = match store_index {
            Some(index) => index,
            None => {
                let (index, wrapped) = keyring.new_index_key(STORE);
                insert_index_key(conn, STORE, wrapped).await?;
                index
            }
        };
        let mut state = Self {
            keyring,
            options,
            vaults: BTreeMap::new(),
            retired: BTreeMap::new(),
            store_key,
            store_index,
            old_keys: HashMap::new(),
            pass: None,
            undecryptable: None,
            next_change: 1,
            next_activity: 1,
            activity: Usage::default(),
            stale: false,
            keeps_history: true,
            // The old wrapped forms, which a root key that was replaced unwraps, may still be in the write-ahead log.
            has_remains: !rewrapped.is_empty() || before.is_some_and(|row| row.is_unwiped),
            min_version: before.map_or(0, |row| row.min_version),
        };
        state.reload(conn).await?;
        state.note_opening(conn).await?;
        state.note_rewrapped(conn, &rewrapped).await?;
        Ok(state)
    }

    /// Writes a row in `changes` whose number is the time in milliseconds. That is larger than all earlier numbers, so a store that
    /// is created again or restored from a backup never reuses a number. Readers, and clients of `/v1/events`, whose last change is
    /// not in the store notice by this that they have to read everything again.
    async fn note_opening(&mut self, conn: &mut Connection) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let seq = self.next_change.max(now.as_millis());
        sqlx::query(
            "INSERT INTO changes (seq, at, kind, vault_id, item_id, version) VALUES ($1, $2, 'store.opened', '', '', 0)",
        )
        .bind(seq)
        .bind(now.as_millis())
        .execute(&mut *conn)
        .await?;
        self.next_change = seq + 1;
        let row = StoreRow {
            state: StoreState::Complete,
            written_at: now,
            is_unwiped: self.has_remains,
            min_version: self.min_version,
        };
        row.write(conn).await
    }

    /// Notes vaults whose keys were wrapped anew as changed, so that a replica copies the keys.
    async fn note_rewrapped(&mut self, conn: &mut Connection, vaults: &BTreeSet<String>) -> Result<(), StoreError> {
        // Every replica copies the store's own keys when the store is opened.
        for vault in vaults.iter().filter(|vault| *vault != STORE) {
            sqlx::query(
                "INSERT INTO changes (seq, at, kind, vault_id, item_id, version) VALUES ($1, $2, $3, $4, '', 0)",
            )
            .bind(self.next_change)
            .bind(Timestamp::now().as_millis())
            .bind(ChangeKind::VaultChanged.as_str())
            .bind(vault)
            .execute(&mut *conn)
            .await?;
            self.next_change += 1;
        }
        Ok(())
    }

    /// Reads everything but the options again.
    pub(super) async fn reload(&mut self, conn: &mut Connection) -> Result<(), StoreError> {
        self.pass = None;
        self.undecryptable = None;
        let (store_key, _, old) = split(self.keyring.load(conn, STORE).await?);
        if let Some(key) = store_key {
            self.store_key = key;
        }
        self.old_keys = old.into_iter().map(|key| (key, STORE.to_owned())).collect();
        self.vaults.clear();
        let rows = sqlx::query("SELECT id, sealed FROM vaults")
            .fetch_all(&mut *conn)
            .await?;
        for row in rows {
            let text: String = row.try_get("id")?;
            let id = VaultId::parse(&text).map_err(|_| StoreError::corrupt("vault id"))?;
            let aad = RowAad::vault(&text);
            let keys = self.keyring.load(conn, &text).await?;
            let names: VaultNames =
                seal::from_json(&aad, &self.keyring.open(&aad, row.try_get::<&[u8], _>("sealed")?)?)?;
            let info = VaultInfo {
                id,
                name: names.name,
                source: names.source,
            };
            let (Some(key), Some(index), old) = split(keys) else {
                return Err(StoreError::corrupt(format!("keys of vault {id}")));
            };
            self.old_keys.extend(old.into_iter().map(|key| (key, text.clone())));
            let index = Arc::new(index);
            self.vaults.insert(id, VaultState { info, key, index });
        }
        self.retired.clear();
        let rows = sqlx::query("SELECT id, source FROM retired_vault_ids")
            .fetch_all(&mut *conn)
            .await?;
        for row in rows {
            let id = VaultId::parse(row.try_get("id")?).map_err(|_| StoreError::corrupt("retired vault id"))?;
            self.retired.insert(id, row.try_get("source")?);
        }
        self.next_change = 1 + max(conn, "SELECT MAX(seq) FROM changes").await?;
        self.next_activity = 1 + max(conn, "SELECT MAX(seq) FROM activity").await?;
        self.activity = Usage::load(conn).await?;
        self.stale = false;
        Ok(())
    }

    /// The pseudonym of a token in the table `activity`.
    pub(super) fn token_tag(&self, jti: &str) -> TokenTag {
        let mut tag = TokenTag::default();
        let length = tag.len();
        tag.copy_from_slice(&self.store_index.hash(jti.as_bytes())[..length]);
        tag
    }
}

/// The newest data key, the index key, and the ids of the older data keys.
fn split(keys: Vec<VaultKey>) -> (Option<SealKey>, Option<IndexKey>, Vec<KeyId>) {
    let (mut newest, mut index, mut old) = (None, None, Vec::new());
    for key in keys {
        match key {
            VaultKey::Seal { key, seals } => {
                let fresh = SealKey {
                    key,
                    seals,
                    saved: seals,
                };
                old.extend(newest.replace(fresh).map(|replaced: SealKey| replaced.key.id()));
            }
            VaultKey::Index(key) => index = Some(key),
        }
    }
    (newest, index, old)
}

async fn max(conn: &mut Connection, sql: &'static str) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar::<_, Option<i64>>(sql)
        .fetch_one(conn)
        .await?
        .unwrap_or(0))
}

/// Inserts a data key, which is the newest of its vault from now on: even if the clock was set back, its time is after those of the
/// vault's other keys.
pub(super) async fn insert_key(
    conn: &mut Connection,
    vault: &str,
    key: &DataKey,
    wrapped: Vec<u8>,
) -> Result<(), StoreError> {
    let newest: Option<i64> =
        sqlx::query_scalar("SELECT MAX(created_at) FROM vault_keys WHERE vault_id = $1 AND purpose = 'seal'")
            .bind(vault)
            .fetch_one(&mut *conn)
            .await?;
    let now = Timestamp::now().as_millis();
    let created_at = newest.map_or(now, |newest| now.max(newest + 1));
    insert_wrapped(conn, vault, key.id().0.cast_signed(), "seal", wrapped, created_at).await
}

/// Inserts an index key. Its row has the key id 0, which no data key has; no sealed row names an index key.
pub(super) async fn insert_index_key(conn: &mut Connection, vault: &str, wrapped: Vec<u8>) -> Result<(), StoreError> {
    insert_wrapped(conn, vault, 0, "index", wrapped, Timestamp::now().as_millis()).await
}

async fn insert_wrapped(
    conn: &mut Connection,
    vault: &str,
    key_id: i64,
    purpose: &str,
    wrapped: Vec<u8>,
    created_at: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO vault_keys (vault_id, key_id, purpose, wrapped, seals, created_at) VALUES ($1, $2, $3, $4, 0, $5)",
    )
    .bind(vault)
    .bind(key_id)
    .bind(purpose)
    .bind(wrapped)
    .bind(created_at)
    .execute(conn)
    .await?;
    Ok(())
}

impl SealKey {
    pub(super) fn seal(&mut self, aad: &RowAad, plaintext: &[u8]) -> Vec<u8> {
        self.seals += 1;
        self.key.seal(aad.bytes(), plaintext)
    }
}
