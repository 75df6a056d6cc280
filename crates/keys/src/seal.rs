//! Sealing: records that are encrypted with AES-256-GCM and name their key.
//!
//! ```text
//! format (1) | key id (8, big-endian) | nonce (12) | ciphertext (as long as the plaintext) | tag (16)
//! ```
//!
//! The tag covers also the format, the key id and the caller's associated data. So a record that was altered, or moved to where the
//! associated data differs, can't be decrypted.

use std::fmt;

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _, Nonce, Tag};
use rand::Rng as _;

use crate::secret::Secret;

/// The only record format so far: AES-256-GCM with a random 96-bit nonce.
const FORMAT: u8 = 1;
const KEY_ID_END: usize = 9;
const NONCE_LEN: usize = 12;
const BODY: usize = KEY_ID_END + NONCE_LEN;
const TAG_LEN: usize = 16;

/// How many bytes a sealed record is longer than its plaintext.
pub const OVERHEAD: usize = BODY + TAG_LEN;

/// The random id of a [`DataKey`], below 2^63, so that it fits a signed 64-bit database column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Why a sealed record could not be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The record is shorter than [`OVERHEAD`].
    #[error("the sealed record is cut short")]
    Truncated,
    /// A newer version of Sidevault wrote the record, or its first byte is damaged.
    #[error("the sealed record has the unknown format {0} (written by a newer version?)")]
    UnknownFormat(u8),
    /// The record was sealed with another key.
    #[error("the record was sealed with key {sealed_with}, not {tried}")]
    OtherKey {
        /// The key id in the record.
        sealed_with: KeyId,
        /// The id of the key that was tried.
        tried: KeyId,
    },
    /// The record was damaged or forged, or was sealed with other associated data, because it belongs elsewhere.
    #[error("the sealed record is damaged, or was moved here from elsewhere")]
    Forged,
}

/// The id of the key that sealed this record, to find the key by. `None` if this is no record of a known format. The id is not
/// authenticated; [`DataKey::open`] checks it.
pub fn sealed_key_id(sealed: &[u8]) -> Option<KeyId> {
    match sealed.split_first_chunk::<KEY_ID_END>() {
        Some(([FORMAT, id @ ..], rest)) if rest.len() >= OVERHEAD - KEY_ID_END => Some(KeyId(u64::from_be_bytes(*id))),
        _ => None,
    }
}

/// A key that seals records with AES-256-GCM.
///
/// Nonces are random, so one key must seal far fewer than 2^32 records (NIST SP 800-38D, section 8.3): the caller has to count
/// them and replace the key. The key schedule is expanded once for all records.
pub struct DataKey {
    id: KeyId,
    secret: Secret,
    cipher: Box<Aes256Gcm>,
}

impl DataKey {
    /// A new random key with a new random id.
    pub fn generate() -> Self {
        Self::from_parts(KeyId(rand::rng().next_u64() >> 1), Secret::random())
    }

    pub(crate) fn from_parts(id: KeyId, secret: Secret) -> Self {
        let cipher = Box::new(Aes256Gcm::new(secret.as_bytes().into()));
        Self { id, secret, cipher }
    }

    /// The id in every record that this key seals.
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Encrypts `plaintext`. Only with the same `aad` (associated data, which says what the record is and where it belongs) can
    /// it be decrypted. The result is [`OVERHEAD`] bytes longer than the plaintext.
    ///
    /// # Panics
    /// If `plaintext` is longer than AES-GCM allows: 64 GiB.
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = vec![0; plaintext.len() + OVERHEAD];
        let (header, rest) = sealed.split_at_mut(KEY_ID_END);
        let (nonce, rest) = rest.split_at_mut(NONCE_LEN);
        let (ciphertext, tag) = rest.split_at_mut(plaintext.len());
        header[0] = FORMAT;
        header[1..].copy_from_slice(&self.id.0.to_be_bytes());
        let fresh: [u8; NONCE_LEN] = rand::random();
        nonce.copy_from_slice(&fresh);
        let computed = with_header(header, aad, |aad| {
            let buffer = InOutBuf::new(plaintext, ciphertext).map_err(|_| aes_gcm::Error)?;
            self.cipher.encrypt_inout_detached(&Nonce::from(fresh), aad, buffer)
        });
        match computed {
            Ok(computed) => tag.copy_from_slice(&computed),
            Err(aes_gcm::Error) => panic!("a plaintext of more than 64 GiB cannot be sealed"),
        }
        sealed
    }

    /// Decrypts a record that this key sealed with the same `aad`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut plaintext = Vec::new();
        self.open_into(aad, sealed, &mut plaintext)?;
        Ok(plaintext)
    }

    /// Like [`open`](Self::open), but appends the plaintext to `output`, without another copy.
    ///
    /// # Errors
    /// See [`OpenError`]. `output` is not changed then.
    pub fn open_into(&self, aad: &[u8], sealed: &[u8], output: &mut Vec<u8>) -> Result<(), OpenError> {
        let (header, rest) = sealed.split_first_chunk::<KEY_ID_END>().ok_or(OpenError::Truncated)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(OpenError::Truncated)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(OpenError::Truncated)?;
        let [format, id @ ..] = header;
        if *format != FORMAT {
            return Err(OpenError::UnknownFormat(*format));
        }
        let sealed_with = KeyId(u64::from_be_bytes(*id));
        if sealed_with != self.id {
            return Err(OpenError::OtherKey {
                sealed_with,
                tried: self.id,
            });
        }
        let start = output.len();
        output.resize(start + ciphertext.len(), 0);
        let opened = with_header(header, aad, |aad| {
            let buffer = InOutBuf::new(ciphertext, &mut output[start..]).map_err(|_| aes_gcm::Error)?;
            self.cipher
                .decrypt_inout_detached(&Nonce::from(*nonce), aad, buffer, &Tag::from(*tag))
        });
        opened.map_err(|aes_gcm::Error| {
            output.truncate(start);
            OpenError::Forged
        })
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Calls `f` with `header` and `aad` in one slice. The header's length is fixed, so no two pairs give the same slice.
fn with_header<T>(header: &[u8], aad: &[u8], f: impl FnOnce(&[u8]) -> T) -> T {
    // All associated data of this project fits this buffer on the stack, so a read allocates nothing here.
    let mut near = [0; 256];
    let length = header.len() + aad.len();
    match near.get_mut(..length) {
        Some(joined) => {
            joined[..header.len()].copy_from_slice(header);
            joined[header.len()..].copy_from_slice(aad);
            f(joined)
        }
        None => f(&[header, aad].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    /// The 256-bit vectors of the GCM specification's appendix B (McGrew and Viega): test cases 13, 14, 15 and 16,
    /// which NIST's own list repeats.
    #[test]
    fn gcm_specification_vectors() {
        let key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
        let text = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
        let sealed = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
        let aad = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
        let (zero_key, zero_nonce, nonce) = ("00".repeat(32), "00".repeat(12), "cafebabefacedbaddecaf888");
        let cases = [
            (
                zero_key.as_str(),
                zero_nonce.as_str(),
                "",
                "",
                "",
                "530f8afbc74536b9a963b4f1c4cb738b",
            ),
            (
                &zero_key,
                &zero_nonce,
                &"00".repeat(16),
                "",
                "cea7403d4d606b6e074ec5d3baf39d18",
                "d0d1c8a799996bf0265b98b5d48ab919",
            ),
            (key, nonce, text, "", sealed, "b094dac5d93471bdec1a502270e3cc6c"),
            (
                key,
                nonce,
                &text[..120],
                aad,
                &sealed[..120],
                "76fc6ece0f4e1768cddf8853bb2d551b",
            ),
        ];
        let hex = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap();
        for (key, nonce, text, aad, sealed, tag) in cases {
            let key: [u8; 32] = hex(key).try_into().unwrap();
            let nonce: [u8; 12] = hex(nonce).try_into().unwrap();
            let data_key = DataKey::from_parts(KeyId(1), Secret::from_bytes(&key));
            let mut buffer = hex(text);
            let computed = data_key
                .cipher
                .encrypt_inout_detached(&Nonce::from(nonce), &hex(aad), buffer.as_mut_slice().into())
                .unwrap();
            assert_eq!((buffer, computed.to_vec()), (hex(sealed), hex(tag)));
        }
    }

    #[test]
    fn a_record_opens_with_its_key_and_associated_data_only() {
        let key = DataKey::generate();
        let sealed = key.seal(b"item 1", b"hunter2");
        assert_eq!(sealed.len(), 7 + OVERHEAD);
        assert_eq!(sealed_key_id(&sealed), Some(key.id()));
        assert_eq!(key.open(b"item 1", &sealed).unwrap(), b"hunter2");
        assert_eq!(key.open(b"item 2", &sealed), Err(OpenError::Forged));
        let other = DataKey::generate();
        assert_eq!(
            other.open(b"item 1", &sealed),
            Err(OpenError::OtherKey {
                sealed_with: key.id(),
                tried: other.id()
            })
        );
    }

    #[test]
    fn a_changed_key_id_is_noticed() {
        let key = DataKey::generate();
        let twin = DataKey::from_parts(KeyId(key.id().0 ^ 1), key.secret().clone());
        let mut sealed = key.seal(b"", b"hunter2");
        sealed[8] ^= 1;
        assert_eq!(twin.open(b"", &sealed), Err(OpenError::Forged));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let key = DataKey::generate();
        let sealed = key.seal(b"aad", b"hunter2");
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 0x40;
            assert!(key.open(b"aad", &damaged).is_err(), "byte {at}");
            assert!(key.open(b"aad", &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(sealed_key_id(&sealed[..OVERHEAD - 1]), None);
    }

    #[test]
    fn open_into_appends_and_changes_nothing_on_failure() {
        let key = DataKey::generate();
        let sealed = key.seal(b"", b"world");
        let mut output = b"hello ".to_vec();
        assert_eq!(key.open_into(b"other", &sealed, &mut output), Err(OpenError::Forged));
        assert_eq!(output, b"hello ");
        key.open_into(b"", &sealed, &mut output).unwrap();
        assert_eq!(output, b"hello world");
    }

    #[test]
    fn debug_shows_the_id_only() {
        let key = DataKey::from_parts(KeyId(42), Secret::from_bytes(&[0xAB; 32]));
        assert_eq!(format!("{key:?}"), "DataKey { id: KeyId(42), .. }");
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(aad in prop::collection::vec(any::<u8>(), 0..600), text: Vec<u8>) {
            let key = DataKey::generate();
            let sealed = key.seal(&aad, &text);
            prop_assert_eq!(key.open(&aad, &sealed).unwrap(), text);
        }

        #[test]
        fn garbage_never_opens_or_panics(sealed: Vec<u8>) {
            prop_assert!(DataKey::generate().open(b"", &sealed).is_err());
        }
    }
}
