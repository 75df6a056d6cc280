//! TLS: certificates from files, read again when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at. cert-manager renews weeks ahead: a minute more is nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Whether and how connections are encrypted.
#[derive(Clone)]
pub enum Tls {
    /// Plain HTTP.
    Off,
    /// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.
    On(TlsAcceptor),
}

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or is not PEM.
    #[error("{path}: {cause}")]
    File {
        /// OP_TLS_CERT_FILE or OP_TLS_KEY_FILE.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The key does not belong to the certificate, or is of an unknown kind.
    #[error("the private key in {path} can't be used with the certificate: {cause}")]
    Pair {
        /// OP_TLS_KEY_FILE.
        path: PathBuf,
        /// What rustls said.
        cause: rustls::Error,
    },
}

/// A certificate and its key, in two PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// OP_TLS_CERT_FILE: the full chain, leaf first.
    pub cert: PathBuf,
    /// OP_TLS_KEY_FILE.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads the files, and again whenever they change, until `stop`. A changed pair that can't
    /// be used is logged, and the one before goes on serving.
    ///
    /// # Errors
    /// If the pair can't be used now.
    pub fn start(self, stop: CancellationToken) -> Result<Tls, TlsError> {
        let current = Arc::new(Current(RwLock::new(Arc::new(self.load()?))));
        tokio::spawn(follow(self, current.clone(), stop));
        Ok(Tls::on(current))
    }

    fn load(&self) -> Result<CertifiedKey, TlsError> {
        let chain = CertificateDer::pem_file_iter(&self.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| file(&self.cert, &error))?;
        if chain.is_empty() {
            return Err(file(&self.cert, &"no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| file(&self.key, &error))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|cause| TlsError::Pair {
            path: self.key.clone(),
            cause,
        })
    }

    fn contents(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        Some((std::fs::read(&self.cert).ok()?, std::fs::read(&self.key).ok()?))
    }
}

fn file(path: &Path, cause: &dyn std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

impl Tls {
    fn on(resolver: Arc<dyn ResolvesServerCert>) -> Self {
        // ring has both protocol versions: there is nothing to fail.
        let Ok(builder) =
            ServerConfig::builder_with_provider(ring::default_provider().into()).with_safe_default_protocol_versions()
        else {
            return Self::Off;
        };
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self::On(TlsAcceptor::from(Arc::new(config)))
    }
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone())
    }
}

async fn follow(files: TlsFiles, current: Arc<Current>, stop: CancellationToken) {
    let mut known = files.contents();
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await.is_some() {
        let now = files.contents();
        if now == known {
            continue;
        }
        known = now;
        match files.load() {
            Ok(pair) => {
                *current.0.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(pair);
                tracing::info!("the TLS certificate was read anew");
            }
            Err(error) => tracing::warn!(%error, "the changed TLS certificate can't be used; the old one stays"),
        }
    }
}
