//! A secret of 256 bits, as every long-lived secret in this crate is.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// 32 secret bytes, wiped from memory when they are dropped. In JSON they are base64url without padding.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    /// Random bytes of the thread's CSPRNG, which the operating system seeds.
    pub(crate) fn random() -> Self {
        let mut secret = Self::zero();
        rand::rng().fill_bytes(&mut secret.0);
        secret
    }

    /// Zeros, to be filled in place: then no copy of the secret is left on the stack.
    pub(crate) fn zero() -> Self {
        Self([0; 32])
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8; 32] {
        &mut self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64Url;

        impl Visitor<'_> for Base64Url {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("32 bytes as base64url")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
                let mut secret = Secret::zero();
                // `decode_slice` needs room for an upper bound of the length: 33 bytes for 43 characters.
                let mut room = Zeroizing::new([0_u8; 33]);
                match URL_SAFE_NO_PAD.decode_slice(text.trim_end_matches('='), room.as_mut_slice()) {
                    Ok(32) => secret.0.copy_from_slice(&room[..32]),
                    // The error does not quote the text: it may be a secret with a typing error.
                    _ => return Err(E::custom("not 32 bytes as base64url")),
                }
                Ok(secret)
            }
        }

        deserializer.deserialize_str(Base64Url).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_json_and_hides_from_debug() {
        let secret = Secret::random();
        let json = serde_json::to_string(&secret).unwrap();
        let back: Secret = serde_json::from_str(&json).unwrap();
        assert_eq!(back.as_bytes(), secret.as_bytes());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn a_wrong_length_is_refused_without_quoting_it() {
        for text in [
            "",
            "AAAA",
            "c2VjcmV0LXNlY3JldA",
            &"A".repeat(44),
            &"A".repeat(4000),
            "*",
        ] {
            let error = serde_json::from_str::<Secret>(&format!("\"{text}\""))
                .unwrap_err()
                .to_string();
            assert!(text.len() < 4 || !error.contains(text), "{error}");
        }
    }
}
