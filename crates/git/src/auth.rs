//! What a remote is shown to let this program in. Credentials are in files, which are read at each check, so that a new
//! token needs no restart.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use crate::error::GitError;

/// The largest file with a credential, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// How to be let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// With a token, which is sent as the password of HTTP's basic authentication. GitHub, GitLab, Gitea and Forgejo take it
    /// with any user name.
    Token(PathBuf),
    /// With a user name and a password.
    Basic {
        /// The user name.
        username: String,
        /// The file with the password.
        password_file: PathBuf,
    },
    /// With an SSH key.
    Ssh {
        /// The private key.
        key_file: PathBuf,
        /// The keys of the hosts.
        known_hosts_file: PathBuf,
    },
}

impl Auth {
    /// The value of the header `Authorization`.
    pub(crate) fn header(&self) -> Result<Option<HeaderValue>, GitError> {
        let (username, file) = match self {
            Self::None | Self::Ssh { .. } => return Ok(None),
            Self::Token(file) => ("x-access-token", file),
            Self::Basic {
                username,
                password_file,
            } => (username.as_str(), password_file),
        };
        let secret = read_secret(file)?;
        let pair = Zeroizing::new(format!("{username}:{}", secret.trim()));
        let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        let mut value = HeaderValue::from_str(&text).map_err(|error| GitError::Setup(error.to_string()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "no credentials"),
            Self::Token(file) => write!(f, "the token in {}", file.display()),
            Self::Basic { password_file, .. } => write!(f, "the password in {}", password_file.display()),
            Self::Ssh { key_file, .. } => write!(f, "the key in {}", key_file.display()),
        }
    }
}

/// Reads a file that holds a credential or keys.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<String>, GitError> {
    let problem = |what: &dyn fmt::Display| GitError::Setup(format!("{}: {what}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| problem(&error))?.len();
    if size > MAX_FILE {
        return Err(problem(&"the file is larger than 1 MiB"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| problem(&error))?;
    if text.trim().is_empty() {
        return Err(problem(&"the file is empty"));
    }
    Ok(Zeroizing::new(text))
}
