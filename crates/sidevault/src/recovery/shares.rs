//! Shares of a key: any K of N give the key back, and fewer tell nothing about it.
//!
//! This is Shamir's secret sharing over GF(2^8), byte by byte (crate `vsss-rs`). A share is text in Bech32m (BIP 350), whose checksum
//! finds typing errors: the prefix `sidevault-share`, and 39 bytes: the format's version, K, four bytes that are the same in all shares
//! of a key, the share's x-coordinate, and one byte for each byte of the key.

use std::str::FromStr;

use bech32::{Bech32m, Hrp};
use sha2::{Digest as _, Sha256};
use vsss_rs::Gf256;
use zeroize::Zeroizing;

/// A key that is shared.
pub(super) type Key = Zeroizing<[u8; KEY_BYTES]>;

pub(super) const KEY_BYTES: usize = 32;

const PREFIX: &str = "sidevault-share";

const VERSION: u8 = 1;

/// How many shares there are, and how many of them give the key back: `3/5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sharing {
    /// K: 2 to `all`.
    needed: u8,
    /// N: at most 255.
    all: u8,
}

impl Sharing {
    pub(crate) fn needed(self) -> u8 {
        self.needed
    }
}

impl FromStr for Sharing {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let numbers = text
            .split_once('/')
            .and_then(|(needed, all)| Some((needed.parse().ok()?, all.parse().ok()?)));
        match numbers {
            Some((needed, all)) if 2 <= needed && needed <= all => Ok(Self { needed, all }),
            _ => Err("expected K/N, such as 3/5: N shares (at most 255), of which K (at least 2) are needed"),
        }
    }
}

/// Why shares don't give a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ShareError {
    #[error("share {0} is not complete, or has a typing error")]
    Damaged(usize),
    #[error("share {0} is from a newer version of Sidevault")]
    Newer(usize),
    #[error("share {0} belongs to another key than share 1")]
    OtherKey(usize),
    #[error("share {0} is there twice")]
    Twice(usize),
    #[error(
        "{found} of the {needed} shares that are needed were found: a share is one word that begins with {PREFIX}1"
    )]
    TooFew { found: usize, needed: u8 },
    #[error("the shares do not fit together")]
    Unfit,
}

/// The four bytes that tell shares of one key from those of another. From the hash, nobody can compute the key.
fn mark(key: &[u8]) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update("sidevault-share")
        .chain_update(key)
        .finalize();
    *digest.first_chunk().unwrap_or(&[0; 4])
}

/// Splits a key. Each share is one word.
pub(super) fn split(key: &Key, sharing: Sharing) -> Result<Vec<Zeroizing<String>>, ShareError> {
    let parts = Gf256::split_bytes(sharing.needed.into(), sharing.all.into(), key.as_slice(), rand::rng());
    let parts = Zeroizing::new(parts.map_err(|_| ShareError::Unfit)?);
    let prefix = Hrp::parse(PREFIX).map_err(|_| ShareError::Unfit)?;
    let words = parts.iter().map(|part| {
        let mut bytes = Zeroizing::new(vec![VERSION, sharing.needed]);
        bytes.extend(mark(key.as_slice()));
        bytes.extend(part);
        let word = bech32::encode::<Bech32m>(prefix, &bytes).map_err(|_| ShareError::Unfit)?;
        Ok(Zeroizing::new(word))
    });
    words.collect()
}

/// Gives the key back, from a text with one share or more among other words.
pub(super) fn combine(text: &str) -> Result<Key, ShareError> {
    let words = text
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '-')
        .filter(|word| {
            word.get(..PREFIX.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
        });
    let mut parts: Zeroizing<Vec<Vec<u8>>> = Zeroizing::default();
    let mut first = None;
    for (index, word) in words.enumerate() {
        let number = index + 1;
        let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(word);
        let checked = checked.map_err(|_| ShareError::Damaged(number))?;
        let bytes = Zeroizing::new(checked.byte_iter().collect::<Vec<u8>>());
        let Some((&[version, needed, a, b, c, d], part)) = bytes.split_first_chunk() else {
            return Err(ShareError::Damaged(number));
        };
        match version {
            VERSION if part.len() == KEY_BYTES + 1 => {}
            VERSION => return Err(ShareError::Damaged(number)),
            _ => return Err(ShareError::Newer(number)),
        }
        let same = (needed, [a, b, c, d]);
        if *first.get_or_insert(same) != same {
            return Err(ShareError::OtherKey(number));
        }
        if parts.iter().any(|known| known.first() == part.first()) {
            return Err(ShareError::Twice(number));
        }
        parts.push(part.to_vec());
    }
    let (needed, expected) = first.unwrap_or((2, [0; 4]));
    if parts.len() < needed.into() {
        return Err(ShareError::TooFew {
            found: parts.len(),
            needed,
        });
    }
    let key = Zeroizing::new(Gf256::combine_bytes(parts.as_slice()).map_err(|_| ShareError::Unfit)?);
    match <[u8; KEY_BYTES]>::try_from(key.as_slice()) {
        Ok(found) if mark(&found) == expected => Ok(Zeroizing::new(found)),
        _ => Err(ShareError::Unfit),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(key: u8, sharing: &str) -> Vec<String> {
        let shares = split(&Zeroizing::new([key; KEY_BYTES]), sharing.parse().unwrap()).unwrap();
        shares.iter().map(|share| share.to_string()).collect()
    }

    #[test]
    fn a_sharing_needs_two_shares_at_least_and_has_255_at_most() {
        assert_eq!("3/5".parse(), Ok(Sharing { needed: 3, all: 5 }));
        for wrong in ["", "3", "1/3", "4/3", "2/256", "-2/3", "2/3/4", "a/b"] {
            assert!(wrong.parse::<Sharing>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_are_found_among_other_words_in_either_case() {
        let shares = shares(7, "2/3");
        let text = format!("Anna: {},\r\n2) <{}>\n", shares[2].to_uppercase(), shares[0]);
        assert_eq!(*combine(&text).unwrap(), [7; KEY_BYTES]);
    }

    #[test]
    fn shares_that_do_not_fit_are_named() {
        let (one, other) = (shares(1, "3/5"), shares(2, "3/5"));
        let combined = |shares: &[&String]| {
            let words: Vec<_> = shares.iter().map(|share| share.as_str()).collect();
            combine(&words.join("\n")).unwrap_err()
        };
        assert_eq!(combine("").unwrap_err(), ShareError::TooFew { found: 0, needed: 2 });
        assert_eq!(
            combined(&[&one[0], &one[1]]),
            ShareError::TooFew { found: 2, needed: 3 }
        );
        assert_eq!(combined(&[&one[0], &one[0]]), ShareError::Twice(2));
        assert_eq!(combined(&[&one[0], &one[1], &other[2]]), ShareError::OtherKey(3));
        let mut typo = one[1].clone();
        let last = typo.pop().unwrap();
        typo.push(if last == 'q' { 'p' } else { 'q' });
        assert_eq!(combined(&[&one[0], &typo]), ShareError::Damaged(2));
        let cut = one[1][..one[1].len() - 8].to_owned();
        assert_eq!(combined(&[&one[0], &cut]), ShareError::Damaged(2));
    }

    proptest! {
        #[test]
        fn any_shares_that_are_enough_give_the_key(
            key: [u8; KEY_BYTES],
            (needed, all) in (2u8..6).prop_flat_map(|needed| (Just(needed), needed..8)),
            seed: u64,
        ) {
            let shares = split(&Zeroizing::new(key), Sharing { needed, all }).unwrap();
            // Some `needed` shares of all, in some order.
            let mut order: Vec<usize> = (0..all.into()).collect();
            order.sort_by_key(|index| seed.rotate_left(*index as u32 * 7).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let chosen: Vec<&str> = order.iter().take(needed.into()).map(|index| shares[*index].as_str()).collect();
            prop_assert_eq!(*combine(&chosen.join(" ")).unwrap(), key);
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = combine(&text);
            let _ = combine(&format!("{PREFIX}1{text}"));
        }
    }
}
