//! The settings of a client.

use std::fmt;
use std::path::PathBuf;
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

/// Time limits of the event stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventTimes {
    /// The connection counts as broken after this time without a byte. Sidevault sends at least a comment every 15
    /// seconds.
    pub(crate) silence: Duration,
    /// The wait before the first reconnect, which doubles.
    pub(crate) reconnect: Duration,
}

impl ClientBuilder {
    /// Settings for the server at the URL `host`, with defaults for everything else.
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

    /// Reads the server's URL from `OP_CONNECT_HOST`, and the token from `OP_CONNECT_TOKEN` or, if that is not set,
    /// from the file that `SIDEVAULT_TOKEN_FILE` names.
    ///
    /// # Errors
    /// [`ClientError::Config`] if the URL or the token is missing, the URL is invalid, or the file can't be read.
    pub fn from_env() -> Result<Self, ClientError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, ClientError> {
        // Compose files set a variable to the empty string if it has no value.
        let get = |name| get(name).filter(|value| !value.trim().is_empty());
        let host = get("OP_CONNECT_HOST").ok_or_else(|| ClientError::Config("OP_CONNECT_HOST is not set".into()))?;
        if let Err(why) = base_url(&host) {
            return Err(ClientError::Config(format!("OP_CONNECT_HOST: {why}")));
        }
        if let Some(token) = get("OP_CONNECT_TOKEN") {
            return Ok(Self::new(host, token));
        }
        let path = get("SIDEVAULT_TOKEN_FILE")
            .ok_or_else(|| ClientError::Config("neither OP_CONNECT_TOKEN nor SIDEVAULT_TOKEN_FILE is set".into()))?;
        let token = std::fs::read_to_string(&path)
            .map_err(|error| ClientError::Config(format!("SIDEVAULT_TOKEN_FILE ({path}): {error}")))?;
        Ok(Self::new(host, token))
    }

    /// The `User-Agent` of all requests; by default `sidevault-client/` and the version.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// How long a call may take, retries included. 30 seconds by default, because Connect may wait 10 seconds for its
    /// first sync. For file contents and event streams the limit applies until the answer begins.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long name resolution, the TCP handshake and the TLS handshake may take together; 5 seconds by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Also trusts the certificate authorities of a PEM bundle.
    #[must_use]
    pub fn add_root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// Makes the client, without sending anything. For an `https` URL the client also trusts the PEM bundle that
    /// `SSL_CERT_FILE` names. It uses the proxies of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, as Connect's SDKs do.
    ///
    /// # Errors
    /// [`ClientError::Config`] if the URL is not an `http` or `https` URL, the token contains characters that no token
    /// has, or a certificate bundle can't be used.
    pub fn build(self) -> Result<Client, ClientError> {
        let base = base_url(&self.host).map_err(|error| ClientError::Config(error.to_string()))?;
        let file = match base.scheme() {
            "https" => std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()),
            _ => None,
        };
        self.build_with(base, file.map(PathBuf::from))
    }

    pub(crate) fn build_with(self, base: Url, certificates: Option<PathBuf>) -> Result<Client, ClientError> {
        let token = Token::parse(&self.token)?;
        let failed =
            |error: &dyn std::error::Error| ClientError::Config(format!("the HTTP client can't be set up: {error}"));
        let authorities = tls::authorities(&self.roots, certificates.as_deref())?;
        let http = sidevault_net::client_builder(authorities)
            .map_err(|error| failed(&error))?
            .user_agent(self.user_agent)
            .connect_timeout(self.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| failed(&error))?;
        Ok(Client::from_inner(Inner {
            http,
            base,
            token,
            timeout: self.timeout,
            events: self.events,
        }))
    }
}

/// Parses the URL that paths are appended to. It may have a path itself; slashes at the end are removed.
///
/// # Errors
/// What is wrong with the URL. The error does not quote it, because users write passwords into URLs.
pub(crate) fn base_url(host: &str) -> Result<Url, HostError> {
    let mut url = Url::parse(host.trim()).map_err(|_| HostError::Invalid)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(HostError::Invalid);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(HostError::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(HostError::Query);
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Why a text is not the URL of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostError {
    #[error("the server's URL must begin with http:// or https://, such as http://localhost:8080")]
    Invalid,
    #[error("the server's URL must not contain a user name or a password")]
    Credentials,
    #[error("the server's URL must not contain a query (?) or a fragment (#)")]
    Query,
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
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<ClientBuilder, ClientError> {
        ClientBuilder::from_variables(|name| {
            let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn a_host_is_an_http_url_without_credentials_and_query() {
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
            assert!(error.to_string().starts_with("the server's URL must "), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn from_env_needs_host_and_token() {
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
        let error = from(&[("OP_CONNECT_HOST", "h:8080"), ("OP_CONNECT_TOKEN", "t")]).unwrap_err();
        assert!(
            error.to_string().starts_with("OP_CONNECT_HOST: the server's URL must "),
            "{error}"
        );
    }

    #[test]
    fn a_token_file_may_end_in_a_line_feed_and_the_variable_is_preferred() {
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
