//! Requests to the ACME server. They trust Mozilla's root certificates, which are compiled in, and resolve names without the C
//! library, which does not work reliably in a statically linked program.

use std::error::Error as StdError;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Limited};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::TlsError;

/// How long a whole request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long name resolution, TCP and TLS together may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest response that is read, in bytes. A certificate chain has a few thousand.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// An HTTP client for `https` URLs only. Clones share their connections.
#[derive(Clone)]
pub(super) struct Http(reqwest::Client);

impl Http {
    /// Trusts the authority in a PEM file besides the public ones.
    pub(super) fn new(authority: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        if let Some(path) = authority {
            trust(&mut roots, path).map_err(|cause| TlsError::File {
                path: path.to_owned(),
                cause,
            })?;
        }
        let failed = |error: &dyn StdError| TlsError::Acme(causes(error));
        let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .https_only(true)
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .dns_resolver(Arc::new(sidevault_dns::Lookup))
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(|error| failed(&error))?;
        Ok(Self(client))
    }
}

fn trust(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let certificates = crate::tls::certificates(&text).map_err(|error| error.to_string())?;
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err("the file has no usable certificate".to_owned()),
        _ => Ok(()),
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            // Can't fail, because the body is in memory.
            let Ok(body) = body.collect().await;
            let request = Request::from_parts(head, body.to_bytes()).try_into().map_err(failed)?;
            let response = client.execute(request).await.map_err(failed)?;
            let response = http::Response::from(response).map(|body| Limited::new(body, MAX_RESPONSE_BYTES));
            Ok(BytesResponse::from(response))
        })
    }
}

fn failed(error: reqwest::Error) -> Error {
    Error::Other(causes(&error).into())
}

/// An error's text with those of its sources: reqwest's own text does not say what went wrong.
fn causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
