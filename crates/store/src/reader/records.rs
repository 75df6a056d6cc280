//! Reading the change log, the activity log and the list of tokens.

use std::collections::BTreeMap;

use sidevault_model::{ApiRequest, Commit, Timestamp, VaultId};
use sqlx::Row as _;

use super::Reader;
use crate::activity::Activity;
use crate::keyring::STORE;
use crate::row::{commit, number};
use crate::row_aad::RowAad;
use crate::statement::Statement;
use crate::{StoreError, TokenRecord, seal};

/// The batches of the activity log that were written together.
#[derive(Default)]
struct Handover {
    records: u64,
    batches: Vec<(i64, VaultId)>,
}

/// A change, as `/v1/events` sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRecord {
    /// The change's number. Numbers grow by one, except that they jump when a writer opens the store.
    pub seq: i64,
    /// When the change was committed.
    pub at: Timestamp,
    /// The word of a [`crate::ChangeKind`].
    pub kind: String,
    /// The vault's id; empty for changes of tokens.
    pub vault: String,
    /// The item's id; empty for changes of vaults and tokens.
    pub item: String,
    /// The item's version; 0 for changes of vaults and tokens.
    pub version: u32,
    /// The Git commit that the change comes from.
    pub commit: Option<Commit>,
}

impl Reader {
    /// The changes after number `after` up to number `newest`, oldest first, at most `limit`. With `vaults`, only changes in
    /// these vaults. `None` if the store has no change with number `after`, because it is too old or was in a store that this
    /// one has replaced: then a client that resumes there has to read everything again.
    pub async fn changes(
        &self,
        after: i64,
        newest: i64,
        vaults: Option<&[VaultId]>,
        limit: usize,
    ) -> Result<Option<Vec<ChangeRecord>>, StoreError> {
        let mut conn = self.connections.acquire().await?;
        let is_known: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM changes WHERE seq = $1")
            .bind(after)
            .fetch_one(&mut *conn)
            .await?;
        if is_known == 0 {
            return Ok(None);
        }
        if vaults.is_some_and(<[VaultId]>::is_empty) {
            return Ok(Some(Vec::new()));
        }
        let mut query = Statement::new(
            "SELECT seq, at, kind, vault_id, item_id, version, commit_id, commit_at FROM changes WHERE seq > ",
        );
        query.bind(after)?.push(" AND seq <= ").bind(newest)?;
        if let Some(vaults) = vaults {
            query.push(" AND vault_id IN (");
            for (n, vault) in vaults.iter().enumerate() {
                query.push(if n > 0 { ", " } else { "" }).bind(vault.as_str())?;
            }
            query.push(")");
        }
        query.push(" ORDER BY seq LIMIT ");
        query.bind(i64::try_from(limit).unwrap_or(i64::MAX))?;
        let rows = query.fetch_all(&mut conn).await?;
        let changes = rows
            .iter()
            .map(|row| {
                Ok(ChangeRecord {
                    seq: row.try_get("seq")?,
                    at: Timestamp::from_millis(row.try_get("at")?),
                    kind: row.try_get("kind")?,
                    vault: row.try_get("vault_id")?,
                    item: row.try_get("item_id")?,
                    version: number(row, "version")?,
                    commit: commit(row)?,
                })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Some(changes))
    }

    /// A page of the activity of these vaults, newest first.
    pub async fn activity(&self, vaults: &[VaultId], offset: u64, limit: u32) -> Result<Activity, StoreError> {
        let mut handovers: BTreeMap<i64, Handover> = BTreeMap::new();
        for vault in vaults {
            let rows = sqlx::query("SELECT seq, handover, records FROM activity WHERE vault_id = $1")
                .bind(vault.as_str())
                .fetch_all(&mut *self.connections.acquire().await?)
                .await?;
            for row in rows {
                let handover = handovers.entry(row.try_get("handover")?).or_default();
                handover.records += row.try_get::<i64, _>("records")?.unsigned_abs();
                handover.batches.push((row.try_get("seq")?, *vault));
            }
        }
        let total = handovers.values().map(|handover| handover.records).sum();
        let mut skip = offset;
        let mut records = Vec::new();
        for handover in handovers.into_values().rev() {
            if records.len() >= limit as usize {
                break;
            }
            if skip >= handover.records {
                skip -= handover.records;
                continue;
            }
            let mut together = Vec::new();
            for (seq, vault) in handover.batches {
                together.extend(self.activity_batch(seq, vault).await?);
            }
            together.sort_unstable_by_key(|(position, _)| *position);
            let rest = limit as usize - records.len();
            records.extend(
                together
                    .into_iter()
                    .rev()
                    .map(|(_, request)| request)
                    .skip(usize::try_from(skip).unwrap_or(usize::MAX))
                    .take(rest),
            );
            skip = 0;
        }
        Ok(Activity { records, total })
    }

    /// The records of a batch, each with its position among the records that were written together.
    async fn activity_batch(&self, seq: i64, vault: VaultId) -> Result<Vec<(usize, ApiRequest)>, StoreError> {
        let sealed: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM activity WHERE seq = $1")
            .bind(seq)
            .fetch_optional(&mut *self.connections.acquire().await?)
            .await?;
        let Some(sealed) = sealed else { return Ok(Vec::new()) };
        let aad = RowAad::activity(vault.as_str(), seq);
        let plaintext = self.open_with_keys(vault, || self.keyring.open(&aad, &sealed)).await?;
        seal::from_json(&aad, &plaintext)
    }

    /// The known tokens, oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let rows = sqlx::query("SELECT jti, sealed, revoked_at FROM tokens")
            .fetch_all(&mut *self.connections.acquire().await?)
            .await?;
        let mut tokens = Vec::with_capacity(rows.len());
        for row in &rows {
            tokens.push(
                self.open_with_keys_of(STORE, || TokenRecord::from_row(row, &self.keyring))
                    .await?,
            );
        }
        tokens.sort_by(|a, b| (a.issued_at, &a.jti).cmp(&(b.issued_at, &b.jti)));
        Ok(tokens)
    }
}
