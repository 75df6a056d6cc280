//! Private keys in the formats that Go reads and writes.

use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _};

/// A private key.
pub(super) enum PrivateKey {
    Rsa(Box<rsa::PrivateKey>),
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    P521(p521::SecretKey),
    /// The seed of the key.
    Ed25519([u8; 32]),
}

/// The start of an Ed25519 key in PKCS#8, up to its seed (RFC 8410).
const ED25519_PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

impl PrivateKey {
    /// Parses a key. As in External Secrets, tries PKCS#1, PKCS#8 and SEC 1, in this order.
    pub(super) fn any(der: &[u8]) -> Option<Self> {
        Self::pkcs1(der)
            .or_else(|| Self::pkcs8(der))
            .or_else(|| Self::sec1(der))
    }

    pub(super) fn pkcs1(der: &[u8]) -> Option<Self> {
        rsa::PrivateKey::from_pkcs1_der(der)
            .ok()
            .map(|key| Self::Rsa(Box::new(key)))
    }

    pub(super) fn pkcs8(der: &[u8]) -> Option<Self> {
        if let Some(seed) = der.strip_prefix(&ED25519_PKCS8) {
            return seed.try_into().ok().map(Self::Ed25519);
        }
        rsa::PrivateKey::from_pkcs8_der(der)
            .map(|key| Self::Rsa(Box::new(key)))
            .or_else(|_| p256::SecretKey::from_pkcs8_der(der).map(Self::P256))
            .or_else(|_| p384::SecretKey::from_pkcs8_der(der).map(Self::P384))
            .or_else(|_| p521::SecretKey::from_pkcs8_der(der).map(Self::P521))
            .ok()
            .or_else(|| {
                // Version 2 of the format, in which the public key follows.
                let at = der.windows(4).position(|window| window == [0x04, 0x22, 0x04, 0x20])?;
                let names = der.windows(5).any(|window| window == [0x06, 0x03, 0x2b, 0x65, 0x70]);
                let seed = der.get(at + 4..at + 36)?;
                names.then(|| seed.try_into().ok().map(Self::Ed25519))?
            })
    }

    pub(super) fn sec1(der: &[u8]) -> Option<Self> {
        p256::SecretKey::from_sec1_der(der)
            .map(Self::P256)
            .or_else(|_| p384::SecretKey::from_sec1_der(der).map(Self::P384))
            .or_else(|_| p521::SecretKey::from_sec1_der(der).map(Self::P521))
            .ok()
    }

    pub(super) fn to_pkcs8(&self) -> Option<Vec<u8>> {
        let document = match self {
            Self::Rsa(key) => key.to_pkcs8_der(),
            Self::P256(key) => key.to_pkcs8_der(),
            Self::P384(key) => key.to_pkcs8_der(),
            Self::P521(key) => key.to_pkcs8_der(),
            Self::Ed25519(seed) => return Some([ED25519_PKCS8.as_slice(), seed].concat()),
        };
        document.ok().map(|document| document.as_bytes().to_vec())
    }

    /// The key as PEM, in the formats that sprig writes: PKCS#1 for RSA, SEC 1 for ECDSA, PKCS#8 for Ed25519.
    pub(super) fn to_traditional_pem(&self) -> Option<Vec<u8>> {
        let (kind, der) = match self {
            Self::Rsa(key) => ("RSA PRIVATE KEY", key.to_pkcs1_der().ok()?.as_bytes().to_vec()),
            Self::P256(key) => ("EC PRIVATE KEY", key.to_sec1_der().ok()?.to_vec()),
            Self::P384(key) => ("EC PRIVATE KEY", key.to_sec1_der().ok()?.to_vec()),
            Self::P521(key) => ("EC PRIVATE KEY", key.to_sec1_der().ok()?.to_vec()),
            Self::Ed25519(_) => ("PRIVATE KEY", self.to_pkcs8()?),
        };
        Some(crate::go::pem::of(kind, &der))
    }

    /// Parses a key by the label of its PEM block, as sprig does. DSA keys are not supported.
    pub(super) fn from_pem(text: &[u8]) -> Result<Self, &'static str> {
        let block = crate::go::pem::decode(text).0.ok_or("no PEM data in input")?;
        match block.kind.as_slice() {
            b"PRIVATE KEY" => Self::pkcs8(&block.bytes).ok_or("decoding PEM as PKCS#8"),
            b"RSA PRIVATE KEY" => Self::pkcs1(&block.bytes).ok_or("parsing RSA private key from PEM"),
            b"EC PRIVATE KEY" => Self::sec1(&block.bytes).ok_or("parsing EC private key from PEM"),
            b"DSA PRIVATE KEY" => Err("DSA keys are not supported"),
            kind if kind.ends_with(b" PRIVATE KEY") => Err("invalid private key type"),
            _ => Err("no private key data in PEM block"),
        }
    }
}
