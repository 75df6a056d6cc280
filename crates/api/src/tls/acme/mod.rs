//! A certificate from an ACME server (RFC 8555), such as Let's Encrypt: fetched, kept and renewed
//! while the api serves.
//!
//! The server proves itself by TLS-ALPN-01 (RFC 8737) on the HTTPS port: no other port is needed.
//! `keeper` decides when, `order` gets one certificate, `offer` answers handshakes, `folder` keeps
//! what was got over a restart, `http` carries the requests.

mod certificate;
mod folder;
mod http;
mod keeper;
mod offer;
mod order;
mod schedule;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::DnsName;
use tokio_util::sync::CancellationToken;

use super::{ACME_ALPN, Tls, TlsError};

/// Whom to ask for a certificate, and for which name.
#[derive(Clone, Debug)]
pub struct Acme {
    /// The name to have a certificate for.
    pub domain: DnsName<'static>,
    /// The ACME server's directory, an `https` URL.
    pub directory: String,
    /// PEM file of an authority to trust for the ACME server itself, besides the public ones.
    pub authority: Option<PathBuf>,
    /// The data directory; account and certificate are kept in `acme/` below it.
    pub data: PathBuf,
}

impl Acme {
    /// Let's Encrypt's directory.
    pub const LETS_ENCRYPT: &str = instant_acme::LetsEncrypt::Production.url();

    /// Takes up the certificate that is kept, fetches one if there is none, and renews it, until
    /// `stop`. Handshakes fail until there is one; nobody can be answered without.
    ///
    /// # Errors
    /// If the folder can't be written to, or the authority's file can't be used. Whatever goes
    /// wrong with the ACME server is logged and tried again.
    pub fn start(self, stop: CancellationToken) -> Result<Tls, TlsError> {
        let http = http::Http::new(self.authority.as_deref())?;
        let folder = folder::Folder::open(&self.data, &self.directory)?;
        let offer = Arc::new(offer::Offer::new(self.domain.clone()));
        let keeper = keeper::Keeper::new(self, http, folder, offer.clone());
        tokio::spawn(async move { stop.run_until_cancelled(keeper.run()).await });
        Ok(Tls::on(offer, &[b"h2", b"http/1.1", ACME_ALPN]))
    }
}
