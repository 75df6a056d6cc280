//! Checks that a commit, or the annotated tag that leads to it, is signed with an allowed SSH key: the format of
//! `gpg.format = ssh`, and of the file that `gpg.ssh.allowedSignersFile` names (ssh-keygen(1), ALLOWED SIGNERS).

use std::path::Path;

use gix_hash::Kind;
use gix_object::CommitRefIter;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ring::signature::{self, UnparsedPublicKey};
use ssh_key::public::{EcdsaPublicKey, KeyData};
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

use crate::auth::read_secret;
use crate::error::GitError;
use crate::objects::Peeled;

/// What a signature is for. Git writes this name into each.
pub(crate) const NAMESPACE: &str = "git";
const BEGIN: &[u8] = b"-----BEGIN SSH SIGNATURE-----";

/// Checks the signature, and returns who signed: the principals of the key in the file.
pub(crate) fn verify(commit: &Peeled, allowed_signers_file: &Path) -> Result<String, GitError> {
    let text = read_secret(allowed_signers_file)?;
    let unverified = |reason: String| GitError::Unverified {
        commit: commit.id.to_string(),
        reason,
    };
    let (signature, signed) = signature_of(commit).ok_or_else(|| unverified("it is not signed".to_owned()))?;
    let signer = check(&text, &signature, &signed, commit.time);
    signer.map_err(|reason| unverified(format!("{reason} ({})", allowed_signers_file.display())))
}

/// The signature and the bytes that it is for. A signed tag stands for its commit.
fn signature_of(commit: &Peeled) -> Option<(Vec<u8>, Vec<u8>)> {
    if let Some(tag) = &commit.tag
        && let Some(at) = find_line(tag, BEGIN)
    {
        return Some((tag[at..].to_vec(), tag[..at].to_vec()));
    }
    let found = CommitRefIter::signature(&commit.data, Kind::Sha1).ok()??;
    Some((found.0.to_vec(), found.1.to_bstring().into()))
}

/// Where the last line that starts with `words` begins.
fn find_line(text: &[u8], words: &[u8]) -> Option<usize> {
    let starts = std::iter::once(0).chain(
        text.iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(at, _)| at + 1),
    );
    starts.rev().find(|at| text[*at..].starts_with(words))
}

fn check(allowed: &str, armored: &[u8], signed: &[u8], at: i64) -> Result<String, String> {
    if !armored.trim_ascii_start().starts_with(BEGIN) {
        return Err("it is signed with OpenPGP or X.509, and only SSH signatures are checked".to_owned());
    }
    let parsed =
        SshSig::from_pem(armored.trim_ascii()).map_err(|error| format!("its signature can't be read: {error}"))?;
    if parsed.namespace() != NAMESPACE {
        return Err(format!("its signature is for \"{}\", not for Git", parsed.namespace()));
    }
    let principals = allowed_signer(allowed, parsed.public_key(), at).map_err(|reason| format!("its {reason}"))?;
    let message = SshSig::signed_data(NAMESPACE, parsed.hash_alg(), signed).map_err(|error| error.to_string())?;
    if verifies(&parsed, &message) {
        Ok(principals)
    } else {
        Err(format!("its signature by {} is wrong", shown(parsed.public_key())))
    }
}

/// The principals of a key in the text of a file of allowed signers, if it is valid at a time, in seconds since 1970.
pub(crate) fn allowed_signer(allowed: &str, key: &KeyData, at: i64) -> Result<String, String> {
    let signers: Vec<Signer> = allowed
        .lines()
        .filter_map(Signer::parse)
        .filter(|signer| signer.key == *key)
        .collect();
    let known = !signers.is_empty();
    match signers.into_iter().find(|signer| signer.is_valid_at(at)) {
        Some(signer) => Ok(signer.principals),
        None if known => Err(format!("key {} is not valid for Git at the commit's time", shown(key))),
        None => Err(format!("key {} is not an allowed signer", shown(key))),
    }
}

/// A key as an error names it.
fn shown(key: &KeyData) -> String {
    let key = PublicKey::from(key.clone());
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

/// Whether the signature is right for the message.
fn verifies(parsed: &SshSig, message: &[u8]) -> bool {
    let bytes = parsed.signature().as_bytes();
    let with = |algorithm: &'static dyn signature::VerificationAlgorithm, key: &[u8], signature: &[u8]| {
        UnparsedPublicKey::new(algorithm, key)
            .verify(message, signature)
            .is_ok()
    };
    match (parsed.public_key(), parsed.signature().algorithm()) {
        (KeyData::Ed25519(key), Algorithm::Ed25519) => with(&signature::ED25519, key.as_ref(), bytes),
        (KeyData::Ecdsa(key @ EcdsaPublicKey::NistP256(_)), Algorithm::Ecdsa { .. }) => {
            fixed(bytes, 32).is_some_and(|fixed| with(&signature::ECDSA_P256_SHA256_FIXED, key.as_sec1_bytes(), &fixed))
        }
        (KeyData::Ecdsa(key @ EcdsaPublicKey::NistP384(_)), Algorithm::Ecdsa { .. }) => {
            fixed(bytes, 48).is_some_and(|fixed| with(&signature::ECDSA_P384_SHA384_FIXED, key.as_sec1_bytes(), &fixed))
        }
        (KeyData::Rsa(key), Algorithm::Rsa { hash: Some(hash) }) => {
            let (Some(n), Some(e)) = (key.n.as_positive_bytes(), key.e.as_positive_bytes()) else {
                return false;
            };
            let parameters = match hash {
                HashAlg::Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                _ => &signature::RSA_PKCS1_2048_8192_SHA512,
            };
            let key = signature::RsaPublicKeyComponents { n, e };
            key.verify(parameters, message, bytes).is_ok()
        }
        _ => false,
    }
}

/// An ECDSA signature as two numbers of a fixed length, from two numbers with their lengths in front.
fn fixed(bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut rest = bytes;
    let mut numbers = Vec::with_capacity(2 * length);
    for _ in 0..2 {
        let (size, after) = rest.split_first_chunk::<4>()?;
        let (number, after) = after.split_at_checked(u32::from_be_bytes(*size) as usize)?;
        rest = after;
        // A number whose first bit is set has a zero byte in front.
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        numbers.extend(std::iter::repeat_n(0, length.checked_sub(number.len())?));
        numbers.extend_from_slice(number);
    }
    rest.is_empty().then_some(numbers)
}

/// A line of the file of allowed signers.
struct Signer {
    principals: String,
    key: KeyData,
    after: Option<i64>,
    before: Option<i64>,
}

impl Signer {
    /// Reads a line. A line that can't be read, one with an option that is not known, and one for other uses than Git count
    /// as none.
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let (principals, mut rest) = next_word(line)?;
        let (mut after, mut before) = (None, None);
        let key = loop {
            if let Ok(key) = PublicKey::from_openssh(&first_two(rest)) {
                break key;
            }
            let (options, remaining) = next_word(rest)?;
            rest = remaining;
            for option in split_options(&options) {
                let (name, value) = option.split_once('=').unwrap_or((&option, ""));
                let value = value.trim_matches('"');
                match name.to_ascii_lowercase().as_str() {
                    "namespaces" if value.split(',').any(|name| name == NAMESPACE || name == "*") => {}
                    "valid-after" => after = Some(moment(value)?),
                    "valid-before" => before = Some(moment(value)?),
                    // Also `cert-authority`: certificates are not checked.
                    _ => return None,
                }
            }
        };
        Some(Self {
            principals,
            key: key.key_data().clone(),
            after,
            before,
        })
    }

    fn is_valid_at(&self, at: i64) -> bool {
        self.after.is_none_or(|after| at >= after) && self.before.is_none_or(|before| at < before)
    }
}

/// The next word, and the rest. A word ends at a blank outside of quotation marks.
fn next_word(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let mut quoted = false;
    let end = text.find(|c: char| {
        quoted ^= c == '"';
        c.is_whitespace() && !quoted
    });
    let end = end.unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

fn first_two(text: &str) -> String {
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// The options of a line, which commas outside of quotation marks separate.
fn split_options(text: &str) -> Vec<String> {
    let mut quoted = false;
    let parts = text.split(|c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    parts.map(str::to_owned).collect()
}

/// A time of `valid-after` and `valid-before`: `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, with or without `Z`. Both are taken as UTC,
/// because a container's local time is.
fn moment(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z').unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |text| text.parse::<i8>().ok());
    let year = digits.get(..4)?.parse::<i16>().ok()?;
    let (month, day) = (digits.get(4..6)?.parse().ok()?, digits.get(6..8)?.parse().ok()?);
    if ![8, 12, 14].contains(&digits.len()) {
        return None;
    }
    let time = DateTime::new(year, month, day, part(8, 10)?, part(10, 12)?, part(12, 14)?, 0).ok()?;
    Some(TimeZone::UTC.to_timestamp(time).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    #[test]
    fn a_line_with_options_limits_when_and_for_what_a_key_is_valid() {
        let signer = |line: &str| Signer::parse(line);
        let plain = signer(&format!("ada@example.com {KEY} a comment")).unwrap();
        assert_eq!(plain.principals, "ada@example.com");
        assert!(plain.is_valid_at(0));
        let timed = signer(&format!(
            "*@example.com namespaces=\"git,file\",valid-after=\"20260101Z\",valid-before=\"202601020000\" {KEY}"
        ));
        let timed = timed.unwrap();
        let start = moment("20260101").unwrap();
        assert_eq!(
            [start - 1, start, start + 86_399, start + 86_400].map(|at| timed.is_valid_at(at)),
            [false, true, true, false]
        );
        for refused in [
            format!("# ada {KEY}"),
            format!("ada cert-authority {KEY}"),
            format!("ada namespaces=\"file\" {KEY}"),
            format!("ada valid-after=\"tomorrow\" {KEY}"),
            "ada".to_owned(),
            String::new(),
        ] {
            assert!(signer(&refused).is_none(), "{refused}");
        }
    }

    #[test]
    fn an_ecdsa_signature_is_brought_to_a_fixed_length() {
        let bytes = [0, 0, 0, 3, 0, 0x80, 1, 0, 0, 0, 1, 5];
        assert_eq!(fixed(&bytes, 3).unwrap(), [0, 0x80, 1, 0, 0, 5]);
        for broken in [&bytes[..11], &bytes[..4], &[255; 8]] {
            assert!(fixed(broken, 3).is_none());
        }
        assert!(fixed(&bytes, 1).is_none());
    }
}
