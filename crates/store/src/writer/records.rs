//! Writing the activity log and the list of tokens.

use std::collections::BTreeMap;

use sidevault_model::activity::RecordKind;
use sidevault_model::{ApiRequest, Timestamp};

use super::{Batch, Change, ChangeKind, ROWS};
use crate::activity::{BATCH_OVERHEAD, Share};
use crate::row_aad::RowAad;
use crate::statement::Statement;
use crate::{StoreError, TokenRecord, seal};

impl Batch<'_> {
    /// Adds requests, oldest first, to the activity log. If the log is larger than [`super::WriterOptions::activity_bytes`] then,
    /// the oldest batches of the largest shares are deleted (`Usage::largest` in `activity.rs`). Requests for a vault that
    /// does not exist are left out.
    pub async fn add_activity(&mut self, requests: &[ApiRequest]) -> Result<(), StoreError> {
        let mut batches: BTreeMap<_, Vec<(usize, &ApiRequest)>> = BTreeMap::new();
        for (position, request) in requests.iter().enumerate() {
            let vault = request.resource.vault.id;
            if self.state.vaults.contains_key(&vault) {
                let kind = RecordKind::of(request.action, request.result);
                batches
                    .entry((vault, request.actor.jti.as_str(), kind))
                    .or_default()
                    .push((position, request));
            }
        }
        let handover = self.state.next_activity;
        let mut rows = Vec::with_capacity(batches.len());
        for ((vault, jti, kind), records) in batches {
            let seq = self.state.next_activity;
            self.state.next_activity += 1;
            let aad = RowAad::activity(vault.as_str(), seq);
            let sealed = self.vault_state(vault)?.key.seal(&aad, &seal::to_json(&records));
            let share = Share {
                token: self.state.token_tag(jti),
                vault,
                kind: kind as usize,
            };
            let bytes = sealed.len() as u64 + BATCH_OVERHEAD;
            self.state.activity.add(share, bytes);
            rows.push((seq, share, records.len(), bytes, sealed));
        }
        for rows in rows.chunks(ROWS) {
            let mut insert = Statement::new(
                "INSERT INTO activity (seq, handover, vault_id, token, kind, records, bytes, sealed) VALUES ",
            );
            for (seq, share, records, bytes, sealed) in rows {
                insert.row(|row| {
                    row.bind(*seq)?
                        .bind(handover)?
                        .bind(share.vault.as_str())?
                        .bind(&share.token[..])?
                        .bind(share.kind as i64)?
                        .bind(*records as i64)?
                        .bind(*bytes as i64)?
                        .bind(&sealed[..])?;
                    Ok(())
                })?;
            }
            insert.execute(self.conn).await?;
        }
        self.state
            .activity
            .limit(self.conn, self.state.options.activity_bytes)
            .await
    }

    /// Adds a token to the list of known tokens. A token that is in the list stays as it is, revoked or not.
    pub async fn register_token(&mut self, record: &TokenRecord) -> Result<(), StoreError> {
        let known: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tokens WHERE jti = $1")
            .bind(&record.jti)
            .fetch_one(&mut *self.conn)
            .await?;
        if known == 0 {
            self.insert_token(record, None).await?;
            self.note_tokens();
        }
        Ok(())
    }

    /// Revokes a token, whether or not it is in the list of known tokens.
    pub async fn revoke_token(&mut self, jti: &str, expires_at: Option<i64>, now: Timestamp) -> Result<(), StoreError> {
        let row = sqlx::query("SELECT jti, sealed, revoked_at FROM tokens WHERE jti = $1")
            .bind(jti)
            .fetch_optional(&mut *self.conn)
            .await?;
        let known = match &row {
            Some(row) => TokenRecord::from_row(row, &self.state.keyring).map(Some),
            None => Ok(None),
        };
        let record = match known {
            Ok(Some(known)) if known.revoked_at.is_some() => return Ok(()),
            Ok(Some(known)) => known,
            // A row that can't be decrypted was damaged or altered: it is replaced.
            Ok(None) | Err(StoreError::Corrupt { .. }) => TokenRecord::unseen(jti, expires_at),
            Err(error) => return Err(error),
        };
        sqlx::query("DELETE FROM tokens WHERE jti = $1")
            .bind(jti)
            .execute(&mut *self.conn)
            .await?;
        self.insert_token(&record, Some(now)).await?;
        self.note_tokens();
        Ok(())
    }

    pub(super) fn note_tokens(&mut self) {
        self.changes.push(Change {
            kind: ChangeKind::TokenChanged,
            vault: String::new(),
            item: String::new(),
            version: 0,
            titles: [None, None],
            path: None,
            commit: None,
        });
    }

    async fn insert_token(&mut self, record: &TokenRecord, revoked_at: Option<Timestamp>) -> Result<(), StoreError> {
        let sealed = self
            .state
            .store_key
            .seal(&RowAad::token(&record.jti, revoked_at), &seal::to_json(record));
        sqlx::query("INSERT INTO tokens (jti, sealed, revoked_at) VALUES ($1, $2, $3)")
            .bind(&record.jti)
            .bind(sealed)
            .bind(revoked_at.map(Timestamp::as_millis))
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }
}
