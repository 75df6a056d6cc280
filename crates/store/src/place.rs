//! Where a sealed row belongs. The place is the associated data of its seal, so that a row
//! copied to another vault, item, version or table no longer opens, nor does one whose other columns were changed.

use std::fmt;

use sidevault_model::{FileId, ItemId, State, Timestamp, VaultId};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

/// The columns of an item's row that lists and look-ups by title go by.
#[derive(Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) title_hash: [u8; 32],
    pub(crate) created_at: i64,
    pub(crate) state: Option<State>,
}

/// When an item was made and last changed, as its row has it.
#[derive(Clone, Copy)]
pub(crate) struct ItemTimes {
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl ItemTimes {
    pub(crate) fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            created_at: Timestamp::from_millis(row.try_get("created_at")?),
            updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
        })
    }
}

/// Associated data on the stack: the hot path allocates nothing for it.
pub(crate) struct Place {
    bytes: [u8; Self::MAX],
    len: usize,
    kind: &'static str,
}

impl Place {
    const MAX: usize = 128;

    fn new(kind: &'static str, tag: u8) -> Self {
        let mut place = Self {
            bytes: [0; Self::MAX],
            len: 0,
            kind,
        };
        place.push(b"sidevault/1");
        place.push(&[tag]);
        place
    }

    /// Every part but the last of a place has a fixed length, so that no two places share bytes.
    fn push(&mut self, part: &[u8]) {
        let end = (self.len + part.len()).min(Self::MAX);
        let room = end - self.len;
        self.bytes[self.len..end].copy_from_slice(&part[..room]);
        self.len = end;
    }

    pub(crate) fn vault(vault: &str) -> Self {
        let mut place = Self::new("vault", 1);
        place.push(vault.as_bytes());
        place
    }

    pub(crate) fn key(vault: &str) -> Self {
        let mut place = Self::new("vault key", 2);
        place.push(vault.as_bytes());
        place
    }

    fn item(vault: VaultId, item: ItemId, version: u32, part: u8) -> Self {
        let mut place = Self::new("item", 3);
        place.push(vault.as_bytes());
        place.push(item.as_bytes());
        place.push(&version.to_be_bytes());
        place.push(&[part]);
        place
    }

    /// A summary belongs to all that lists and look-ups by title go by.
    pub(crate) fn summary(vault: VaultId, item: ItemId, version: u32, listed: &Listed) -> Self {
        let mut place = Self::item(vault, item, version, 1);
        place.push(&listed.title_hash);
        place.push(&listed.created_at.to_be_bytes());
        place.push(&[listed.state.map_or(0, |state| state as u8 + 1)]);
        place
    }

    pub(crate) fn detail(vault: VaultId, item: ItemId, version: u32, times: ItemTimes) -> Self {
        let mut place = Self::item(vault, item, version, 2);
        place.push(&times.created_at.as_millis().to_be_bytes());
        place.push(&times.updated_at.as_millis().to_be_bytes());
        place
    }

    /// A detail is sealed anew when it becomes history, so that an old version can't be made the present one.
    pub(crate) fn history(vault: VaultId, item: ItemId, version: u32, updated_at: Timestamp) -> Self {
        let mut place = Self::item(vault, item, version, 3);
        place.push(&updated_at.as_millis().to_be_bytes());
        place
    }

    pub(crate) fn chunk(vault: VaultId, content: FileId, n: i64) -> Self {
        let mut place = Self::new("file chunk", 4);
        place.push(vault.as_bytes());
        place.push(content.as_bytes());
        place.push(&n.to_be_bytes());
        place
    }

    pub(crate) fn activity(vault: &str, seq: i64) -> Self {
        let mut place = Self::new("activity", 5);
        place.push(&seq.to_be_bytes());
        place.push(vault.as_bytes());
        place
    }

    /// A token's row, revoked or not. `jti` may come from a client's token; a token's id is at most 64 bytes by then.
    pub(crate) fn token(jti: &str, revoked_at: Option<Timestamp>) -> Self {
        let mut place = Self::new("token", 6);
        place.push(&[u8::from(revoked_at.is_some())]);
        place.push(&revoked_at.map_or(0, Timestamp::as_millis).to_be_bytes());
        place.push(jti.as_bytes());
        place
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Display for Place {
    /// For error messages: the kind and the ids, which are plain in the database anyway.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What follows them are hashes and numbers.
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
    fn no_two_places_are_the_same() {
        let v = VaultId::from_digest(&[1; 32]);
        let i = ItemId::from_digest(&[2; 32]);
        let listed = Listed {
            title_hash: [3; 32],
            created_at: 4,
            state: None,
        };
        let archived = Listed {
            state: Some(State::Archived),
            ..listed
        };
        let (then, later) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
        let times = |created_at, updated_at| ItemTimes { created_at, updated_at };
        let places = [
            Place::vault(v.as_str()),
            Place::key(v.as_str()),
            Place::summary(v, i, 1, &listed),
            Place::summary(v, i, 1, &archived),
            Place::summary(
                v,
                i,
                1,
                &Listed {
                    state: Some(State::Deleted),
                    ..listed
                },
            ),
            Place::detail(v, i, 1, times(then, then)),
            Place::detail(v, i, 1, times(then, later)),
            Place::detail(v, i, 1, times(later, then)),
            Place::detail(v, i, 2, times(then, then)),
            Place::history(v, i, 2, then),
            Place::activity(v.as_str(), 1),
            Place::activity("", 1),
            Place::token("x", None),
            Place::token("x", Some(then)),
            Place::token("x", Some(later)),
        ];
        assert!(places.iter().all(|place| place.len < Place::MAX), "a place was cut");
        for (n, a) in places.iter().enumerate() {
            for b in &places[n + 1..] {
                assert_ne!(a.bytes(), b.bytes(), "{a} / {b}");
            }
        }
    }
}
