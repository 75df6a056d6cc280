//! The unwrapped data keys of all vaults, in memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;
use sidevault_keys::{DataKey, IndexKey, KeyEncryptionKey, KeyId, WrappedKind, sealed_key_id};
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
            found.push(match kind_of(row.try_get("purpose")?) {
                WrappedKind::Data => {
                    let key = self.kek.unwrap(&wrapped, aad.bytes()).map_err(wrong_keys)?;
                    VaultKey::Seal {
                        key: self.keep(key),
                        seals: row.try_get("seals")?,
                    }
                }
                WrappedKind::Index => {
                    VaultKey::Index(self.kek.unwrap_index(&wrapped, aad.bytes()).map_err(wrong_keys)?)
                }
            });
        }
        Ok(found)
    }

    /// Wraps every key anew whose wrapped form is not the one for the root keys of the credentials file: while the root key is replaced,
    /// under the new and the old one, and after that under the new one only. Returns the vaults whose keys were wrapped anew.
    pub(crate) async fn rewrap(&self, conn: &mut Connection) -> Result<BTreeSet<String>, StoreError> {
        let rows = sqlx::query("SELECT vault_id, key_id, purpose, wrapped FROM vault_keys")
            .fetch_all(&mut *conn)
            .await?;
        let mut vaults = BTreeSet::new();
        for row in rows {
            let vault: String = row.try_get("vault_id")?;
            let fresh = self
                .kek
                .rewrap(
                    kind_of(row.try_get("purpose")?),
                    row.try_get("wrapped")?,
                    RowAad::key(&vault).bytes(),
                )
                .map_err(wrong_keys)?;
            let Some(fresh) = fresh else { continue };
            sqlx::query("UPDATE vault_keys SET wrapped = $3 WHERE vault_id = $1 AND key_id = $2")
                .bind(&vault)
                .bind(row.try_get::<i64, _>("key_id")?)
                .bind(fresh)
                .execute(&mut *conn)
                .await?;
            vaults.insert(vault);
        }
        Ok(vaults)
    }

    /// What a row of `vault_keys` holds, and under which root keys it is wrapped: see [`KeyEncryptionKey::roots_of`].
    pub(crate) fn roots_of(
        &self,
        vault: &str,
        purpose: &str,
        wrapped: &[u8],
    ) -> Result<(WrappedKind, Vec<Option<usize>>), StoreError> {
        let kind = kind_of(purpose);
        let roots = self.kek.roots_of(kind, wrapped, RowAad::key(vault).bytes());
        Ok((kind, roots.map_err(wrong_keys)?))
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

    /// Forgets a data key that the store does not have any more.
    pub(crate) fn forget(&self, key: KeyId) {
        self.keys.write().remove(&key);
    }

    fn keep(&self, key: DataKey) -> Arc<DataKey> {
        let key = Arc::new(key);
        self.keys.write().insert(key.id(), key.clone());
        key
    }
}

/// What the column `purpose` of `vault_keys` says.
fn kind_of(purpose: &str) -> WrappedKind {
    match purpose {
        "index" => WrappedKind::Index,
        _ => WrappedKind::Data,
    }
}

fn wrong_keys(error: impl std::fmt::Display) -> StoreError {
    StoreError::WrongKeys(error.to_string())
}
