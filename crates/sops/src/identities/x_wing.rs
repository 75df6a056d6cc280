//! X-Wing, the key encapsulation of age's post-quantum keys, for the crate `hpke`.
//!
//! X-Wing (draft-connolly-cfrg-xwing-kem, HPKE's KEM 0x647a) joins ML-KEM-768 and X25519: both are in well-kept crates, and
//! what is here derives their keys from one seed with SHAKE-256, and hashes their two secrets to one with SHA3-256. The crates
//! that have it whole need versions that can't be in one program with those of the `age` crate
//! (docs/decisions/post-quantum-age.md).

use hpke::generic_array::typenum::{Sum, U32, U96, U192, U1024};
use hpke::kem::SharedSecret;
use hpke::rand_core::{CryptoRng, RngCore};
use hpke::{Deserializable, HpkeError, Kem, Serializable};
use ml_kem::kem::{Decapsulate as _, Encapsulate as _};
use ml_kem::{Ciphertext, EncodedSizeUser as _, KemCore, MlKem768};
use sha3_for_age::digest::{ExtendableOutput as _, Update as _, XofReader as _};
use sha3_for_age::{Digest as _, Sha3_256, Shake256};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

/// What ML-KEM-768's public keys and ciphertexts take; the 32 bytes of X25519 follow.
const ML_KEM_PUBLIC: usize = 1184;
const ML_KEM_CIPHERTEXT: usize = 1088;
const SEED_BYTES: usize = 32;

/// The end of the hash that makes the shared secret.
const LABEL: &[u8; 6] = br"\.//^\";

pub(super) struct XWing;

/// A private key: the seed, from which the two keys are derived when they are used.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PrivateKey(Zeroizing<[u8; SEED_BYTES]>);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct PublicKey {
    ml_kem: <MlKem768 as KemCore>::EncapsulationKey,
    x25519: x25519_dalek::PublicKey,
}

impl Eq for PublicKey {}

#[derive(Clone)]
pub(super) struct EncappedKey {
    ml_kem: Ciphertext<MlKem768>,
    x25519: x25519_dalek::PublicKey,
}

/// The keys that a seed gives.
struct Expanded {
    ml_kem: <MlKem768 as KemCore>::DecapsulationKey,
    x25519: StaticSecret,
    public: PublicKey,
}

impl PrivateKey {
    fn expand(&self) -> Expanded {
        let mut bytes = Zeroizing::new([0; 96]);
        Shake256::default().chain(*self.0).finalize_xof().read(&mut *bytes);
        let part = |at: usize| {
            let mut part = Zeroizing::new([0; 32]);
            part.copy_from_slice(&bytes[at..at + 32]);
            part
        };
        let (d, z, x25519) = (part(0), part(32), StaticSecret::from(*part(64)));
        let (ml_kem, ml_kem_public) = MlKem768::generate_deterministic(&(*d).into(), &(*z).into());
        let public = PublicKey {
            ml_kem: ml_kem_public,
            x25519: (&x25519).into(),
        };
        Expanded { ml_kem, x25519, public }
    }
}

/// The shared secret of X-Wing.
fn combine(ml_kem: &[u8], x25519: &[u8; 32], sent: &[u8; 32], recipient: &[u8; 32]) -> SharedSecret<XWing> {
    let mut hash = Sha3_256::new();
    for part in [ml_kem, x25519, sent, recipient, LABEL] {
        sha3_for_age::Digest::update(&mut hash, part);
    }
    SharedSecret(hash.finalize())
}

impl Kem for XWing {
    type PublicKey = PublicKey;
    type PrivateKey = PrivateKey;
    type EncappedKey = EncappedKey;
    type NSecret = U32;
    const KEM_ID: u16 = 0x647a;

    fn sk_to_pk(private: &PrivateKey) -> PublicKey {
        private.expand().public
    }

    /// HPKE derives X-Wing's seed from other keys with SHAKE-256. age stores the seed itself and needs no derivation.
    fn derive_keypair(ikm: &[u8]) -> (PrivateKey, PublicKey) {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        Shake256::default().chain(ikm).finalize_xof().read(&mut *seed);
        let private = PrivateKey(seed);
        let public = private.expand().public;
        (private, public)
    }

    fn decap(
        private: &PrivateKey,
        sender: Option<&PublicKey>,
        encapped: &EncappedKey,
    ) -> Result<SharedSecret<Self>, HpkeError> {
        // X-Wing has no authenticated mode.
        if sender.is_some() {
            return Err(HpkeError::DecapError);
        }
        let keys = private.expand();
        let ml_kem = keys
            .ml_kem
            .decapsulate(&encapped.ml_kem)
            .map_err(|()| HpkeError::DecapError)?;
        let ml_kem = Zeroizing::new(ml_kem.0);
        let x25519 = keys.x25519.diffie_hellman(&encapped.x25519);
        if !x25519.was_contributory() {
            return Err(HpkeError::DecapError);
        }
        Ok(combine(
            &*ml_kem,
            x25519.as_bytes(),
            encapped.x25519.as_bytes(),
            keys.public.x25519.as_bytes(),
        ))
    }

    fn encap<R: CryptoRng + RngCore>(
        recipient: &PublicKey,
        sender: Option<(&PrivateKey, &PublicKey)>,
        random: &mut R,
    ) -> Result<(SharedSecret<Self>, EncappedKey), HpkeError> {
        if sender.is_some() {
            return Err(HpkeError::EncapError);
        }
        let (sent, secret) = recipient
            .ml_kem
            .encapsulate(random)
            .map_err(|()| HpkeError::EncapError)?;
        let secret = Zeroizing::new(secret.0);
        let mut ephemeral = Zeroizing::new([0; 32]);
        random.fill_bytes(&mut *ephemeral);
        let ephemeral = StaticSecret::from(*ephemeral);
        let x25519 = ephemeral.diffie_hellman(&recipient.x25519);
        if !x25519.was_contributory() {
            return Err(HpkeError::EncapError);
        }
        let encapped = EncappedKey {
            ml_kem: sent,
            x25519: (&ephemeral).into(),
        };
        let shared = combine(
            &*secret,
            x25519.as_bytes(),
            encapped.x25519.as_bytes(),
            recipient.x25519.as_bytes(),
        );
        Ok((shared, encapped))
    }
}

/// Divides the bytes of ML-KEM from the 32 bytes of X25519.
fn split(encoded: &[u8], at: usize) -> Result<(&[u8], [u8; 32]), HpkeError> {
    let wrong = || HpkeError::IncorrectInputLength(at + 32, encoded.len());
    let (ml_kem, x25519) = encoded.split_at_checked(at).ok_or_else(wrong)?;
    Ok((ml_kem, x25519.try_into().map_err(|_| wrong())?))
}

impl Serializable for PrivateKey {
    type OutputSize = U32;

    fn write_exact(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&*self.0);
    }
}

impl Deserializable for PrivateKey {
    fn from_bytes(encoded: &[u8]) -> Result<Self, HpkeError> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        if encoded.len() != SEED_BYTES {
            return Err(HpkeError::IncorrectInputLength(SEED_BYTES, encoded.len()));
        }
        seed.copy_from_slice(encoded);
        Ok(Self(seed))
    }
}

impl Serializable for PublicKey {
    type OutputSize = Sum<U1024, U192>;

    fn write_exact(&self, buffer: &mut [u8]) {
        buffer[..ML_KEM_PUBLIC].copy_from_slice(&self.ml_kem.as_bytes());
        buffer[ML_KEM_PUBLIC..].copy_from_slice(self.x25519.as_bytes());
    }
}

impl Deserializable for PublicKey {
    fn from_bytes(encoded: &[u8]) -> Result<Self, HpkeError> {
        let (ml_kem, x25519) = split(encoded, ML_KEM_PUBLIC)?;
        let ml_kem = ml_kem.try_into().map_err(|_| HpkeError::ValidationError)?;
        Ok(Self {
            ml_kem: <MlKem768 as KemCore>::EncapsulationKey::from_bytes(ml_kem),
            x25519: x25519.into(),
        })
    }
}

impl Serializable for EncappedKey {
    type OutputSize = Sum<U1024, U96>;

    fn write_exact(&self, buffer: &mut [u8]) {
        buffer[..ML_KEM_CIPHERTEXT].copy_from_slice(&self.ml_kem.0);
        buffer[ML_KEM_CIPHERTEXT..].copy_from_slice(self.x25519.as_bytes());
    }
}

impl Deserializable for EncappedKey {
    fn from_bytes(encoded: &[u8]) -> Result<Self, HpkeError> {
        let (ml_kem, x25519) = split(encoded, ML_KEM_CIPHERTEXT)?;
        let ml_kem: [u8; ML_KEM_CIPHERTEXT] = ml_kem.try_into().map_err(|_| HpkeError::ValidationError)?;
        Ok(Self {
            ml_kem: ml_kem.into(),
            x25519: x25519.into(),
        })
    }
}
