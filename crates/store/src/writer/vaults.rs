//! Writing vaults and their keys.

use std::sync::Arc;

use sidevault_model::{Timestamp, VaultId};

use super::state::{insert_index_key, insert_key};
use super::{Batch, Change, ChangeKind, SealKey, VaultState};
use crate::command::VaultInfo;
use crate::row_aad::RowAad;
use crate::seal::{self, VaultNames};
use crate::{StoreError, tables};

impl Batch<'_> {
    /// All vaults, by id.
    pub fn vaults(&self) -> impl Iterator<Item = &VaultInfo> {
        self.state.vaults.values().map(|vault| &vault.info)
    }

    /// The vault with this id.
    pub fn vault(&self, id: VaultId) -> Option<&VaultInfo> {
        self.state.vaults.get(&id).map(|vault| &vault.info)
    }

    /// The source of the vault that had this id, if the id is retired: see [`retire_vault_id`](Self::retire_vault_id).
    pub fn retired_vault_id(&self, id: VaultId) -> Option<&str> {
        self.state.retired.get(&id).map(String::as_str)
    }

    /// Retires an id that was computed from a vault's name: from now on, tokens made by that name do not open a vault with this
    /// id. `source` is the source of the vault that had the id. If the id was retired for [`crate::LOCAL_SOURCE`], that stays.
    pub async fn retire_vault_id(&mut self, id: VaultId, source: &str) -> Result<(), StoreError> {
        if self
            .retired_vault_id(id)
            .is_some_and(|known| known == source || known == crate::LOCAL_SOURCE)
        {
            return Ok(());
        }
        sqlx::query("DELETE FROM retired_vault_ids WHERE id = $1")
            .bind(id.as_str())
            .execute(&mut *self.conn)
            .await?;
        sqlx::query("INSERT INTO retired_vault_ids (id, source) VALUES ($1, $2)")
            .bind(id.as_str())
            .bind(source)
            .execute(&mut *self.conn)
            .await?;
        self.state.retired.insert(id, source.to_owned());
        Ok(())
    }

    /// Creates an empty vault with keys of its own. No vault may have the id. If the id was retired, it no longer is.
    pub async fn create_vault(
        &mut self,
        info: VaultInfo,
        description: Option<String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = info.id.as_str();
        if self.state.retired.remove(&info.id).is_some() {
            sqlx::query("DELETE FROM retired_vault_ids WHERE id = $1")
                .bind(id)
                .execute(&mut *self.conn)
                .await?;
        }
        let (key, wrapped) = self.state.keyring.new_data_key(id);
        insert_key(self.conn, id, &key, wrapped).await?;
        let (index, wrapped) = self.state.keyring.new_index_key(id);
        insert_index_key(self.conn, id, wrapped).await?;
        let names = seal::to_json(&VaultNames {
            name: info.name.clone(),
            source: info.source.clone(),
            description,
        });
        let mut key = SealKey {
            key,
            seals: 0,
            saved: 0,
        };
        let sealed = key.seal(&RowAad::vault(id), &names);
        sqlx::query(
            "INSERT INTO vaults (id, sealed, attribute_version, content_version, items, created_at, updated_at)
             VALUES ($1, $2, 1, 1, 0, $3, $3)",
        )
        .bind(id)
        .bind(sealed)
        .bind(now.as_millis())
        .execute(&mut *self.conn)
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

    /// Renames a vault. Does nothing if there is no such vault.
    pub async fn rename_vault(&mut self, id: VaultId, name: &str, now: Timestamp) -> Result<(), StoreError> {
        let aad = RowAad::vault(id.as_str());
        let Some(vault) = self.state.vaults.get_mut(&id) else {
            return Ok(());
        };
        let old: Vec<u8> = sqlx::query_scalar("SELECT sealed FROM vaults WHERE id = $1")
            .bind(id.as_str())
            .fetch_one(&mut *self.conn)
            .await?;
        let mut names: VaultNames = seal::from_json(&aad, &self.state.keyring.open(&aad, &old)?)?;
        names.name = name.to_owned();
        vault.info.name = name.to_owned();
        let sealed = vault.key.seal(&aad, &seal::to_json(&names));
        sqlx::query(
            "UPDATE vaults SET sealed = $2, attribute_version = attribute_version + 1, updated_at = $3 WHERE id = $1",
        )
        .bind(id.as_str())
        .bind(sealed)
        .bind(now.as_millis())
        .execute(&mut *self.conn)
        .await?;
        self.note_vault(id);
        Ok(())
    }

    /// Deletes a vault and everything in it, its keys included. Call [`super::Writer::wipe_deleted`] after the commit: from then
    /// on nothing that may be left of the vault in the database's files can be decrypted.
    pub async fn delete_vault(&mut self, id: VaultId) -> Result<(), StoreError> {
        self.write_inserts().await?;
        tables::delete_vault(self.conn, id.as_str()).await?;
        self.note_remains().await?;
        self.state.vaults.remove(&id);
        self.state.old_keys.retain(|_, vault| vault != id.as_str());
        self.state.activity.remove_vault(id);
        self.deltas.remove(&id);
        self.note_vault(id);
        Ok(())
    }

    /// Notes that a key was deleted, which may still be in the write-ahead log. That is in the same transaction as the deletion, so
    /// that a writer that starts after a crash knows that the log has to be emptied.
    pub(super) async fn note_remains(&mut self) -> Result<(), StoreError> {
        sqlx::query("UPDATE store SET unwiped = 1")
            .execute(&mut *self.conn)
            .await?;
        self.state.has_remains = true;
        Ok(())
    }

    pub(super) fn note_vault(&mut self, id: VaultId) {
        self.changes.push(Change {
            kind: ChangeKind::VaultChanged,
            vault: id.as_str().to_owned(),
            item: String::new(),
            version: 0,
            titles: [None, None],
            path: None,
            commit: None,
        });
    }
}
