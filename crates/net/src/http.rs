//! HTTP clients that need nothing of the system: no resolver, and no bundle of certificate authorities.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::lookup;

/// The certificate authorities that a client trusts. By default Mozilla's, which are compiled in, so that an empty
/// container needs no bundle.
#[derive(Clone, Debug)]
pub struct Authorities(RootCertStore);

impl Default for Authorities {
    fn default() -> Self {
        Self(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        })
    }
}

/// Why a bundle of authorities can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The text is not PEM.
    #[error("the file is not PEM")]
    NotPem,
    /// The text has no certificate, or none that can be parsed.
    #[error("no usable certificate in it")]
    NoCertificate,
}

impl Authorities {
    /// Adds the certificates of a PEM bundle. Certificates that can't be parsed are skipped, as other TLS clients do,
    /// unless no certificate is left.
    ///
    /// # Errors
    /// If nothing in the bundle can be used.
    pub fn add(&mut self, bundle: &[u8]) -> Result<(), BundleError> {
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(bundle)
            .collect::<Result<_, _>>()
            .map_err(|_| BundleError::NotPem)?;
        match self.0.add_parsable_certificates(certificates) {
            (0, _) => Err(BundleError::NoCertificate),
            _ => Ok(()),
        }
    }
}

/// A builder of HTTP clients that trust these authorities and resolve names with [`lookup`]. They speak TLS 1.2 and 1.3,
/// and offer HTTP/2 before HTTP/1.1.
///
/// # Errors
/// None is expected: ring supports both versions of TLS.
pub fn client_builder(authorities: Authorities) -> Result<reqwest::ClientBuilder, rustls::Error> {
    // Names ring, so that the process-wide default provider, which another library may have set, does not matter.
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities.0)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let builder = reqwest::Client::builder();
    Ok(builder
        .dns_resolver(Arc::new(Resolver))
        .tls_backend_preconfigured(config))
}

struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses = lookup(name.as_str()).await?;
            // The client replaces port 0 by the port of the URL.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_a_certificate_is_refused() {
        let broken = b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        for (bundle, error) in [
            (&b""[..], BundleError::NoCertificate),
            (b"hello", BundleError::NoCertificate),
            (broken, BundleError::NotPem),
        ] {
            assert_eq!(Authorities::default().add(bundle), Err(error));
        }
    }
}
