//! The keys of a Git source in the sources file, and the arguments of `--git`.

use std::path::{Path, PathBuf};
#[cfg(feature = "git")]
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
#[cfg(feature = "git")]
use sidevault_git::{Auth, Committer, Limits, Remote, Settings, check_signer};

/// Where a source's files come from, if not from a directory of this machine.
#[cfg(feature = "git")]
#[derive(Clone, Debug)]
pub struct GitSource {
    /// What is followed.
    pub(crate) settings: Settings,
    /// How often the remote is asked.
    pub(crate) interval: Duration,
    /// The secret that a forge's webhook shows.
    pub(crate) webhook_secret_file: Option<PathBuf>,
    /// The message of commits, with placeholders.
    pub(crate) message: String,
    /// Whether the sources file says how commits are made.
    has_commits: bool,
}

/// The message of commits, if the sources file has none. The last line is a trailer (git-interpret-trailers(1)).
#[cfg(feature = "git")]
const MESSAGE: &str = "{action} {file}\n\nSidevault-Token: {token}";

/// Nothing: this program was built without Git sources.
#[cfg(not(feature = "git"))]
#[derive(Clone, Debug)]
pub enum GitSource {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(not(feature = "git"), expect(dead_code, reason = "read, and then refused"))]
pub(crate) struct GitEntry {
    pub(crate) url: String,
    #[serde(rename = "ref")]
    pub(crate) reference: Option<String>,
    /// A directory of the repository.
    pub(crate) path: Option<String>,
    pub(crate) interval_seconds: Option<u64>,
    #[serde(default)]
    pub(crate) auth: AuthEntry,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) verify: Option<VerifyEntry>,
    pub(crate) webhook_secret_file: Option<PathBuf>,
    pub(crate) commits: Option<CommitsEntry>,
}

/// How the commits of clients' writes are made.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(not(feature = "git"), expect(dead_code, reason = "read, and then refused"))]
pub(crate) struct CommitsEntry {
    /// `NAME <ADDRESS>`.
    pub(crate) author: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) signing_key_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(not(feature = "git"), expect(dead_code, reason = "read, and then refused"))]
pub(crate) struct AuthEntry {
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) basic: Option<BasicEntry>,
    pub(crate) ssh_key_file: Option<PathBuf>,
    pub(crate) known_hosts_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(not(feature = "git"), expect(dead_code, reason = "read, and then refused"))]
pub(crate) struct BasicEntry {
    pub(crate) username: String,
    pub(crate) password_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[cfg_attr(not(feature = "git"), expect(dead_code, reason = "read, and then refused"))]
pub(crate) struct VerifyEntry {
    pub(crate) allowed_signers_file: PathBuf,
}

impl GitEntry {
    /// `URL`, `URL#REF` or `URL#REF:PATH`.
    pub(crate) fn of_argument(text: &str, token_file: Option<&Path>) -> Self {
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (reference, path) = fragment.split_once(':').unwrap_or((fragment, ""));
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            url: url.to_owned(),
            reference: given(reference),
            path: given(path),
            interval_seconds: None,
            auth: AuthEntry {
                token_file: token_file.map(Path::to_owned),
                ..AuthEntry::default()
            },
            ca_file: None,
            verify: None,
            webhook_secret_file: None,
            commits: None,
        }
    }

    /// The source, and its usual name.
    #[cfg(not(feature = "git"))]
    pub(crate) fn resolve(self, _base: &Path) -> Result<(GitSource, String), String> {
        Err("this program was built without Git sources: build it with the cargo feature `git`, as the released programs and images are".to_owned())
    }

    /// The source, and its usual name.
    #[cfg(feature = "git")]
    pub(crate) fn resolve(self, base: &Path) -> Result<(GitSource, String), String> {
        let remote = Remote::parse(&self.url).map_err(|error| format!("git: url: {error}"))?;
        let auth = self.auth.resolve(base, &remote)?;
        let path = self.path.unwrap_or_default();
        if path.split('/').any(|name| name == "..") || path.starts_with('/') {
            return Err("git: path: write a directory of the repository, such as clusters/home".to_owned());
        }
        let seconds = self.interval_seconds.unwrap_or(60);
        if seconds == 0 {
            return Err("git: intervalSeconds: must be at least 1".to_owned());
        }
        let name = remote.name();
        let reference = self.reference.unwrap_or_else(|| "HEAD".to_owned());
        if reference.is_empty() || reference.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("git: ref: write a branch, a tag, or a commit's id".to_owned());
        }
        let has_commits = self.commits.is_some();
        let commits = self.commits.unwrap_or_default();
        let message = commits.message.clone().unwrap_or_else(|| MESSAGE.to_owned());
        if message.trim().is_empty() || message.contains('\0') {
            return Err("git: commits: message: must have text, and no null character".to_owned());
        }
        let settings = Settings {
            remote,
            reference,
            path,
            auth,
            authorities_file: self.ca_file.map(|file| base.join(file)),
            allowed_signers_file: self.verify.map(|verify| base.join(verify.allowed_signers_file)),
            committer: commits.resolve(base)?,
            limits: Limits::default(),
        };
        let source = GitSource {
            settings,
            interval: Duration::from_secs(seconds),
            webhook_secret_file: self.webhook_secret_file.map(|file| base.join(file)),
            message,
            has_commits,
        };
        Ok((source, name))
    }
}

impl GitSource {
    /// Checks that the keys fit to whether clients may write.
    #[cfg(not(feature = "git"))]
    pub(crate) fn check_writes(&self, _: bool) -> Result<(), String> {
        match *self {}
    }

    /// Checks that the keys fit to whether clients may write.
    #[cfg(feature = "git")]
    pub(crate) fn check_writes(&self, writable: bool) -> Result<(), String> {
        if !writable {
            return match self.has_commits {
                true => {
                    Err("git: commits: only a source with `writable: true` under `directory` makes commits".to_owned())
                }
                false => Ok(()),
            };
        }
        let reference = &self.settings.reference;
        let is_id = reference.len() == 40 && reference.chars().all(|c| c.is_ascii_hexdigit());
        if reference == "HEAD" || is_id || reference.starts_with("refs/") && !reference.starts_with("refs/heads/") {
            return Err(
                "git: ref: with `writable: true`, write the name of a branch: commits are pushed to it".to_owned(),
            );
        }
        match (&self.settings.allowed_signers_file, &self.settings.committer.signing_key_file) {
            (None, _) => Ok(()),
            (Some(allowed), Some(key)) => {
                check_signer(key, allowed).map_err(|error| format!("git: commits: signingKeyFile: {error}"))
            }
            (Some(_), None) => Err(
                "git: commits: with `verify` and `writable: true`, `signingKeyFile` is needed: commits without a signature would not \
                 be served"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(feature = "git")]
impl CommitsEntry {
    fn resolve(self, base: &Path) -> Result<Committer, String> {
        let author = self.author.as_deref().unwrap_or("Sidevault <sidevault@localhost>");
        let is_plain = |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_control() || c == '<' || c == '>');
        let parts = author.strip_suffix('>').and_then(|text| text.split_once('<'));
        match parts.map(|(name, email)| (name.trim(), email.trim())) {
            Some((name, email)) if is_plain(name) && is_plain(email) => Ok(Committer {
                name: name.to_owned(),
                email: email.to_owned(),
                signing_key_file: self.signing_key_file.map(|file| base.join(file)),
            }),
            _ => Err(
                "git: commits: author: write a name and an address, such as \"Sidevault <vault@example.com>\""
                    .to_owned(),
            ),
        }
    }
}

#[cfg(feature = "git")]
impl AuthEntry {
    fn resolve(self, base: &Path, remote: &Remote) -> Result<Auth, String> {
        let is_http = matches!(remote, Remote::Http(_));
        let is_ssh = matches!(remote, Remote::Ssh { .. });
        let at = |file: PathBuf| base.join(file);
        let auth = match (self.token_file, self.basic, self.ssh_key_file, self.known_hosts_file) {
            (None, None, None, None) if is_ssh => {
                return Err("git: auth: an SSH URL needs `sshKeyFile` and `knownHostsFile`".to_owned());
            }
            (None, None, None, None) => Auth::None,
            (Some(file), None, None, None) if is_http => Auth::Token(at(file)),
            (None, Some(basic), None, None) if is_http => Auth::Basic {
                username: basic.username,
                password_file: at(basic.password_file),
            },
            (None, None, Some(key), Some(hosts)) if is_ssh => Auth::Ssh {
                key_file: at(key),
                known_hosts_file: at(hosts),
            },
            _ if is_ssh => {
                return Err(
                    "git: auth: an SSH URL needs `sshKeyFile` and `knownHostsFile`, and nothing else".to_owned(),
                );
            }
            _ if is_http => {
                return Err("git: auth: an https URL can have `tokenFile` or `basic`, one of them".to_owned());
            }
            _ => return Err("git: auth: only https and ssh URLs can have credentials".to_owned()),
        };
        if remote.is_plain() && auth != Auth::None {
            return Err(
                "git: auth: credentials are not sent over http, where anyone on the way reads them: use https"
                    .to_owned(),
            );
        }
        Ok(auth)
    }
}

/// The directory of a Git source below the data directory.
pub(crate) fn directory_of(data: &Path, source: &str) -> PathBuf {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = if !source.is_empty() && source.len() <= 64 && source.chars().all(is_plain) {
        source.to_owned()
    } else {
        let digest = Sha256::digest(source.as_bytes());
        format!("source.{}", HEXLOWER.encode(&digest[..8]))
    };
    data.join("git").join(name)
}
