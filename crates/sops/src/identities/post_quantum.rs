//! age's post-quantum identities (`AGE-SECRET-KEY-PQ-1…`) and the stanza `mlkem768x25519`.
//!
//! A stanza has a file key that was encrypted with HPKE: the KEM is X-Wing ([`super::x_wing`]), the KDF HKDF-SHA256, and the
//! AEAD ChaCha20-Poly1305. <https://c2sp.org/age> defines its form.

use std::collections::HashSet;

use age::secrecy::ExposeSecret as _;
use age::{DecryptError, EncryptError};
use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::primitives;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bech32::Hrp;
use hpke::rand_core::OsRng;
use hpke::{Deserializable as _, HpkeError, Kem as _, Serializable as _};
use zeroize::{Zeroize as _, Zeroizing};

use super::x_wing::{EncappedKey, PrivateKey, PublicKey, XWing};

const STANZA: &str = "mlkem768x25519";
const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
const RECIPIENT_PREFIX: Hrp = Hrp::parse_unchecked("age1pq");
const IDENTITY_PREFIX: Hrp = Hrp::parse_unchecked("age-secret-key-pq-");
const TAG_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;

/// A private key, which is wiped on drop.
pub(super) struct PostQuantumIdentity(PrivateKey);

impl PostQuantumIdentity {
    /// Parses `AGE-SECRET-KEY-PQ-1…`; `None` if the text is not such a key.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let secret = primitives::bech32_decode(
            text,
            |_| (),
            |prefix| if prefix == IDENTITY_PREFIX { Ok(()) } else { Err(()) },
            |_, bytes| {
                let mut secret = Zeroizing::new(Vec::with_capacity(SECRET_BYTES));
                secret.extend(bytes.take(SECRET_BYTES + 1));
                Ok(secret)
            },
        );
        let private = PrivateKey::from_bytes(&secret.ok()?).ok()?;
        Some(Self(private))
    }

    /// The public half: `age1pq1…`.
    pub(super) fn recipient(&self) -> String {
        primitives::bech32_encode(RECIPIENT_PREFIX, &XWing::sk_to_pk(&self.0).to_bytes())
    }
}

impl age::Identity for PostQuantumIdentity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        if stanza.tag != STANZA {
            return None;
        }
        let Some(encapsulated) = encapsulated_key(stanza) else {
            return Some(Err(DecryptError::InvalidHeader));
        };
        let opened = primitives::hpke_open::<XWing>(&encapsulated, &self.0, INFO, &stanza.body);
        let mut plain = match opened {
            Ok(plain) => plain,
            // X-Wing gives a wrong secret for another key's stanza, so it is the AEAD that tells whose stanza this is.
            Err(HpkeError::OpenError) => return None,
            Err(_) => return Some(Err(DecryptError::InvalidHeader)),
        };
        let key = FileKey::init_with_mut(|key| key.copy_from_slice(&plain));
        plain.zeroize();
        Some(Ok(key))
    }
}

/// A public key: `age1pq1…`.
#[derive(Clone)]
pub(crate) struct PostQuantumRecipient(PublicKey);

impl PostQuantumRecipient {
    /// `None` if the text is not such a key.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let public = primitives::bech32_decode(
            text,
            |_| (),
            |prefix| if prefix == RECIPIENT_PREFIX { Ok(()) } else { Err(()) },
            |_, bytes| Ok(bytes.take(PublicKey::size() + 1).collect::<Vec<u8>>()),
        );
        PublicKey::from_bytes(&public.ok()?).ok().map(Self)
    }
}

impl age::Recipient for PostQuantumRecipient {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let (encapsulated, body) =
            primitives::hpke_seal::<XWing, _>(&self.0, INFO, file_key.expose_secret(), &mut OsRng);
        let stanza = Stanza {
            tag: STANZA.to_owned(),
            args: vec![STANDARD_NO_PAD.encode(encapsulated.to_bytes())],
            body,
        };
        // As age does it: such a stanza is not combined with one that a quantum computer could open.
        Ok((vec![stanza], HashSet::from(["postquantum".to_owned()])))
    }
}

/// The stanza's argument; `None` if the stanza does not have the form that age writes.
fn encapsulated_key(stanza: &Stanza) -> Option<EncappedKey> {
    let [argument] = &stanza.args[..] else {
        return None;
    };
    let bytes = STANDARD_NO_PAD.decode(argument).ok()?;
    if stanza.body.len() != FILE_KEY_BYTES + TAG_BYTES {
        return None;
    }
    EncappedKey::from_bytes(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::Identity as _;

    const KEY: &str = "AGE-SECRET-KEY-PQ-1";

    fn identity(seed: u8) -> PostQuantumIdentity {
        PostQuantumIdentity(PrivateKey::from_bytes(&[seed; 32]).unwrap())
    }

    fn text(seed: u8) -> String {
        primitives::bech32_encode(IDENTITY_PREFIX, &[seed; 32]).to_uppercase()
    }

    fn stanza(to: &PostQuantumIdentity) -> Stanza {
        let (encapsulated, body) =
            primitives::hpke_seal::<XWing, _>(&XWing::sk_to_pk(&to.0), INFO, &[7; FILE_KEY_BYTES], &mut OsRng);
        Stanza {
            tag: STANZA.to_owned(),
            args: vec![STANDARD_NO_PAD.encode(encapsulated.to_bytes())],
            body,
        }
    }

    #[test]
    fn a_key_is_parsed_and_names_its_public_half() {
        let parsed = PostQuantumIdentity::parse(&text(1)).unwrap();
        assert_eq!(parsed.recipient(), identity(1).recipient());
        assert!(parsed.recipient().starts_with("age1pq1") && parsed.recipient().len() > 1900);
        let mut wrong = text(1);
        wrong.pop();
        for text in [
            wrong,
            KEY.to_owned(),
            text(1).replace("PQ", "PX"),
            text(1).to_lowercase()[..40].to_owned(),
        ] {
            assert!(PostQuantumIdentity::parse(&text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_stanza_opens_for_its_own_key_only() {
        let stanza = stanza(&identity(1));
        let key = identity(1).unwrap_stanza(&stanza).unwrap().unwrap();
        assert_eq!(key.expose_secret(), &[7; FILE_KEY_BYTES]);
        assert!(identity(2).unwrap_stanza(&stanza).is_none());
    }

    #[test]
    fn a_malformed_stanza_is_an_error_and_a_changed_one_is_for_nobody() {
        let good = stanza(&identity(1));
        let mut other = stanza(&identity(1));
        other.tag = "X25519".to_owned();
        assert!(identity(1).unwrap_stanza(&other).is_none());
        let malformed: [fn(&mut Stanza); 5] = [
            |stanza| stanza.args.clear(),
            |stanza| stanza.args.push("x".to_owned()),
            |stanza| stanza.args[0].push_str("AAAA"),
            |stanza| stanza.args[0].push('='),
            |stanza| stanza.body.push(0),
        ];
        for change in malformed {
            let mut stanza = stanza(&identity(1));
            change(&mut stanza);
            assert!(matches!(
                identity(1).unwrap_stanza(&stanza),
                Some(Err(DecryptError::InvalidHeader))
            ));
        }
        let mut changed = stanza(&identity(1));
        changed.body[0] ^= 1;
        assert!(identity(1).unwrap_stanza(&changed).is_none());
        changed = stanza(&identity(1));
        changed.args.clone_from(&good.args);
        assert!(
            identity(1).unwrap_stanza(&changed).is_none(),
            "the encapsulated key of another stanza"
        );
    }
}
