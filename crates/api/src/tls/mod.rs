//! TLS with a certificate from `files`, which someone else renews, or from `acme`, which requests and renews one itself.

#[cfg(feature = "acme")]
mod acme;
mod files;

pub use files::TlsFiles;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
#[cfg(not(feature = "acme"))]
use tokio_util::sync::CancellationToken;

/// The ALPN protocol by which an ACME server validates a challenge (RFC 8737, 4).
const ACME_ALPN: &[u8] = b"acme-tls/1";

/// Whether and how connections are encrypted.
#[derive(Clone)]
pub enum Tls {
    /// Plain HTTP.
    Off,
    /// TLS 1.2 or 1.3, with HTTP/2 or HTTP/1.1 by ALPN.
    On(TlsAcceptor),
}

/// The ACME server to ask for a certificate, and the name to ask for.
#[derive(Clone, Debug)]
pub struct Acme {
    /// The name in the certificate.
    pub domain: DnsName<'static>,
    /// The URL of the ACME server's directory, with `https`.
    pub directory: String,
    /// A PEM file with a certificate authority to trust for requests to the ACME server, besides the public ones.
    pub authority: Option<PathBuf>,
    /// The data directory. Account and certificate are stored in `acme/` in it.
    pub data: PathBuf,
}

impl Acme {
    /// Let's Encrypt's directory (<https://letsencrypt.org/docs/acme-protocol-updates>).
    pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

    /// Refuses, because this program was built without the crate feature `acme`.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "acme"))]
    pub fn start(self, _stop: CancellationToken) -> Result<Tls, TlsError> {
        let cause = "this program was built without ACME (the crate feature `acme`)";
        Err(TlsError::Acme(cause.to_owned()))
    }
}

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or is not PEM.
    #[error("{path}: {cause}")]
    File {
        /// The file: the certificate, its key, or the ACME server's authority.
        path: PathBuf,
        /// What is wrong with the file.
        cause: String,
    },
    /// The key does not belong to the certificate, or its algorithm is not supported.
    #[error("the private key in {path} can't be used with the certificate: {cause}")]
    Pair {
        /// The file with the key.
        path: PathBuf,
        /// The error of rustls.
        cause: rustls::Error,
    },
    /// The directory for the ACME account and certificate can't be used.
    #[error("can't store certificates in {path}: {cause}; the api must be able to write there")]
    Folder {
        /// `acme/…` in the data directory.
        path: PathBuf,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// The ACME server did not find this server at the domain.
    #[error(
        "the ACME server did not find this server at the domain: {0}; its DNS records must point here, and port 443 \
         there must lead to OP_HTTPS_PORT"
    )]
    Validation(String),
    /// The ACME server can't be reached, refuses, or sends an unusable response.
    #[error("the ACME server gave no certificate: {0}")]
    Acme(String),
}

impl Tls {
    fn on(resolver: Arc<dyn ResolvesServerCert>, protocols: &[&[u8]]) -> Self {
        // Does not fail, because ring supports both protocol versions.
        let Ok(builder) =
            ServerConfig::builder_with_provider(ring::default_provider().into()).with_safe_default_protocol_versions()
        else {
            return Self::Off;
        };
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Self::On(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The connection if HTTP is to be served on it. None if the client was an ACME server that validated a challenge: that ends
/// with the handshake, and nothing may be sent (RFC 8737, 4).
pub(crate) async fn for_http(mut stream: TlsStream<TcpStream>) -> Option<TlsStream<TcpStream>> {
    if stream.get_ref().1.alpn_protocol() != Some(ACME_ALPN) {
        return Some(stream);
    }
    // Fails if the ACME server has closed the connection already.
    stream.shutdown().await.ok();
    None
}

/// The certificate that is served. None before the first one is there.
#[derive(Debug, Default)]
struct Current(RwLock<Option<Arc<CertifiedKey>>>);

impl Current {
    fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().clone()
    }

    fn set(&self, pair: Option<Arc<CertifiedKey>>) {
        *self.0.write() = pair;
    }
}

/// All certificates in a PEM text, in the order of the text.
///
/// # Errors
/// If the text is not PEM, or has no certificate.
fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let chain = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>()?;
    if chain.is_empty() {
        return Err(pem::Error::NoItemsFound);
    }
    Ok(chain)
}

fn pair(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(chain, key, &ring::default_provider())
}
