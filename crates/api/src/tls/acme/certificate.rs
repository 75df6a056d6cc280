//! A certificate as it is stored: one PEM text with the private key and the chain.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::CertificateIdentifier;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

/// A usable certificate.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) pair: Arc<CertifiedKey>,
    pub(super) validity: Validity,
    /// The id by which the ACME server knows it (RFC 9773, 4.1). None if the certificate lacks the extension that the id is made
    /// of, as those of private authorities may.
    pub(super) id: Option<CertificateIdentifier<'static>>,
}

/// The period in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) begin: SystemTime,
    pub(super) end: SystemTime,
}

impl Certificate {
    /// Reads the key and the chain.
    ///
    /// # Errors
    /// What is wrong with the text. The error quotes nothing of the text, which has the private key.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let chain = crate::tls::certificates(text.as_bytes()).map_err(|error| format!("no certificates: {error}"))?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| "no private key".to_owned())?;
        let leaf = chain.first().ok_or("no certificates")?;
        let (_, parsed) = parse_x509_certificate(leaf).map_err(|error| error.to_string())?;
        let validity = Validity {
            begin: time(parsed.validity.not_before.timestamp()),
            end: time(parsed.validity.not_after.timestamp()),
        };
        let id = CertificateIdentifier::try_from(leaf).ok();
        let pair = crate::tls::pair(chain, key).map_err(|error| error.to_string())?;
        Ok(Self {
            pair: Arc::new(pair),
            validity,
            id,
        })
    }
}

/// A time in seconds since 1970. A negative time counts as 1970.
pub(super) fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pem_text_with_key_and_chain_is_read_with_its_validity() {
        let mut params = rcgen::CertificateParams::new(["vault.example.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let text = key.serialize_pem() + &params.self_signed(&key).unwrap().pem();
        let certificate = Certificate::parse(&text).unwrap();
        assert_eq!(certificate.validity.begin, time(1_767_225_600));
        assert_eq!(certificate.validity.end, time(1_775_001_600));
        assert_eq!(certificate.pair.cert.len(), 1);
    }

    #[test]
    fn an_incomplete_text_is_refused_and_the_error_has_no_key() {
        let one = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let key = one.signing_key.serialize_pem();
        for text in [
            String::new(),
            key.clone(),
            one.cert.pem(),
            key.clone() + &other.cert.pem(),
        ] {
            let error = Certificate::parse(&text).unwrap_err();
            assert!(!error.is_empty() && !error.contains("PRIVATE"), "{error}");
        }
    }
}
