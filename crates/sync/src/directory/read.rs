//! Reads, decrypts and parses one file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use sidevault_sops::{Detector, Document, Format, Identities, SopsError};
use sidevault_store::CHUNK_BYTES;

use super::beneath::{BeneathError, FileStamp, Opened};
use super::content;
use super::draft::{DocumentError, ParsedDocument, read_documents};
use super::tree::FoundFile;
use crate::queue::{JobError, QueueClosed};

/// The largest YAML, JSON, dotenv or INI file, in bytes.
pub(crate) const MAX_STRUCTURED_BYTES: u64 = 16 << 20;

/// The largest SOPS-encrypted file of any other format, in bytes. SOPS authenticates a file as a whole, so all of it
/// must be in memory. Files of these formats that are not encrypted have no limit.
pub(crate) const MAX_ENCRYPTED_BYTES: u64 = 64 << 20;

/// Linux counts the times of files in steps of up to 10 ms. A file that was written to so shortly before it was read may
/// be written to once more and keep its modification time, so it is read again at the next scan.
const TIMESTAMP_STEP: Duration = Duration::from_millis(20);

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
    /// Whether SOPS encrypted it.
    pub(crate) sealed: bool,
    size: u64,
    pub(crate) bytes: Option<Vec<u8>>,
}

impl RawFile {
    /// The file that has these bytes, all of which are kept if they are needed as a whole.
    pub(crate) fn of(found: &FoundFile, bytes: Vec<u8>) -> Self {
        let mut pass = Pass::default();
        pass.feed(&bytes);
        let sealed = pass.is_sealed(found);
        Self {
            digest: content::digest_of(&bytes),
            sealed,
            size: bytes.len() as u64,
            bytes: (sealed || Format::from_path(&found.path) != Format::Binary).then_some(bytes),
        }
    }
}

/// A file that the listing has read already, so that the scan need not read it again.
pub(crate) struct Loaded {
    pub(crate) raw: RawFile,
    /// The metadata of the file when it was read.
    pub(crate) stamp: FileStamp,
    /// When the read began.
    pub(crate) begun: SystemTime,
}

impl fmt::Debug for Loaded {
    /// Shows no content: it may be plaintext.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loaded({} bytes)", self.raw.size)
    }
}

/// The most bytes of a file of this name that are read as a whole.
pub(crate) fn most_bytes(found: &FoundFile) -> u64 {
    if Format::from_path(&found.path) == Format::Binary {
        MAX_ENCRYPTED_BYTES
    } else {
        MAX_STRUCTURED_BYTES
    }
}

/// Reads a file into memory. Of a binary file that SOPS did not encrypt, only size and digest are kept: it may be
/// larger than memory.
pub(crate) fn load(found: &FoundFile, opened: &mut Opened) -> Result<RawFile, ReadError> {
    opened.stamp = opened.stamp.comparable_with(&found.stamp);
    let raw = load_from(found, &mut opened.file)?;
    if opened.has_changed()? {
        return Err(ReadError::Bad("the file changed while it was read".to_owned()));
    }
    Ok(raw)
}

fn load_from(found: &FoundFile, file: &mut File) -> Result<RawFile, ReadError> {
    if Format::from_path(&found.path) == Format::Binary {
        let plain = survey(found, file)?;
        if !plain.sealed {
            return Ok(plain);
        }
        file.rewind()?;
    }
    let limit = most_bytes(found);
    let mut bytes = Vec::new();
    if file.take(limit + 1).read_to_end(&mut bytes)? as u64 > limit {
        let kind = match limit {
            MAX_STRUCTURED_BYTES => "the limit for its format",
            _ => "the limit for a file that SOPS encrypted",
        };
        let message = format!("the file is larger than {} MiB, {kind}", limit >> 20);
        return Err(ReadError::Bad(message));
    }
    Ok(RawFile::of(found, bytes))
}

/// Reads a file of any size once, without keeping its bytes.
fn survey(found: &FoundFile, file: &mut File) -> io::Result<RawFile> {
    let (mut hash, mut pass) = (Sha256::new(), Pass::default());
    let mut size = 0;
    let mut block = vec![0; CHUNK_BYTES];
    loop {
        let n = file.read(&mut block)?;
        if n == 0 {
            break;
        }
        size += n as u64;
        hash.update(&block[..n]);
        pass.feed(&block[..n]);
    }
    Ok(RawFile {
        digest: hash.finalize().into(),
        sealed: pass.is_sealed(found),
        size,
        bytes: None,
    })
}

/// One pass over the bytes of a file, to find out whether SOPS encrypted it.
#[derive(Default)]
pub(crate) struct Pass {
    detector: Detector,
    /// The first byte that is no white space.
    first: Option<u8>,
}

impl Pass {
    /// Takes the next bytes of the file.
    pub(crate) fn feed(&mut self, block: &[u8]) {
        self.detector.feed(block);
        let start = block.strip_prefix("\u{feff}".as_bytes()).unwrap_or(block);
        self.first = self.first.or_else(|| start.trim_ascii_start().first().copied());
    }

    /// Whether SOPS encrypted the file. Markdown may quote encrypted values, so only the JSON envelope in which SOPS stores a
    /// binary file makes it encrypted.
    pub(crate) fn is_sealed(&self, found: &FoundFile) -> bool {
        self.detector.is_sealed() && (!is_note(found) || self.first == Some(b'{'))
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
pub(crate) fn is_note(found: &FoundFile) -> bool {
    found.relative.ends_with(".md")
}

fn plain(found: &FoundFile, raw: &RawFile) -> Contents {
    if is_note(found) {
        Contents::Items(Vec::new())
    } else {
        Contents::Plain { size: raw.size }
    }
}

/// Whether a file was written to so shortly before `now` that one more write might not change its times.
pub(crate) fn was_just_written(stamp: &FileStamp, now: SystemTime) -> bool {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = |(seconds, nanoseconds): (i128, i128)| seconds * 1_000_000_000 + nanoseconds;
    let now = nanoseconds((now.as_secs().into(), now.subsec_nanos().into()));
    stamp
        .ctime
        .is_some_and(|ctime| (now - nanoseconds(ctime)).unsigned_abs() < TIMESTAMP_STEP.as_nanos())
}
