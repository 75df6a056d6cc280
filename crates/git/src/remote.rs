//! The URL of a repository.

use std::fmt;
use std::path::PathBuf;

use url::{Host, Url};

/// Where a repository is. It holds no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// `https://` or `http://`.
    Http(Url),
    /// `git://`.
    Daemon {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The path on the host.
        path: String,
    },
    /// `ssh://`, or `user@host:path`.
    Ssh {
        /// The user.
        user: String,
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The path on the host.
        path: String,
    },
    /// `file://`, or an absolute path.
    File(PathBuf),
}

impl Remote {
    /// Reads a URL. Relative paths of this machine are refused.
    ///
    /// # Errors
    /// In words. They do not repeat the URL, which may have a password in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::File(PathBuf::from(text)));
        }
        if !text.contains("://") {
            return Self::parse_scp(text);
        }
        let url = Url::parse(text).map_err(|error| format!("this is not a URL: {error}"))?;
        if url.password().is_some() {
            return Err("a URL must not have a password in it: name a file with it under `auth`".to_owned());
        }
        let host = || match url.host() {
            Some(Host::Domain(name)) => Ok(name.to_owned()),
            Some(Host::Ipv4(address)) => Ok(address.to_string()),
            Some(Host::Ipv6(address)) => Ok(address.to_string()),
            None => Err("the URL names no host".to_owned()),
        };
        let path = percent_decoded(url.path());
        match url.scheme() {
            "http" | "https" if !url.username().is_empty() => {
                Err("a URL must not have a user in it: give user and password file as `auth.basic`, or a token as `auth.tokenFile`".to_owned())
            }
            "http" | "https" => host().map(|_| Self::Http(url.clone())),
            "git" => Ok(Self::Daemon {
                host: host()?,
                port: url.port().unwrap_or(9418),
                path,
            }),
            "ssh" | "git+ssh" => Ok(Self::Ssh {
                user: match url.username() {
                    "" => "git".to_owned(),
                    user => percent_decoded(user),
                },
                host: host()?,
                port: url.port().unwrap_or(22),
                path,
            }),
            "file" => Ok(Self::File(PathBuf::from(path))),
            scheme => Err(format!(
                "URLs with \"{scheme}://\" are not supported: use https, ssh, git, http or file"
            )),
        }
    }

    /// `user@host:path`, as Git's own documentation writes it.
    fn parse_scp(text: &str) -> Result<Self, String> {
        let usage = "write a URL (https://…, ssh://…, git://…, file:///…), user@host:path, or an absolute path";
        let (at, path) = text.split_once(':').ok_or(usage)?;
        let (user, host) = at.split_once('@').unwrap_or(("git", at));
        if user.is_empty() || host.is_empty() || path.is_empty() || at.contains('/') {
            return Err(usage.to_owned());
        }
        Ok(Self::Ssh {
            user: user.to_owned(),
            host: host.to_owned(),
            port: 22,
            path: path.to_owned(),
        })
    }

    /// Whether credentials would be sent without encryption to another machine.
    pub fn is_plain(&self) -> bool {
        let Self::Http(url) = self else { return false };
        let is_loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        url.scheme() == "http" && !is_loopback
    }

    /// The last part of the path without `.git`: the usual name of a clone.
    pub fn name(&self) -> String {
        let path = match self {
            Self::Http(url) => url.path().to_owned(),
            Self::Daemon { path, .. } | Self::Ssh { path, .. } => path.clone(),
            Self::File(path) => path.to_string_lossy().into_owned(),
        };
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        match name.strip_suffix(".git").unwrap_or(name) {
            "" => "git".to_owned(),
            name => percent_decoded(name),
        }
    }
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => {
                // A token may be in the query of a URL.
                let mut url = url.clone();
                url.set_query(None);
                write!(f, "{url}")
            }
            Self::Daemon { host, port, path } => write!(f, "git://{host}:{port}{path}"),
            Self::Ssh { host, port, path, .. } => write!(f, "ssh://{host}:{port}/{}", path.trim_start_matches('/')),
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_url_is_read_and_shown_without_its_user() {
        for (text, shown, name) in [
            ("https://git.example/a/b.git", "https://git.example/a/b.git", "b"),
            ("http://[::1]:3000/x", "http://[::1]:3000/x", "x"),
            ("git://host/srv/c.git", "git://host:9418/srv/c.git", "c"),
            ("ssh://me@host:2222/srv/d", "ssh://host:2222/srv/d", "d"),
            ("git@host:org/e.git", "ssh://host:22/org/e.git", "e"),
            ("file:///srv/f%20g", "file:///srv/f g", "f g"),
            ("/srv/h/", "file:///srv/h/", "h"),
        ] {
            let remote = Remote::parse(text).unwrap();
            assert_eq!((remote.to_string().as_str(), remote.name().as_str()), (shown, name));
        }
    }

    #[test]
    fn a_url_with_a_password_is_refused_and_not_repeated() {
        for text in ["https://u:hunter2@h/x", "ssh://u:hunter2@h/x", "https://hunter2@h/x"] {
            let error = Remote::parse(text).unwrap_err();
            assert!(error.contains("auth") && !error.contains("hunter2"), "{error}");
        }
        for text in ["x", "./x", "ftp://h/x", "@h:x", "a/b:c"] {
            assert!(Remote::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_loopback_may_get_credentials_over_http() {
        let plain = |text| Remote::parse(text).unwrap().is_plain();
        assert!(plain("http://git.example/x"));
        assert!(!plain("http://127.0.0.1:1/x") && !plain("http://localhost/x") && !plain("https://git.example/x"));
    }
}
