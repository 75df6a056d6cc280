//! Requests to the ACME server.

use std::error::Error as StdError;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Limited};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use sidevault_net::Authorities;

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
        let mut authorities = Authorities::default();
        if let Some(path) = authority {
            let failed = |error: &dyn StdError| TlsError::File {
                path: path.to_owned(),
                cause: error.to_string(),
            };
            let bundle = std::fs::read(path).map_err(|error| failed(&error))?;
            authorities.add(&bundle).map_err(|error| failed(&error))?;
        }
        let failed = |error: &dyn StdError| TlsError::Acme(causes(error));
        let client = sidevault_net::client_builder(authorities)
            .map_err(|error| failed(&error))?
            .https_only(true)
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| failed(&error))?;
        Ok(Self(client))
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
