//! What the writer keeps in memory of the database, and its keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use sidevault_keys::DataKey;
use sidevault_model::{Timestamp, VaultId};
use sqlx::{Row, SqliteConnection};

use super::{SealKey, State, VaultState, WriterOptions};
use crate::StoreError;
use crate::command::VaultInfo;
use crate::keyring::{Keyring, STORE, VaultKey};
use crate::place::Place;
use crate::seal::{self, VaultNames};

impl State {
    pub(super) async fn load(
        conn: &mut SqliteConnection,
        keyring: Keyring,
        options: WriterOptions,
    ) -> Result<Self, StoreError> {
        let store_key = match store_key(conn, &keyring).await? {
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
        let mut state = Self {
            keyring,
            options,
            vaults: BTreeMap::new(),
            retired: BTreeMap::new(),
            store_key,
            next_change: 1,
            next_activity: 1,
            activity_records: 0,
            stale: false,
            keeps_history: true,
            has_remains: false,
        };
        state.reload(conn).await?;
        state.note_opening(conn).await?;
        Ok(state)
    }

    /// Gives this opening of the store a random id, by which readers see that the store may be another than they knew,
    /// and a number: the time, which is beyond all numbers given before. A store that is built anew, or put back from
    /// a backup, so never gives out a number that the one before it gave, and whoever resumes at such a number is told
    /// to read everything.
    async fn note_opening(&mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        let now = Timestamp::now().as_millis();
        let seq = self.next_change.max(now);
        let mut tx = sqlx::Connection::begin_with(conn, "BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO changes (seq, at, kind, vault_id, item_id, version) VALUES ($1, $2, 'store.opened', '', '', 0)",
        )
        .bind(seq)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "INSERT INTO store (one, opening, written_at) VALUES (1, $1, $2)
             ON CONFLICT (one) DO UPDATE SET opening = excluded.opening, written_at = excluded.written_at",
        )
        .bind(format!("{:032x}", rand::random::<u128>()))
        .bind(now)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.next_change = seq + 1;
        Ok(())
    }

    pub(super) async fn reload(&mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        if let Some(key) = store_key(conn, &self.keyring).await? {
            self.store_key = key;
        }
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
        self.activity_records = max(conn, "SELECT SUM(records) FROM activity").await?;
        self.stale = false;
        Ok(())
    }
}

/// The newest of the store's own keys.
async fn store_key(conn: &mut SqliteConnection, keyring: &Keyring) -> Result<Option<SealKey>, StoreError> {
    Ok(match keyring.load(conn, STORE).await?.pop() {
        Some(VaultKey::Seal { key, seals }) => Some(SealKey {
            key,
            seals,
            saved: seals,
        }),
        _ => None,
    })
}

async fn max(conn: &mut SqliteConnection, sql: &'static str) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar::<_, Option<i64>>(sql)
        .fetch_one(conn)
        .await?
        .unwrap_or(0))
}

pub(super) async fn insert_key(
    conn: &mut SqliteConnection,
    vault: &str,
    key: &DataKey,
    purpose: &str,
    wrapped: Vec<u8>,
) -> Result<(), StoreError> {
    insert_wrapped(conn, vault, key.id().0.cast_signed(), purpose, wrapped).await
}

pub(super) async fn insert_wrapped(
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

impl SealKey {
    pub(super) fn seal(&mut self, place: &Place, plaintext: &[u8]) -> Vec<u8> {
        self.seals += 1;
        self.key.seal(place.bytes(), plaintext)
    }
}
