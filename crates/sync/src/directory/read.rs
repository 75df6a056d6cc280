//! Reads, decrypts and parses one file.

use std::fs::File;
use std::io::{self, Read, Seek};

use sha2::{Digest, Sha256};
use sidevault_sops::{Detector, Document, Format, Identities, SopsError};
use sidevault_store::CHUNK_BYTES;

use super::beneath::{BeneathError, Opened};
use super::content;
use super::draft::{DocumentError, ParsedDocument, read_documents};
use super::tree::FoundFile;
use crate::queue::{JobError, QueueClosed};

/// The largest YAML, JSON, dotenv or INI file, in bytes.
const MAX_STRUCTURED_BYTES: u64 = 16 << 20;

/// The largest SOPS-encrypted file of any other format, in bytes. SOPS authenticates a file as a whole, so all of it
/// must be in memory. Files of these formats that are not encrypted have no limit.
const MAX_ENCRYPTED_BYTES: u64 = 64 << 20;

/// What a file becomes.
pub(crate) enum Contents {
    /// One item for each document; none for a file that is not served, such as a README.
    Items(Vec<ParsedDocument>),
    /// A DOCUMENT item with these decrypted bytes.
    Decrypted(Vec<u8>),
    /// A DOCUMENT item with the bytes of the file itself, of which there are `size`.
    Plain { size: u64 },
}

/// Why a file was not read.
pub(crate) enum ReadError {
    /// The file is gone: the tree is being changed, and must be scanned again.
    Gone,
    /// The file is bad, for this reason. Its items stay as they were.
    Bad(String),
    /// The file is encrypted, and sync has no age key at all. Its items stay as they were.
    NoAgeKey(String),
    /// sync is stopping.
    Closed(QueueClosed),
}

impl From<JobError> for ReadError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Closed(closed) => Self::Closed(closed),
            error => Self::Bad(error.to_string()),
        }
    }
}

impl From<SopsError> for ReadError {
    fn from(error: SopsError) -> Self {
        if error.is_without_identity() {
            Self::NoAgeKey(error.to_string())
        } else {
            Self::Bad(error.to_string())
        }
    }
}

impl From<DocumentError> for ReadError {
    fn from(error: DocumentError) -> Self {
        Self::Bad(error.to_string())
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Bad(error.to_string()),
        }
    }
}

impl From<BeneathError> for ReadError {
    fn from(error: BeneathError) -> Self {
        match error {
            BeneathError::Changed | BeneathError::Missing => Self::Gone,
            error => Self::Bad(error.to_string()),
        }
    }
}

/// A file as it is on disk. It has its bytes only if they are needed as a whole.
pub(crate) struct RawFile {
    pub(crate) digest: [u8; 32],
    size: u64,
    bytes: Option<Vec<u8>>,
}

/// Reads a file into memory. Of a binary file that SOPS did not encrypt, only size and digest are kept: it may be
/// larger than memory.
pub(crate) fn load(found: &FoundFile, opened: &mut Opened) -> Result<RawFile, ReadError> {
    let raw = load_from(found, &mut opened.file)?;
    if opened.has_changed()? {
        return Err(ReadError::Bad("the file changed while it was read".to_owned()));
    }
    Ok(raw)
}

fn load_from(found: &FoundFile, file: &mut File) -> Result<RawFile, ReadError> {
    if Format::from_path(&found.path) != Format::Binary {
        return whole(
            file,
            MAX_STRUCTURED_BYTES,
            "the file is larger than 16 MiB, the limit for its format",
        );
    }
    let survey = Survey::of(file)?;
    if !survey.is_sealed || (is_note(found) && !survey.starts_like_json) {
        return Ok(RawFile {
            digest: survey.digest,
            size: survey.size,
            bytes: None,
        });
    }
    file.rewind()?;
    whole(
        file,
        MAX_ENCRYPTED_BYTES,
        "the file is larger than 64 MiB, the limit for a file that SOPS encrypted",
    )
}

/// Reads all bytes of a file. A file of more than `limit` bytes is refused with the error `beyond`.
fn whole(file: &mut File, limit: u64, beyond: &str) -> Result<RawFile, ReadError> {
    let mut bytes = Vec::new();
    let size = file.take(limit + 1).read_to_end(&mut bytes)? as u64;
    if size > limit {
        return Err(ReadError::Bad(beyond.to_owned()));
    }
    Ok(RawFile {
        digest: content::digest_of(&bytes),
        size,
        bytes: Some(bytes),
    })
}

/// What one pass over a file tells, without keeping its bytes.
struct Survey {
    digest: [u8; 32],
    size: u64,
    /// Whether the file is text that holds values SOPS encrypted.
    is_sealed: bool,
    /// Whether the file may be the JSON envelope in which SOPS stores an encrypted binary file.
    starts_like_json: bool,
}

impl Survey {
    fn of(file: &mut File) -> io::Result<Self> {
        let mut hash = Sha256::new();
        let mut detector = Detector::default();
        let mut first = None;
        let mut size = 0;
        let mut block = vec![0; CHUNK_BYTES];
        loop {
            let n = file.read(&mut block)?;
            if n == 0 {
                break;
            }
            size += n as u64;
            hash.update(&block[..n]);
            detector.feed(&block[..n]);
            let start = block[..n].strip_prefix("\u{feff}".as_bytes()).unwrap_or(&block[..n]);
            first = first.or_else(|| start.trim_ascii_start().first().copied());
        }
        Ok(Self {
            digest: hash.finalize().into(),
            size,
            is_sealed: detector.is_sealed(),
            starts_like_json: first == Some(b'{'),
        })
    }
}

/// Decrypts and parses a file.
pub(crate) fn parse(found: &FoundFile, raw: &RawFile, identities: &Identities) -> Result<Contents, ReadError> {
    let Some(bytes) = &raw.bytes else {
        return Ok(plain(found, raw));
    };
    let format = Format::from_path(&found.path);
    let decrypted = sidevault_sops::read(format, bytes, identities)?;
    match decrypted.document {
        Document::Tree(documents) => Ok(Contents::Items(read_documents(&documents)?)),
        Document::Binary(bytes) if decrypted.encrypted => Ok(Contents::Decrypted(bytes)),
        Document::Binary(_) => Ok(plain(found, raw)),
    }
}

/// Whether a file is Markdown. It documents the tree and is not served, unless SOPS encrypted it. It may quote encrypted
/// values, so those alone do not make it an encrypted file.
fn is_note(found: &FoundFile) -> bool {
    found.relative.ends_with(".md")
}

fn plain(found: &FoundFile, raw: &RawFile) -> Contents {
    if is_note(found) {
        Contents::Items(Vec::new())
    } else {
        Contents::Plain { size: raw.size }
    }
}
