//! Loading the part of the database that the writer keeps in memory, and its keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use sidevault_keys::{DataKey, IndexKey};
use sidevault_model::activity::RecordKind;
use sidevault_model::{Timestamp, VaultId};
use sqlx::Row;

use super::{SealKey, State, VaultState, WriterOptions};
use crate::StoreError;
use crate::activity::{Share, TokenTag, Usage};
use crate::command::VaultInfo;
use crate::connection::Connection;
use crate::keyring::{Keyring, STORE, VaultKey};
use crate::row_aad::RowAad;
use crate::seal::{self, VaultNames};
use crate::transfer::INCOMPLETE;

impl State {
    /// Reads the state, and notes this opening. The caller has begun a transaction, and commits it.
    pub(super) async fn load(
        conn: &mut Connection,
        keyring: Keyring,
        options: WriterOptions,
    ) -> Result<Self, StoreError> {
        let opening: Option<String> = sqlx::query_scalar("SELECT opening FROM store")
            .fetch_optional(&mut *conn)
            .await?;
        if opening.as_deref() == Some(INCOMPLETE) {
            return Err(StoreError::Incomplete);
        }
        let (store_key, store_index) = split(keyring.load(conn, STORE).await?);
        let store_key = match store_key {
            Some(key) => key,
            None => {
                let (key, wrapped) = keyring.new_data_key(STORE);
                insert_key(conn, STORE, &key, "seal", wrapped).await?;
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
            next_change: 1,
            next_activity: 1,
            activity: Usage::default(),
            stale: false,
            keeps_history: true,
            has_remains: false,
        };
        state.reload(conn).await?;
        state.note_opening(conn).await?;
        Ok(state)
    }

    /// Writes a random id for this opening of the store, and a row in `changes` whose number is the time in milliseconds.
    ///
    /// By the id, readers notice that the store may have been replaced. The time is larger than all earlier numbers, so a store
    /// that is created again or restored from a backup never reuses a number, and a client of `/v1/events` that resumes at a
    /// number of the old store gets `reset`.
    async fn note_opening(&mut self, conn: &mut Connection) -> Result<(), StoreError> {
        let now = Timestamp::now().as_millis();
        let seq = self.next_change.max(now);
        sqlx::query(
            "INSERT INTO changes (seq, at, kind, vault_id, item_id, version) VALUES ($1, $2, 'store.opened', '', '', 0)",
        )
        .bind(seq)
        .bind(now)
        .execute(&mut *conn)
        .await?;
        sqlx::query(
            "INSERT INTO store (one, opening, written_at) VALUES (1, $1, $2)
             ON CONFLICT (one) DO UPDATE SET opening = excluded.opening, written_at = excluded.written_at",
        )
        .bind(format!("{:032x}", rand::random::<u128>()))
        .bind(now)
        .execute(&mut *conn)
        .await?;
        let unwiped: i64 = sqlx::query_scalar("SELECT unwiped FROM store").fetch_one(conn).await?;
        self.has_remains = unwiped != 0;
        self.next_change = seq + 1;
        Ok(())
    }

    /// Reads everything but the options again.
    pub(super) async fn reload(&mut self, conn: &mut Connection) -> Result<(), StoreError> {
        if let (Some(key), _) = split(self.keyring.load(conn, STORE).await?) {
            self.store_key = key;
        }
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
            let (Some(key), Some(index)) = split(keys) else {
                return Err(StoreError::corrupt(format!("keys of vault {id}")));
            };
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
        self.activity = activity_usage(conn).await?;
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

/// The newest data key, and the index key.
fn split(keys: Vec<VaultKey>) -> (Option<SealKey>, Option<IndexKey>) {
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
            VaultKey::Index(key) => index = Some(key),
        }
    }
    (seal, index)
}

async fn activity_usage(conn: &mut Connection) -> Result<Usage, StoreError> {
    let rows =
        sqlx::query("SELECT token, vault_id, kind, CAST(SUM(bytes) AS BIGINT) AS bytes FROM activity GROUP BY 1, 2, 3")
            .fetch_all(conn)
            .await?;
    let damaged = || StoreError::corrupt("activity");
    let mut usage = Usage::default();
    for row in rows {
        let share = Share {
            token: row.try_get::<&[u8], _>("token")?.try_into().map_err(|_| damaged())?,
            vault: VaultId::parse(row.try_get("vault_id")?).map_err(|_| damaged())?,
            kind: usize::try_from(row.try_get::<i64, _>("kind")?)
                .ok()
                .filter(|kind| *kind < RecordKind::COUNT)
                .ok_or_else(damaged)?,
        };
        usage.add(share, row.try_get::<i64, _>("bytes")?.unsigned_abs());
    }
    Ok(usage)
}

async fn max(conn: &mut Connection, sql: &'static str) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar::<_, Option<i64>>(sql)
        .fetch_one(conn)
        .await?
        .unwrap_or(0))
}

pub(super) async fn insert_key(
    conn: &mut Connection,
    vault: &str,
    key: &DataKey,
    purpose: &str,
    wrapped: Vec<u8>,
) -> Result<(), StoreError> {
    insert_wrapped(conn, vault, key.id().0.cast_signed(), purpose, wrapped).await
}

/// Inserts an index key. Its row has the key id 0, which no data key has; no sealed row names an index key.
pub(super) async fn insert_index_key(conn: &mut Connection, vault: &str, wrapped: Vec<u8>) -> Result<(), StoreError> {
    insert_wrapped(conn, vault, 0, "index", wrapped).await
}

async fn insert_wrapped(
    conn: &mut Connection,
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

impl SealKey {
    pub(super) fn seal(&mut self, aad: &RowAad, plaintext: &[u8]) -> Vec<u8> {
        self.seals += 1;
        self.key.seal(aad.bytes(), plaintext)
    }
}
