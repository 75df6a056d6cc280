//! The server's credentials: the root of its key hierarchy, and the public keys that verify tokens.

use std::fmt;

use sidevault_model::Timestamp;
use zeroize::Zeroizing;

use crate::credentials_file::{CREDENTIALS_FORMAT, CredentialsFile, expect_format};
use crate::derive::{Label, derive};
use crate::lock::{Cost, UnlockError, lock};
use crate::public_key::VerificationKey;
use crate::secret::Secret;
use crate::{CredentialsError, IdKey, Issuer, KeyEncryptionKey, Passphrase, Verifier, length_prefix, session};

const WHAT: &str = "the credentials file";

/// The most root keys of a credentials file. A rotation needs two.
pub(crate) const MAX_ROOTS: usize = 4;

/// The content of `1password-credentials.json`: the keys with which a server decrypts its store, secures the bus between api and
/// sync, and verifies tokens. They can't issue tokens; the [`Issuer`] does.
#[derive(Clone)]
pub struct Credentials {
    device_uuid: String,
    /// The root keys, newest first; more than one while the root key is replaced.
    roots: Vec<Secret>,
    id_key: Secret,
    verifiers: Vec<VerificationKey>,
    is_locked: bool,
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
            roots: vec![derive(seed, Label::SeedRoot)],
            id_key: derive(seed, Label::SeedIdKey),
            verifiers: vec![Issuer::from_secret_seed(seed).verification_key()],
            is_locked: false,
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
        let is_locked = file.locked.is_some();
        let (root, id_key, old_roots) = match (file.root, file.id_key, file.locked) {
            (Some(root), Some(id_key), None) => (root, id_key, file.old_roots),
            (None, None, Some(locked)) => {
                let passphrase = passphrase.ok_or(CredentialsError::PassphraseNeeded)?;
                let secrets = locked.unlock(passphrase, &bound).map_err(|error| match error {
                    UnlockError::WrongPassphrase => CredentialsError::WrongPassphrase,
                    UnlockError::Unacceptable => CredentialsError::damaged(
                        WHAT,
                        "`locked` asks for a key derivation this version refuses (Argon2id up to 1 GiB is allowed)",
                    ),
                })?;
                let mut secrets = secrets.into_iter();
                let (Some(root), Some(id_key)) = (secrets.next(), secrets.next()) else {
                    return Err(CredentialsError::damaged(WHAT, "`locked` holds too few keys"));
                };
                (root, id_key, secrets.collect())
            }
            _ => {
                return Err(CredentialsError::damaged(
                    WHAT,
                    "it needs either `root` and `idKey`, or `locked`",
                ));
            }
        };
        if old_roots.len() >= MAX_ROOTS {
            return Err(CredentialsError::damaged(
                WHAT,
                "it has more root keys than a server accepts",
            ));
        }
        Ok(Self {
            device_uuid: file.device_uuid,
            roots: [root].into_iter().chain(old_roots).collect(),
            id_key,
            verifiers: file.verifiers,
            is_locked,
        })
    }

    /// The content of the file, locked if there is a passphrase: about 400 bytes, short enough for an environment variable in
    /// base64.
    pub fn to_json(&self, passphrase: Option<&Passphrase>) -> Zeroizing<String> {
        self.to_json_at_cost(passphrase, Cost::DEFAULT)
    }

    fn to_json_at_cost(&self, passphrase: Option<&Passphrase>, cost: Cost) -> Zeroizing<String> {
        let bound = bound(&self.device_uuid, &self.verifiers);
        // There is always one root key at least: see `load`, `rotate_root` and `finish_root`.
        let (root, old_roots) = self.roots.split_at(1);
        let secrets: Vec<&Secret> = root.iter().chain([&self.id_key]).chain(old_roots).collect();
        let locked = passphrase.map(|passphrase| lock(&secrets, passphrase, cost, &bound));
        let open = locked.is_none();
        to_secret_json(&CredentialsFile {
            format: CREDENTIALS_FORMAT.into(),
            device_uuid: self.device_uuid.clone(),
            root: root.first().filter(|_| open).cloned(),
            old_roots: old_roots.iter().filter(|_| open).cloned().collect(),
            id_key: open.then(|| self.id_key.clone()),
            locked,
            verifiers: self.verifiers.clone(),
        })
    }

    /// Replaces the issuer: returns a new one, whose tokens these credentials accept, and accepts the tokens of those before it until
    /// `old_until` only. Ids that are computed from names stay the same. The private key of the old issuer is not needed.
    pub fn rotate_issuer(&mut self, old_until: Timestamp) -> Issuer {
        let issuer = Issuer::generate(self.id_key.clone());
        for old in &mut self.verifiers {
            old.until = Some(old.until.unwrap_or(i64::MAX).min(old_until.as_millis()));
        }
        self.verifiers.insert(0, issuer.verification_key());
        issuer
    }

    /// Accepts no tokens any more of issuers that were replaced. Returns the ids of their keys.
    pub fn finish_issuer(&mut self) -> Vec<String> {
        let (kept, dropped) = self.verifiers.drain(..).partition(|key| key.until.is_none());
        self.verifiers = kept;
        let dropped: Vec<VerificationKey> = dropped;
        dropped.into_iter().map(|key| key.kid).collect()
    }

    /// The ids of the issuers' keys, and until when their tokens are accepted; `None`: for ever.
    pub fn issuers(&self) -> impl Iterator<Item = (&str, Option<Timestamp>)> {
        let until = |key: &VerificationKey| key.until.map(Timestamp::from_millis);
        self.verifiers.iter().map(move |key| (key.kid.as_str(), until(key)))
    }

    /// Whether the file was locked with a passphrase.
    pub fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Puts a new random root key in front of the present one. This is the first step of replacing the root key: the file opens stores
    /// and bus connections with either. The id key stays, and with it the ids that are computed from names.
    ///
    /// Returns false, and changes nothing, if the root key is being replaced already.
    pub fn rotate_root(&mut self) -> bool {
        let is_single = self.roots.len() == 1;
        if is_single {
            self.roots.insert(0, Secret::random());
        }
        is_single
    }

    /// Drops all root keys but the newest. This is the last step of replacing the root key.
    ///
    /// Returns false if there was only one.
    pub fn finish_root(&mut self) -> bool {
        let has_old = self.roots.len() > 1;
        self.roots.truncate(1);
        has_old
    }

    /// The fingerprints of the root keys, newest first. They are not secret: who has one can't compute the key.
    pub fn root_fingerprints(&self) -> Vec<String> {
        let fingerprint = |root| {
            let derived = derive(root, Label::RootFingerprint);
            derived
                .as_bytes()
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        self.roots.iter().map(fingerprint).collect()
    }

    /// The id of this installation, which is not secret. 1Password's file has the id of a device here.
    pub fn device_uuid(&self) -> &str {
        &self.device_uuid
    }

    /// The key that wraps the store's data keys.
    pub fn kek(&self) -> KeyEncryptionKey {
        KeyEncryptionKey::new(self.roots.iter().map(|root| derive(root, Label::KeyEncryptionKey)))
    }

    /// The pre-shared keys of the bus.
    pub fn bus_keys(&self) -> BusKeys {
        BusKeys(self.roots.iter().map(|root| derive(root, Label::Bus)).collect())
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

/// The pre-shared keys of the bus: one for each root key of the credentials file, newest first. api and sync prove to each other that
/// they have one in common.
#[derive(Clone)]
pub struct BusKeys(Vec<Secret>);

impl BusKeys {
    /// The most keys that a side may have.
    pub const MAX: usize = MAX_ROOTS;

    /// The keys made of these bytes, which must be uniformly random, newest first.
    pub fn from_bytes(keys: &[[u8; 32]]) -> Self {
        Self(keys.iter().map(Secret::from_bytes).collect())
    }

    /// The key material of each key, newest first, for the handshake.
    pub fn iter(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.0.iter().map(Secret::as_bytes)
    }
}

impl fmt::Debug for BusKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BusKeys({})", self.0.len())
    }
}

/// The part of a locked file that is not secret but must not be changed: without this, someone who can write the file and not
/// unlock it could add a verification key of their own, and so issue tokens.
fn bound(device_uuid: &str, verifiers: &[VerificationKey]) -> Vec<u8> {
    let dates: Vec<Option<String>> = verifiers
        .iter()
        .map(|key| key.until.map(|until| format!("until {until}")))
        .collect();
    let keys = verifiers.iter().zip(&dates).flat_map(|(key, until)| {
        let until = until.as_ref().map(String::as_bytes);
        [key.kid.as_bytes(), key.x.as_bytes(), key.y.as_bytes()]
            .into_iter()
            .chain(until)
    });
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
        assert!(back.bus_keys().iter().eq(credentials.bus_keys().iter()));
        assert_eq!(back.id_key().vault("home"), credentials.id_key().vault("home"));
        assert_eq!(back.device_uuid(), credentials.device_uuid());
    }

    #[test]
    fn two_generations_share_nothing() {
        let ((a, _), (b, _)) = (Credentials::generate(), Credentials::generate());
        assert!(a.bus_keys().iter().ne(b.bus_keys().iter()));
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
    fn a_rotated_root_is_written_read_and_finished_locked_or_not() {
        let (old, _) = Credentials::generate();
        let mut both = old.clone();
        assert!(both.rotate_root() && !both.rotate_root());
        for lock in [None, Some(passphrase("x"))] {
            let json = both.to_json_at_cost(lock.as_ref(), Cost::CHEAP);
            let back = Credentials::load(&json, lock.as_ref()).unwrap();
            assert_eq!(back.to_json(None), both.to_json(None));
            assert_eq!(back.root_fingerprints()[1..], old.root_fingerprints());
            assert_eq!(back.id_key().vault("home"), old.id_key().vault("home"));
            let mut new = back;
            assert!(new.finish_root() && !new.finish_root());
            assert_eq!(new.root_fingerprints(), both.root_fingerprints()[..1]);
            assert!(!new.to_json(None).contains("oldRoots"));
        }
    }

    #[test]
    fn tokens_of_a_replaced_issuer_are_accepted_until_the_date_and_not_after_the_end_of_the_rotation() {
        let (now, until) = (
            Timestamp::from_millis(1_750_000_000_000),
            Timestamp::from_millis(1_750_000_060_000),
        );
        let (mut credentials, old) = Credentials::generate();
        let new = credentials.rotate_issuer(until);
        assert_eq!(new.id_key().vault("home"), old.id_key().vault("home"));
        let spec = crate::TokenSpec {
            name: "app".into(),
            ..crate::TokenSpec::default()
        };
        let [before, after] = [old, new].map(|issuer| issuer.issue(&spec, now).unwrap().0);
        for lock in [None, Some(passphrase("x"))] {
            let json = credentials.to_json_at_cost(lock.as_ref(), Cost::CHEAP);
            let back = Credentials::load(&json, lock.as_ref()).unwrap();
            assert_eq!(back.is_locked(), lock.is_some());
            let verifier = back.verifier();
            assert_eq!(verifier.verify(&before, now).unwrap().expires_at, Some(until));
            assert!(matches!(
                verifier.verify(&before, until),
                Err(crate::TokenError::Expired { .. })
            ));
            assert_eq!(verifier.verify(&after, until).unwrap().expires_at, None);
        }
        // Who can write a locked file can't put the date off.
        let locked = credentials.to_json_at_cost(Some(&passphrase("x")), Cost::CHEAP);
        let later = locked.replace("1750000060000", "1850000060000");
        assert!(Credentials::load(&later, Some(&passphrase("x"))).is_err());
        assert_eq!(credentials.finish_issuer().len(), 1);
        assert!(matches!(
            credentials.verifier().verify(&before, now),
            Err(crate::TokenError::UnknownKey { .. })
        ));
        assert!(credentials.verifier().verify(&after, now).is_ok());
    }

    #[test]
    fn the_number_of_root_keys_is_bounded() {
        let (mut credentials, _) = Credentials::generate();
        let load = |credentials: &Credentials| Credentials::load(&credentials.to_json(None), None);
        credentials.roots.resize_with(MAX_ROOTS, Secret::random);
        assert!(load(&credentials).is_ok());
        credentials.roots.push(Secret::random());
        assert!(load(&credentials).unwrap_err().to_string().contains("more root keys"));
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
            credentials.bus_keys(),
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
