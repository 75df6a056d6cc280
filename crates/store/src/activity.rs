//! How the activity log's room is shared among tokens, vaults and kinds of records.
//!
//! The log is bounded in bytes. Its records are sealed in batches; a batch holds records of one token, one vault and one kind.

use std::collections::BTreeMap;

use sidevault_model::activity::RecordKind;
use sidevault_model::{ApiRequest, VaultId};
use sqlx::Row as _;

use crate::StoreError;
use crate::connection::Connection;

/// A page of the activity log.
#[derive(Debug)]
pub struct Activity {
    /// Newest first.
    pub records: Vec<ApiRequest>,
    /// How many records the log has in all.
    pub total: u64,
}

/// The default limit of the log in bytes. A record takes about 450 bytes, so this is about 140,000 requests.
pub(crate) const KEPT_BYTES: u64 = 64 << 20;

/// About how many bytes a batch takes on disk besides its sealed bytes: the row's other columns, and its entries in two indexes.
pub(crate) const BATCH_OVERHEAD: u64 = 256;

/// A pseudonym of a token in the table `activity`, so that the table does not show which token it is: HMAC-SHA-256 of the
/// token's id under the store's index key, cut to 128 bits.
pub(crate) type TokenTag = [u8; 16];

/// The batches of one token, one vault and one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) token: TokenTag,
    pub(crate) vault: VaultId,
    pub(crate) kind: usize,
}

impl Share {
    /// Reads the columns of a row.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if no share has such columns.
    pub(crate) fn new(token: &[u8], vault: &str, kind: i64) -> Result<Self, StoreError> {
        let damaged = || StoreError::corrupt("activity");
        Ok(Self {
            token: token.try_into().map_err(|_| damaged())?,
            vault: VaultId::parse(vault).map_err(|_| damaged())?,
            kind: usize::try_from(kind)
                .ok()
                .filter(|kind| *kind < RecordKind::COUNT)
                .ok_or_else(damaged)?,
        })
    }
}

/// How many bytes of the log each token, vault and kind of record takes.
#[derive(Default)]
pub(crate) struct Usage {
    bytes: u64,
    tokens: BTreeMap<TokenTag, TokenUsage>,
}

#[derive(Default)]
struct TokenUsage {
    bytes: u64,
    vaults: BTreeMap<VaultId, [u64; RecordKind::COUNT]>,
}

impl Usage {
    /// Counts the bytes of the batches in the database.
    pub(crate) async fn load(conn: &mut Connection) -> Result<Self, StoreError> {
        let rows = sqlx::query(
            "SELECT token, vault_id, kind, CAST(SUM(bytes) AS BIGINT) AS bytes FROM activity GROUP BY 1, 2, 3",
        )
        .fetch_all(conn)
        .await?;
        let mut usage = Self::default();
        for row in rows {
            let share = Share::new(row.try_get("token")?, row.try_get("vault_id")?, row.try_get("kind")?)?;
            usage.add(share, row.try_get::<i64, _>("bytes")?.unsigned_abs());
        }
        Ok(usage)
    }

    /// Deletes the oldest batches of the largest shares until the log takes `most` bytes at most.
    pub(crate) async fn limit(&mut self, conn: &mut Connection, most: u64) -> Result<(), StoreError> {
        while self.bytes > most {
            let Some(share) = self.largest() else { break };
            let bytes: Option<i64> = sqlx::query_scalar(
                "DELETE FROM activity WHERE seq =
                 (SELECT MIN(seq) FROM activity WHERE token = $1 AND vault_id = $2 AND kind = $3) RETURNING bytes",
            )
            .bind(&share.token[..])
            .bind(share.vault.as_str())
            .bind(share.kind as i64)
            .fetch_optional(&mut *conn)
            .await?;
            // If the share has no rows, someone has edited the database since the rows were counted: its bytes are subtracted.
            self.remove(share, bytes.map_or(u64::MAX, i64::unsigned_abs));
        }
        Ok(())
    }

    /// How many bytes the whole log takes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn add(&mut self, share: Share, bytes: u64) {
        let token = self.tokens.entry(share.token).or_default();
        token.vaults.entry(share.vault).or_default()[share.kind] += bytes;
        token.bytes += bytes;
        self.bytes += bytes;
    }

    pub(crate) fn remove(&mut self, share: Share, bytes: u64) {
        let Some(token) = self.tokens.get_mut(&share.token) else {
            return;
        };
        let Some(kinds) = token.vaults.get_mut(&share.vault) else {
            return;
        };
        let bytes = bytes.min(kinds[share.kind]);
        kinds[share.kind] -= bytes;
        token.bytes -= bytes;
        self.bytes -= bytes;
        if kinds.iter().all(|bytes| *bytes == 0) {
            token.vaults.remove(&share.vault);
        }
        if token.vaults.is_empty() {
            self.tokens.remove(&share.token);
        }
    }

    /// Removes the bytes of a vault that was deleted with all its batches.
    pub(crate) fn remove_vault(&mut self, vault: VaultId) {
        for token in self.tokens.values_mut() {
            let bytes: u64 = token.vaults.remove(&vault).into_iter().flatten().sum();
            token.bytes -= bytes;
            self.bytes -= bytes;
        }
        self.tokens.retain(|_, token| !token.vaults.is_empty());
    }

    /// The share whose oldest batch is dropped when the log is full: of the token that takes most, the vault that takes most,
    /// and of that vault the kind that takes most (max-min fairness at each step). So a token that takes less than an equal
    /// part of the log loses no records to other tokens, and a vault that takes less than an equal part of its token's loses
    /// none to other vaults.
    fn largest(&self) -> Option<Share> {
        let (token, usage) = self.tokens.iter().max_by_key(|(_, usage)| usage.bytes)?;
        let (vault, kinds) = usage.vaults.iter().max_by_key(|(_, kinds)| kinds.iter().sum::<u64>())?;
        let (kind, _) = kinds.iter().enumerate().max_by_key(|(_, bytes)| **bytes)?;
        Some(Share {
            token: *token,
            vault: *vault,
            kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(token: u8, vault: u8, kind: RecordKind) -> Share {
        Share {
            token: [token; 16],
            vault: VaultId::from_digest(&[vault; 32]),
            kind: kind as usize,
        }
    }

    #[test]
    fn the_largest_share_gives_up_first() {
        let mut usage = Usage::default();
        let quiet = share(1, 1, RecordKind::Read);
        let few = share(2, 1, RecordKind::Write);
        let flood = share(2, 2, RecordKind::Denial);
        usage.add(quiet, 50);
        usage.add(few, 40);
        usage.add(flood, 60);
        assert_eq!((usage.bytes(), usage.largest()), (150, Some(flood)));
        usage.remove(flood, 30);
        assert_eq!(usage.largest(), Some(few));
        usage.remove(few, 40);
        assert_eq!(usage.largest(), Some(quiet));
    }

    #[test]
    fn removed_shares_take_no_room() {
        let mut usage = Usage::default();
        usage.add(share(1, 1, RecordKind::Read), 50);
        usage.add(share(1, 2, RecordKind::Read), 7);
        usage.add(share(2, 1, RecordKind::Write), 50);
        usage.remove_vault(VaultId::from_digest(&[1; 32]));
        assert_eq!((usage.bytes(), usage.tokens.len()), (7, 1));
        usage.remove(share(1, 2, RecordKind::Read), 9);
        assert_eq!((usage.bytes(), usage.largest()), (0, None));
        assert!(usage.tokens.is_empty());
    }
}
