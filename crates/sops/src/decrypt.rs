//! Decrypts every encrypted value of a file's documents and checks the MAC over all values.

use std::fmt;

use sha2::{Digest as _, Sha512};

use crate::cipher::{Cipher, Opened, Problem, holds_mark, looks_sealed};
use crate::limits::MAX_CONTEXT_BYTES;
use crate::metadata::Metadata;
use crate::text::shown;
use crate::{SopsError, Value, number};

/// The start of the digest if the MAC covers encrypted values only: the SHA-256 of `sops`. It makes such a MAC differ from
/// any MAC over all values.
const MAC_ONLY_ENCRYPTED_START: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, //
    0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Decrypts `documents` in place, and checks their MAC.
pub(crate) fn decrypt(documents: &mut [Value], metadata: &Metadata, cipher: &Cipher) -> Result<(), SopsError> {
    let computed = open(documents, metadata, cipher)?;
    match cipher.open(&metadata.mac, &metadata.lastmodified) {
        Ok(Opened::Value(sealed)) if sealed.as_str() == Some(&computed) => Ok(()),
        _ => Err(SopsError::MacMismatch),
    }
}

/// Decrypts `documents` in place. Returns what the MAC must be: the SHA-512 of the values, in hexadecimal.
pub(crate) fn open(documents: &mut [Value], metadata: &Metadata, cipher: &Cipher) -> Result<String, SopsError> {
    let mut walk = Walk {
        cipher,
        metadata,
        digest: Sha512::new(),
        context: String::new(),
        contexts: 0,
    };
    if metadata.mac_only_encrypted {
        walk.digest.update(MAC_ONLY_ENCRYPTED_START);
    }
    for document in documents {
        match document {
            // An empty document between two markers.
            Value::Null => *document = Value::Mapping(Vec::new()),
            Value::Mapping(_) => {
                walk.value(document, false, &Path::Root)?;
            }
            _ => {
                return Err(SopsError::Value {
                    path: Path::Root.to_string(),
                    problem: NOT_A_MAPPING,
                });
            }
        }
    }
    let digest = walk.digest.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02X}")).collect())
}

const NOT_A_MAPPING: Problem = "every document of an encrypted file must be a mapping; sops writes no others";

struct Walk<'a> {
    cipher: &'a Cipher,
    metadata: &'a Metadata,
    digest: Sha512,
    /// The keys on the path to the current value, each followed by `:`, without list positions. It is the additional data
    /// that a value was encrypted with, so a value can't be moved to another key.
    context: String,
    /// How many bytes of context were authenticated so far.
    contexts: usize,
}

/// Whether a list keeps an item.
#[derive(PartialEq)]
enum Kept {
    Yes,
    /// The item was a comment: sops encrypts a comment in a list as an item.
    Comment,
}

impl Walk<'_> {
    /// Decrypts `value` and everything in it, in the order of the file, which is the order of the MAC.
    fn value(&mut self, value: &mut Value, matched: bool, path: &Path<'_>) -> Result<Kept, SopsError> {
        match value {
            Value::Merge(merged) => self.value(merged, matched, path),
            // sops does not encrypt nulls, and the MAC does not cover them.
            Value::Null => Ok(Kept::Yes),
            Value::Mapping(entries) => {
                for (key, entry) in entries.iter_mut() {
                    let matched = matched || self.metadata.rule.matches(key);
                    let path = Path::Key(path, key);
                    let outer = self.context.len();
                    self.context.push_str(key);
                    self.context.push(':');
                    let kept = self.value(entry, matched, &path)?;
                    self.context.truncate(outer);
                    if kept == Kept::Comment {
                        return Err(path.error(
                            "a comment is encrypted in place of a value; set the value again with `sops edit`",
                        ));
                    }
                }
                Ok(Kept::Yes)
            }
            Value::Sequence(items) => {
                let mut comments = Vec::new();
                for (index, item) in items.iter_mut().enumerate() {
                    if self.value(item, matched, &Path::Index(path, index))? == Kept::Comment {
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
            scalar => self.scalar(scalar, matched, path),
        }
    }

    fn scalar(&mut self, value: &mut Value, matched: bool, path: &Path<'_>) -> Result<Kept, SopsError> {
        let looks_sealed = value.as_str().is_some_and(looks_sealed);
        let sealed = self.metadata.rule.seals(matched, looks_sealed);
        if sealed {
            let text = value.as_str().ok_or_else(|| {
                path.error(
                    "the value should be encrypted and is not: it was added without sops; encrypt it with `sops edit`",
                )
            })?;
            // sops does not encrypt an empty text.
            if !text.is_empty() {
                self.contexts += self.context.len();
                if self.contexts > MAX_CONTEXT_BYTES {
                    return Err(SopsError::Limit {
                        what: "bytes of key paths",
                        limit: MAX_CONTEXT_BYTES,
                    });
                }
                let opened = self.cipher.open(text, &self.context);
                match opened.map_err(|problem| path.error(problem))? {
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

    /// Adds a value to the MAC, in the form that sops uses for its type.
    fn cover(&mut self, value: &Value) {
        match value {
            Value::Bool(flag) => self.digest.update(if *flag { "True" } else { "False" }),
            Value::Float(text) => self.digest.update(number::plain_spelling(text)),
            Value::Int(text) | Value::String(text) | Value::Time(text) => self.digest.update(text),
            Value::Bytes(bytes) => self.digest.update(bytes),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Merge(_) => {}
        }
    }
}

/// Refuses a document with a value that is still encrypted, or that is the text of a whole encrypted file: a client that
/// reads a secret must not get ciphertext.
pub(crate) fn refuse_sealed(document: &Value) -> Result<(), SopsError> {
    find_sealed(document, &Path::Root)
}

fn find_sealed(value: &Value, path: &Path<'_>) -> Result<(), SopsError> {
    match value {
        Value::String(text) if looks_sealed(text) => Err(path.error(
            "the value is still encrypted after decryption: it was encrypted twice, or the file's rule no longer covers \
             it; set it again with `sops edit`",
        )),
        Value::String(text) if holds_mark(text.as_bytes()) => {
            Err(path.error("the value contains text that SOPS encrypted on its own; put that text into its own file"))
        }
        Value::Merge(merged) => find_sealed(merged, path),
        Value::Sequence(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| find_sealed(item, &Path::Index(path, index))),
        Value::Mapping(entries) => entries
            .iter()
            .try_for_each(|(key, entry)| find_sealed(entry, &Path::Key(path, key))),
        _ => Ok(()),
    }
}

/// The path of a value, for messages: `db.hosts[0]`.
pub(crate) enum Path<'a> {
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
    fn a_path_is_shown_with_dots_and_brackets() {
        let root = Path::Root;
        let db = Path::Key(&root, "db");
        let hosts = Path::Key(&db, "hosts\n");
        assert_eq!(Path::Index(&hosts, 3).to_string(), r"db.hosts\n[3]");
    }
}
