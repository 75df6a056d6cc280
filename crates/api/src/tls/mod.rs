//! TLS: what is offered to whom, and where the certificate comes from: `files` that an operator
//! or a person renews, or `acme`, which fetches and renews one by itself.

mod acme;
mod files;

pub use acme::Acme;
pub use files::TlsFiles;

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The protocol in which an ACME server looks at a challenge's certificate (RFC 8737, 4).
const ACME_ALPN: &[u8] = b"acme-tls/1";

/// Whether and how connections are encrypted.
#[derive(Clone)]
pub enum Tls {
    /// Plain HTTP.
    Off,
    /// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.
    On(TlsAcceptor),
}

/// Why there is no certificate, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or is not PEM.
    #[error("{path}: {cause}")]
    File {
        /// The certificate, its key, or the ACME server's authority.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The key does not belong to the certificate, or is of an unknown kind.
    #[error("the private key in {path} can't be used with the certificate: {cause}")]
    Pair {
        /// Where the key is.
        path: PathBuf,
        /// What rustls said.
        cause: rustls::Error,
    },
    /// The folder that keeps the ACME account and certificate can't be used.
    #[error("can't keep certificates in {path}: {cause}; the api must be able to write there")]
    Folder {
        /// `acme/…` in the data directory.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The ACME server was asked to look at the domain, and did not find this server there.
    #[error(
        "the ACME server did not find this server at the domain: {0}; its DNS records must point here, and port 443 \
         there must lead to OP_HTTPS_PORT"
    )]
    Validation(String),
    /// The ACME server can't be reached, refuses, or answers what can't be used.
    #[error("ACME: {0}")]
    Acme(String),
}

impl Tls {
    fn on(resolver: Arc<dyn ResolvesServerCert>, protocols: &[&[u8]]) -> Self {
        // ring has both protocol versions: there is nothing to fail.
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

/// The connection, to serve HTTP on. An ACME server's look at a challenge ends with the handshake:
/// nothing may be sent in that protocol (RFC 8737, 4).
pub(crate) async fn for_http(mut stream: TlsStream<TcpStream>) -> Option<TlsStream<TcpStream>> {
    if stream.get_ref().1.alpn_protocol() != Some(ACME_ALPN) {
        return Some(stream);
    }
    // The other side may have seen enough and be gone.
    let _gone = stream.shutdown().await;
    None
}

/// The certificate being served; none before the first one is there.
#[derive(Debug, Default)]
struct Current(RwLock<Option<Arc<CertifiedKey>>>);

impl Current {
    fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn set(&self, pair: Option<Arc<CertifiedKey>>) {
        *self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = pair;
    }
}

/// Every certificate in a PEM text, in its order.
///
/// # Errors
/// If it is not PEM, or has none.
fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let chain = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>()?;
    match chain.is_empty() {
        true => Err(pem::Error::NoItemsFound),
        false => Ok(chain),
    }
}

fn pair(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(chain, key, &ring::default_provider())
}
