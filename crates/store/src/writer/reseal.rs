//! Replacing data keys, and sealing rows anew until nothing is sealed with an old one.
//!
//! A data key that is not the newest of its vault is old. Old keys are in the table `vault_keys` until no row needs them, so a
//! writer that starts after a crash knows by them that rows are still to be sealed anew. [`Writer::reseal_some`] goes through all
//! sealed tables, a few rows in each transaction. Only the newest key of a vault seals, so a row that has been passed never gets an
//! old key again. The old keys are deleted after a pass that has found no row that is sealed with one.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sidevault_keys::{KeyId, sealed_key_id};
use sidevault_model::VaultId;

use super::state::insert_key;
use super::{Batch, SealKey, State, Writer};
use crate::StoreError;
use crate::keyring::STORE;
use crate::tables::{PAGE, SEALED_TABLES, Table, TableRow, VAULT_KEYS, Value};

/// A transaction seals no more rows anew when it has sealed this many bytes, so that other writes do not wait long for it.
const STEP_BYTES: usize = 256 * 1024;

/// Whether rows are sealed with old data keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Resealing {
    /// There are no old data keys.
    Idle,
    /// Rows are being sealed anew.
    Running {
        /// How many rows have been looked at. Each row is looked at twice: the second time to make sure.
        done: u64,
        /// How many rows have to be looked at.
        total: u64,
    },
    /// All rows are sealed anew but those that can't be decrypted. The old keys stay, because a repaired row may need them.
    Damaged {
        /// How many rows can't be decrypted.
        rows: u64,
    },
}

/// One way through all sealed tables.
pub(super) struct Pass {
    /// The old keys, each with its vault.
    old: HashMap<KeyId, String>,
    /// The table, as a position in [`SEALED_TABLES`].
    table: usize,
    /// The key of the last row that was looked at.
    after: Option<TableRow>,
    /// How many rows were sealed anew.
    resealed: u64,
    damaged: u64,
    /// As in [`Resealing::Running`], for this pass and the ones before.
    done: u64,
    total: u64,
}

impl Writer {
    /// Seals some rows anew that are sealed with old data keys, in a transaction of its own, and returns what is left to do.
    ///
    /// # Errors
    /// If the store can't be written. The next call goes on.
    pub async fn reseal_some(&mut self) -> Result<Resealing, StoreError> {
        if self.resealing() == Resealing::Idle {
            return Ok(Resealing::Idle);
        }
        let mut batch = self.begin().await?;
        batch.reseal_some().await?;
        batch.commit().await?;
        Ok(self.resealing())
    }

    /// What is left to do.
    pub fn resealing(&self) -> Resealing {
        self.state.resealing()
    }
}

impl State {
    fn resealing(&self) -> Resealing {
        match (&self.pass, self.undecryptable) {
            (None, Some(rows)) => Resealing::Damaged { rows },
            (None, None) if self.old_keys.is_empty() => Resealing::Idle,
            (None, None) => Resealing::Running { done: 0, total: 1 },
            (Some(pass), _) => Resealing::Running {
                done: pass.done.min(pass.total),
                total: pass.total,
            },
        }
    }

    fn key_of(&mut self, vault: &str) -> Option<&mut SealKey> {
        if vault == STORE {
            return Some(&mut self.store_key);
        }
        let id = VaultId::parse(vault).ok()?;
        self.vaults.get_mut(&id).map(|vault| &mut vault.key)
    }
}

impl Batch<'_> {
    /// Gives each vault and the store itself a new data key, which seals from now on. Does nothing while rows are still being sealed
    /// anew since the last time, and returns false then.
    pub async fn rotate_data_keys(&mut self) -> Result<bool, StoreError> {
        if let Resealing::Running { .. } = self.resealing() {
            return Ok(false);
        }
        self.write_inserts().await?;
        let ids: Vec<VaultId> = self.state.vaults.keys().copied().collect();
        for vault in ids.iter().map(VaultId::as_str).chain([STORE]) {
            self.replace_key(vault).await?;
        }
        self.state.undecryptable = None;
        Ok(true)
    }

    /// What is left to do.
    pub fn resealing(&self) -> Resealing {
        self.state.resealing()
    }

    /// Gives a vault a new data key. The one that it has had becomes an old key.
    pub(super) async fn replace_key(&mut self, vault: &str) -> Result<(), StoreError> {
        let (fresh, wrapped) = self.state.keyring.new_data_key(vault);
        let Some(key) = self.state.key_of(vault) else {
            return Ok(());
        };
        insert_key(self.conn, vault, &fresh, wrapped).await?;
        let old = std::mem::replace(
            key,
            SealKey {
                key: fresh,
                seals: 0,
                saved: 0,
            },
        );
        self.state.old_keys.insert(old.key.id(), vault.to_owned());
        Ok(())
    }

    async fn reseal_some(&mut self) -> Result<(), StoreError> {
        let mut pass = match self.state.pass.take() {
            Some(pass) => pass,
            None => self.first_pass().await?,
        };
        let Some(table) = SEALED_TABLES.get(pass.table) else {
            return self.end_pass(pass).await;
        };
        let rows = table.rows();
        let rows = pass.after.as_deref().map_or(rows, |after| rows.after(after));
        let found = rows.sealing_keys(self.conn).await?;
        let (count, mut bytes) = (found.len(), 0);
        let mut looked_at = 0;
        for (key, ids) in found {
            if bytes >= STEP_BYTES {
                break;
            }
            if ids.iter().any(|id| pass.old.contains_key(id)) {
                bytes += self.reseal_row(table, &key, &mut pass).await?;
            }
            looked_at += 1;
            pass.after = Some(key);
        }
        pass.done += looked_at as u64;
        if looked_at == count && count < PAGE {
            pass.table += 1;
            pass.after = None;
        }
        self.state.pass = Some(pass);
        Ok(())
    }

    async fn first_pass(&mut self) -> Result<Pass, StoreError> {
        let mut rows = 0;
        for table in SEALED_TABLES {
            rows += table.count(self.conn).await?;
        }
        tracing::info!(
            keys = self.state.old_keys.len(),
            rows,
            "rows are sealed anew, with new data keys"
        );
        Ok(Pass {
            old: self.state.old_keys.clone(),
            table: 0,
            after: None,
            resealed: 0,
            damaged: 0,
            done: 0,
            total: 2 * rows,
        })
    }

    /// Seals a row anew, and returns how many bytes that was.
    async fn reseal_row(&mut self, table: &'static Table, key: &[Value], pass: &mut Pass) -> Result<usize, StoreError> {
        let keys = [key.to_vec()];
        let Some(row) = table.rows().of(&keys).page(self.conn).await?.pop() else {
            return Ok(0);
        };
        let (mut fresh, mut bytes) = (Vec::with_capacity(table.sealed.len()), 0);
        for (column, aad_of) in table.sealed {
            let sealed = table.value(&row, column).as_bytes();
            let Some(vault) = sealed_key_id(sealed).and_then(|id| pass.old.get(&id)) else {
                continue;
            };
            let opened = aad_of(&row, VaultId::parse(vault).ok())
                .and_then(|aad| Ok((self.state.keyring.open(&aad, sealed)?, aad)));
            match (opened, self.state.key_of(vault)) {
                (Ok((plaintext, aad)), Some(key)) => {
                    bytes += plaintext.len();
                    fresh.push((*column, key.seal(&aad, &plaintext)));
                }
                (Err(error), _) => {
                    tracing::error!(%error, "a row can't be sealed anew with a new data key");
                    pass.damaged += 1;
                }
                (Ok(_), None) => pass.damaged += 1,
            }
        }
        if !fresh.is_empty() {
            table.update(self.conn, key, &fresh).await?;
            pass.resealed += 1;
        }
        Ok(bytes)
    }

    async fn end_pass(&mut self, pass: Pass) -> Result<(), StoreError> {
        if pass.resealed > 0 {
            self.state.pass = Some(Pass {
                table: 0,
                after: None,
                resealed: 0,
                damaged: 0,
                ..pass
            });
            return Ok(());
        }
        if pass.damaged > 0 {
            tracing::error!(
                rows = pass.damaged,
                "the old data keys stay, because rows that are sealed with them can't be decrypted"
            );
            self.state.undecryptable = Some(pass.damaged);
            return Ok(());
        }
        for (key, vault) in &pass.old {
            let row = [Value::text(vault), Value::Number(Some(key.0.cast_signed()))];
            VAULT_KEYS.rows().of(&[row.to_vec()]).delete(self.conn).await?;
            self.state.old_keys.remove(key);
            self.state.keyring.forget(*key);
            // Replicas copy the rows of a vault again that has lost a key.
            match VaultId::parse(vault) {
                Ok(id) => self.note_vault(id),
                Err(_) => self.note_tokens(),
            }
        }
        self.note_remains().await?;
        tracing::info!(
            keys = pass.old.len(),
            "no row is sealed with an old data key any more: the old keys are deleted"
        );
        Ok(())
    }
}
