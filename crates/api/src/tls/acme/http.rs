//! The way to the ACME server: trusts Mozilla's roots, built in, and asks for names without the C
//! library, which a statically linked program can't rely on.

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

/// How long a request may take from start to end.
const TIME: Duration = Duration::from_secs(60);

/// How long name resolution, TCP and TLS together may take.
const CONNECT_TIME: Duration = Duration::from_secs(15);

/// The longest answer that is read, in bytes: a chain of certificates has a few thousand.
const ANSWER_BYTES: usize = 1 << 20;

/// A client for `https` URLs only. Clones share their connections.
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
            .timeout(TIME)
            .connect_timeout(CONNECT_TIME)
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
        (0, _) => Err("no usable certificate in it".to_owned()),
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
            // Nothing can fail: the body is in memory.
            let Ok(body) = body.collect().await;
            let request = Request::from_parts(head, body.to_bytes()).try_into().map_err(failed)?;
            let response = client.execute(request).await.map_err(failed)?;
            let response = http::Response::from(response).map(|body| Limited::new(body, ANSWER_BYTES));
            Ok(BytesResponse::from(response))
        })
    }
}

fn failed(error: reqwest::Error) -> Error {
    Error::Other(causes(&error).into())
}

/// An error with its sources: reqwest's own text leaves out what went wrong.
fn causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
