//! Decrypts a file's data key: each recipient has it in an age file; with several key groups, it is split by Shamir's scheme.

use std::io::Read as _;

use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor};
use vsss_rs::Gf256;
use zeroize::Zeroizing;

use crate::cipher::Cipher;
use crate::metadata::{AgeRecipient, KeyGroup, Metadata};
use crate::{Identities, SopsError};

/// The most bytes of a data key or a share. They have 32 and 33.
const MAX_PART_BYTES: u64 = 256;

type Part = Zeroizing<Vec<u8>>;

/// Recovers the file's data key with these identities.
pub(crate) fn recover(metadata: &Metadata, identities: &Identities) -> Result<Cipher, SopsError> {
    let mut parts = Vec::new();
    let mut damaged = None;
    for group in &metadata.groups {
        match open_group(group, identities) {
            Ok(part) => parts.extend(part),
            Err(error) => damaged = Some(error),
        }
    }
    let several = metadata.groups.len() > 1;
    let needed = if several { metadata.threshold } else { 1 };
    if parts.len() < needed {
        return Err(damaged.unwrap_or_else(|| lacking(metadata, identities, parts.len(), needed)));
    }
    let key = if several {
        combine(&parts)?
    } else {
        parts.swap_remove(0)
    };
    Cipher::new(&key).ok_or_else(|| SopsError::Metadata {
        problem: "the data key does not have 256 bits".to_owned(),
    })
}

/// The error if too few key groups could be decrypted.
fn lacking(metadata: &Metadata, identities: &Identities, opened: usize, needed: usize) -> SopsError {
    let recipients = metadata.recipients();
    let held = identities.recipients();
    if opened > 0 {
        return SopsError::KeyGroups {
            opened,
            needed,
            recipients,
            held,
        };
    }
    if recipients.iter().all(|recipient| recipient.service_name().is_some()) {
        return SopsError::UnsupportedRecipients { recipients, held };
    }
    let unusable = identities.unusable().to_vec();
    if held.is_empty() {
        SopsError::NoIdentity { recipients, unusable }
    } else {
        SopsError::NoMatchingIdentity {
            recipients,
            held,
            unusable,
        }
    }
}

/// Decrypts a key group's part of the data key; `None` if no identity matches.
///
/// Plugins are tried last, because each try starts a program.
fn open_group(group: &KeyGroup, identities: &Identities) -> Result<Option<Part>, SopsError> {
    let mut damaged = None;
    for with_plugins in [false, true] {
        for entry in &group.age {
            match open_part(entry, identities, with_plugins) {
                Ok(Some(part)) => return Ok(Some(part)),
                Ok(None) => {}
                // The part may be undamaged at another recipient.
                Err(error) => damaged = Some(error),
            }
        }
    }
    damaged.map_or(Ok(None), Err)
}

fn open_part(entry: &AgeRecipient, identities: &Identities, with_plugins: bool) -> Result<Option<Part>, SopsError> {
    let damaged = || SopsError::DataKey {
        recipient: entry.recipient.clone(),
    };
    let decryptor = Decryptor::new(ArmoredReader::new(entry.enc.as_bytes())).map_err(|_| damaged())?;
    let opened = if with_plugins {
        decryptor.decrypt(identities.plugins())
    } else {
        decryptor.decrypt(identities.own())
    };
    let plain = match opened {
        Ok(plain) => plain,
        Err(DecryptError::NoMatchingKeys) => return Ok(None),
        Err(DecryptError::Plugin(_) | DecryptError::PluginResolve(_)) => {
            return Err(SopsError::Plugin {
                recipient: entry.recipient.clone(),
            });
        }
        Err(_) => return Err(damaged()),
    };
    let mut part = Zeroizing::new(Vec::with_capacity(MAX_PART_BYTES as usize + 1));
    plain
        .take(MAX_PART_BYTES + 1)
        .read_to_end(&mut part)
        .map_err(|_| damaged())?;
    if part.is_empty() || part.len() as u64 > MAX_PART_BYTES {
        return Err(damaged());
    }
    Ok(Some(part))
}

/// Combines the shares of the data key.
///
/// sops splits the key with HashiCorp's variant of Shamir's scheme over GF(2^8), which has the x-coordinate at the end of a
/// share. `vsss-rs` uses the same field and expects it at the beginning.
fn combine(parts: &[Part]) -> Result<Part, SopsError> {
    let rotate = |part: &Part| {
        let mut share = part.to_vec();
        share.rotate_right(1);
        share
    };
    let shares = Zeroizing::new(parts.iter().map(rotate).collect::<Vec<_>>());
    let key = Gf256::combine_bytes(shares.as_slice()).map_err(|_| SopsError::Metadata {
        problem: "the shares of the data key do not fit together".to_owned(),
    })?;
    Ok(Zeroizing::new(key))
}

#[cfg(test)]
mod tests {

    use super::*;

    // Points of y = s + c·x over GF(2^8) mod x^8+x^4+x^3+x+1, worked out by hand: s = 0x2a, c = 0x80,
    // x = 1, 2, 3. 0x80·2 = 0x1b and 0x80·3 = 0x1b ^ 0x80.
    const SHARES: [[u8; 2]; 3] = [[0x2a ^ 0x80, 1], [0x2a ^ 0x1b, 2], [0x2a ^ 0x9b, 3]];

    fn parts(of: &[usize]) -> Vec<Part> {
        of.iter().map(|index| Zeroizing::new(SHARES[*index].to_vec())).collect()
    }

    #[test]
    fn any_two_shares_give_the_secret() {
        for pair in [[0, 1], [1, 2], [2, 0]] {
            assert_eq!(*combine(&parts(&pair)).unwrap(), [0x2a]);
        }
        assert_eq!(*combine(&parts(&[0, 1, 2])).unwrap(), [0x2a]);
    }

    #[test]
    fn shares_that_do_not_fit_together_are_refused() {
        assert!(combine(&parts(&[0, 0])).is_err());
        assert!(combine(&parts(&[0])).is_err());
        let uneven = vec![Zeroizing::new(vec![1, 2, 3]), Zeroizing::new(vec![1, 2])];
        assert!(combine(&uneven).is_err());
    }
}
