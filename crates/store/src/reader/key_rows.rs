//! The keys in the store, as an administrator sees them: without key material.

use serde::Serialize;
use sidevault_keys::{KeyId, WrappedKind};
use sidevault_model::{Timestamp, VaultId};
use sqlx::Row as _;

use super::Reader;
use crate::StoreError;
use crate::tables::SEALED_TABLES;

/// A wrapped key of the store.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRow {
    /// The vault whose rows the key is for. `None`: the store's own rows, such as tokens.
    pub vault: Option<VaultId>,
    /// The id of a data key, in hexadecimal. `None`: the vault's index key, which hashes titles.
    pub id: Option<String>,
    /// When the key was made.
    pub created_at: Timestamp,
    /// How often the key has sealed.
    pub seals: i64,
    /// How many rows are still sealed with the key. `None` for an index key, and for the newest data key of a vault, which seals new
    /// rows.
    pub rows_left: Option<u64>,
    /// The root keys that unwrap the key: the position of each in the credentials file, newest first; `None` for a root key that
    /// the file does not have.
    pub roots: Vec<Option<usize>>,
}

impl Reader {
    /// The keys in the store, by vault, oldest first. If there are old data keys, all tables are searched for rows that are sealed with
    /// them.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn key_rows(&self) -> Result<Vec<KeyRow>, StoreError> {
        let mut conn = self.connections.acquire().await?;
        let rows = sqlx::query(
            "SELECT vault_id, key_id, purpose, wrapped, seals, created_at FROM vault_keys
             ORDER BY vault_id, created_at, key_id",
        )
        .fetch_all(&mut *conn)
        .await?;
        let mut keys: Vec<KeyRow> = Vec::with_capacity(rows.len());
        let mut newest: Option<(usize, KeyId)> = None;
        for row in rows {
            let vault: String = row.try_get("vault_id")?;
            let (kind, roots) = self
                .keyring
                .roots_of(&vault, row.try_get("purpose")?, row.try_get("wrapped")?)?;
            let id = KeyId(row.try_get::<i64, _>("key_id")?.cast_unsigned());
            let vault = VaultId::parse(&vault).ok();
            if kind == WrappedKind::Data
                && let Some((older, id)) = newest.replace((keys.len(), id))
                && keys[older].vault == vault
            {
                let mut left = 0;
                for table in SEALED_TABLES {
                    left += table.count_sealed_with(&mut conn, id).await?;
                }
                keys[older].rows_left = Some(left);
            }
            keys.push(KeyRow {
                vault,
                id: (kind == WrappedKind::Data).then(|| id.to_string()),
                created_at: Timestamp::from_millis(row.try_get("created_at")?),
                seals: row.try_get("seals")?,
                rows_left: None,
                roots,
            });
        }
        Ok(keys)
    }
}
