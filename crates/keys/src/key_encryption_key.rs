//! Wraps data keys and index keys: the store holds them only encrypted with a key from the credentials file.

use std::fmt;

use zeroize::Zeroizing;

use crate::index_key::IndexKey;
use crate::length_prefix;
use crate::seal::{DataKey, KeyId, OpenError};
use crate::secret::Secret;

/// The id of the wrapping key in its records. It can't be mistaken for a data key's id, because wrapped keys and sealed rows are
/// in different tables.
const KEK_ID: KeyId = KeyId(0);

/// Why a wrapped key could not be unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// The key was wrapped with other credentials, damaged, or moved here from another context.
    #[error("a wrapped key can't be decrypted with these credentials ({0})")]
    Refused(#[from] OpenError),
    /// The decrypted bytes are no key. A newer version may have written them.
    #[error("a wrapped key has an unknown format (written by a newer version?)")]
    UnknownShape,
}

/// Wraps and unwraps [`DataKey`]s and [`IndexKey`]s. It is derived from the root key, and is in memory only.
///
/// `context` says what the wrapped key is for, for example the id of a vault. A key can be unwrapped only in the context in which
/// it was wrapped, and a data key can't be unwrapped as an index key.
pub struct KeyEncryptionKey(DataKey);

impl KeyEncryptionKey {
    pub(crate) fn new(secret: Secret) -> Self {
        Self(DataKey::from_parts(KEK_ID, secret))
    }

    /// Wraps a data key together with its id.
    pub fn wrap(&self, key: &DataKey, context: &[u8]) -> Vec<u8> {
        let mut plaintext = Zeroizing::new([0; 40]);
        plaintext[..8].copy_from_slice(&key.id().0.to_be_bytes());
        plaintext[8..].copy_from_slice(key.secret().as_bytes());
        self.0.seal(&associated("data key", context), plaintext.as_slice())
    }

    /// Unwraps the result of [`wrap`](Self::wrap) with the same context.
    ///
    /// # Errors
    /// See [`UnwrapError`].
    pub fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<DataKey, UnwrapError> {
        let plaintext = Zeroizing::new(self.0.open(&associated("data key", context), wrapped)?);
        let (id, secret) = plaintext.split_first_chunk::<8>().ok_or(UnwrapError::UnknownShape)?;
        let secret = secret.try_into().map_err(|_| UnwrapError::UnknownShape)?;
        Ok(DataKey::from_parts(
            KeyId(u64::from_be_bytes(*id)),
            Secret::from_bytes(secret),
        ))
    }

    /// Wraps an index key.
    pub fn wrap_index(&self, key: &IndexKey, context: &[u8]) -> Vec<u8> {
        self.0.seal(&associated("index key", context), key.secret().as_bytes())
    }

    /// Unwraps the result of [`wrap_index`](Self::wrap_index) with the same context.
    ///
    /// # Errors
    /// See [`UnwrapError`].
    pub fn unwrap_index(&self, wrapped: &[u8], context: &[u8]) -> Result<IndexKey, UnwrapError> {
        let plaintext = Zeroizing::new(self.0.open(&associated("index key", context), wrapped)?);
        let secret = plaintext.as_slice().try_into().map_err(|_| UnwrapError::UnknownShape)?;
        Ok(IndexKey::from_secret(Secret::from_bytes(secret)))
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEncryptionKey(..)")
    }
}

fn associated(kind: &str, context: &[u8]) -> Vec<u8> {
    length_prefix::join(&[b"sidevault/1 wrapped", kind.as_bytes(), context])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kek() -> KeyEncryptionKey {
        KeyEncryptionKey::new(Secret::from_bytes(&[9; 32]))
    }

    #[test]
    fn an_unwrapped_key_is_the_original() {
        let key = DataKey::generate();
        let sealed = key.seal(b"row", b"hunter2");
        let back = kek().unwrap(&kek().wrap(&key, b"vault a"), b"vault a").unwrap();
        assert_eq!(back.id(), key.id());
        assert_eq!(back.open(b"row", &sealed).unwrap(), b"hunter2");

        let index = IndexKey::generate();
        let back = kek()
            .unwrap_index(&kek().wrap_index(&index, b"vault a"), b"vault a")
            .unwrap();
        assert_eq!(back.hash(b"title"), index.hash(b"title"));
    }

    #[test]
    fn wrong_credentials_context_and_kind_are_refused() {
        let wrapped = kek().wrap(&DataKey::generate(), b"vault a");
        let refused = Some(UnwrapError::Refused(OpenError::Forged));
        assert_eq!(kek().unwrap(&wrapped, b"vault b").err(), refused);
        assert_eq!(kek().unwrap_index(&wrapped, b"vault a").err(), refused);
        assert_eq!(
            KeyEncryptionKey::new(Secret::random())
                .unwrap(&wrapped, b"vault a")
                .err(),
            refused
        );
        assert_eq!(
            kek().unwrap(b"", b"vault a").err(),
            Some(UnwrapError::Refused(OpenError::Truncated))
        );
    }
}
