//! From settings to a client.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use zeroize::Zeroizing;

use crate::client::{Client, Inner};
use crate::error::ClientError;
use crate::tls;
use crate::token::Token;

/// Settings of a [`Client`].
pub struct ClientBuilder {
    host: String,
    token: Zeroizing<String>,
    user_agent: String,
    timeout: Duration,
    connect_timeout: Duration,
    roots: Vec<Vec<u8>>,
    pub(crate) events: EventTimes,
}

/// How the event stream measures time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventTimes {
    /// Without a byte for so long, not even a comment, the connection counts as dead. Sidevault sends a comment every
    /// 15 seconds at the latest.
    pub(crate) silence: Duration,
    /// The wait before the first reconnect; it doubles.
    pub(crate) reconnect: Duration,
}

impl ClientBuilder {
    /// Settings for the server at `host`, with defaults for everything else.
    pub fn new(host: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            token: Zeroizing::new(token.into()),
            user_agent: concat!("sidevault-client/", env!("CARGO_PKG_VERSION")).into(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            roots: Vec::new(),
            events: EventTimes {
                silence: Duration::from_secs(60),
                reconnect: Duration::from_millis(200),
            },
        }
    }

    /// Host and token from the environment: `OP_CONNECT_HOST`, and `OP_CONNECT_TOKEN` or the file that
    /// `SIDEVAULT_TOKEN_FILE` names. The first wins if both are set.
    ///
    /// # Errors
    /// [`ClientError::Config`] when one is missing, or the file cannot be read.
    pub fn from_env() -> Result<Self, ClientError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, ClientError> {
        // A variable that is set to nothing is how compose files say "not set".
        let get = |name| get(name).filter(|value| !value.trim().is_empty());
        let host = get("OP_CONNECT_HOST").ok_or_else(|| ClientError::Config("OP_CONNECT_HOST is not set".into()))?;
        if let Some(token) = get("OP_CONNECT_TOKEN") {
            return Ok(Self::new(host, token));
        }
        let path = get("SIDEVAULT_TOKEN_FILE")
            .ok_or_else(|| ClientError::Config("neither OP_CONNECT_TOKEN nor SIDEVAULT_TOKEN_FILE is set".into()))?;
        let token = std::fs::read_to_string(&path)
            .map_err(|error| ClientError::Config(format!("SIDEVAULT_TOKEN_FILE ({path}): {error}")))?;
        Ok(Self::new(host, token))
    }

    /// What the server logs as the client. `sidevault-client/` and the version by default.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// How long a call may take from start to end, further tries included; 30 seconds by default, since Connect may
    /// wait 10 seconds for its first sync. For file contents and events, how long until the server begins to answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long name resolution, TCP and TLS together may take; 5 seconds by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Trusts the certificate authorities of a PEM bundle too.
    #[must_use]
    pub fn add_root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// The client. Nothing is sent yet. For an `https` host the bundle that `SSL_CERT_FILE` names, if it is set, is
    /// trusted too. Proxies are those of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, as with Connect's SDKs.
    ///
    /// # Errors
    /// [`ClientError::Config`] when the host is no `http` or `https` URL, the token could not be a token, or a
    /// certificate bundle cannot be used.
    pub fn build(self) -> Result<Client, ClientError> {
        let base = base_url(&self.host)?;
        let file = match base.scheme() {
            "https" => std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()),
            _ => None,
        };
        self.build_with(base, file.map(PathBuf::from))
    }

    pub(crate) fn build_with(self, base: Url, certificates: Option<PathBuf>) -> Result<Client, ClientError> {
        let token = Token::parse(&self.token)?;
        let http = reqwest::Client::builder()
            .user_agent(self.user_agent)
            .connect_timeout(self.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(sidevault_dns::Lookup))
            .tls_backend_preconfigured(tls::config(&self.roots, certificates.as_deref())?)
            .build()
            .map_err(|error| ClientError::Config(crate::error::causes(&error.without_url())))?;
        Ok(Client::from_inner(Inner {
            http,
            base,
            token,
            timeout: self.timeout,
            events: self.events,
        }))
    }
}

/// The URL that paths are put behind. A path of its own stays, whatever slashes end it.
///
/// The text is not repeated in errors: people write passwords into URLs.
pub(crate) fn base_url(host: &str) -> Result<Url, ClientError> {
    let refuse = |reason: &str| ClientError::Config(format!("the host {reason}"));
    let mut url = Url::parse(host.trim()).map_err(|error| refuse(&format!("is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("must not hold a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("must not hold a query or fragment"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("user_agent", &self.user_agent)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<ClientBuilder, ClientError> {
        ClientBuilder::from_variables(|name| {
            let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn a_host_is_an_http_url_and_nothing_more() {
        for good in [
            "http://h:8080",
            " https://h/connect/ ",
            "http://[::1]:8080//",
            "http://h/",
        ] {
            assert!(base_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "h",
            "localhost:8080",
            "ftp://h",
            "http://",
            "http://u:hunter2@h",
            "http://h/?hunter2",
            "http://h/#hunter2",
        ] {
            let error = Client::builder(bad, "t").build().unwrap_err();
            assert!(matches!(error, ClientError::Config(_)), "{bad}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_environment_gives_host_and_token() {
        let both = from(&[("OP_CONNECT_HOST", "http://h"), ("OP_CONNECT_TOKEN", "t")]).unwrap();
        assert_eq!((both.host.as_str(), both.token.as_str()), ("http://h", "t"));
        for missing in [
            &[("OP_CONNECT_TOKEN", "t")][..],
            &[("OP_CONNECT_HOST", " "), ("OP_CONNECT_TOKEN", "t")],
            &[("OP_CONNECT_HOST", "http://h")],
            &[
                ("OP_CONNECT_HOST", "http://h"),
                ("SIDEVAULT_TOKEN_FILE", "/nowhere/token"),
            ],
        ] {
            assert!(matches!(from(missing), Err(ClientError::Config(_))), "{missing:?}");
        }
    }

    #[test]
    fn a_token_file_may_end_in_a_line_feed_and_the_variable_wins_over_it() {
        let file = std::env::temp_dir().join(format!("sidevault-client-token-{}", std::process::id()));
        std::fs::write(&file, "from-file\n").unwrap();
        let path = file.to_str().unwrap();
        let builder = from(&[("OP_CONNECT_HOST", "http://h"), ("SIDEVAULT_TOKEN_FILE", path)]).unwrap();
        let both = from(&[
            ("OP_CONNECT_HOST", "http://h"),
            ("OP_CONNECT_TOKEN", "t"),
            ("SIDEVAULT_TOKEN_FILE", path),
        ])
        .unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(builder.token.trim(), "from-file");
        assert_eq!(both.token.as_str(), "t");
        assert!(builder.build().is_ok());
    }

    #[test]
    fn debug_shows_neither_host_nor_token() {
        let builder = Client::builder("http://u:hunter2@h", "hunter2");
        assert!(!format!("{builder:?}").contains("hunter2"));
    }
}
