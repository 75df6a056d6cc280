//! Computes ids of vaults, items and files whose source has no ids, such as a directory of files.

use std::fmt;

use hmac::Mac as _;
use sidevault_model::{FileId, ItemId, VaultId};

use crate::index_key::hmac_sha256;
use crate::length_prefix;
use crate::secret::Secret;

/// Computes ids from names with HMAC-SHA-256: a store that is built again gives every vault, item and file the same id, and nobody
/// can guess a name from an id.
///
/// The credentials file and the issuer file hold the same id key, so an administrator can put a vault's id into a token without
/// a server.
#[derive(Clone)]
pub struct IdKey(Secret);

impl IdKey {
    pub(crate) fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// The id of the vault with this name. The name must be folded, because vault names compare without regard to case.
    pub fn vault(&self, name_folded: &str) -> VaultId {
        VaultId::from_digest(&self.digest("vault", &[name_folded]))
    }

    /// The id of the item at `path` in its source. In a directory source this is the path below the vault's directory.
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
    fn ids_are_stable_and_differ_by_every_part() {
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
