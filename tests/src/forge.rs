//! Forged tokens: not issued, or with claims that `sidevault token create` would refuse.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

/// The issuer's private key from its file, to sign tokens that `sidevault token create` would refuse to make.
pub struct Forge {
    key: SigningKey,
    kid: String,
}

impl Forge {
    /// Reads `issuer.json`.
    ///
    /// # Panics
    /// If the file is not what `sidevault init` writes.
    pub fn new(issuer: &[u8]) -> Self {
        let file: Value = serde_json::from_slice(issuer).expect("issuer.json is JSON");
        let d = BASE64.decode(file["d"].as_str().expect("d")).expect("d is base64url");
        Self {
            key: SigningKey::from_slice(&d).expect("d is a P-256 key"),
            kid: file["kid"].as_str().expect("kid").to_owned(),
        }
    }

    /// The header of a good token.
    pub fn header(&self) -> Value {
        json!({ "alg": "ES256", "kid": self.kid, "typ": "JWT" })
    }

    /// The claims of a good token that may read and write this vault.
    pub fn claims(&self, vault: &str) -> Value {
        json!({
            "iss": "sidevault",
            "aud": ["com.1password.connect"],
            "sub": self.kid,
            "iat": now() - 10,
            "jti": "forgedforgedforgedforged22",
            "name": "forged",
            "1password.com/fts": ["vaultaccess"],
            "1password.com/vts": [{ "u": vault, "a": 48 }],
        })
    }

    /// Signs as the issuer does, whatever the header says.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = unsigned(header, claims);
        let signature: Signature = self.key.sign(text.as_bytes());
        format!("{text}.{}", BASE64.encode(signature.to_bytes()))
    }

    /// The encodings of the public key that a careless verifier might use as an HMAC key.
    pub fn public_forms(&self) -> Vec<Vec<u8>> {
        let public = self.key.verifying_key();
        let point = public.to_sec1_point(false).as_bytes().to_vec();
        let compressed = public.to_sec1_point(true).as_bytes().to_vec();
        let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..65]));
        let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
        vec![
            point,
            compressed,
            jwk.into_bytes(),
            self.kid.clone().into_bytes(),
            Vec::new(),
        ]
    }
}

/// `header.claims`, both encoded.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        BASE64.encode(header.to_string()),
        BASE64.encode(claims.to_string())
    )
}

/// Signs with HMAC-SHA-256.
///
/// # Panics
/// Never: HMAC takes keys of any length.
pub fn hs256(header: &Value, claims: &Value, key: &[u8]) -> String {
    let text = unsigned(header, claims);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(text.as_bytes());
    format!("{text}.{}", BASE64.encode(mac.finalize().into_bytes()))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
