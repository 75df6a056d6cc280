//! External Secrets' functions that convert JSON Web Keys (RFC 7517) to PEM.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::BoxedUint;
use rsa::pkcs8::EncodePublicKey as _;
use serde::Deserialize;

use super::keys::PrivateKey;
use super::{Context, Fault, Func, Ty, f, text};
use crate::go::pem;
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("jwkPublicKeyPem", &[Ty::Str], |ctx, args| {
        let jwk = Jwk::parse(ctx, args)?;
        // Go does not convert a private key to a public one.
        if jwk.d.is_some() {
            return Err("x509: unsupported public key type".into());
        }
        let der = jwk.public().ok_or("the JWK is not a public key of a known kind")?;
        ctx.text(pem::of("PUBLIC KEY", &der))
    }),
    f("jwkPrivateKeyPem", &[Ty::Str], |ctx, args| {
        let jwk = Jwk::parse(ctx, args)?;
        let key = jwk.private().ok_or("the JWK is not a private key of a known kind")?;
        let der = key.to_pkcs8().ok_or("unable to encode the private key")?;
        ctx.text(pem::of("PRIVATE KEY", &der))
    }),
];

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<String>,
    p: Option<String>,
    q: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The start of the SubjectPublicKeyInfo of an Ed25519 key, up to the key (RFC 8410).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

fn bytes(part: Option<&String>) -> Option<Vec<u8>> {
    let part = part?.trim_end_matches('=');
    URL_SAFE_NO_PAD.decode(part).ok().filter(|bytes| !bytes.is_empty())
}

fn number(part: Option<&String>) -> Option<BoxedUint> {
    let bytes = bytes(part)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[zeros..];
    // No key in use has more than 16384 bits.
    (bytes.len() <= 2048).then(|| BoxedUint::from_be_slice(bytes, (bytes.len() as u32).max(1) * 8).ok())?
}

/// Restores leading zeros of `bytes`, which the encoder may have removed.
fn padded(part: Option<&String>, length: usize) -> Option<Vec<u8>> {
    let bytes = bytes(part)?;
    let missing = length.checked_sub(bytes.len())?;
    Some([vec![0; missing], bytes].concat())
}

impl Jwk {
    fn parse(ctx: &mut Context, args: &[Val]) -> Result<Self, Fault> {
        ctx.slow(80_000)?;
        serde_json::from_slice(text(args, 0)).map_err(|_| Fault::from("failed to parse the JWK"))
    }

    fn field_length(&self) -> Option<usize> {
        match self.crv.as_deref()? {
            "P-256" => Some(32),
            "P-384" => Some(48),
            "P-521" => Some(66),
            _ => None,
        }
    }

    fn public(&self) -> Option<Vec<u8>> {
        let der = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let key = rsa::PublicKey::new(number(self.n.as_ref())?, number(self.e.as_ref())?).ok()?;
                key.to_public_key_der()
            }
            ("EC", Some(curve)) => {
                let length = self.field_length()?;
                let (x, y) = (padded(self.x.as_ref(), length)?, padded(self.y.as_ref(), length)?);
                let point = [vec![4], x, y].concat();
                match curve {
                    "P-256" => p256::PublicKey::from_sec1_bytes(&point).ok()?.to_public_key_der(),
                    "P-384" => p384::PublicKey::from_sec1_bytes(&point).ok()?.to_public_key_der(),
                    "P-521" => p521::PublicKey::from_sec1_bytes(&point).ok()?.to_public_key_der(),
                    _ => return None,
                }
            }
            ("OKP", Some("Ed25519")) => {
                let key = bytes(self.x.as_ref()).filter(|key| key.len() == 32)?;
                return Some([ED25519_SPKI.as_slice(), &key].concat());
            }
            _ => return None,
        };
        der.ok().map(|der| der.as_bytes().to_vec())
    }

    fn private(&self) -> Option<PrivateKey> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let primes = match (number(self.p.as_ref()), number(self.q.as_ref())) {
                    (Some(p), Some(q)) => vec![p, q],
                    _ => Vec::new(),
                };
                let (n, e, d) = (
                    number(self.n.as_ref())?,
                    number(self.e.as_ref())?,
                    number(self.d.as_ref())?,
                );
                let key = rsa::PrivateKey::from_components(n, e, d, primes).ok()?;
                Some(PrivateKey::Rsa(Box::new(key)))
            }
            ("EC", Some(curve)) => {
                let secret = padded(self.d.as_ref(), self.field_length()?)?;
                match curve {
                    "P-256" => p256::SecretKey::from_slice(&secret).ok().map(PrivateKey::P256),
                    "P-384" => p384::SecretKey::from_slice(&secret).ok().map(PrivateKey::P384),
                    "P-521" => p521::SecretKey::from_slice(&secret).ok().map(PrivateKey::P521),
                    _ => None,
                }
            }
            ("OKP", Some("Ed25519")) => bytes(self.d.as_ref())?.try_into().ok().map(PrivateKey::Ed25519),
            _ => None,
        }
    }
}
