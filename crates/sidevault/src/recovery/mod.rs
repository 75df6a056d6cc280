//! An encrypted copy of the keys, for the day when the files are lost.
//!
//! The copy is JSON that is encrypted with age, as ASCII armor. `age --decrypt -i KEY recovery.age` prints the JSON, and the files are
//! in it as they are, so that Sidevault is not needed to get them back:
//!
//! ```json
//! {"format": "sidevault-recovery/1", "files": {"1password-credentials.json": "…", "issuer.json": "…"}}
//! ```
//!
//! It is encrypted to age recipients, to an age key of its own that is given out in [shares], or to both.

mod shares;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;

use age::secrecy::ExposeSecret as _;
use age::x25519::{Identity, Recipient};
use bech32::{Bech32, Hrp};
use serde::{Deserialize, Serialize};
use sidevault_keys::{Credentials, Issuer, Passphrase};
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::installation::{CREDENTIALS_FILE, ISSUER_FILE};

pub(crate) use shares::Sharing;

/// The name of the copy beside new keys.
pub(crate) const RECOVERY_FILE: &str = "recovery.age";

const FORMAT: &str = "sidevault-recovery/1";

/// No copy is larger. The two files have less than 2 KiB.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Content<T> {
    format: String,
    files: BTreeMap<String, T>,
}

/// A copy, and the shares of its key.
pub(crate) struct Copy {
    pub(crate) encrypted: Vec<u8>,
    pub(crate) shares: Vec<Zeroizing<String>>,
}

/// Encrypts a copy of the credentials, and of the issuer if there is one, to the recipients, and to a new key that is split into shares.
pub(crate) fn encrypt(
    credentials: &Credentials,
    passphrase: Option<&Passphrase>,
    issuer: Option<&Issuer>,
    recipients: &[Recipient],
    sharing: Option<Sharing>,
) -> Result<Copy, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("the copy can't be encrypted: {error}"));
    let credentials = credentials.to_json(passphrase);
    let issuer = issuer.map(Issuer::to_json);
    let mut files = BTreeMap::from([(CREDENTIALS_FILE.to_owned(), credentials.as_str())]);
    files.extend(issuer.iter().map(|issuer| (ISSUER_FILE.to_owned(), issuer.as_str())));
    let content = Content {
        format: FORMAT.to_owned(),
        files,
    };
    let content = Zeroizing::new(serde_json::to_vec(&content).map_err(|error| failed(&error))?);
    let mut recipients = recipients.to_vec();
    let mut shares = Vec::new();
    if let Some(sharing) = sharing {
        let identity = Identity::generate();
        recipients.push(identity.to_public());
        shares = shares::split(&key_of(&identity)?, sharing).map_err(|error| failed(&error))?;
    }
    let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).map_err(|error| failed(&error))?;
    let written = || -> std::io::Result<Vec<u8>> {
        let armor = age::armor::ArmoredWriter::wrap_output(Vec::new(), age::armor::Format::AsciiArmor)?;
        let mut output = encryptor.wrap_output(armor)?;
        output.write_all(&content)?;
        output.finish()?.finish()
    };
    Ok(Copy {
        encrypted: written().map_err(|error| failed(&error))?,
        shares,
    })
}

/// The age key that shares stand for.
///
/// # Errors
/// [`Failure::Usage`] if the text has too few shares, or shares that don't fit together.
pub(crate) fn identity_of_shares(text: &str) -> Result<Identity, Failure> {
    let key = shares::combine(text).map_err(|error| Failure::Usage(error.to_string()))?;
    let written = Hrp::parse("age-secret-key-")
        .ok()
        .and_then(|prefix| bech32::encode_upper::<Bech32>(prefix, key.as_slice()).ok())
        .map(Zeroizing::new);
    let identity = written.as_deref().and_then(|text| text.parse().ok());
    identity.ok_or_else(|| Failure::Usage("the shares do not give an age key".to_owned()))
}

fn key_of(identity: &Identity) -> Result<shares::Key, Failure> {
    let text = identity.to_string();
    let bytes = bech32::decode(text.expose_secret()).map(|(_, bytes)| Zeroizing::new(bytes));
    let key = bytes.ok().and_then(|bytes| bytes.as_slice().try_into().ok());
    key.map(Zeroizing::new)
        .ok_or_else(|| Failure::Failed("an age key has an unknown format".to_owned()))
}

/// The files of a copy, by their names.
///
/// # Errors
/// [`Failure::Failed`] if the copy can't be read; [`Failure::Denied`] if none of the identities opens it; [`Failure::Integrity`] if it
/// is damaged, or no copy.
pub(crate) fn decrypt<'a>(
    path: &Path,
    identities: impl Iterator<Item = &'a dyn age::Identity>,
) -> Result<BTreeMap<&'static str, Zeroizing<String>>, Failure> {
    let name = path.display();
    let damaged = |problem: &dyn std::fmt::Display| Failure::Integrity(format!("{name}: {problem}"));
    let bytes = crate::input::file(path, MAX_BYTES).map_err(|error| Failure::Failed(format!("{name}: {error}")))?;
    let decryptor = age::Decryptor::new_buffered(age::armor::ArmoredReader::new(bytes.as_slice()))
        .map_err(|error| damaged(&error))?;
    let input = decryptor.decrypt(identities).map_err(|error| match error {
        age::DecryptError::NoMatchingKeys => {
            Failure::Denied(format!("{name} is encrypted to other keys than the one that was given"))
        }
        error => damaged(&error),
    })?;
    let mut json = Zeroizing::new(Vec::new());
    input
        .take(MAX_BYTES)
        .read_to_end(&mut json)
        .map_err(|error| damaged(&error))?;
    // The parser's error would quote the content.
    let mut content: Content<String> =
        serde_json::from_slice(&json).map_err(|_| damaged(&"it is not a copy of keys"))?;
    if content.format != FORMAT {
        return Err(damaged(
            &"it is not a copy of keys that this version of Sidevault can read",
        ));
    }
    // No other name becomes a path.
    let files: BTreeMap<_, _> = [CREDENTIALS_FILE, ISSUER_FILE]
        .into_iter()
        .filter_map(|name| Some((name, Zeroizing::new(content.files.remove(name)?))))
        .collect();
    match files.contains_key(CREDENTIALS_FILE) {
        true => Ok(files),
        false => Err(damaged(&"it holds no credentials file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, identity: &Identity) -> Result<BTreeMap<&'static str, Zeroizing<String>>, Failure> {
        decrypt(path, [identity as &dyn age::Identity].into_iter())
    }

    #[test]
    fn a_copy_opens_with_each_recipients_key_and_with_enough_shares() {
        let (credentials, issuer) = Credentials::generate();
        let person = Identity::generate();
        let sharing = Some("2/3".parse().unwrap());
        let copy = encrypt(&credentials, None, Some(&issuer), &[person.to_public()], sharing).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECOVERY_FILE);
        std::fs::write(&path, &copy.encrypted).unwrap();
        let shares = identity_of_shares(&format!("{}\n{}", *copy.shares[2], *copy.shares[1])).unwrap();
        for identity in [&person, &shares] {
            let files = open(&path, identity).unwrap();
            assert_eq!(files[CREDENTIALS_FILE], credentials.to_json(None));
            assert_eq!(files[ISSUER_FILE], issuer.to_json());
        }
        assert!(matches!(open(&path, &Identity::generate()), Err(Failure::Denied(_))));

        let mut damaged = copy.encrypted;
        damaged.truncate(damaged.len() / 2);
        std::fs::write(&path, damaged).unwrap();
        assert!(matches!(open(&path, &person), Err(Failure::Integrity(_))));
    }

    #[test]
    fn a_file_of_something_else_is_no_copy() {
        let person = Identity::generate();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECOVERY_FILE);
        for content in [
            "secret text",
            "{\"format\":\"sidevault-recovery/1\",\"files\":{\"../x\":\"y\"}}",
        ] {
            let encrypted = age::encrypt(&person.to_public(), content.as_bytes()).unwrap();
            std::fs::write(&path, encrypted).unwrap();
            let error = open(&path, &person).unwrap_err().to_string();
            assert!(!error.contains("secret text") && error.contains("it "), "{error}");
        }
    }
}
