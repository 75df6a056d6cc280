//! Ids of vaults, items and files, and new ids of fields and sections.
//!
//! Connect's ids have 26 characters of `0-9a-z`. Sidevault makes only ids in lower-case base32 (`a-z2-7`, RFC 4648): such an id
//! can't contain "404", "409" or "500", which Terraform searches error texts for.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use rand::Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const LEN: usize = 26;

/// The text does not have the form of an id. The error does not quote the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 26 characters, each a-z or 0-9")]
pub struct InvalidId;

/// A new id for a field or section: 130 random bits as 26 characters of base32.
pub fn fresh() -> String {
    fresh_from(&mut rand::rng())
}

/// Like [`fresh`], with the caller's random number generator.
pub fn fresh_from<R: Rng + ?Sized>(rng: &mut R) -> String {
    let mut bits = [0u8; 32];
    rng.fill_bytes(&mut bits);
    from_bits(&bits)
}

/// The first 130 bits of a digest, or of random bytes, as the text of an id.
pub fn from_bits(bits: &[u8; 32]) -> String {
    base32(bits).iter().copied().map(char::from).collect()
}

/// The first 130 bits as 26 characters.
fn base32(bits: &[u8; 32]) -> [u8; LEN] {
    // 17 bytes are 136 bits, which are 28 characters. The first 26 characters hold exactly 130 bits.
    let mut text = [0u8; 28];
    BASE32_NOPAD.encode_mut(&bits[..17], &mut text);
    let mut id = [0u8; LEN];
    id.copy_from_slice(&text[..LEN]);
    id.make_ascii_lowercase();
    id
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; LEN]);

        impl $name {
            /// Reads the 26-character form.
            ///
            /// # Errors
            /// [`InvalidId`] for any other length or character. Upper case is refused, too.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let bytes: [u8; LEN] = text.as_bytes().try_into().map_err(|_| InvalidId)?;
                Self::from_bytes(bytes)
            }

            /// Like [`parse`](Self::parse), from the bytes of the text.
            ///
            /// # Errors
            /// [`InvalidId`] when a byte is not one of `a-z0-9`.
            pub fn from_bytes(bytes: [u8; LEN]) -> Result<Self, InvalidId> {
                if bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
                    Ok(Self(bytes))
                } else {
                    Err(InvalidId)
                }
            }

            /// The first 130 bits of a digest as an id. Equal digests give equal ids.
            pub fn from_digest(digest: &[u8; 32]) -> Self {
                Self(base32(digest))
            }

            /// A new id of 130 random bits.
            pub fn random() -> Self {
                Self::random_from(&mut rand::rng())
            }

            /// Like [`random`](Self::random), with the caller's random number generator.
            pub fn random_from<R: Rng + ?Sized>(rng: &mut R) -> Self {
                let mut bits = [0u8; 32];
                rng.fill_bytes(&mut bits);
                Self(base32(&bits))
            }

            /// The 26 characters.
            pub fn as_str(&self) -> &str {
                // The bytes are ASCII by construction, so this cannot fail.
                std::str::from_utf8(&self.0).unwrap_or_default()
            }

            /// The bytes of the text.
            pub fn as_bytes(&self) -> &[u8; LEN] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type!(
    /// The id of a vault.
    VaultId
);
id_type!(
    /// The id of an item, unique in the whole store.
    ItemId
);
id_type!(
    /// The id of a file attached to an item.
    FileId
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_26_lower_case_letters_and_digits_are_an_id() {
        assert!(ItemId::parse("abcdefghijklmnopqrstuvwxyz").is_ok());
        assert!(ItemId::parse("01234567890123456789012345").is_ok());
        for bad in [
            "",
            "abc",
            "Abcdefghijklmnopqrstuvwxyz",
            "abcdefghijklmnopqrstuvwxy-",
            "abcdefghijklmnopqrstuvwxyz2",
        ] {
            assert_eq!(ItemId::parse(bad), Err(InvalidId), "{bad}");
        }
        // 26 bytes, but not 26 of the allowed ones.
        assert!(VaultId::parse("ööööööööööööö").is_err());
    }

    #[test]
    fn a_digest_gives_the_first_130_bits_as_base32() {
        assert_eq!(FileId::from_digest(&[0; 32]).as_str(), "aaaaaaaaaaaaaaaaaaaaaaaaaa");
        assert_eq!(FileId::from_digest(&[0xff; 32]).as_str(), "77777777777777777777777777");
        let mut digest = [0; 32];
        digest[0] = 0b0000_1000;
        digest[16] = 0b0100_0000;
        assert_eq!(FileId::from_digest(&digest).as_str(), "baaaaaaaaaaaaaaaaaaaaaaaab");
    }

    // Check 92: an id of 26 base32 characters.
    #[test]
    fn random_ids_differ_and_parse() {
        let (a, b) = (ItemId::random(), ItemId::random());
        assert_ne!(a, b);
        assert_eq!(ItemId::parse(a.as_str()), Ok(a));
        assert!(a.as_str().bytes().all(|c| matches!(c, b'a'..=b'z' | b'2'..=b'7')));
        assert_eq!(fresh().len(), 26);
    }

    proptest! {
        #[test]
        fn parse_and_display_are_inverse(text in "[0-9a-z]{26}") {
            let id = VaultId::parse(&text).unwrap();
            prop_assert_eq!(id.to_string(), text.clone());
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<VaultId>(&json).unwrap(), id);
        }

        #[test]
        fn parse_never_panics(text in ".*") {
            let _ = ItemId::parse(&text);
        }

        #[test]
        fn every_digest_gives_an_id(digest: [u8; 32]) {
            let id = ItemId::from_digest(&digest);
            prop_assert_eq!(ItemId::parse(id.as_str()), Ok(id));
        }
    }
}
