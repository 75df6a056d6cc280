//! One order: from the request for a certificate to its PEM text.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rustls::pki_types::DnsName;
use sidevault_model::printable;

use super::TlsError;
use super::offer::{Answering, Offer};

/// How the ACME server is polled, and how long it may take for each step.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .timeout(Duration::from_secs(120));

/// Requests a certificate. Returns a new private key and the chain for it as one PEM text.
pub(super) async fn certificate(account: &Account, domain: &DnsName<'_>, offer: &Arc<Offer>) -> Result<String, Failed> {
    let names = [Identifier::Dns(domain.as_ref().to_owned())];
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    let answering = answer(&mut order, offer).await?;
    let ready = order.poll_ready(&POLL).await;
    if !matches!(ready, Ok(OrderStatus::Ready)) {
        // The challenge has the reason; the order has only its state.
        return Err(match (refusal(&mut order).await, ready) {
            (Some(problem), _) => TlsError::Validation(one_line(&problem)).into(),
            (None, Err(error)) => error.into(),
            (None, Ok(status)) => TlsError::Acme(format!("the order became {status:?}")).into(),
        });
    }
    drop(answering);
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&POLL).await?;
    Ok(format!("{key}\n{chain}"))
}

/// Answers the challenge, and tells the ACME server. None if the server still remembers an earlier proof.
async fn answer(order: &mut Order, offer: &Arc<Offer>) -> Result<Option<Answering>, Failed> {
    let mut answering = None;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
            return Err(TlsError::Acme("the server does not offer tls-alpn-01".to_owned()).into());
        };
        answering = Some(offer.answer(challenge.key_authorization().digest().as_ref())?);
        challenge.set_ready().await?;
    }
    Ok(answering)
}

/// Why the ACME server could not validate the challenge, if it says so.
async fn refusal(order: &mut Order) -> Option<Problem> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let state = authorization.refresh().await.ok()?;
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.clone()) {
            return Some(problem);
        }
    }
    None
}

/// Why there is no certificate.
pub(super) struct Failed {
    pub(super) error: TlsError,
    /// Whether the ACME server does not know the account, so that a new account may help.
    pub(super) account_is_gone: bool,
}

impl From<TlsError> for Failed {
    fn from(error: TlsError) -> Self {
        Self {
            error,
            account_is_gone: false,
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let Error::Api(problem) = &error else {
            return TlsError::Acme(error.to_string()).into();
        };
        Self {
            account_is_gone: problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist"),
            error: TlsError::Acme(one_line(problem)),
        }
    }
}

/// A problem document (RFC 8555, 6.7) in one line, without control characters, which must not get into the log.
fn one_line(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    let detail = problem.detail.as_deref().unwrap_or("no reason is given");
    printable(&format!("{detail} ({kind})"))
}
