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
            retired: BTreeMap::new(),
            store_key,
            next_change: 1,
            next_activity: 1,
            activity_records: 0,
            stale: false,
        };
        state.reload(conn).await?;
        if state.next_change == 1 {
            state.number_from_now(conn).await?;
        }
        Ok(state)
    }

    /// A new store's first number is the time. One that is built anew, after its disk was lost, so never gives out a
    /// number that the one before it gave: whoever resumes where that one was is told to read everything.
    async fn number_from_now(&mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        let now = Timestamp::now().as_millis();
        sqlx::query(
            "INSERT INTO changes (seq, at, kind, vault_id, item_id, version) VALUES ($1, $1, 'store.created', '', '', 0)",
        )
        .bind(now)
        .execute(conn)
        .await?;
        self.next_change = now + 1;
        Ok(())
    }

    pub(super) async fn reload(&mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
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
