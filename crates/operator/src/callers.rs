//! Checks who asks the operator's own HTTP server. The API server decides, asked with the caller's own token, so that the operator needs
//! no right to review tokens.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kube::Config;
use kube::config::AuthInfo;
use tokio::sync::Semaphore;

use crate::access;
use crate::clients::client_with_timeout;

/// How many callers are checked at once. Each check takes a connection to the API server.
const CHECKS: usize = 4;

/// How long the API server may take for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest token that is sent to the API server, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Why a caller gets no answer: a status, and a text for people.
pub(crate) type Refusal = (StatusCode, &'static str);

/// Checks callers.
#[derive(Clone)]
pub(crate) struct Callers {
    config: Config,
    checks: Arc<Semaphore>,
}

impl Callers {
    /// Callers with rights at the API server of `config`. The credentials in it are not used.
    pub(crate) fn new(config: &Config) -> Self {
        let mut config = config.clone();
        config.auth_info = AuthInfo::default();
        Self {
            config,
            checks: Arc::new(Semaphore::new(CHECKS)),
        }
    }

    /// Checks that the request's bearer token is of an account that may list all ExternalSecrets.
    ///
    /// # Errors
    /// 401 without a token that the API server accepts, 403 without the right, 429 if too many callers are being checked, and 503 if the API
    /// server does not answer.
    pub(crate) async fn may_list_external_secrets(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|value| value.strip_prefix("Bearer "))
            .filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN_BYTES)
            .ok_or((
                StatusCode::UNAUTHORIZED,
                "send a token of a Kubernetes account: Authorization: Bearer TOKEN",
            ))?;
        let busy = |_| {
            (
                StatusCode::TOO_MANY_REQUESTS,
                "other callers are being checked; try again",
            )
        };
        let _check = self.checks.try_acquire().map_err(busy)?;
        let failed = (StatusCode::SERVICE_UNAVAILABLE, "the API server does not answer");
        let mut config = self.config.clone();
        config.auth_info.token = Some(token.to_owned().into());
        let client = client_with_timeout(&config, TIMEOUT).map_err(|_| failed)?;
        let attributes = ResourceAttributes {
            group: Some("external-secrets.io".to_owned()),
            resource: Some("externalsecrets".to_owned()),
            verb: Some("list".to_owned()),
            ..ResourceAttributes::default()
        };
        match access::is_allowed(&client, attributes).await {
            Ok(true) => Ok(()),
            Ok(false) => Err((
                StatusCode::FORBIDDEN,
                "the token's account may not list ExternalSecrets in all namespaces",
            )),
            Err(kube::Error::Api(status)) if status.code == 401 => {
                Err((StatusCode::UNAUTHORIZED, "the API server does not accept the token"))
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                Err((StatusCode::FORBIDDEN, "the token's account may not ask for its rights"))
            }
            Err(_) => Err(failed),
        }
    }
}
