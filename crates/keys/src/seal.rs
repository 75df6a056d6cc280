//! Sealing: AES-256-GCM records that say which key opens them.
//!
//! ```text
//! format (1) | key id (8, big-endian) | nonce (12) | ciphertext (as long as the plaintext) | tag (16)
//! ```
//!
//! The tag also covers the format, the key id and the caller's associated data, so a record can be neither altered
//! nor moved to another place unnoticed.

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

/// Names a [`DataKey`]. Random; below 2^63 so that it fits a signed 64-bit database column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Why a sealed record did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than [`OVERHEAD`].
    #[error("sealed record is cut short")]
    Truncated,
    /// Written by a newer version of this software, or damaged in its first byte.
    #[error("sealed record has unknown format {0}")]
    UnknownFormat(u8),
    /// Sealed with another key.
    #[error("record was sealed with key {sealed_with}, not {tried}")]
    OtherKey {
        /// The key id the record carries.
        sealed_with: KeyId,
        /// The key that was asked to open it.
        tried: KeyId,
    },
    /// Damaged, forged, or moved: the associated data is not what it was sealed with.
    #[error("sealed record is damaged or belongs elsewhere")]
    Forged,
}

/// The id of the key that sealed this record; `None` if it is no record of a known format. Not authenticated:
/// use it to find the key, whose `open` then checks it.
pub fn sealed_key_id(sealed: &[u8]) -> Option<KeyId> {
    match sealed.split_first_chunk::<KEY_ID_END>() {
        Some(([FORMAT, id @ ..], rest)) if rest.len() >= OVERHEAD - KEY_ID_END => Some(KeyId(u64::from_be_bytes(*id))),
        _ => None,
    }
}

/// A key that seals records with AES-256-GCM.
///
/// Nonces are random, so one key must seal far fewer than 2^32 records (NIST SP 800-38D, section 8.3); whoever
/// stores the records counts them and rotates. The key schedule is expanded once, here, not per record.
pub struct DataKey {
    id: KeyId,
    secret: Secret,
    cipher: Box<Aes256Gcm>,
}

impl DataKey {
    /// A fresh random key with a fresh random id.
    pub fn generate() -> Self {
        Self::from_parts(KeyId(rand::rng().next_u64() >> 1), Secret::random())
    }

    pub(crate) fn from_parts(id: KeyId, secret: Secret) -> Self {
        let cipher = Box::new(Aes256Gcm::new(secret.as_bytes().into()));
        Self { id, secret, cipher }
    }

    /// The id every record sealed by this key carries.
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Seals `plaintext`. To open it again, the same `aad` (associated data: what the record is and where it
    /// belongs) is needed. The result is [`OVERHEAD`] bytes longer than the plaintext.
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

    /// Opens a record that this key sealed with the same `aad`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut plaintext = Vec::new();
        self.open_into(aad, sealed, &mut plaintext)?;
        Ok(plaintext)
    }

    /// Like [`open`](Self::open), but appends the plaintext to `output`: decrypted straight to where it is wanted.
    ///
    /// # Errors
    /// See [`OpenError`]; `output` is then as it was.
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

/// Calls `f` with `header` and `aad` as one slice. The header's length is fixed, so the two cannot be confused.
fn with_header<T>(header: &[u8], aad: &[u8], f: impl FnOnce(&[u8]) -> T) -> T {
    // On the stack for every associated data this project uses: a read must not pay for an allocation here.
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
    #![allow(clippy::unwrap_used)]
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
    fn a_record_opens_only_where_it_belongs() {
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
    fn a_record_relabelled_for_another_key_is_refused() {
        let key = DataKey::generate();
        let twin = DataKey::from_parts(KeyId(key.id().0 ^ 1), key.secret().clone());
        let mut sealed = key.seal(b"", b"hunter2");
        sealed[8] ^= 1;
        assert_eq!(twin.open(b"", &sealed), Err(OpenError::Forged));
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_noticed() {
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
    fn open_into_appends_and_leaves_the_output_alone_on_failure() {
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
