//! The server's credentials: the root of its key hierarchy, and the public keys that verify tokens.

use std::fmt;

use zeroize::Zeroizing;

use crate::credentials_file::{CREDENTIALS_FORMAT, CredentialsFile, expect_format};
use crate::derive::{Label, derive};
use crate::lock::{Cost, UnlockError, lock};
use crate::public_key::VerificationKey;
use crate::secret::Secret;
use crate::{CredentialsError, IdKey, Issuer, KeyEncryptionKey, Passphrase, Verifier, length_prefix, session};

const WHAT: &str = "the credentials file";

/// The content of `1password-credentials.json`: the keys with which a server decrypts its store, secures the bus between api and
/// sync, and verifies tokens. They can't issue tokens; the [`Issuer`] does.
#[derive(Clone)]
pub struct Credentials {
    device_uuid: String,
    root: Secret,
    id_key: Secret,
    verifiers: Vec<VerificationKey>,
}

impl Credentials {
    /// New random credentials, and the issuer whose tokens they accept.
    pub fn generate() -> (Self, Issuer) {
        let seed = Secret::random();
        (Self::from_secret_seed(&seed), Issuer::from_secret_seed(&seed))
    }

    /// The credentials for [`Issuer::from_seed`] with the same seed, for development only: who knows the seed knows every key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::from_secret_seed(&Secret::from_bytes(seed))
    }

    fn from_secret_seed(seed: &Secret) -> Self {
        let device = derive(seed, Label::SeedDevice);
        let device: &[u8; 16] = device.as_bytes().first_chunk().unwrap_or(&[0; 16]);
        Self {
            device_uuid: uuid::Builder::from_random_bytes(*device).into_uuid().to_string(),
            root: derive(seed, Label::SeedRoot),
            id_key: derive(seed, Label::SeedIdKey),
            verifiers: vec![Issuer::from_secret_seed(seed).verification_key()],
        }
    }

    /// Reads credentials from the value of `OP_SESSION`: a path, the file's JSON, or base64 of the JSON (in either alphabet,
    /// with or without padding and line breaks, encoded once or twice).
    ///
    /// Unlocking takes a second of processor time and 64 MiB of memory, so that guessing the passphrase is expensive.
    ///
    /// # Errors
    /// See [`CredentialsError`]. Each text says what to do, and none quotes the content.
    pub fn load(session: &str, passphrase: Option<&Passphrase>) -> Result<Self, CredentialsError> {
        let json = session::resolve(session)?;
        expect_format(&json, CREDENTIALS_FORMAT, WHAT)?;
        let file: CredentialsFile =
            serde_json::from_str(&json).map_err(|error| CredentialsError::json(WHAT, &error))?;
        if file.verifiers.is_empty() || !file.verifiers.iter().all(VerificationKey::is_sound) {
            return Err(CredentialsError::damaged(
                WHAT,
                "`verifiers` does not hold sound P-256 public keys",
            ));
        }
        let bound = bound(&file.device_uuid, &file.verifiers);
        let (root, id_key) = match (file.root, file.id_key, file.locked) {
            (Some(root), Some(id_key), None) => (root, id_key),
            (None, None, Some(locked)) => {
                let passphrase = passphrase.ok_or(CredentialsError::PassphraseNeeded)?;
                let [root, id_key] = locked.unlock(passphrase, &bound).map_err(|error| match error {
                    UnlockError::WrongPassphrase => CredentialsError::WrongPassphrase,
                    UnlockError::Unacceptable => CredentialsError::damaged(
                        WHAT,
                        "`locked` asks for a key derivation this version refuses (Argon2id up to 1 GiB is allowed)",
                    ),
                })?;
                (root, id_key)
            }
            _ => {
                return Err(CredentialsError::damaged(
                    WHAT,
                    "it needs either `root` and `idKey`, or `locked`",
                ));
            }
        };
        Ok(Self {
            device_uuid: file.device_uuid,
            root,
            id_key,
            verifiers: file.verifiers,
        })
    }

    /// The content of the file, locked if there is a passphrase: about 400 bytes, short enough for an environment variable in
    /// base64.
    pub fn to_json(&self, passphrase: Option<&Passphrase>) -> Zeroizing<String> {
        self.to_json_at_cost(passphrase, Cost::DEFAULT)
    }

    fn to_json_at_cost(&self, passphrase: Option<&Passphrase>, cost: Cost) -> Zeroizing<String> {
        let bound = bound(&self.device_uuid, &self.verifiers);
        let locked = passphrase.map(|passphrase| lock([&self.root, &self.id_key], passphrase, cost, &bound));
        let open = locked.is_none();
        to_secret_json(&CredentialsFile {
            format: CREDENTIALS_FORMAT.into(),
            device_uuid: self.device_uuid.clone(),
            root: open.then(|| self.root.clone()),
            id_key: open.then(|| self.id_key.clone()),
            locked,
            verifiers: self.verifiers.clone(),
        })
    }

    /// Accepts tokens of this issuer in addition to those that are accepted already. This is the first step of changing issuers.
    pub fn accept(&mut self, issuer: &Issuer) {
        let key = issuer.verification_key();
        if !self.verifiers.contains(&key) {
            self.verifiers.push(key);
        }
    }

    /// The id of this installation, which is not secret. 1Password's file has the id of a device here.
    pub fn device_uuid(&self) -> &str {
        &self.device_uuid
    }

    /// The key that wraps the store's data keys.
    pub fn kek(&self) -> KeyEncryptionKey {
        KeyEncryptionKey::new(derive(&self.root, Label::KeyEncryptionKey))
    }

    /// The pre-shared key of the bus.
    pub fn bus_key(&self) -> BusKey {
        BusKey(derive(&self.root, Label::Bus))
    }

    /// The key that computes ids from names. The issuer file has the same key.
    pub fn id_key(&self) -> IdKey {
        IdKey::new(self.id_key.clone())
    }

    /// A verifier of tokens with the public keys in these credentials.
    pub fn verifier(&self) -> Verifier {
        Verifier::new(&self.verifiers)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("device_uuid", &self.device_uuid)
            .finish_non_exhaustive()
    }
}

/// The pre-shared key of the bus. api and sync prove to each other that they have it.
#[derive(Clone)]
pub struct BusKey(Secret);

impl BusKey {
    /// The key made of these bytes, which must be uniformly random.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Secret::from_bytes(bytes))
    }

    /// The key material, for the handshake.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for BusKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BusKey(..)")
    }
}

/// The part of a locked file that is not secret but must not be changed: without this, someone who can write the file and not
/// unlock it could add a verification key of their own, and so issue tokens.
fn bound(device_uuid: &str, verifiers: &[VerificationKey]) -> Vec<u8> {
    let keys = verifiers
        .iter()
        .flat_map(|key| [key.kid.as_bytes(), key.x.as_bytes(), key.y.as_bytes()]);
    let parts: Vec<&[u8]> = [CREDENTIALS_FORMAT.as_bytes(), device_uuid.as_bytes()]
        .into_iter()
        .chain(keys)
        .collect();
    length_prefix::join(&parts)
}

/// The JSON of a file with secrets, written into a buffer that is not reallocated and is wiped when it is dropped.
pub(crate) fn to_secret_json(file: &impl serde::Serialize) -> Zeroizing<String> {
    let mut json = Zeroizing::new(Vec::with_capacity(16 * 1024));
    let written = serde_json::to_writer(&mut *json, file);
    assert!(written.is_ok(), "structs of strings always serialise");
    json.push(b'\n');
    let text = std::str::from_utf8(&json).unwrap_or_else(|_| unreachable!("serde_json writes UTF-8"));
    Zeroizing::new(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text).unwrap()
    }

    #[test]
    fn generated_credentials_are_read_back_from_their_file() {
        let (credentials, _) = Credentials::generate();
        let json = credentials.to_json(None);
        assert!(STANDARD.encode(json.as_bytes()).len() < 1000);
        let back = Credentials::load(&json, None).unwrap();
        assert_eq!(back.to_json(None), json);
        assert_eq!(back.bus_key().as_bytes(), credentials.bus_key().as_bytes());
        assert_eq!(back.id_key().vault("home"), credentials.id_key().vault("home"));
        assert_eq!(back.device_uuid(), credentials.device_uuid());
    }

    #[test]
    fn two_generations_share_nothing() {
        let ((a, _), (b, _)) = (Credentials::generate(), Credentials::generate());
        assert_ne!(a.bus_key().as_bytes(), b.bus_key().as_bytes());
        assert_ne!(a.id_key().vault("home"), b.id_key().vault("home"));
        assert_ne!(a.verifiers, b.verifiers);
        assert_ne!(a.device_uuid, b.device_uuid);
    }

    #[test]
    fn locked_credentials_open_with_their_passphrase_only() {
        let (credentials, _) = Credentials::generate();
        let json = credentials.to_json(Some(&passphrase("correct horse")));
        assert!(STANDARD.encode(json.as_bytes()).len() < 1000);
        let open = credentials.to_json(None);
        for secret in ["root", "idKey"] {
            assert!(open.contains(secret) && !json.contains(secret));
        }
        let back = Credentials::load(&json, Some(&passphrase("correct horse"))).unwrap();
        assert_eq!(back.to_json(None), open);
        assert!(matches!(
            Credentials::load(&json, None),
            Err(CredentialsError::PassphraseNeeded)
        ));
        let wrong = Credentials::load(&json, Some(&passphrase("battery staple")));
        assert!(matches!(wrong, Err(CredentialsError::WrongPassphrase)));
        // A passphrase for a file that is not locked is ignored.
        assert!(Credentials::load(&open, Some(&passphrase("x"))).is_ok());
    }

    #[test]
    fn an_issuer_can_not_be_added_to_a_locked_file() {
        let (credentials, _) = Credentials::generate();
        let (foreign, _) = Credentials::generate();
        let json = credentials.to_json_at_cost(Some(&passphrase("x")), Cost::CHEAP);
        let mut file: CredentialsFile = serde_json::from_str(&json).unwrap();
        file.verifiers.push(foreign.verifiers[0].clone());
        let forged = to_secret_json(&file);
        assert!(matches!(
            Credentials::load(&forged, Some(&passphrase("x"))),
            Err(CredentialsError::WrongPassphrase)
        ));
    }

    #[test]
    fn damaged_files_are_refused_without_quoting_a_secret() {
        let (credentials, issuer) = Credentials::generate();
        let json = credentials.to_json(None);
        let start = json.find("\"root\":\"").unwrap() + 8;
        let secret = &json[start..start + 43];
        let faults = [
            (json.replace(secret, &secret[..40]), "is damaged"),
            (json.replace("\"root\"", "\"rot\""), "either `root`"),
            (
                json.replace(
                    "\"verifiers\":[",
                    "\"verifiers\":[{\"kid\":\"a\",\"x\":\"b\",\"y\":\"c\"},",
                ),
                "sound",
            ),
            (json[..json.len() / 2].to_owned(), "cut while copying"),
            (json.replace("credentials/1", "credentials/9"), "newer"),
            (issuer.to_json().to_string(), "other of the two files"),
        ];
        for (content, expected) in faults {
            let message = Credentials::load(&content, None).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains(&secret[..8]), "{message}");
        }
    }

    #[test]
    fn a_seed_gives_a_fixed_pair() {
        let (a, b) = (Credentials::from_seed(&[5; 32]), Credentials::from_seed(&[5; 32]));
        assert_eq!(a.to_json(None), b.to_json(None));
        assert_eq!(
            Issuer::from_seed(&[5; 32]).to_json(),
            Issuer::from_seed(&[5; 32]).to_json()
        );
        assert_ne!(a.to_json(None), Credentials::from_seed(&[6; 32]).to_json(None));
    }

    #[test]
    fn nothing_secret_shows_in_debug() {
        let (credentials, issuer) = Credentials::generate();
        let shown = format!(
            "{credentials:?} {:?} {:?} {:?} {issuer:?}",
            credentials.bus_key(),
            credentials.kek(),
            credentials.id_key()
        );
        for json in [credentials.to_json(None), issuer.to_json()] {
            let file: serde_json::Value = serde_json::from_str(&json).unwrap();
            for member in ["root", "idKey", "d"] {
                let secret = file.get(member).and_then(serde_json::Value::as_str).unwrap_or("absent");
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }
}
