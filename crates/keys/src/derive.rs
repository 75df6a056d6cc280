//! Derives independent secrets from one secret with HKDF-SHA-256 (RFC 5869). A label says which.

use hkdf::Hkdf;
use sha2::Sha256;

use crate::secret::Secret;

/// The purpose of a derived key. Keys of different labels are independent.
#[derive(Clone, Copy)]
pub(crate) enum Label {
    /// From the root key: the key that wraps data keys.
    KeyEncryptionKey,
    /// From the root key: the pre-shared key of the bus.
    Bus,
    /// From the root key: what people compare, in place of the key.
    RootFingerprint,
    /// From the seed: the root key.
    SeedRoot,
    /// From the seed: the id key.
    SeedIdKey,
    /// From the seed: the device id.
    SeedDevice,
    /// From the seed: candidate number `n` for the issuer's private key.
    SeedIssuer(u8),
}

impl Label {
    fn info(self) -> Vec<u8> {
        let (text, number): (&[u8], _) = match self {
            Self::KeyEncryptionKey => (b"sidevault/1 key encryption key", None),
            Self::Bus => (b"sidevault/1 bus key", None),
            Self::RootFingerprint => (b"sidevault/1 root fingerprint", None),
            Self::SeedRoot => (b"sidevault/1 seed: root key", None),
            Self::SeedIdKey => (b"sidevault/1 seed: id key", None),
            Self::SeedDevice => (b"sidevault/1 seed: device id", None),
            Self::SeedIssuer(n) => (b"sidevault/1 seed: issuer key ", Some(n)),
        };
        text.iter().copied().chain(number).collect()
    }
}

/// Derives 32 bytes from `input`. The input is uniformly random, so no salt is needed (RFC 5869, section 3.1).
pub(crate) fn derive(input: &Secret, label: Label) -> Secret {
    let mut output = Secret::zero();
    expand(None, input.as_bytes(), &label.info(), output.as_mut_bytes());
    output
}

fn expand(salt: Option<&[u8]>, input: &[u8], info: &[u8], output: &mut [u8]) {
    let fits = Hkdf::<Sha256>::new(salt, input).expand(info, output);
    assert!(
        fits.is_ok(),
        "HKDF-SHA-256 gives up to 8160 bytes and nothing here asks for more than 82"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    /// RFC 5869, appendix A, test cases 1, 2 and 3.
    #[test]
    fn rfc_5869_vectors() {
        let long = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
        let cases = [
            (
                Some(long(0x00, 0x0c)),
                vec![0x0b; 22],
                long(0xf0, 0xf9),
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
            ),
            (
                Some(long(0x60, 0xaf)),
                long(0x00, 0x4f),
                long(0xb0, 0xff),
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
            ),
            (
                None,
                vec![0x0b; 22],
                vec![],
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
            ),
        ];
        for (salt, input, info, expected) in cases {
            let expected = HEXLOWER.decode(expected.as_bytes()).unwrap();
            let mut output = vec![0; expected.len()];
            expand(salt.as_deref(), &input, &info, &mut output);
            assert_eq!(output, expected);
        }
    }

    #[test]
    fn labels_give_different_keys() {
        let root = Secret::from_bytes(&[7; 32]);
        let labels = [
            Label::KeyEncryptionKey,
            Label::Bus,
            Label::RootFingerprint,
            Label::SeedRoot,
            Label::SeedIdKey,
            Label::SeedDevice,
            Label::SeedIssuer(0),
            Label::SeedIssuer(1),
        ];
        let keys: std::collections::BTreeSet<[u8; 32]> = labels
            .into_iter()
            .map(|label| *derive(&root, label).as_bytes())
            .collect();
        assert_eq!(keys.len(), labels.len());
    }
}
