//! Exports that are protected with a password of their own, as Bitwarden's clients write and read them
//! (`BitwardenPasswordProtectedImporter` in bitwarden/clients, `PureCrypto` in bitwarden/sdk-internal).

use aes::Aes256;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::import::ImportError;
use crate::import::lenient::{nullable, number, text};

/// The most work that Bitwarden's clients let a user choose; less while fuzzing. A file that asks for more was made to keep its
/// reader busy.
const MAX_PBKDF2: u32 = if cfg!(fuzzing) { 5_000 } else { 2_000_000 };
const MAX_ARGON2: u32 = 10;
const MAX_MEBIBYTES: u32 = if cfg!(fuzzing) { 16 } else { 1024 };
const MAX_LANES: u32 = 16;

/// The envelope of an encrypted export.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Envelope {
    #[serde(deserialize_with = "nullable")]
    pub(super) encrypted: bool,
    #[serde(deserialize_with = "nullable")]
    pub(super) password_protected: bool,
    #[serde(deserialize_with = "text")]
    salt: String,
    #[serde(deserialize_with = "number")]
    kdf_type: Option<i64>,
    #[serde(deserialize_with = "number")]
    kdf_iterations: Option<i64>,
    /// In MiB.
    #[serde(deserialize_with = "number")]
    kdf_memory: Option<i64>,
    #[serde(deserialize_with = "number")]
    kdf_parallelism: Option<i64>,
    #[serde(rename = "encKeyValidation_DO_NOT_EDIT", deserialize_with = "text")]
    validation: String,
    #[serde(deserialize_with = "text")]
    data: String,
}

impl Envelope {
    /// The JSON of the export.
    pub(super) fn open(&self, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, ImportError> {
        let key = self.key(password)?;
        // The validation is small, and tells a wrong password before the whole export is authenticated.
        let validation = Sealed::parse(&self.validation).ok_or_else(|| malformed("encKeyValidation_DO_NOT_EDIT"))?;
        if validation.open(&key).is_none() {
            return Err(ImportError::WrongPassword(
                "the password is wrong, or the export's head was changed".to_owned(),
            ));
        }
        let data = Sealed::parse(&self.data).ok_or_else(|| malformed("data"))?;
        data.open(&key)
            .ok_or_else(|| ImportError::malformed("data", "it was changed or cut off since it was encrypted"))
    }

    /// The keys for encryption and authentication.
    fn key(&self, password: &[u8]) -> Result<Zeroizing<[u8; 64]>, ImportError> {
        let within = |name: &str, value: Option<i64>, most: u32| {
            let value = value
                .and_then(|value| u32::try_from(value).ok())
                .filter(|value| *value > 0);
            let value = value.ok_or_else(|| malformed(name))?;
            match value <= most {
                true => Ok(value),
                false => Err(ImportError::malformed(
                    name,
                    format!("it is {value}, and Bitwarden's clients allow {most} at most"),
                )),
            }
        };
        let mut master = Zeroizing::new([0; 32]);
        match self.kdf_type {
            Some(0) => {
                let rounds = within("kdfIterations", self.kdf_iterations, MAX_PBKDF2)?;
                pbkdf2::pbkdf2_hmac::<Sha256>(password, self.salt.as_bytes(), rounds, &mut *master);
            }
            Some(1) => {
                let rounds = within("kdfIterations", self.kdf_iterations, MAX_ARGON2)?;
                let memory = within("kdfMemory", self.kdf_memory, MAX_MEBIBYTES)?;
                let lanes = within("kdfParallelism", self.kdf_parallelism, MAX_LANES)?;
                let salt = Sha256::digest(self.salt.as_bytes());
                Params::new(memory * 1024, rounds, lanes, Some(32))
                    .and_then(|params| {
                        Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(
                            password,
                            &salt,
                            &mut *master,
                        )
                    })
                    .map_err(|error| ImportError::malformed("kdfMemory", error.to_string()))?;
            }
            _ => return Err(malformed("kdfType")),
        }
        let mut key = Zeroizing::new([0; 64]);
        let (encryption, authentication) = key.split_at_mut(32);
        let stretch = Hkdf::<Sha256>::from_prk(&*master).map_err(|_| malformed("kdfType"))?;
        stretch.expand(b"enc", encryption).map_err(|_| malformed("kdfType"))?;
        stretch
            .expand(b"mac", authentication)
            .map_err(|_| malformed("kdfType"))?;
        Ok(key)
    }
}

fn malformed(member: &str) -> ImportError {
    ImportError::malformed(member, "it is missing, or has not the form that Bitwarden gives it")
}

/// An encrypted text: `2.iv|ciphertext|mac`, AES-256-CBC and HMAC-SHA-256.
struct Sealed {
    iv: [u8; 16],
    ciphertext: Vec<u8>,
    mac: Vec<u8>,
}

impl Sealed {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("2.")?.splitn(3, '|').map(|part| BASE64.decode(part));
        let (iv, ciphertext, mac) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        Some(Self {
            iv: iv.try_into().ok()?,
            ciphertext,
            mac,
        })
    }

    /// The text, or nothing if the key is wrong or anything was changed.
    fn open(&self, key: &[u8; 64]) -> Option<Zeroizing<Vec<u8>>> {
        let (encryption, authentication) = key.split_at(32);
        Hmac::<Sha256>::new_from_slice(authentication)
            .ok()?
            .chain_update(self.iv)
            .chain_update(&self.ciphertext)
            .verify_slice(&self.mac)
            .ok()?;
        let cipher = cbc::Decryptor::<Aes256>::new_from_slices(encryption, &self.iv).ok()?;
        cipher
            .decrypt_padded_vec::<Pkcs7>(&self.ciphertext)
            .ok()
            .map(Zeroizing::new)
    }
}
