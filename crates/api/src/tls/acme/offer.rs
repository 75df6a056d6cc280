//! The certificate that a TLS handshake gets: the one that is served or, for the ACME server, the one of the challenge.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::DnsName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{ACME_ALPN, TlsError};
use crate::tls::Current;

/// Chooses the certificate of each handshake.
#[derive(Debug)]
pub(super) struct Offer {
    domain: DnsName<'static>,
    /// The certificate that is served.
    pub(super) current: Current,
    challenge: Current,
    /// Whether the log has said that there is no certificate.
    is_reported: AtomicBool,
}

impl Offer {
    pub(super) fn new(domain: DnsName<'static>) -> Self {
        Self {
            domain,
            current: Current::default(),
            challenge: Current::default(),
            is_reported: AtomicBool::new(false),
        }
    }

    /// Answers a challenge until the returned value is dropped. `digest` is the SHA-256 of the key authorization.
    ///
    /// # Errors
    /// If the certificate for the challenge can't be made.
    pub(super) fn answer(self: &Arc<Self>, digest: &[u8]) -> Result<Answering, TlsError> {
        let pair = challenge(&self.domain, digest).map_err(TlsError::Acme)?;
        self.challenge.set(Some(Arc::new(pair)));
        Ok(Answering(self.clone()))
    }
}

/// A challenge that is answered until this is dropped.
#[must_use]
pub(super) struct Answering(Arc<Offer>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.challenge.set(None);
    }
}

impl ResolvesServerCert for Offer {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // RFC 8737, 3: the ACME server offers exactly this protocol.
        if hello.alpn().is_some_and(|protocols| protocols.eq([ACME_ALPN])) {
            return self.challenge.get();
        }
        let current = self.current.get();
        if current.is_none() && !self.is_reported.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                domain = self.domain.as_ref(),
                "a TLS handshake failed: there is no certificate yet"
            );
        }
        current
    }
}

/// The self-signed certificate with the challenge's digest (RFC 8737, 3).
fn challenge(domain: &DnsName<'_>, digest: &[u8]) -> Result<CertifiedKey, String> {
    // rcgen panics on another length.
    if digest.len() != 32 {
        return Err("a challenge's digest is not SHA-256".to_owned());
    }
    let make = || {
        let mut params = CertificateParams::new([domain.as_ref().to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?, key))
    };
    let (certificate, key) = make().map_err(|error: rcgen::Error| error.to_string())?;
    let key = ring::sign::any_supported_type(&key.into()).map_err(|error| error.to_string())?;
    // Not `from_der`, which parses the certificate and refuses its critical extension.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

#[cfg(test)]
mod tests {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, SignatureScheme};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::Tls;

    /// Accepts every certificate: these tests look at which one is offered.
    #[derive(Debug)]
    struct AcceptAny;

    impl ServerCertVerifier for AcceptAny {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }

    /// The certificate that a client with these protocols gets, and the negotiated protocol.
    async fn handshake(offer: &Arc<Offer>, protocols: &[&[u8]]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let Tls::On(acceptor) = Tls::on(offer.clone(), &[b"h2", b"http/1.1", ACME_ALPN]) else {
            return None;
        };
        let (near, far) = tokio::io::duplex(64 << 10);
        let mut config = rustls::ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from("vault.example.test").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let (server, client) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
        let (_server, client) = (server.ok()?, client.ok()?);
        let session = client.get_ref().1;
        let leaf = session.peer_certificates()?.first()?.to_vec();
        Some((leaf, session.alpn_protocol().map(<[u8]>::to_vec)))
    }

    fn offer() -> Arc<Offer> {
        Arc::new(Offer::new(DnsName::try_from("vault.example.test").unwrap()))
    }

    #[tokio::test]
    async fn only_a_client_that_offers_the_acme_protocol_alone_gets_the_challenge_certificate() {
        let offer = offer();
        let served = challenge(&offer.domain, &[1; 32]).unwrap();
        let leaf = served.cert[0].to_vec();
        offer.current.set(Some(Arc::new(served)));
        assert!(
            handshake(&offer, &[ACME_ALPN]).await.is_none(),
            "no challenge is being answered"
        );
        let answering = offer.answer(&[2; 32]).unwrap();
        let (seen, protocol) = handshake(&offer, &[ACME_ALPN]).await.unwrap();
        assert_eq!(protocol.as_deref(), Some(ACME_ALPN));
        assert_ne!(seen, leaf);
        let ordinary: [&[&[u8]]; 3] = [&[], &[b"h2", b"http/1.1"], &[ACME_ALPN, b"h2"]];
        for ordinary in ordinary {
            assert_eq!(handshake(&offer, ordinary).await.unwrap().0, leaf, "{ordinary:?}");
        }
        drop(answering);
        assert!(handshake(&offer, &[ACME_ALPN]).await.is_none());
    }

    #[tokio::test]
    async fn without_a_certificate_a_handshake_fails() {
        assert!(handshake(&offer(), &[b"h2"]).await.is_none());
    }

    #[test]
    fn a_digest_of_a_wrong_length_is_refused() {
        assert!(offer().answer(&[0; 20]).is_err());
    }
}
