//! What can be wrong with a credentials, issuer or passphrase file, in words that say what to do.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Why a credentials file, an issuer file or a passphrase could not be used.
///
/// No message ever quotes the content of a file or of `OP_SESSION`: it may be a secret with one wrong character.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// Nothing was given.
    #[error("OP_SESSION is empty: give the path of 1password-credentials.json, its content, or its content as base64")]
    Empty,
    /// Neither a path nor content.
    #[error(
        "OP_SESSION is neither a path (starting with `/` or `.`, or the name of a file that exists), nor the JSON of \
         a credentials file, nor base64 of it"
    )]
    Unrecognized,
    /// No such file.
    #[error("{} does not exist: create it with `sidevault init`, or correct the path", .path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// A directory stands where the file should be.
    #[error(
        "{} is a directory, not a file: Docker and Kubernetes make one when the file to mount is missing on the host",
        .path.display()
    )]
    Directory {
        /// The path as given.
        path: PathBuf,
    },
    /// The file's owner and mode keep this process out.
    #[error(
        "{} cannot be read: {}this process runs as uid {process_uid}; \
         run `chown {process_uid} {}` where the file comes from (in a container Sidevault runs as uid 999)",
        .path.display(), describe_owner(*.owner), .path.display()
    )]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// Owner's uid and permission bits, where they can be seen.
        owner: Option<(u32, u32)>,
        /// Effective uid of this process.
        process_uid: u32,
    },
    /// Any other fault of the file system.
    #[error("{}: {source}", .path.display())]
    File {
        /// The path as given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A new file would replace an existing one.
    #[error("{} exists already and is not overwritten: move it away first if you really want a new one", .path.display())]
    AlreadyExists {
        /// The path as given.
        path: PathBuf,
    },
    /// Far longer than any credentials file.
    #[error("{what} is longer than {limit} bytes: that is no file of `sidevault init`")]
    TooLong {
        /// What was read.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// The end is missing.
    #[error("{what} ends too early: it was probably cut while copying")]
    Truncated {
        /// What was read.
        what: &'static str,
    },
    /// It starts like base64 of a credentials file and goes on as something else.
    #[error("the base64 of the credentials is damaged: a character is wrong or missing (encode the whole file again)")]
    DamagedBase64,
    /// Not JSON.
    #[error("{what} is not valid JSON (line {line}, column {column})")]
    NotJson {
        /// What was read.
        what: &'static str,
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1.
        column: usize,
    },
    /// A genuine 1Password file.
    #[error(
        "these are credentials of 1Password's own Connect server (version 2); Sidevault has its own keys: \
         run `sidevault init` and use the 1password-credentials.json it writes"
    )]
    OnePassword,
    /// The two files were mixed up.
    #[error(
        "this is the other of the two files `sidevault init` wrote: a server needs 1password-credentials.json, \
         issuing tokens needs issuer.json"
    )]
    OtherFile,
    /// JSON of something else.
    #[error("{what} was not written by `sidevault init`: it has no `format` that starts with `sidevault-`")]
    NotOurs {
        /// What was read.
        what: &'static str,
    },
    /// From a newer version.
    #[error("{what} has a format this version does not know: it was written by a newer Sidevault")]
    NewerFormat {
        /// What was read.
        what: &'static str,
    },
    /// Right format, wrong content.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// Which member, without its value.
        detail: String,
    },
    /// Locked, and nothing to unlock it with.
    #[error(
        "the credentials are locked with a passphrase: put it into a file and set SIDEVAULT_PASSPHRASE_FILE to its path"
    )]
    PassphraseNeeded,
    /// Locked with another passphrase.
    #[error("the passphrase does not open the credentials, or the credentials file was altered")]
    WrongPassphrase,
    /// A passphrase that cannot be one.
    #[error("a passphrase has 1 to 1024 bytes")]
    Passphrase,
}

impl CredentialsError {
    /// Sorts an error that came up while reading `path`.
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
            // Its text may quote what it read (invalid UTF-8 does not, but that is not promised): keep the kind only.
            kind => Self::File {
                path,
                source: kind.into(),
            },
        }
    }

    /// Sorts a JSON error. serde's own text may quote a value, so only the place of the fault is kept.
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
    fn unreadable_says_who_owns_it_and_how_to_fix_it() {
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
