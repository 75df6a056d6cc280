//! Finds rows by a value that is stored only encrypted.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::secret::Secret;

/// Computes a 256-bit fingerprint of a value, for example a title, with HMAC-SHA-256. A row is stored with the fingerprint, so that
/// it can be found by the value although the value is stored encrypted. Without the key nobody can compute or test a fingerprint.
pub struct IndexKey {
    secret: Secret,
    /// An HMAC that has absorbed the key: to clone it is cheaper than to set the key for every look-up.
    keyed: Hmac<Sha256>,
}

impl IndexKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self::from_secret(Secret::random())
    }

    /// The key made of these bytes, which must be uniformly random.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self::from_secret(Secret::from_bytes(bytes))
    }

    pub(crate) fn from_secret(secret: Secret) -> Self {
        let keyed = hmac_sha256(secret.as_bytes());
        Self { secret, keyed }
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The fingerprint of `value`. Equal keys and values give equal fingerprints.
    pub fn hash(&self, value: &[u8]) -> [u8; 32] {
        self.keyed.clone().chain_update(value).finalize().into_bytes().into()
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexKey(..)")
    }
}

/// HMAC-SHA-256 (RFC 2104) with this key, of any length, ready to absorb a message.
pub(crate) fn hmac_sha256(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    /// RFC 4231, section 4, test cases 1, 2, 3, 6 and 7.
    #[test]
    fn rfc_4231_vectors() {
        let cases: [(&[u8], &[u8], &str); 5] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &[0xaa; 131],
                b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ];
        for (key, message, expected) in cases {
            let tag = hmac_sha256(key).chain_update(message).finalize().into_bytes();
            assert_eq!(HEXLOWER.encode(&tag), expected);
        }
    }

    #[test]
    fn fingerprints_depend_on_key_and_value() {
        let key = IndexKey::from_bytes(&[1; 32]);
        assert_eq!(key.hash(b"wiki"), IndexKey::from_bytes(&[1; 32]).hash(b"wiki"));
        assert_ne!(key.hash(b"wiki"), key.hash(b"Wiki"));
        assert_ne!(key.hash(b"wiki"), IndexKey::generate().hash(b"wiki"));
        assert_eq!(format!("{key:?}"), "IndexKey(..)");
    }
}
