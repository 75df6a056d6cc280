//! Wraps data keys and index keys: the store holds them only encrypted with a key from the credentials file.

use std::fmt;

use zeroize::Zeroizing;

use crate::index_key::IndexKey;
use crate::length_prefix;
use crate::seal::{DataKey, KeyId, OVERHEAD, OpenError};
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

/// The most wrapped forms of one key: more than a rotation needs, so that a forged row can't cost much time.
const MAX_RECORDS: usize = 8;

/// What a wrapped key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrappedKind {
    /// A [`DataKey`]: its id and its 32 bytes.
    Data,
    /// An [`IndexKey`]: its 32 bytes.
    Index,
}

impl WrappedKind {
    fn record_len(self) -> usize {
        OVERHEAD
            + match self {
                Self::Data => 40,
                Self::Index => 32,
            }
    }

    fn associated(self, context: &[u8]) -> Vec<u8> {
        let kind: &[u8] = match self {
            Self::Data => b"data key",
            Self::Index => b"index key",
        };
        length_prefix::join(&[b"sidevault/1 wrapped", kind, context])
    }
}

/// Wraps and unwraps [`DataKey`]s and [`IndexKey`]s. It is derived from the root keys of the credentials file, newest first, and is in
/// memory only.
///
/// A wrapped key is one record for each root key, newest first. So while a root key is replaced, programs that have only one of both
/// root keys can unwrap, whichever it is.
///
/// `context` says what the wrapped key is for, for example the id of a vault. A key can be unwrapped only in the context in which
/// it was wrapped, and a data key can't be unwrapped as an index key.
pub struct KeyEncryptionKey(Vec<DataKey>);

impl KeyEncryptionKey {
    /// `secrets` are those of the root keys, newest first.
    pub(crate) fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self(
            secrets
                .into_iter()
                .map(|secret| DataKey::from_parts(KEK_ID, secret))
                .collect(),
        )
    }

    /// Wraps a data key together with its id.
    pub fn wrap(&self, key: &DataKey, context: &[u8]) -> Vec<u8> {
        let mut plaintext = Zeroizing::new([0; 40]);
        plaintext[..8].copy_from_slice(&key.id().0.to_be_bytes());
        plaintext[8..].copy_from_slice(key.secret().as_bytes());
        self.seal(WrappedKind::Data, context, plaintext.as_slice())
    }

    /// Unwraps the result of [`wrap`](Self::wrap) with the same context.
    ///
    /// # Errors
    /// See [`UnwrapError`].
    pub fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<DataKey, UnwrapError> {
        let plaintext = self.open(WrappedKind::Data, wrapped, context)?;
        let (id, secret) = plaintext.split_first_chunk::<8>().ok_or(UnwrapError::UnknownShape)?;
        let secret = secret.try_into().map_err(|_| UnwrapError::UnknownShape)?;
        Ok(DataKey::from_parts(
            KeyId(u64::from_be_bytes(*id)),
            Secret::from_bytes(secret),
        ))
    }

    /// Wraps an index key.
    pub fn wrap_index(&self, key: &IndexKey, context: &[u8]) -> Vec<u8> {
        self.seal(WrappedKind::Index, context, key.secret().as_bytes())
    }

    /// Unwraps the result of [`wrap_index`](Self::wrap_index) with the same context.
    ///
    /// # Errors
    /// See [`UnwrapError`].
    pub fn unwrap_index(&self, wrapped: &[u8], context: &[u8]) -> Result<IndexKey, UnwrapError> {
        let plaintext = self.open(WrappedKind::Index, wrapped, context)?;
        let secret = plaintext.as_slice().try_into().map_err(|_| UnwrapError::UnknownShape)?;
        Ok(IndexKey::from_secret(Secret::from_bytes(secret)))
    }

    /// For each record of a wrapped key, which root key it is wrapped under: its position in the credentials file, or `None` if the
    /// file does not have it.
    ///
    /// # Errors
    /// [`UnwrapError::Refused`] if the length is not that of whole records.
    pub fn roots_of(
        &self,
        kind: WrappedKind,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<Vec<Option<usize>>, UnwrapError> {
        let aad = kind.associated(context);
        let root_of = |record| self.0.iter().position(|key| key.open(&aad, record).is_ok());
        Ok(records(kind, wrapped)?.map(root_of).collect())
    }

    /// The wrapped key with one record for each root key of the credentials file. `None` if it is so already.
    ///
    /// If the file has one root key, records in front of its own stay: a program with a newer file, whose root key is being
    /// introduced, wrote them. All other records under root keys that the file does not have are left out.
    ///
    /// # Errors
    /// See [`UnwrapError`].
    pub fn rewrap(&self, kind: WrappedKind, wrapped: &[u8], context: &[u8]) -> Result<Option<Vec<u8>>, UnwrapError> {
        let plaintext = self.open(kind, wrapped, context)?;
        let roots = self.roots_of(kind, wrapped, context)?;
        let newer = match self.0.len() {
            1 => roots.iter().take_while(|root| root.is_none()).count(),
            _ => 0,
        };
        if roots[newer..].iter().copied().eq((0..self.0.len()).map(Some)) {
            return Ok(None);
        }
        let mut fresh = wrapped[..newer * kind.record_len()].to_vec();
        fresh.extend(self.seal(kind, context, &plaintext));
        Ok(Some(fresh))
    }

    fn seal(&self, kind: WrappedKind, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let aad = kind.associated(context);
        self.0.iter().flat_map(|key| key.seal(&aad, plaintext)).collect()
    }

    fn open(&self, kind: WrappedKind, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        let aad = kind.associated(context);
        let mut refusal = OpenError::Truncated;
        for record in records(kind, wrapped)? {
            for key in &self.0 {
                match key.open(&aad, record) {
                    Ok(plaintext) => return Ok(Zeroizing::new(plaintext)),
                    Err(error) => refusal = error,
                }
            }
        }
        Err(refusal.into())
    }
}

/// The records of a wrapped key.
fn records(kind: WrappedKind, wrapped: &[u8]) -> Result<std::slice::ChunksExact<'_, u8>, UnwrapError> {
    let records = wrapped.chunks_exact(kind.record_len());
    if !records.remainder().is_empty() || !(1..=MAX_RECORDS).contains(&records.len()) {
        return Err(OpenError::Truncated.into());
    }
    Ok(records)
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyEncryptionKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_roots<const N: usize>(roots: [u8; N]) -> KeyEncryptionKey {
        KeyEncryptionKey::new(roots.map(|n| Secret::from_bytes(&[n; 32])))
    }

    fn kek() -> KeyEncryptionKey {
        of_roots([9])
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
        assert!(kek().unwrap_index(&wrapped, b"vault a").is_err());
        assert_eq!(
            KeyEncryptionKey::new([Secret::random()])
                .unwrap(&wrapped, b"vault a")
                .err(),
            refused
        );
        assert_eq!(
            kek().unwrap(b"", b"vault a").err(),
            Some(UnwrapError::Refused(OpenError::Truncated))
        );
    }

    #[test]
    fn while_a_root_is_replaced_each_file_unwraps_what_any_writer_wrote() {
        let key = DataKey::generate();
        let opens = |kek: KeyEncryptionKey, wrapped: &[u8]| kek.unwrap(wrapped, b"v").is_ok_and(|k| k.id() == key.id());
        let before = of_roots([1]).wrap(&key, b"v");
        let both = of_roots([2, 1])
            .rewrap(WrappedKind::Data, &before, b"v")
            .unwrap()
            .unwrap();
        assert!(opens(of_roots([1]), &both) && opens(of_roots([2]), &both) && opens(of_roots([2, 1]), &both));
        // A writer that still has the old file leaves the new record, so that the rotation does not go back.
        assert_eq!(of_roots([1]).rewrap(WrappedKind::Data, &both, b"v").unwrap(), None);
        assert_eq!(of_roots([2, 1]).rewrap(WrappedKind::Data, &both, b"v").unwrap(), None);
        let after = of_roots([2]).rewrap(WrappedKind::Data, &both, b"v").unwrap().unwrap();
        assert!(opens(of_roots([2]), &after) && !opens(of_roots([1]), &after));
        assert_eq!(after.len(), before.len());
    }

    #[test]
    fn a_rotation_that_was_given_up_leaves_nothing_after_the_next_one() {
        let before = of_roots([1]).wrap_index(&IndexKey::generate(), b"v");
        let rewrap = |kek: KeyEncryptionKey, wrapped: &[u8]| {
            let fresh = kek.rewrap(WrappedKind::Index, wrapped, b"v").unwrap().unwrap();
            let roots = of_roots([1, 2, 3]).roots_of(WrappedKind::Index, &fresh, b"v").unwrap();
            (fresh, roots.into_iter().map(Option::unwrap).collect::<Vec<usize>>())
        };
        let (given_up, roots) = rewrap(of_roots([2, 1]), &before);
        assert_eq!(roots, [1, 0]);
        let (next, roots) = rewrap(of_roots([3, 1]), &given_up);
        assert_eq!(roots, [2, 0]);
        assert_eq!(rewrap(of_roots([3]), &next).1, [2]);
    }

    #[test]
    fn part_records_and_too_many_records_are_refused() {
        let wrapped = kek().wrap(&DataKey::generate(), b"v");
        let refused = Some(UnwrapError::Refused(OpenError::Truncated));
        assert_eq!(kek().unwrap(&wrapped[1..], b"v").err(), refused);
        assert!(kek().unwrap(&wrapped.repeat(MAX_RECORDS), b"v").is_ok());
        assert_eq!(kek().unwrap(&wrapped.repeat(MAX_RECORDS + 1), b"v").err(), refused);
    }
}
