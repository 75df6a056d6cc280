//! One file: what is in it, decrypted.

use std::fs::File;
use std::io::{self, Read, Seek};

use sha2::{Digest, Sha256};
use sidevault_sops::{Detector, Document, Format, Identities};
use sidevault_store::CHUNK_BYTES;

use super::beneath::{BeneathError, Opened};
use super::content;
use super::draft::{ParsedDocument, read_documents};
use super::tree::FoundFile;

/// The largest YAML, JSON, dotenv or INI file, in bytes.
const MAX_STRUCTURED_BYTES: u64 = 16 << 20;

/// The largest SOPS-encrypted file with another name, in bytes. It is authenticated as a whole, so it must
/// stand in memory as a whole. Such files that are not encrypted have no limit.
const MAX_ENCRYPTED_BYTES: u64 = 64 << 20;

/// What a file is.
pub(crate) enum Contents {
    /// Items; none for a file that is not meant to be any.
    Items(Vec<ParsedDocument>),
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

impl From<BeneathError> for ReadError {
    fn from(error: BeneathError) -> Self {
        match error {
            BeneathError::Changed | BeneathError::Missing => Self::Gone,
            error => Self::Bad(error.to_string()),
        }
    }
}

/// A file as it is on disk: its digest, and its bytes if they are needed as a whole.
pub(crate) struct RawFile {
    pub(crate) digest: [u8; 32],
    size: u64,
    bytes: Option<Vec<u8>>,
}

/// Reads a file's bytes, or only their digest if SOPS encrypted nothing in them and they make no items.
pub(crate) fn load(found: &FoundFile, opened: &mut Opened) -> Result<RawFile, ReadError> {
    let raw = load_from(found, &mut opened.file)?;
    if opened.has_changed()? {
        return Err(ReadError::Bad("it changed while it was read".to_owned()));
    }
    Ok(raw)
}

fn load_from(found: &FoundFile, file: &mut File) -> Result<RawFile, ReadError> {
    if Format::from_path(&found.path) != Format::Binary {
        return whole(file, MAX_STRUCTURED_BYTES, "larger than 16 MiB, the most for this format");
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
        "larger than 64 MiB, the most for a file that SOPS encrypted",
    )
}

/// All bytes of a file.
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

/// What is learned of a file that is read block by block.
struct Survey {
    digest: [u8; 32],
    size: u64,
    /// Whether it is text with values that SOPS encrypted, whatever its name.
    is_sealed: bool,
    /// As the envelope does into which SOPS puts binary files.
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

/// Decrypts a file and says what it is.
pub(crate) fn understand(found: &FoundFile, raw: &RawFile, identities: &Identities) -> Result<Contents, ReadError> {
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

/// Notes that explain a tree are no secrets of it, unless somebody encrypted them. They may quote what SOPS
/// writes.
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
