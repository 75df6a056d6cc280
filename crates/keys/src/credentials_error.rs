//! Errors of credentials, issuer and passphrase files. Each text says what to do.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Why a credentials file, an issuer file or a passphrase could not be used.
///
/// No message quotes the content of a file or of `OP_SESSION`: it may be a secret with one wrong character.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// `OP_SESSION` is empty.
    #[error("OP_SESSION is empty: give the path of 1password-credentials.json, its content, or its content as base64")]
    Empty,
    /// `OP_SESSION` is neither a path nor the content of a file.
    #[error(
        "OP_SESSION is neither a path (starting with `/` or `.`, or the name of a file that exists), nor the JSON of \
         a credentials file, nor base64 of it"
    )]
    Unrecognized,
    /// The file does not exist.
    #[error("{} does not exist: create it with `sidevault init`, or correct the path", .path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// The path names a directory.
    #[error(
        "{} is a directory, not a file: Docker and Kubernetes make one when the file to mount is missing on the host",
        .path.display()
    )]
    Directory {
        /// The path as given.
        path: PathBuf,
    },
    /// The file's owner and mode do not let this process read it.
    #[error(
        "{} cannot be read: {}this process runs as uid {process_uid}; \
         run `chown {process_uid} {}` where the file comes from (in a container Sidevault runs as uid 999)",
        .path.display(), describe_owner(*.owner), .path.display()
    )]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// The owner's uid and the permission bits, if this process can read them.
        owner: Option<(u32, u32)>,
        /// Effective uid of this process.
        process_uid: u32,
    },
    /// Another error of the file system.
    #[error("{}: {source}", .path.display())]
    File {
        /// The path as given.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file to create exists already.
    #[error("{} exists already and is not overwritten: move it away first if you really want a new one", .path.display())]
    AlreadyExists {
        /// The path as given.
        path: PathBuf,
    },
    /// The content is far longer than any credentials file.
    #[error("{what} is longer than {limit} bytes: that is no file of `sidevault init`")]
    TooLong {
        /// The name of what was read, for the text.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// The content ends too early.
    #[error("{what} ends too early: it was probably cut while copying")]
    Truncated {
        /// The name of what was read, for the text.
        what: &'static str,
    },
    /// The content starts like base64 of a credentials file, but can't be decoded.
    #[error("the base64 of the credentials is damaged: a character is wrong or missing (encode the whole file again)")]
    DamagedBase64,
    /// The content is not JSON.
    #[error("{what} is not valid JSON (line {line}, column {column})")]
    NotJson {
        /// The name of what was read, for the text.
        what: &'static str,
        /// The line of the fault, counted from 1.
        line: usize,
        /// The column of the fault, counted from 1.
        column: usize,
    },
    /// The file is 1Password's own credentials file.
    #[error(
        "these are credentials of 1Password's own Connect server (version 2); Sidevault has its own keys: \
         run `sidevault init` and use the 1password-credentials.json it writes"
    )]
    OnePassword,
    /// The credentials file was given in place of the issuer file, or the other way round.
    #[error(
        "this is the other of the two files `sidevault init` wrote: a server needs 1password-credentials.json, \
         issuing tokens needs issuer.json"
    )]
    OtherFile,
    /// The JSON is of another program.
    #[error("{what} was not written by `sidevault init`: it has no `format` that starts with `sidevault-`")]
    NotOurs {
        /// The name of what was read, for the text.
        what: &'static str,
    },
    /// A newer version wrote the file.
    #[error("{what} has a format this version does not know: it was written by a newer Sidevault")]
    NewerFormat {
        /// The name of what was read, for the text.
        what: &'static str,
    },
    /// The format is right, and a member is missing or wrong.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// The name of what was read, for the text.
        what: &'static str,
        /// The member, without its value.
        detail: String,
    },
    /// The file is locked, and no passphrase was given.
    #[error(
        "the credentials are locked with a passphrase: put it into a file and set SIDEVAULT_PASSPHRASE_FILE to its path"
    )]
    PassphraseNeeded,
    /// The file is locked with another passphrase, or was changed.
    #[error("the passphrase does not open the credentials, or the credentials file was altered")]
    WrongPassphrase,
    /// The passphrase file does not exist.
    #[error(
        "there is no passphrase file at {}: write the passphrase into that file, or correct the path",
        .path.display()
    )]
    PassphraseFileMissing {
        /// The path as given.
        path: PathBuf,
    },
    /// The passphrase is empty or too long.
    #[error("a passphrase has 1 to 1024 bytes")]
    Passphrase,
}

impl CredentialsError {
    /// The error for an I/O error while reading `path`.
    pub(crate) fn reading(path: &Path, error: &io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing { path },
            io::ErrorKind::IsADirectory => Self::Directory { path },
            io::ErrorKind::PermissionDenied => Self::Unreadable {
                owner: std::fs::metadata(&path)
                    .ok()
                    .map(|found| (found.uid(), found.mode() & 0o7777)),
                process_uid: rustix::process::geteuid().as_raw(),
                path,
            },
            // Only the kind is kept, because the error's text might quote what was read.
            kind => Self::File {
                path,
                source: kind.into(),
            },
        }
    }

    /// The error for a JSON error. serde's own text may quote a value, so only the position of the fault is kept.
    pub(crate) fn json(what: &'static str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Eof => Self::Truncated { what },
            serde_json::error::Category::Data => Self::damaged(
                what,
                format!("a member is missing or is not what it should be (line {line}, column {column})"),
            ),
            _ => Self::NotJson { what, line, column },
        }
    }

    pub(crate) fn damaged(what: &'static str, detail: impl Into<String>) -> Self {
        Self::Damaged {
            what,
            detail: detail.into(),
        }
    }
}

fn describe_owner(owner: Option<(u32, u32)>) -> String {
    match owner {
        Some((uid, mode)) => format!("it belongs to uid {uid} with mode {mode:04o} and "),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_file_is_shown_with_its_owner_and_a_fix() {
        let error = CredentialsError::Unreadable {
            path: "/c.json".into(),
            owner: Some((1000, 0o600)),
            process_uid: 999,
        };
        assert_eq!(
            error.to_string(),
            "/c.json cannot be read: it belongs to uid 1000 with mode 0600 and this process runs as uid 999; \
             run `chown 999 /c.json` where the file comes from (in a container Sidevault runs as uid 999)"
        );
    }
}
