//! Ids for things that come from a source without ids: a directory of files, say.

use std::fmt;

use hmac::Mac as _;
use sidevault_model::{FileId, ItemId, VaultId};

use crate::index_key::hmac_sha256;
use crate::length_prefix;
use crate::secret::Secret;

/// Derives stable ids from names with HMAC-SHA-256, so that a rebuilt store gives every vault, item and file the id
/// it had before, and nobody can guess a name from an id.
///
/// The credentials file and the issuer file hold the same id key: an administrator can put a vault's id into a
/// token without asking a server.
#[derive(Clone)]
pub struct IdKey(Secret);

impl IdKey {
    pub(crate) fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// The id of the vault with this name. Vault names match without regard to case, so fold the name first.
    pub fn vault(&self, name_folded: &str) -> VaultId {
        VaultId::from_digest(&self.digest("vault", &[name_folded]))
    }

    /// The id of the item at `path` within its source (for a directory source: the path below the vault's folder).
    pub fn item(&self, vault: VaultId, path: &str) -> ItemId {
        ItemId::from_digest(&self.digest("item", &[vault.as_str(), path]))
    }

    /// The id of the file called `name` in that item.
    pub fn file(&self, vault: VaultId, item: ItemId, name: &str) -> FileId {
        FileId::from_digest(&self.digest("file", &[vault.as_str(), item.as_str(), name]))
    }

    fn digest(&self, kind: &str, parts: &[&str]) -> [u8; 32] {
        let mut mac = hmac_sha256(self.0.as_bytes());
        length_prefix::feed(&[b"sidevault/1 id", kind.as_bytes()], |bytes| mac.update(bytes));
        for part in parts {
            length_prefix::feed(&[part.as_bytes()], |bytes| mac.update(bytes));
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_told_apart_by_every_part() {
        let key = IdKey::new(Secret::from_bytes(&[3; 32]));
        let (home, work) = (key.vault("home"), key.vault("work"));
        assert_eq!(home, key.vault("home"));
        assert_ne!(home, work);
        let item = key.item(home, "db/prod");
        assert_eq!(item, key.item(home, "db/prod"));
        assert_ne!(item, key.item(work, "db/prod"));
        assert_ne!(item.as_str(), key.vault("db/prod").as_str());
        assert_ne!(key.file(home, item, "a"), key.file(home, item, "b"));
        assert_ne!(IdKey::new(Secret::from_bytes(&[4; 32])).vault("home"), home);
    }
}
