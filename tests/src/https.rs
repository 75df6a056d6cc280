//! An HTTPS client that trusts one certificate authority only.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Version;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The deadline of each operation on a connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on this machine that is addressed by a host name.
pub struct Https {
    name: String,
    address: SocketAddr,
    roots: Arc<RootCertStore>,
}

/// What the server presented in a TLS handshake.
pub struct Seen {
    /// The certificates in DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The protocol that ALPN selected.
    pub protocol: Option<String>,
}

/// An answer.
pub struct Answer {
    /// The version of HTTP.
    pub version: Version,
    /// Its status.
    pub status: u16,
    /// Its body, `null` if it is not JSON.
    pub json: serde_json::Value,
    /// Its body.
    pub text: String,
}

impl Https {
    /// The server at a port. Its certificate must be for this name, and issued by the authority in `root` (PEM).
    ///
    /// # Panics
    /// If that is no certificate.
    pub fn new(name: &str, port: u16, root: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(root.as_bytes()).expect("PEM");
        roots.add(root).expect("a certificate");
        Self {
            name: name.to_owned(),
            address: (Ipv4Addr::LOCALHOST, port).into(),
            roots: Arc::new(roots),
        }
    }

    fn config(&self, protocols: &[&str]) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    /// Makes a TLS handshake that offers these protocols by ALPN.
    ///
    /// # Errors
    /// If it fails, or the server can't be trusted.
    pub fn look(&self, protocols: &[&str]) -> io::Result<Seen> {
        let name = ServerName::try_from(self.name.clone()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::new(self.config(protocols)), name).map_err(io::Error::other)?;
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(session, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        stream.flush()?;
        let chain = stream.conn.peer_certificates().unwrap_or_default();
        Ok(Seen {
            chain: chain.iter().map(|certificate| certificate.to_vec()).collect(),
            protocol: stream
                .conn
                .alpn_protocol()
                .map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
        })
    }

    /// Sends a request, with HTTP/2 if ALPN selects it.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn get(&self, protocols: &[&str], token: &str, path: &str) -> reqwest::Result<Answer> {
        self.ask(protocols, |client, base| {
            client.get(format!("{base}{path}")).bearer_auth(token)
        })
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> reqwest::Result<Answer> {
        self.ask(&[], |client, base| {
            client.post(format!("{base}{path}")).body(body.to_string())
        })
    }

    fn ask(
        &self,
        protocols: &[&str],
        request: impl FnOnce(&reqwest::Client, &str) -> reqwest::RequestBuilder,
    ) -> reqwest::Result<Answer> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(self.config(protocols))
            .user_agent("sidevault-tests")
            .resolve(&self.name, self.address)
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        let base = format!("https://{}:{}", self.name, self.address.port());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let response = request(&client, &base).send().await?;
            let (version, status) = (response.version(), response.status().as_u16());
            let text = response.text().await?;
            let json = serde_json::from_str(&text).unwrap_or_default();
            Ok(Answer {
                version,
                status,
                json,
                text,
            })
        })
    }
}
