//! SSH private keys (Ed25519 and RSA) as age identities.

use std::borrow::Cow;

use age::secrecy::SecretString;
use age::ssh::{Identity, Recipient, UnsupportedKey};

const NEEDS_PASSPHRASE: &str = "the SSH key is encrypted with a passphrase; store it in a file, and name that file in \
                                SIDEVAULT_AGE_PASSPHRASE_FILE";

/// Parses the text of one private key, `-----BEGIN …` to `-----END …`. Returns the key and its public half.
pub(super) fn parse(text: &str, passphrase: Option<&SecretString>) -> Result<(Identity, String), Cow<'static, str>> {
    let identity = Identity::from_buffer(text.as_bytes(), None)
        .map_err(|_| "not an SSH private key of type ed25519 or RSA that can be read; age supports no others")?;
    let identity = match identity {
        Identity::Unencrypted(_) => identity,
        Identity::Encrypted(encrypted) => {
            let passphrase = passphrase.ok_or(NEEDS_PASSPHRASE)?;
            encrypted
                .decrypt(passphrase.clone())
                .map_err(|_| "the passphrase in SIDEVAULT_AGE_PASSPHRASE_FILE does not decrypt this SSH key")?
                .into()
        }
        Identity::Unsupported(problem) => return Err(unsupported(&problem).into()),
    };
    let recipient = Recipient::try_from(identity.clone()).map_err(|_| "the SSH key's public half can't be computed")?;
    Ok((identity, recipient.to_string()))
}

fn unsupported(problem: &UnsupportedKey) -> &'static str {
    match problem {
        UnsupportedKey::EncryptedPem => {
            "the SSH key is encrypted in the old PEM format; convert it with `ssh-keygen -o -p`"
        }
        UnsupportedKey::EncryptedSsh(_) => {
            "the SSH key is encrypted with a cipher that is not supported; encrypt it again with `ssh-keygen -p -Z aes256-ctr`"
        }
        UnsupportedKey::Hardware(_) => "the SSH key is in a security key, which age does not support",
        UnsupportedKey::Type(_) => "age supports SSH keys of the types ed25519 and RSA only",
    }
}
