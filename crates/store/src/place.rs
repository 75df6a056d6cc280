//! Where a sealed row belongs. The place is the associated data of its seal, so that a row
//! copied to another vault, item, version or table no longer opens.

use std::fmt;

use sidevault_model::{FileId, ItemId, VaultId};

/// Which half of an item a seal holds.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Summary = 1,
    Detail = 2,
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

    /// The same for `items` and `item_versions`: a version keeps its seal when it becomes history.
    pub(crate) fn item(vault: VaultId, item: ItemId, version: u32, part: Part) -> Self {
        let mut place = Self::new("item", 3);
        place.push(vault.as_bytes());
        place.push(item.as_bytes());
        place.push(&version.to_be_bytes());
        place.push(&[part as u8]);
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

    /// `jti` may come from a client's token; a token's id is at most 64 bytes by then.
    pub(crate) fn token(jti: &str) -> Self {
        let mut place = Self::new("token", 6);
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
        let ids: String = self.bytes()[12..]
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
        let places = [
            Place::vault(v.as_str()),
            Place::key(v.as_str()),
            Place::item(v, i, 1, Part::Summary),
            Place::item(v, i, 1, Part::Detail),
            Place::item(v, i, 2, Part::Detail),
            Place::activity(v.as_str(), 1),
            Place::activity("", 1),
            Place::token("x"),
        ];
        for (n, a) in places.iter().enumerate() {
            for b in &places[n + 1..] {
                assert_ne!(a.bytes(), b.bytes(), "{a} / {b}");
            }
        }
    }
}
