//! Verifies access tokens.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use sidevault_model::Timestamp;

use crate::es256;
use crate::public_key::VerificationKey;
use crate::token::{AUDIENCE, Claims, ISSUER, MAX_TOKEN_LEN, Token, TokenError, at_second};

/// How far a token's `iat` and `nbf` may be in the future, in milliseconds, because clocks differ. `exp` has no leeway.
const CLOCK_LEEWAY: i64 = 60_000;

/// Verifies access tokens with ES256 and the keys in the credentials only. It is cheap to clone.
///
/// A verification takes a fraction of a millisecond of processor time, so callers cache the result. The key of such a cache must
/// be the whole text of the token, and revocations must go by `jti`: a token has more than one valid signature (ECDSA).
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    keys: Vec<Accepted>,
    validation: Validation,
}

struct Accepted {
    kid: String,
    key: DecodingKey,
    /// The issuer is being replaced: its tokens expire at this time at the latest.
    until: Option<Timestamp>,
}

impl Verifier {
    pub(crate) fn new(keys: &[VerificationKey]) -> Self {
        es256::install();
        let keys = keys.iter().filter_map(|key| {
            // The keys were checked when the credentials were loaded, so none is left out here.
            DecodingKey::from_ec_components(&key.x, &key.y)
                .ok()
                .map(|decoding| Accepted {
                    kid: key.kid.clone(),
                    key: decoding,
                    until: key.until.map(Timestamp::from_millis),
                })
        });
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        validation.required_spec_claims = HashSet::from(["aud".to_owned(), "iss".to_owned()]);
        // `check_time` checks the time, against the caller's clock; `exp` may be absent.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self(Arc::new(Inner {
            keys: keys.collect(),
            validation,
        }))
    }

    /// The ids of the keys whose tokens are accepted.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys.iter().map(|accepted| accepted.kid.as_str())
    }

    /// The content of `jwt`, the text after `Bearer `, if its signature is right and it is valid at `now`.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify(&self, jwt: &str, now: Timestamp) -> Result<Token, TokenError> {
        if jwt.len() > MAX_TOKEN_LEN {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(jwt).map_err(|error| refusal(&error))?;
        if header.alg != Algorithm::ES256 {
            return Err(TokenError::Algorithm);
        }
        // RFC 7515, section 4.1.11: a recipient that does not understand a critical extension must refuse the token. This one
        // understands none.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let kid = header.kid.unwrap_or_default();
        let Some(Accepted { key, until, .. }) = self.0.keys.iter().find(|accepted| accepted.kid == kid) else {
            return Err(TokenError::UnknownKey { kid: loggable(kid) });
        };
        let claims = decode::<Claims>(jwt, key, &self.0.validation)
            .map_err(|error| refusal(&error))?
            .claims;
        let not_before = claims.nbf.map(at_second).transpose()?;
        let mut token = claims.into_token(kid)?;
        token.expires_at = token.expires_at.into_iter().chain(*until).min();
        check_time(token, not_before, now)
    }
}

fn check_time(token: Token, not_before: Option<Timestamp>, now: Timestamp) -> Result<Token, TokenError> {
    if let Some(at) = token.expires_at.filter(|at| *at <= now) {
        return Err(TokenError::Expired {
            name: token.name,
            jti: token.jti,
            at,
        });
    }
    let valid_from = not_before.map_or(token.issued_at, |at| at.max(token.issued_at));
    if valid_from.as_millis() > now.as_millis().saturating_add(CLOCK_LEEWAY) {
        return Err(TokenError::NotYetValid {
            name: token.name,
            jti: token.jti,
            at: valid_from,
        });
    }
    Ok(token)
}

fn refusal(error: &Error) -> TokenError {
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenError::Algorithm,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => TokenError::Issuer,
        _ => TokenError::Malformed,
    }
}

/// The key id, for the log, or an empty text if it can't be one: the sender of the token chose it.
fn loggable(kid: String) -> String {
    let possible = kid.len() <= 64 && kid.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    if possible { kid } else { String::new() }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.key_ids()).finish()
    }
}

#[cfg(test)]
mod tests;
