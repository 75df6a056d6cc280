//! Signs commits with an SSH key, in the format of `gpg.format = ssh`.

use std::path::Path;

use jiff::Timestamp;
use ring::signature::Ed25519KeyPair;
use ssh_key::private::KeypairData;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, Signature, SshSig};

use crate::auth::read_secret;
use crate::error::GitError;
use crate::verify::{NAMESPACE, allowed_signer};

/// A private key that signs commits.
pub(crate) struct SigningKey {
    pair: Ed25519KeyPair,
    public: KeyData,
}

impl SigningKey {
    /// Reads an Ed25519 key in OpenSSH's format, without a passphrase.
    pub(crate) fn read(file: &Path) -> Result<Self, GitError> {
        let problem = |what: &str| GitError::Setup(format!("the signing key {}: {what}", file.display()));
        let advice = "make a key with `ssh-keygen -t ed25519 -N ''`";
        let text = read_secret(file)?;
        let key = PrivateKey::from_openssh(text.trim())
            .map_err(|_| problem(&format!("this is no private key in OpenSSH's format; {advice}")))?;
        if key.is_encrypted() {
            return Err(problem(&format!("the key has a passphrase; {advice}")));
        }
        let KeypairData::Ed25519(pair) = key.key_data() else {
            return Err(problem(&format!("only Ed25519 keys can sign commits; {advice}")));
        };
        let damaged = |_| problem("the two parts of the key do not belong together");
        let bytes = zeroize::Zeroizing::new(pair.private.to_bytes());
        Ok(Self {
            pair: Ed25519KeyPair::from_seed_and_public_key(&*bytes, pair.public.as_ref()).map_err(damaged)?,
            public: KeyData::Ed25519(pair.public),
        })
    }

    /// The signature of the bytes of a commit, as the commit's header `gpgsig` has it.
    pub(crate) fn sign(&self, commit: &[u8]) -> Result<String, GitError> {
        let armored = || {
            let message = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, commit)?;
            let signature = Signature::new(Algorithm::Ed25519, self.pair.sign(&message).as_ref())?;
            SshSig::new(self.public.clone(), NAMESPACE, HashAlg::Sha512, signature)?.to_pem(LineEnding::LF)
        };
        armored().map_err(|error: ssh_key::Error| GitError::Setup(format!("a commit can't be signed: {error}")))
    }
}

/// Checks that commits that are signed with a key would be accepted by a file of allowed signers.
///
/// # Errors
/// In words: what has to change.
pub fn check_signer(signing_key_file: &Path, allowed_signers_file: &Path) -> Result<(), String> {
    let check = || {
        let key = SigningKey::read(signing_key_file)?;
        let allowed = read_secret(allowed_signers_file)?;
        allowed_signer(&allowed, &key.public, Timestamp::now().as_second()).map_err(|reason| {
            GitError::Setup(format!(
                "the commits of this source would not be served, because {reason} of {}: add the public key of {} there",
                allowed_signers_file.display(),
                signing_key_file.display()
            ))
        })
    };
    check().map(drop).map_err(|error| error.to_string())
}
