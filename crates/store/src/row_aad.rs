//! The associated data (AAD) that each sealed row is encrypted with: which row it is, and its plain columns that reads go by.
//!
//! AES-256-GCM decrypts a row only with the associated data that it was encrypted with. So a row that was copied to another
//! vault, item, version or table can't be decrypted, nor can a row with a changed plain column.

use std::fmt;

use sidevault_model::{FileId, ItemId, State, Timestamp, VaultId};
use sqlx::Row as _;
use sqlx::any::AnyRow;

/// The plain columns of an item's row that lists and look-ups by name go by.
#[derive(Clone, Copy)]
pub(crate) struct ListColumns {
    pub(crate) title_hash: [u8; 32],
    /// None for an item that no file makes.
    pub(crate) path_hash: Option<[u8; 32]>,
    pub(crate) created_at: i64,
    pub(crate) state: Option<State>,
}

/// When an item was created and last changed, to the millisecond. The sealed JSON has whole seconds.
#[derive(Clone, Copy)]
pub(crate) struct ItemTimes {
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl ItemTimes {
    pub(crate) fn read(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            created_at: Timestamp::from_millis(row.try_get("created_at")?),
            updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
        })
    }
}

/// The associated data of one row. It is on the stack, so that a read from the cache allocates nothing for it.
pub(crate) struct RowAad {
    bytes: [u8; Self::MAX],
    len: usize,
    kind: &'static str,
}

impl RowAad {
    const MAX: usize = 160;

    fn new(kind: &'static str, tag: u8) -> Self {
        let mut aad = Self {
            bytes: [0; Self::MAX],
            len: 0,
            kind,
        };
        aad.push(b"sidevault/1");
        aad.push(&[tag]);
        aad
    }

    /// For each kind of row, every part but the last has a fixed length, so that no two rows have the same bytes.
    fn push(&mut self, part: &[u8]) {
        let end = (self.len + part.len()).min(Self::MAX);
        let room = end - self.len;
        self.bytes[self.len..end].copy_from_slice(&part[..room]);
        self.len = end;
    }

    pub(crate) fn vault(vault: &str) -> Self {
        let mut aad = Self::new("vault", 1);
        aad.push(vault.as_bytes());
        aad
    }

    pub(crate) fn key(vault: &str) -> Self {
        let mut aad = Self::new("vault key", 2);
        aad.push(vault.as_bytes());
        aad
    }

    fn item(vault: VaultId, item: ItemId, version: u32, part: u8) -> Self {
        let mut aad = Self::new("item", 3);
        aad.push(vault.as_bytes());
        aad.push(item.as_bytes());
        aad.push(&version.to_be_bytes());
        aad.push(&[part]);
        aad
    }

    pub(crate) fn summary(vault: VaultId, item: ItemId, version: u32, columns: &ListColumns) -> Self {
        let mut aad = Self::item(vault, item, version, 1);
        aad.push(&columns.title_hash);
        // No path has this hash.
        aad.push(&columns.path_hash.unwrap_or_default());
        aad.push(&columns.created_at.to_be_bytes());
        aad.push(&[columns.state.map_or(0, |state| state as u8 + 1)]);
        aad
    }

    pub(crate) fn detail(vault: VaultId, item: ItemId, version: u32, times: ItemTimes) -> Self {
        let mut aad = Self::item(vault, item, version, 2);
        aad.push(&times.created_at.as_millis().to_be_bytes());
        aad.push(&times.updated_at.as_millis().to_be_bytes());
        aad
    }

    /// A detail is sealed again when it becomes history, so that an old version can't be made the present one.
    pub(crate) fn history(vault: VaultId, item: ItemId, version: u32, updated_at: Timestamp) -> Self {
        let mut aad = Self::item(vault, item, version, 3);
        aad.push(&updated_at.as_millis().to_be_bytes());
        aad
    }

    pub(crate) fn chunk(vault: VaultId, content: FileId, n: i64) -> Self {
        let mut aad = Self::new("file chunk", 4);
        aad.push(vault.as_bytes());
        aad.push(content.as_bytes());
        aad.push(&n.to_be_bytes());
        aad
    }

    pub(crate) fn activity(vault: &str, seq: i64) -> Self {
        let mut aad = Self::new("activity", 5);
        aad.push(&seq.to_be_bytes());
        aad.push(vault.as_bytes());
        aad
    }

    /// `jti` may come from a client's token, but only from one whose signature is good: it is at most 64 bytes long.
    pub(crate) fn token(jti: &str, revoked_at: Option<Timestamp>) -> Self {
        let mut aad = Self::new("token", 6);
        aad.push(&[u8::from(revoked_at.is_some())]);
        aad.push(&revoked_at.map_or(0, Timestamp::as_millis).to_be_bytes());
        aad.push(jti.as_bytes());
        aad
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// For error messages: the kind of row, and the ids, which are plain in the database.
impl fmt::Display for RowAad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Behind an item's two ids are its version, hashes and times, which are binary.
        let end = if self.kind == "item" { 64 } else { self.len };
        let ids: String = self.bytes()[12..end]
            .iter()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(*b) } else { ' ' })
            .collect();
        write!(f, "{} {}", self.kind, ids.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_have_the_same_associated_data() {
        let v = VaultId::from_digest(&[1; 32]);
        let i = ItemId::from_digest(&[2; 32]);
        let columns = ListColumns {
            title_hash: [3; 32],
            path_hash: Some([4; 32]),
            created_at: 4,
            state: None,
        };
        let archived = ListColumns {
            state: Some(State::Archived),
            ..columns
        };
        let (then, later) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
        let times = |created_at, updated_at| ItemTimes { created_at, updated_at };
        let all = [
            RowAad::vault(v.as_str()),
            RowAad::key(v.as_str()),
            RowAad::summary(v, i, 1, &columns),
            RowAad::summary(v, i, 1, &archived),
            RowAad::summary(
                v,
                i,
                1,
                &ListColumns {
                    state: Some(State::Deleted),
                    ..columns
                },
            ),
            RowAad::detail(v, i, 1, times(then, then)),
            RowAad::detail(v, i, 1, times(then, later)),
            RowAad::detail(v, i, 1, times(later, then)),
            RowAad::detail(v, i, 2, times(then, then)),
            RowAad::history(v, i, 2, then),
            RowAad::activity(v.as_str(), 1),
            RowAad::activity("", 1),
            RowAad::token("x", None),
            RowAad::token("x", Some(then)),
            RowAad::token("x", Some(later)),
        ];
        assert!(all.iter().all(|aad| aad.len < RowAad::MAX), "associated data was cut");
        for (n, a) in all.iter().enumerate() {
            for b in &all[n + 1..] {
                assert_ne!(a.bytes(), b.bytes(), "{a} / {b}");
            }
        }
    }
}
