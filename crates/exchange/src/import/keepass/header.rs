//! What the head of a file asks of its reader. It is not authenticated before the key is derived, so anybody can have written it.

use crate::import::ImportError;

/// The most work for the derivation of a key: several times what KeePass and KeePassXC propose, and seconds on a slow machine;
/// less while fuzzing.
const MAX_AES_ROUNDS: u64 = if cfg!(fuzzing) { 10_000 } else { 500_000_000 };
const MAX_ARGON2_BYTES: u64 = if cfg!(fuzzing) { 1 << 24 } else { 1 << 30 };
const MAX_ARGON2_LANES: u64 = 64;
/// Memory times passes.
const MAX_ARGON2_WORK: u64 = if cfg!(fuzzing) { 1 << 26 } else { 64 << 30 };

/// The signature of KeePass 2. The fourth byte tells versions apart.
pub(super) const SIGNATURE: [u8; 4] = [0x03, 0xd9, 0xa2, 0x9a];
const KDBX: [u8; 4] = [0x67, 0xfb, 0x4b, 0xb5];

/// Types of entries in the head.
const END: u8 = 0;
const COMPRESSION: u8 = 3;
const ROUNDS: u8 = 6;
const INNER_CIPHER: u8 = 10;
const KDF: u8 = 11;
const CUSTOM_DATA: u8 = 12;

/// Types of a dictionary's values, each with its length. The crate takes the lengths on trust.
const NUMBERS: [(u8, usize); 4] = [(0x04, 4), (0x05, 8), (0x0c, 4), (0x0d, 8)];

/// Refuses a file of another version, whose head is broken, or that asks for too much work.
pub(super) fn check(data: &[u8]) -> Result<(), ImportError> {
    if data.get(4..8) != Some(&KDBX[..]) {
        return Err(ImportError::Format(
            "the file is of KeePass 1, or of a trial version of KeePass 2: open it in KeePassXC, which saves it as KDBX 4".to_owned(),
        ));
    }
    let major = data.get(10..12).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let wide = match major {
        Some(3) => false,
        Some(4) => true,
        other => {
            return Err(ImportError::Format(format!(
                "the file is KDBX {}, and this version reads KDBX 3 and 4",
                other.unwrap_or_default()
            )));
        }
    };
    entries(data, wide).ok_or_else(broken)?
}

fn broken() -> ImportError {
    ImportError::malformed("the head of the file", "it is cut off, or not what KDBX says")
}

/// Checks each entry. `None` if the head is cut off.
fn entries(data: &[u8], wide: bool) -> Option<Result<(), ImportError>> {
    let mut rest = data.get(12..)?;
    loop {
        let (kind, length, content) = match wide {
            true => (*rest.first()?, little(rest.get(1..5)?), rest.get(5..)?),
            false => (*rest.first()?, little(rest.get(1..3)?), rest.get(3..)?),
        };
        let length = usize::try_from(length).ok()?;
        let value = content.get(..length)?;
        rest = content.get(length..)?;
        let outcome = match kind {
            END => return Some(Ok(())),
            COMPRESSION | INNER_CIPHER if length != 4 => Err(broken()),
            ROUNDS if length != 8 => Err(broken()),
            ROUNDS => within("rounds of AES", little(value), MAX_AES_ROUNDS),
            KDF | CUSTOM_DATA => dictionary(value).unwrap_or_else(|| Err(broken())),
            _ => Ok(()),
        };
        if outcome.is_err() {
            return Some(outcome);
        }
    }
}

/// Checks a dictionary of values with names and types, such as the parameters of a key derivation.
fn dictionary(dictionary: &[u8]) -> Option<Result<(), ImportError>> {
    let mut rest = dictionary.get(2..)?;
    let (mut memory, mut passes) = (0, 1);
    loop {
        let kind = *rest.first()?;
        if kind == END {
            break;
        }
        let name_length = usize::try_from(little(rest.get(1..5)?)).ok()?;
        let name = rest.get(5..)?.get(..name_length)?;
        rest = rest.get(5 + name_length..)?;
        let length = usize::try_from(little(rest.get(..4)?)).ok()?;
        let value = rest.get(4..)?.get(..length)?;
        rest = rest.get(4 + length..)?;
        if NUMBERS
            .iter()
            .any(|(number, wanted)| *number == kind && *wanted != length)
        {
            return None;
        }
        let outcome = match name {
            b"R" => within("rounds of AES", little(value), MAX_AES_ROUNDS),
            b"P" => within("lanes of Argon2", little(value), MAX_ARGON2_LANES),
            b"M" => {
                memory = little(value);
                within("bytes of memory for Argon2", memory, MAX_ARGON2_BYTES)
            }
            b"I" => {
                passes = little(value);
                Ok(())
            }
            _ => Ok(()),
        };
        if outcome.is_err() {
            return Some(outcome);
        }
    }
    Some(within(
        "bytes times passes of Argon2",
        memory.saturating_mul(passes.max(1)),
        MAX_ARGON2_WORK,
    ))
}

fn within(what: &str, value: u64, most: u64) -> Result<(), ImportError> {
    match value <= most {
        true => Ok(()),
        false => Err(ImportError::malformed(
            "the head of the file",
            format!(
                "it asks for {value} {what}, and {most} is the most that is done: choose less in KeePass and save the file again"
            ),
        )),
    }
}

/// A number of up to 8 bytes, the lowest first. More bytes count as the largest number.
fn little(bytes: &[u8]) -> u64 {
    if bytes.len() > 8 {
        return u64::MAX;
    }
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
