//! An issuer's public key, as the credentials file lists it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sidevault_model::ids;

/// A P-256 public key with the members of a JWK (RFC 7518, section 6.2.1), and its key id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VerificationKey {
    pub(crate) kid: String,
    pub(crate) x: String,
    pub(crate) y: String,
    /// Until when tokens of this issuer are accepted, in Unix milliseconds; `None`: for ever. A rotation sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<i64>,
}

impl VerificationKey {
    pub(crate) fn new(key: &p256::PublicKey) -> Self {
        // The uncompressed form: 0x04, then x and y with 32 bytes each (SEC 1, section 2.3.3).
        let point = key.to_sec1_point(false);
        let (x, y) = point.as_bytes()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        Self {
            kid: thumbprint(&x, &y),
            x,
            y,
            until: None,
        }
    }

    /// Whether this is a point of the curve, in canonical base64url, with the key id that belongs to it.
    pub(crate) fn is_sound(&self) -> bool {
        let coordinates = [&self.x, &self.y].map(|text| URL_SAFE_NO_PAD.decode(text).unwrap_or_default());
        let point = [&[4], coordinates[0].as_slice(), coordinates[1].as_slice()].concat();
        p256::PublicKey::from_sec1_bytes(&point).is_ok_and(|key| {
            let sound = Self {
                until: self.until,
                ..Self::new(&key)
            };
            sound == *self
        })
    }
}

/// The key id: the JWK thumbprint (RFC 7638) in base32, cut to the length of Connect's ids.
fn thumbprint(x: &str, y: &str) -> String {
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    ids::from_bits(&Sha256::digest(canonical).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sound_only_with_its_own_kid_and_on_the_curve() {
        // The public key of RFC 7515, appendix A.3.
        let (x, y) = (
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        );
        let key = VerificationKey {
            kid: thumbprint(x, y),
            x: x.into(),
            y: y.into(),
            until: None,
        };
        assert!(key.is_sound());
        assert_eq!(key.kid.len(), 26);
        assert!(
            !VerificationKey {
                kid: "a".repeat(26),
                ..key.clone()
            }
            .is_sound()
        );
        assert!(
            !VerificationKey {
                y: x.into(),
                kid: thumbprint(x, x),
                ..key.clone()
            }
            .is_sound()
        );
        assert!(!VerificationKey { x: "?".into(), ..key }.is_sound());
    }
}
