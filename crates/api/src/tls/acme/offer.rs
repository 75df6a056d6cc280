//! What a handshake is offered: the certificate, or a challenge's to the ACME server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::DnsName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{ACME_ALPN, TlsError};
use crate::tls::Current;

/// Picks a certificate for each handshake.
#[derive(Debug)]
pub(super) struct Offer {
    domain: DnsName<'static>,
    /// What is served.
    pub(super) current: Current,
    challenge: Current,
    missed: AtomicBool,
}

impl Offer {
    pub(super) fn new(domain: DnsName<'static>) -> Self {
        Self {
            domain,
            current: Current::default(),
            challenge: Current::default(),
            missed: AtomicBool::new(false),
        }
    }

    /// Answers a challenge for as long as the value lives. `digest` is that of the key
    /// authorization, SHA-256.
    pub(super) fn answer(self: &Arc<Self>, digest: &[u8]) -> Result<Answering, TlsError> {
        let pair = challenge(&self.domain, digest).map_err(TlsError::Acme)?;
        self.challenge.set(Some(Arc::new(pair)));
        Ok(Answering(self.clone()))
    }
}

/// A challenge is being answered.
#[must_use]
pub(super) struct Answering(Arc<Offer>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.challenge.set(None);
    }
}

impl ResolvesServerCert for Offer {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // RFC 8737, 3: the ACME server offers this one protocol and no other.
        if hello.alpn().is_some_and(|protocols| protocols.eq([ACME_ALPN])) {
            return self.challenge.get();
        }
        let current = self.current.get();
        if current.is_none() && !self.missed.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                domain = self.domain.as_ref(),
                "a client can't be served: there is no certificate yet"
            );
        }
        current
    }
}

/// The self-signed certificate that bears the challenge's digest (RFC 8737, 3).
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
    // Not `from_der`: its check that the two belong together stumbles over the critical extension.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, SignatureScheme};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::Tls;

    /// Believes every certificate: what is offered is the question here, not whether it is trusted.
    #[derive(Debug)]
    struct Anybody;

    impl ServerCertVerifier for Anybody {
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

    /// The certificate that a client with these protocols is given, and the protocol agreed on.
    async fn handshake(offer: &Arc<Offer>, protocols: &[&[u8]]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let Tls::On(acceptor) = Tls::on(offer.clone(), &[b"h2", b"http/1.1", ACME_ALPN]) else {
            return None;
        };
        let (near, far) = tokio::io::duplex(64 << 10);
        let mut config = rustls::ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
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
    async fn only_a_hello_for_the_challenge_alone_sees_its_certificate() {
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
