//! A certificate from an ACME server (RFC 8555), such as Let's Encrypt, which is requested, stored and renewed while the api
//! serves.
//!
//! The challenge is TLS-ALPN-01 (RFC 8737) on the HTTPS port, so no other port is needed. `keeper` decides when to request a
//! certificate, `order` requests one, `offer` answers TLS handshakes, `folder` stores the account and the certificate, and
//! `http` sends the requests.

mod certificate;
mod folder;
mod http;
mod keeper;
mod offer;
mod order;
mod schedule;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{ACME_ALPN, Acme, Tls, TlsError};

impl Acme {
    /// Serves the stored certificate, requests one if there is none, and renews it, until `stop`. Handshakes fail until there
    /// is a certificate.
    ///
    /// # Errors
    /// If the directory can't be written to, or the authority's file can't be used. Errors of the ACME server are logged, and
    /// the request is made again later.
    pub fn start(self, stop: CancellationToken) -> Result<Tls, TlsError> {
        let http = http::Http::new(self.authority.as_deref())?;
        let folder = folder::Folder::open(&self.data, &self.directory)?;
        let offer = Arc::new(offer::Offer::new(self.domain.clone()));
        let keeper = keeper::Keeper::new(self, http, folder, offer.clone());
        tokio::spawn(async move { stop.run_until_cancelled(keeper.run()).await });
        Ok(Tls::on(offer, &[b"h2", b"http/1.1", ACME_ALPN]))
    }
}
