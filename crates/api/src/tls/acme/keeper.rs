//! Requests and renews the certificate.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{Account, NewAccount};
use rustls::pki_types::DnsName;

use super::certificate::{Certificate, Validity, time};
use super::folder::Folder;
use super::http::Http;
use super::offer::Offer;
use super::order::{self, Failed};
use super::{Acme, TlsError, schedule};

/// How often the ACME server is asked whether the certificate should be renewed early. Also how long a change of the system's
/// clock may stay unnoticed.
const ASK_AGAIN: Duration = Duration::from_secs(6 * 3600);

/// The task that talks to the ACME server. There is one.
pub(super) struct Keeper {
    domain: DnsName<'static>,
    directory: String,
    http: Http,
    folder: Folder,
    offer: Arc<Offer>,
    account: Option<Account>,
    certificate: Option<Certificate>,
    /// The earliest time of the next renewal.
    earliest: SystemTime,
    /// Where in the window that the ACME server suggests this process renews, from 0 to 1. Chosen once, so that asking the
    /// server again does not change the time.
    share: f64,
}

impl Keeper {
    /// Serves the stored certificate, if there is one.
    pub(super) fn new(settings: Acme, http: Http, folder: Folder, offer: Arc<Offer>) -> Self {
        let certificate = folder.certificate(&settings.domain);
        if let Some(certificate) = &certificate {
            offer.current.set(Some(certificate.pair.clone()));
            tracing::info!(domain = settings.domain.as_ref(), "the stored certificate is served");
        }
        Self {
            domain: settings.domain,
            directory: settings.directory,
            http,
            folder,
            offer,
            account: None,
            certificate,
            earliest: SystemTime::UNIX_EPOCH,
            share: rand::random(),
        }
    }

    /// Never returns.
    pub(super) async fn run(mut self) {
        let mut failures = 0u32;
        loop {
            self.until_due().await;
            let Err(failed) = self.renew().await else {
                failures = 0;
                continue;
            };
            failures = failures.saturating_add(1);
            let pause = schedule::pause(failures, rand::random());
            tracing::warn!(
                domain = self.domain.as_ref(),
                error = %failed.error,
                next_attempt_seconds = pause.as_secs(),
                "no certificate was issued; {}",
                match &self.certificate {
                    Some(_) => "the old one is still served",
                    None => "HTTPS can't be served until there is one",
                }
            );
            if failed.account_is_gone {
                // Fails if the file is deleted already, or can't be: then the next attempt fails as this one did.
                self.folder.forget_account().ok();
            }
            // The next attempt reads the server's directory again, which may have changed.
            self.account = None;
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until a certificate has to be requested.
    async fn until_due(&mut self) {
        while let Some(validity) = self.certificate.as_ref().map(|certificate| certificate.validity) {
            let suggested = self.suggested().await;
            let due = schedule::renewal(validity, suggested).max(self.earliest);
            match due.duration_since(SystemTime::now()) {
                Ok(wait) if !wait.is_zero() => tokio::time::sleep(wait.min(ASK_AGAIN)).await,
                _ => return,
            }
        }
    }

    /// When the ACME server suggests to renew (RFC 9773). None if it suggests nothing.
    async fn suggested(&mut self) -> Option<SystemTime> {
        let account = self.account().await.ok()?;
        let id = self.certificate.as_ref()?.id.as_ref()?;
        let (info, _) = account.renewal_info(id).await.ok()?;
        let window = Validity {
            begin: time(info.suggested_window.start.unix_timestamp()),
            end: time(info.suggested_window.end.unix_timestamp()),
        };
        Some(schedule::moment(window, self.share))
    }

    async fn renew(&mut self) -> Result<(), Failed> {
        let account = self.account().await?;
        let text = order::certificate(&account, &self.domain, &self.offer).await?;
        let certificate = Certificate::parse(&text).map_err(TlsError::Acme)?;
        if let Err(error) = self.folder.keep_certificate(&self.domain, &text) {
            tracing::warn!(%error, "the new certificate can't be stored: after a restart another one has to be requested");
        }
        self.offer.current.set(Some(certificate.pair.clone()));
        self.earliest = schedule::earliest(certificate.validity, SystemTime::now());
        tracing::info!(domain = self.domain.as_ref(), "a new certificate is served");
        self.certificate = Some(certificate);
        Ok(())
    }

    /// The account with the ACME server. Makes one if there is none, which agrees to the server's terms; docs/configuration.md
    /// says so.
    async fn account(&mut self) -> Result<Account, Failed> {
        if let Some(account) = &self.account {
            return Ok(account.clone());
        }
        let builder = Account::builder_with_http(Box::new(self.http.clone()));
        let account = match self.folder.account() {
            Some(kept) => builder.from_credentials(kept).await?,
            None => {
                let request = NewAccount {
                    contact: &[],
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let (account, credentials) = builder.create(&request, self.directory.clone(), None).await?;
                self.folder
                    .keep_account(&credentials)
                    .map_err(|error| TlsError::Acme(format!("the account can't be stored: {error}")))?;
                account
            }
        };
        self.account = Some(account.clone());
        Ok(account)
    }
}
