//! Locks the credentials file with a passphrase: Argon2id derives a key from it, with which AES-256-GCM encrypts the secrets.

use std::fmt;

use aes_gcm::aead::Aead as _;
use aes_gcm::aead::Payload;
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::credentials::MAX_ROOTS;
use crate::length_prefix;
use crate::passphrase::Passphrase;
use crate::secret::Secret;

/// The cost of one guess at the passphrase. It is written into the file, so that later versions can raise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Memory in KiB.
    m: u32,
    /// The number of passes over the memory.
    t: u32,
    /// The number of lanes.
    p: u32,
}

impl Cost {
    /// RFC 9106's second recommended option, with one lane as OWASP advises: 64 MiB, 3 passes.
    pub(crate) const DEFAULT: Self = Self {
        m: 64 * 1024,
        t: 3,
        p: 1,
    };

    /// The highest cost that is accepted (1 GiB, 16 passes, 16 lanes): a forged file must not exhaust the machine's memory or
    /// delay the server's start for long.
    const LIMIT: Self = Self {
        m: 1024 * 1024,
        t: 16,
        p: 16,
    };

    fn params(self) -> Option<Params> {
        let within = self.m <= Self::LIMIT.m && self.t <= Self::LIMIT.t && self.p <= Self::LIMIT.p;
        within
            .then(|| Params::new(self.m, self.t, self.p, Some(32)).ok())
            .flatten()
    }
}

/// The encrypted secrets of a locked credentials file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Locked {
    kdf: String,
    #[serde(flatten)]
    cost: Cost,
    salt: Base64<16>,
    nonce: Base64<12>,
    ciphertext: Ciphertext,
}

/// Why a credentials file could not be unlocked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UnlockError {
    /// The key derivation is not Argon2id, or costs more than [`Cost::LIMIT`].
    Unacceptable,
    WrongPassphrase,
}

const KDF: &str = "argon2id";

/// The fewest secrets of a locked file: the root key and the id key.
const MIN_SECRETS: usize = 2;
/// The most secrets: the id key and [`MAX_ROOTS`] root keys.
const MAX_SECRETS: usize = 1 + MAX_ROOTS;
const SECRET_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// Encrypts secrets, at least 2. `bound` is the rest of the file, which unlocking checks for changes.
///
/// # Panics
/// If the memory that `cost` needs can't be allocated.
pub(crate) fn lock(secrets: &[&Secret], passphrase: &Passphrase, cost: Cost, bound: &[u8]) -> Locked {
    let (salt, nonce) = (Base64(rand::random()), Base64(rand::random()));
    let mut plaintext = Zeroizing::new(Vec::with_capacity(SECRET_LEN * MAX_SECRETS));
    for secret in secrets {
        plaintext.extend_from_slice(secret.as_bytes());
    }
    let mut locked = Locked {
        kdf: KDF.into(),
        cost,
        salt,
        nonce,
        ciphertext: Ciphertext(Vec::new()),
    };
    let aad = locked.associated(bound);
    let ciphertext = locked.cipher(passphrase).and_then(|cipher| {
        cipher
            .encrypt(
                &Nonce::from(nonce.0),
                Payload {
                    msg: plaintext.as_slice(),
                    aad: &aad,
                },
            )
            .ok()
    });
    match ciphertext {
        Some(bytes) => locked.ciphertext = Ciphertext(bytes),
        None => panic!("no memory to lock the credentials: Argon2id wants {} KiB", cost.m),
    }
    locked
}

impl Locked {
    pub(crate) fn unlock(&self, passphrase: &Passphrase, bound: &[u8]) -> Result<Vec<Secret>, UnlockError> {
        if self.kdf != KDF {
            return Err(UnlockError::Unacceptable);
        }
        let cipher = self.cipher(passphrase).ok_or(UnlockError::Unacceptable)?;
        let aad = self.associated(bound);
        let opened = cipher.decrypt(
            &Nonce::from(self.nonce.0),
            Payload {
                msg: &self.ciphertext.0,
                aad: &aad,
            },
        );
        let opened = Zeroizing::new(opened.map_err(|_| UnlockError::WrongPassphrase)?);
        // The length of the ciphertext was checked when it was read: see `Ciphertext`.
        let (secrets, _) = opened.as_chunks();
        Ok(secrets.iter().map(Secret::from_bytes).collect())
    }

    fn cipher(&self, passphrase: &Passphrase) -> Option<Aes256Gcm> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.cost.params()?);
        let mut key = Secret::zero();
        argon2
            .hash_password_into(passphrase.as_bytes(), &self.salt.0, key.as_mut_bytes())
            .ok()?;
        Some(Aes256Gcm::new(key.as_bytes().into()))
    }

    fn associated(&self, bound: &[u8]) -> Vec<u8> {
        let Cost { m, t, p } = self.cost;
        let cost = [m, t, p].map(u32::to_be_bytes).concat();
        length_prefix::join(&[
            b"sidevault/1 locked credentials",
            self.kdf.as_bytes(),
            &cost,
            &self.salt.0,
            bound,
        ])
    }
}

/// Public bytes of a fixed length; in JSON base64url without padding.
#[derive(Clone, Copy)]
struct Base64<const N: usize>([u8; N]);

impl<const N: usize> fmt::Debug for Base64<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({N} bytes)")
    }
}

impl<const N: usize> Serialize for Base64<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Base64<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| D::Error::custom(format_args!("not {N} bytes as base64url")))
    }
}

/// The encrypted secrets and the tag; in JSON base64url without padding.
#[derive(Clone)]
struct Ciphertext(Vec<u8>);

impl fmt::Debug for Ciphertext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl Serialize for Ciphertext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Ciphertext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        let secrets = bytes.len().saturating_sub(TAG_LEN);
        let (count, rest) = (secrets / SECRET_LEN, secrets % SECRET_LEN);
        if rest != 0 || !(MIN_SECRETS..=MAX_SECRETS).contains(&count) {
            return Err(D::Error::custom(format_args!(
                "not {MIN_SECRETS} to {MAX_SECRETS} encrypted keys as base64url"
            )));
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
impl Cost {
    /// For tests that lock many times.
    pub(crate) const CHEAP: Self = Self { m: 8, t: 1, p: 1 };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text).unwrap()
    }

    fn locked() -> Locked {
        let (root, id_key) = (Secret::from_bytes(&[1; 32]), Secret::from_bytes(&[2; 32]));
        lock(&[&root, &id_key], &passphrase("open"), Cost::CHEAP, b"bound")
    }

    /// RFC 9106, section 5.3 (Argon2id).
    #[test]
    fn rfc_9106_vector() {
        let params = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(argon2::AssociatedData::new(&[4; 12]).unwrap())
            .build()
            .unwrap();
        let argon2 = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
        let mut tag = [0; 32];
        argon2.hash_password_into(&[1; 32], &[2; 16], &mut tag).unwrap();
        assert_eq!(
            data_encoding::HEXLOWER.encode(&tag),
            "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
        );
    }

    #[test]
    fn only_the_right_passphrase_and_the_unaltered_file_unlock() {
        let locked = locked();
        let secrets = locked.unlock(&passphrase("open"), b"bound").unwrap();
        let bytes: Vec<&[u8; 32]> = secrets.iter().map(Secret::as_bytes).collect();
        assert_eq!(bytes, [&[1; 32], &[2; 32]]);
        let refused = Some(UnlockError::WrongPassphrase);
        assert_eq!(locked.unlock(&passphrase("Open"), b"bound").err(), refused);
        assert_eq!(locked.unlock(&passphrase("open"), b"other").err(), refused);
        let mut altered = locked;
        altered.ciphertext.0[79] ^= 1;
        assert_eq!(altered.unlock(&passphrase("open"), b"bound").err(), refused);
    }

    #[test]
    fn the_number_of_locked_keys_is_bounded() {
        let of = |secrets: usize| {
            let mut json = serde_json::to_value(locked()).unwrap();
            json["ciphertext"] = URL_SAFE_NO_PAD.encode(vec![0; SECRET_LEN * secrets + TAG_LEN]).into();
            serde_json::from_value::<Locked>(json).is_ok()
        };
        assert!(!of(1) && of(MIN_SECRETS) && of(MAX_SECRETS) && !of(MAX_SECRETS + 1));
    }

    #[test]
    fn costs_above_the_limit_are_refused() {
        // These costs are just above the limit, so the machine could allocate the memory and only the limit refuses them.
        let limit = Cost::LIMIT;
        assert!(limit.params().is_some() && Cost::DEFAULT.params().is_some());
        let beyond = [
            Cost {
                m: limit.m + 1,
                ..limit
            },
            Cost {
                t: limit.t + 1,
                ..limit
            },
            Cost {
                p: limit.p + 1,
                ..limit
            },
        ];
        for cost in beyond {
            assert!(cost.params().is_none(), "{cost:?}");
        }
    }

    #[test]
    fn files_with_unacceptable_costs_are_refused() {
        let hostile = [
            Cost {
                m: 100 * 1024 * 1024,
                ..Cost::DEFAULT
            },
            Cost {
                t: u32::MAX,
                ..Cost::DEFAULT
            },
            Cost {
                p: 0xFF_FFFF,
                ..Cost::DEFAULT
            },
            Cost { m: 1, ..Cost::DEFAULT },
            Cost { t: 0, ..Cost::DEFAULT },
            Cost { p: 0, ..Cost::DEFAULT },
        ];
        for cost in hostile {
            let locked = Locked { cost, ..locked() };
            assert_eq!(
                locked.unlock(&passphrase("open"), b"bound").err(),
                Some(UnlockError::Unacceptable),
                "{cost:?}"
            );
        }
        let other = Locked {
            kdf: "scrypt".into(),
            ..locked()
        };
        assert_eq!(
            other.unlock(&passphrase("open"), b"bound").err(),
            Some(UnlockError::Unacceptable)
        );
    }
}
