//! Committing a batch.

use sidevault_model::{Timestamp, VaultId};

use super::{Batch, ROWS, State, VaultState};
use crate::keyring::STORE;
use crate::statement::Statement;
use crate::{StoreError, tables};

impl Batch<'_> {
    /// Commits the batch and returns the number of the newest change. When this returns, the batch is on disk.
    pub async fn commit(mut self) -> Result<i64, StoreError> {
        let now = Timestamp::now().as_millis();
        self.write_inserts().await?;
        self.write_changes(now).await?;
        for (vault, delta) in std::mem::take(&mut self.deltas) {
            sqlx::query(
                "UPDATE vaults SET content_version = content_version + 1, items = items + $2, updated_at = $3
                 WHERE id = $1",
            )
            .bind(vault.as_str())
            .bind(delta.items)
            .bind(now)
            .execute(&mut *self.conn)
            .await?;
        }
        self.save_seals().await?;
        self.right.commit(self.conn).await?;
        self.state.stale = false;
        Ok(self.state.next_change - 1)
    }

    async fn write_changes(&mut self, now: i64) -> Result<(), StoreError> {
        let first = self.state.next_change;
        for changes in self.changes.chunks(ROWS) {
            let mut insert = Statement::new(
                "INSERT INTO changes (seq, at, kind, vault_id, item_id, version, title_hash, other_title_hash, path_hash,
                  commit_id, commit_at)
                 VALUES ",
            );
            for change in changes {
                let [old, new] = change.titles;
                let other = new.filter(|hash| Some(*hash) != old);
                let seq = self.state.next_change;
                self.state.next_change += 1;
                insert.row(|row| {
                    row.bind(seq)?
                        .bind(now)?
                        .bind(change.kind.as_str())?
                        .bind(&change.vault)?
                        .bind(&change.item)?
                        .bind(i64::from(change.version))?
                        .bind(old.map(Vec::from))?
                        .bind(other.map(Vec::from))?
                        .bind(change.path.map(Vec::from))?
                        .bind(change.commit.as_ref().map(|commit| commit.id.as_str()))?
                        .bind(change.commit.as_ref().map(|commit| commit.time.as_millis()))?;
                    Ok(())
                })?;
            }
            insert.execute(self.conn).await?;
        }
        // Old changes are deleted once in a thousand changes.
        if first / 1000 != self.state.next_change / 1000 {
            tables::delete_old_changes(self.conn).await?;
        }
        Ok(())
    }

    /// Writes how often each key has sealed, and replaces keys that have sealed as often as they may.
    async fn save_seals(&mut self) -> Result<(), StoreError> {
        let mut worn_out = Vec::new();
        let State {
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
                .execute(&mut *self.conn)
                .await?;
            key.saved = key.seals;
            if key.seals >= options.seals_per_key {
                worn_out.push(vault.to_owned());
            }
        }
        for vault in worn_out {
            self.replace_key(&vault).await?;
        }
        Ok(())
    }

    pub(super) fn vault_state(&mut self, vault: VaultId) -> Result<&mut VaultState, StoreError> {
        self.state
            .vaults
            .get_mut(&vault)
            .ok_or_else(|| StoreError::corrupt(format!("vault {vault} is not known")))
    }
}
