//! A certificate from files, which are read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use super::{Current, Tls, TlsError};

/// How often the files are read. cert-manager renews weeks before a certificate expires, so this could be much longer.
const READ_INTERVAL: Duration = Duration::from_secs(5);

/// A certificate and its key, in two PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// OP_TLS_CERT_FILE: the whole chain, beginning with the server's certificate.
    pub cert: PathBuf,
    /// OP_TLS_KEY_FILE: the private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads the files, and reads them again whenever they change, until `stop`. If the changed files can't be used, that is
    /// logged, and the old certificate is still served.
    ///
    /// # Errors
    /// If the files can't be used now.
    pub fn start(self, stop: CancellationToken) -> Result<Tls, TlsError> {
        let current = Arc::new(Current::default());
        let known = self.contents();
        current.set(Some(Arc::new(self.load()?)));
        tokio::spawn(follow(self, known, current.clone(), stop));
        Ok(Tls::on(current, &[b"h2", b"http/1.1"]))
    }

    fn load(&self) -> Result<CertifiedKey, TlsError> {
        let text = std::fs::read(&self.cert).map_err(|error| file(&self.cert, &error))?;
        let chain = super::certificates(&text).map_err(|error| file(&self.cert, &error))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| file(&self.key, &error))?;
        super::pair(chain, key).map_err(|cause| TlsError::Pair {
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

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get()
    }
}

async fn follow(
    files: TlsFiles,
    mut known: Option<(Vec<u8>, Vec<u8>)>,
    current: Arc<Current>,
    stop: CancellationToken,
) {
    while stop
        .run_until_cancelled(tokio::time::sleep(READ_INTERVAL))
        .await
        .is_some()
    {
        let now = files.contents();
        if now == known {
            continue;
        }
        known = now;
        match files.load() {
            Ok(pair) => {
                current.set(Some(Arc::new(pair)));
                tracing::info!("the changed TLS certificate is served");
            }
            Err(error) => {
                tracing::warn!(%error, "the changed TLS certificate can't be used; the old one is still served")
            }
        }
    }
}
