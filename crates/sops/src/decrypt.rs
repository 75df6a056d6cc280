//! Opens every sealed value of a tree and checks the MAC over all of them.

use std::fmt;

use sha2::{Digest as _, Sha512};

use crate::cipher::{Cipher, Opened, Problem, looks_sealed};
use crate::metadata::Metadata;
use crate::text::shown;
use crate::{Identities, SopsError, Value, data_key, number};

/// Starts the digest of a file whose MAC covers sealed values only (the SHA-256 of `sops`), so that
/// it can never equal the MAC of one that covers everything.
const MAC_ONLY_ENCRYPTED_START: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, //
    0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Decrypts `documents` in place.
pub(crate) fn decrypt(documents: &mut [Value], metadata: &Metadata, identities: &Identities) -> Result<(), SopsError> {
    let cipher = data_key::recover(metadata, identities)?;
    let mut walk = Walk {
        cipher: &cipher,
        metadata,
        digest: Sha512::new(),
    };
    if metadata.mac_only_encrypted {
        walk.digest.update(MAC_ONLY_ENCRYPTED_START);
    }
    for document in documents {
        match document {
            // An empty document between two markers.
            Value::Null => *document = Value::Mapping(Vec::new()),
            Value::Mapping(_) => {
                walk.value(document, "", false, &Path::Root)?;
            }
            _ => {
                return Err(SopsError::Value {
                    path: Path::Root.to_string(),
                    problem: NOT_A_MAPPING,
                });
            }
        }
    }
    let computed = walk
        .digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<String>();
    match cipher.open(&metadata.mac, &metadata.lastmodified) {
        Ok(Opened::Value(sealed)) if sealed.as_str() == Some(&computed) => Ok(()),
        _ => Err(SopsError::MacMismatch),
    }
}

const NOT_A_MAPPING: Problem = "every document of an encrypted file must be a mapping; sops writes no others";

struct Walk<'a> {
    cipher: &'a Cipher,
    metadata: &'a Metadata,
    digest: Sha512,
}

/// Whether a list keeps an item.
#[derive(PartialEq)]
enum Kept {
    Yes,
    /// It was a comment, which sops seals as an item when it stands in a list.
    Comment,
}

impl Walk<'_> {
    /// Opens `value` and all within, in the order of the file, which is the order of the MAC.
    ///
    /// `context` joins the keys of the path, each with a `:` after it; list positions are not in it.
    fn value(&mut self, value: &mut Value, context: &str, matched: bool, path: &Path<'_>) -> Result<Kept, SopsError> {
        match value {
            // Never sealed and not covered.
            Value::Null => Ok(Kept::Yes),
            Value::Mapping(entries) => {
                for (key, entry) in entries.iter_mut() {
                    let matched = matched || self.metadata.rule.matches(key);
                    let path = Path::Key(path, key);
                    if self.value(entry, &format!("{context}{key}:"), matched, &path)? == Kept::Comment {
                        return Err(
                            path.error("a comment is sealed in place of a value; set it again with `sops edit`")
                        );
                    }
                }
                Ok(Kept::Yes)
            }
            Value::Sequence(items) => {
                let mut comments = Vec::new();
                for (index, item) in items.iter_mut().enumerate() {
                    if self.value(item, context, matched, &Path::Index(path, index))? == Kept::Comment {
                        comments.push(index);
                    }
                }
                let mut index = 0;
                items.retain(|_| {
                    index += 1;
                    comments.binary_search(&(index - 1)).is_err()
                });
                Ok(Kept::Yes)
            }
            scalar => self.scalar(scalar, context, matched, path),
        }
    }

    fn scalar(&mut self, value: &mut Value, context: &str, matched: bool, path: &Path<'_>) -> Result<Kept, SopsError> {
        let looks_sealed = value.as_str().is_some_and(looks_sealed);
        let sealed = self.metadata.rule.seals(matched, looks_sealed);
        if sealed {
            let text = value.as_str().ok_or_else(|| {
                path.error("should be encrypted and is not: it was added without sops; encrypt it with `sops edit`")
            })?;
            // sops leaves an empty text as it is.
            if !text.is_empty() {
                match self.cipher.open(text, context).map_err(|problem| path.error(problem))? {
                    Opened::Value(plain) => *value = plain,
                    Opened::Comment => return Ok(Kept::Comment),
                }
            }
        }
        if sealed || !self.metadata.mac_only_encrypted {
            self.cover(value);
        }
        Ok(Kept::Yes)
    }

    /// Adds a value to the MAC, in the spelling sops uses for its type.
    fn cover(&mut self, value: &Value) {
        match value {
            Value::Bool(flag) => self.digest.update(if *flag { "True" } else { "False" }),
            Value::Float(text) => self.digest.update(number::plain_spelling(text)),
            Value::Int(text) | Value::String(text) | Value::Time(text) => self.digest.update(text),
            Value::Bytes(bytes) => self.digest.update(bytes),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => {}
        }
    }
}

/// Where a value stands, for messages: `db.hosts[0]`.
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn error(&self, problem: Problem) -> SopsError {
        SopsError::Value {
            path: self.to_string(),
            problem,
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the top"),
            Self::Key(Path::Root, key) => write!(f, "{}", shown(key)),
            Self::Key(parent, key) => write!(f, "{parent}.{}", shown(key)),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_people_write_them() {
        let root = Path::Root;
        let db = Path::Key(&root, "db");
        let hosts = Path::Key(&db, "hosts\n");
        assert_eq!(Path::Index(&hosts, 3).to_string(), r"db.hosts\n[3]");
    }
}
