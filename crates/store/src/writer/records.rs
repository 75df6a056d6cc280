//! The activity log, and tokens.

use std::collections::HashMap;

use sidevault_model::{ApiRequest, Timestamp, VaultId};
use sqlx::Row;

use super::{Batch, Change, ChangeKind};
use crate::activity::KEPT_RECORDS;
use crate::place::Place;
use crate::{StoreError, TokenRecord, seal};

impl Batch<'_> {
    /// Adds requests to the activity log, and drops the oldest beyond 100,000.
    /// Requests that name a vault that is gone are left out.
    pub async fn add_activity(&mut self, requests: &[ApiRequest]) -> Result<(), StoreError> {
        let mut by_vault: HashMap<VaultId, Vec<&ApiRequest>> = HashMap::new();
        for request in requests {
            by_vault.entry(request.resource.vault.id).or_default().push(request);
        }
        for (vault, records) in by_vault {
            if !self.state.vaults.contains_key(&vault) {
                continue;
            }
            let seq = self.state.next_activity;
            self.state.next_activity += 1;
            let place = Place::activity(vault.as_str(), seq);
            let sealed = self.vault_state(vault)?.key.seal(&place, &seal::to_json(&records));
            let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
            sqlx::query("INSERT INTO activity (seq, vault_id, records, sealed) VALUES ($1, $2, $3, $4)")
                .bind(seq)
                .bind(vault.as_str())
                .bind(count)
                .bind(sealed)
                .execute(&mut *self.tx)
                .await?;
            self.state.activity_records += count;
        }
        while self.state.activity_records > KEPT_RECORDS {
            let Some(row) = sqlx::query("SELECT seq, records FROM activity ORDER BY seq LIMIT 1")
                .fetch_optional(&mut *self.tx)
                .await?
            else {
                break;
            };
            sqlx::query("DELETE FROM activity WHERE seq = $1")
                .bind(row.try_get::<i64, _>("seq")?)
                .execute(&mut *self.tx)
                .await?;
            self.state.activity_records -= row.try_get::<i64, _>("records")?;
        }
        Ok(())
    }

    /// Makes a token known by name. One that is known stays as it is, revoked ones revoked.
    pub async fn register_token(&mut self, record: &TokenRecord) -> Result<(), StoreError> {
        let known: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tokens WHERE jti = $1")
            .bind(&record.jti)
            .fetch_one(&mut *self.tx)
            .await?;
        if known == 0 {
            self.insert_token(record, None).await?;
        }
        Ok(())
    }

    /// Refuses a token from now on.
    pub async fn revoke_token(&mut self, jti: &str, expires_at: Option<i64>, now: Timestamp) -> Result<(), StoreError> {
        let done = sqlx::query("UPDATE tokens SET revoked_at = $2 WHERE jti = $1 AND revoked_at IS NULL")
            .bind(jti)
            .bind(now.as_millis())
            .execute(&mut *self.tx)
            .await?;
        if done.rows_affected() == 0 {
            let known: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tokens WHERE jti = $1")
                .bind(jti)
                .fetch_one(&mut *self.tx)
                .await?;
            if known == 0 {
                self.insert_token(&TokenRecord::unseen(jti, expires_at), Some(now))
                    .await?;
            }
        }
        self.changes.push(Change {
            kind: ChangeKind::TokenChanged,
            vault: String::new(),
            item: String::new(),
            version: 0,
            titles: [None, None],
        });
        Ok(())
    }

    async fn insert_token(&mut self, record: &TokenRecord, revoked_at: Option<Timestamp>) -> Result<(), StoreError> {
        let sealed = self
            .state
            .store_key
            .seal(&Place::token(&record.jti), &seal::to_json(record));
        sqlx::query("INSERT INTO tokens (jti, sealed, expires_at, revoked_at) VALUES ($1, $2, $3, $4)")
            .bind(&record.jti)
            .bind(sealed)
            .bind(record.expires_at.map(Timestamp::as_millis))
            .bind(revoked_at.map(Timestamp::as_millis))
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}
