//! One file: what is in it, decrypted.

use std::io::{self, Read};

use sidevault_sops::{Document, Format, Identities};

use super::content;
use super::draft::{Reading, read_documents};
use super::tree::Found;

/// The largest YAML, JSON, dotenv or INI file, in bytes.
const LARGEST_TREE: u64 = 16 << 20;

/// The largest SOPS-encrypted binary file, in bytes. It is authenticated as a whole, so it must
/// stand in memory as a whole. Binary files that are not encrypted have no limit.
const LARGEST_ENCRYPTED: u64 = 64 << 20;

/// What a file is.
pub(crate) enum Contents {
    /// Items; none for a file that is not meant to be one.
    Items(Vec<Reading>),
    /// A DOCUMENT whose bytes had to be decrypted.
    Decrypted(Vec<u8>),
    /// A DOCUMENT that is the file as it is, of this size.
    Plain { size: u64 },
}

/// Why a file could not be read.
pub(crate) enum ReadError {
    /// It is not there any more: the tree is being changed, and must be listed again.
    Gone,
    /// It is bad. Its items stay as they were.
    Bad(String),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Bad(error.to_string()),
        }
    }
}

/// A file as it is on disk: its digest, and its bytes where they are needed as a whole.
pub(crate) struct Raw {
    pub(crate) digest: [u8; 32],
    size: u64,
    bytes: Option<Vec<u8>>,
}

/// Reads a file's bytes, or only their digest if they may be too many.
pub(crate) fn load(found: &Found) -> Result<Raw, ReadError> {
    let format = Format::from_path(&found.path);
    let limit = if format == Format::Binary {
        LARGEST_ENCRYPTED
    } else {
        LARGEST_TREE
    };
    if format != Format::Binary && found.stamp.size > limit {
        return Err(ReadError::Bad(format!(
            "larger than {} MiB, the most for this format",
            limit >> 20
        )));
    }
    if found.stamp.size > limit || (format == Format::Binary && !starts_like_json(found)?) {
        let (digest, size) = content::digest(&found.path)?;
        return Ok(Raw {
            digest,
            size,
            bytes: None,
        });
    }
    let bytes = std::fs::read(&found.path)?;
    Ok(Raw {
        digest: content::digest_of(&bytes),
        size: bytes.len() as u64,
        bytes: Some(bytes),
    })
}

/// A binary file that SOPS encrypted is JSON.
fn starts_like_json(found: &Found) -> io::Result<bool> {
    let mut start = [0; 64];
    let n = std::fs::File::open(&found.path)?.read(&mut start)?;
    Ok(start[..n].trim_ascii_start().first() == Some(&b'{'))
}

/// Decrypts a file and says what it is.
pub(crate) fn understand(found: &Found, raw: &Raw, identities: &Identities) -> Result<Contents, ReadError> {
    let Some(bytes) = &raw.bytes else {
        return Ok(plain(found, raw));
    };
    let format = Format::from_path(&found.path);
    let decrypted =
        sidevault_sops::read(format, bytes, identities).map_err(|error| ReadError::Bad(error.to_string()))?;
    match decrypted.document {
        Document::Tree(documents) => read_documents(&documents).map(Contents::Items).map_err(ReadError::Bad),
        Document::Binary(bytes) if decrypted.encrypted => Ok(Contents::Decrypted(bytes)),
        Document::Binary(_) => Ok(plain(found, raw)),
    }
}

/// Notes that explain a tree are no secrets of it, unless somebody encrypted them.
fn plain(found: &Found, raw: &Raw) -> Contents {
    if found.relative.ends_with(".md") {
        Contents::Items(Vec::new())
    } else {
        Contents::Plain { size: raw.size }
    }
}
