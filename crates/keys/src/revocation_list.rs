//! The revocation list: a text file of refused tokens, beside the credentials. It is in force even if the store is lost.
//!
//! Each line has one token id (`jti`). `#` begins a comment, at the start of a line or after an id; empty lines are ignored.
//! The file holds no secret: nobody can make a token from its id.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::session;

/// The longest list in bytes, about 38,000 ids: a Kubernetes Secret or ConfigMap can't hold more.
pub const MAX_REVOCATION_LIST_LEN: usize = 1 << 20;

/// The default file name of the list.
const FILE_NAME: &str = "revoked-tokens";

const HEADER: &str =
    "# Tokens that Sidevault refuses: one token id (jti) a line, a comment behind # (docs/tokens.md).\n";

/// The content of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationList {
    /// The ids of the refused tokens, in lower case, as tokens have them.
    pub ids: HashSet<String>,
    /// The first fault of the file, if it has one. `ids` are those of all lines that could be read.
    pub fault: Option<RevocationListFault>,
}

/// A fault of a list. Its text does not quote the file: someone may have put a whole token there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationListFault {
    /// The line with this number is no id.
    #[error(
        "line {0} is not a token id: 26 characters, each a-z or 0-9, and then nothing or a comment behind # \
         (`sidevault token inspect` shows a token's id as its jti)"
    )]
    Line(usize),
    /// The file is longer than [`MAX_REVOCATION_LIST_LEN`].
    #[error("it is longer than {MAX_REVOCATION_LIST_LEN} bytes: leave out tokens that have expired")]
    TooLong,
    /// The file does not exist.
    #[error("it does not exist")]
    Missing,
    /// The path names a directory, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// The file can't be read.
    #[error("it can't be read: {0}")]
    Unreadable(String),
}

impl RevocationList {
    /// The default path of the list: `revoked-tokens` beside the credentials file. `None` if `OP_SESSION` names no file.
    pub fn default_path(session: &str) -> Option<PathBuf> {
        let session = session.trim_start_matches('\u{feff}').trim();
        session::as_path(session).map(|path| path.with_file_name(FILE_NAME))
    }

    /// Reads a list.
    pub fn read(path: &Path) -> Self {
        match bytes(path) {
            Ok(bytes) => Self::parse(&bytes),
            Err(fault) => Self {
                ids: HashSet::new(),
                fault: Some(fault),
            },
        }
    }

    /// The ids of all lines that hold one, and the first fault.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut list = Self::default();
        if bytes.len() > MAX_REVOCATION_LIST_LEN {
            list.fault = Some(RevocationListFault::TooLong);
        }
        let whole = &bytes[..bytes.len().min(MAX_REVOCATION_LIST_LEN)];
        // Bytes that are not UTF-8 may be in a comment; in an id they make the line a fault.
        let text = String::from_utf8_lossy(whole);
        for (n, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let id = line.split_once('#').map_or(line, |(id, _comment)| id).trim();
            match canonical_jti(id) {
                Some(id) => {
                    list.ids.insert(id);
                }
                None if id.is_empty() => {}
                None => {
                    list.fault.get_or_insert(RevocationListFault::Line(n + 1));
                }
            }
        }
        list
    }

    /// The text of a list of these tokens, each with its id and a comment.
    pub fn render(tokens: &[(String, String)]) -> String {
        let lines: String = tokens.iter().map(|(jti, comment)| line(jti, comment)).collect();
        format!("{HEADER}{lines}")
    }

    /// Adds tokens, each with its id and a comment of one line, to the list at `path`, or creates the list. Returns when they
    /// are on disk. Tokens that are on the list already are left out.
    ///
    /// The file is appended to, never replaced: it keeps its owner and mode, links and bind mounts still lead to it, and no
    /// reader ever sees a list without the earlier ids.
    ///
    /// # Errors
    /// If the file can't be written, if the list has a fault, or if it would become too long. Nothing is added then.
    pub fn extend(path: &Path, tokens: &[(String, String)]) -> io::Result<()> {
        let known = match bytes(path) {
            Err(RevocationListFault::Missing) => None,
            Err(fault) => return Err(io::Error::other(fault)),
            Ok(bytes) => Some(bytes),
        };
        let old = known.as_deref().unwrap_or_default();
        let list = Self::parse(old);
        if let Some(fault) = list.fault {
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
        let mut text = match old.last() {
            None => HEADER.to_owned(),
            Some(b'\n') => String::new(),
            Some(_) => "\n".to_owned(),
        };
        let mut added = HashSet::new();
        for (jti, comment) in tokens {
            let id = canonical_jti(jti)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{jti:?} is not a token id")))?;
            if list.ids.contains(&id) || !added.insert(id.clone()) {
                continue;
            }
            text.push_str(&line(&id, comment));
        }
        if added.is_empty() && known.is_some() {
            return Ok(());
        }
        if old.len() + text.len() > MAX_REVOCATION_LIST_LEN {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                RevocationListFault::TooLong,
            ));
        }
        append(path, text.as_bytes())
    }
}

fn line(id: &str, comment: &str) -> String {
    let comment: String = comment.chars().filter(|c| !c.is_control()).collect();
    format!("{}\n", format!("{id}  # {comment}").trim_end_matches(['#', ' ']))
}

/// A token's id in lower case, as tokens have it: Connect shows some ids in upper case. `None` if `text` is no id.
pub fn canonical_jti(text: &str) -> Option<String> {
    let possible = text.len() == 26 && text.bytes().all(|c| c.is_ascii_alphanumeric());
    possible.then(|| text.to_ascii_lowercase())
}

/// The file's bytes, but at most one more than a list may have.
fn bytes(path: &Path) -> Result<Vec<u8>, RevocationListFault> {
    let fault = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => RevocationListFault::Missing,
        _ => RevocationListFault::Unreadable(error.to_string()),
    };
    // Without O_NONBLOCK, opening a pipe waits until someone opens it for writing.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(|error| fault(&error))?;
    if !file.metadata().map_err(|error| fault(&error))?.is_file() {
        return Err(RevocationListFault::NotAFile);
    }
    let mut bytes = Vec::new();
    file.take(MAX_REVOCATION_LIST_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fault(&error))?;
    Ok(bytes)
}

fn append(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let before = file.seek(SeekFrom::End(0))?;
    file.write_all(text).and_then(|()| file.sync_all()).inspect_err(|_| {
        // The disk may be full. Half a line would be a fault of the list, so what was written is cut off again; if that fails,
        // the first error is still the one to report.
        file.set_len(before).ok();
    })?;
    crate::new_file::sync_folder_of(path)
}

#[cfg(test)]
mod tests;
