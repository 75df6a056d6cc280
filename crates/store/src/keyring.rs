//! The unwrapped data keys of all vaults, in memory.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use sidevault_keys::{DataKey, IndexKey, KeyEncryptionKey, KeyId, sealed_key_id};
use sqlx::Row;

use crate::StoreError;
use crate::connection::Connection;
use crate::row_aad::RowAad;

/// The vault id of the store's own keys in `vault_keys`.
pub(crate) const STORE: &str = "";

/// Unwraps the keys of `vault_keys`, and finds the key that a sealed row names.
pub(crate) struct Keyring {
    kek: KeyEncryptionKey,
    keys: RwLock<HashMap<KeyId, Arc<DataKey>>>,
}

/// The unwrapped key of a row of `vault_keys`.
pub(crate) enum VaultKey {
    Seal { key: Arc<DataKey>, seals: i64 },
    Index(IndexKey),
}

impl Keyring {
    pub(crate) fn new(kek: KeyEncryptionKey) -> Self {
        Self {
            kek,
            keys: RwLock::new(HashMap::new()),
        }
    }

    /// Reads the keys of a vault into the keyring, and returns them, oldest first.
    pub(crate) async fn load(&self, conn: &mut Connection, vault: &str) -> Result<Vec<VaultKey>, StoreError> {
        let rows = sqlx::query(
            "SELECT purpose, wrapped, seals FROM vault_keys WHERE vault_id = $1 ORDER BY created_at, key_id",
        )
        .bind(vault)
        .fetch_all(&mut *conn)
        .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let wrapped: Vec<u8> = row.try_get("wrapped")?;
            let aad = RowAad::key(vault);
            found.push(match row.try_get::<String, _>("purpose")?.as_str() {
                "seal" => {
                    let key = self.kek.unwrap(&wrapped, aad.bytes()).map_err(wrong_keys)?;
                    VaultKey::Seal {
                        key: self.keep(key),
                        seals: row.try_get("seals")?,
                    }
                }
                _ => VaultKey::Index(self.kek.unwrap_index(&wrapped, aad.bytes()).map_err(wrong_keys)?),
            });
        }
        Ok(found)
    }

    /// A new data key for a vault, and its wrapped form, which the caller stores.
    pub(crate) fn new_data_key(&self, vault: &str) -> (Arc<DataKey>, Vec<u8>) {
        let key = DataKey::generate();
        let wrapped = self.kek.wrap(&key, RowAad::key(vault).bytes());
        (self.keep(key), wrapped)
    }

    /// A new index key for a vault, and its wrapped form, which the caller stores.
    pub(crate) fn new_index_key(&self, vault: &str) -> (IndexKey, Vec<u8>) {
        let key = IndexKey::generate();
        let wrapped = self.kek.wrap_index(&key, RowAad::key(vault).bytes());
        (key, wrapped)
    }

    /// Decrypts a row.
    pub(crate) fn open(&self, aad: &RowAad, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let keys = self.keys.read();
        sealed_key_id(sealed)
            .and_then(|id| keys.get(&id))
            .and_then(|key| key.open(aad.bytes(), sealed).ok())
            .ok_or_else(|| StoreError::corrupt(aad.to_string()))
    }

    fn keep(&self, key: DataKey) -> Arc<DataKey> {
        let key = Arc::new(key);
        self.keys.write().insert(key.id(), key.clone());
        key
    }
}

fn wrong_keys(error: impl std::fmt::Display) -> StoreError {
    StoreError::WrongKeys(error.to_string())
}
