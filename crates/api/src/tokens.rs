//! Tokens whose signatures were checked.

use std::sync::Arc;

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use sidevault_keys::{Token, TokenError, Verifier};
use sidevault_model::Timestamp;

use crate::limits;

/// Tokens whose signatures were checked. A check takes a hundred times as long as the rest of a read, so each token is checked
/// once. Refused tokens are not kept, so they can't displace valid ones.
pub(crate) struct Tokens {
    verifier: Verifier,
    /// By the SHA-256 of the token's text, so that the text does not stay in memory.
    verified: Cache<[u8; 32], Arc<Token>>,
}

impl Tokens {
    pub(crate) fn new(verifier: Verifier) -> Self {
        Self {
            verifier,
            verified: Cache::new(limits::MAX_VERIFIED_TOKENS),
        }
    }

    /// The token with this text, and whether it was checked for the first time.
    ///
    /// # Errors
    /// If the text is no token of this server, or the token is expired. Revocation is not checked here.
    pub(crate) fn verify(&self, text: &str, now: Timestamp) -> Result<(Arc<Token>, bool), TokenError> {
        let hash: [u8; 32] = Sha256::digest(text).into();
        if let Some(token) = self.verified.get(&hash) {
            return match token.expires_at {
                Some(at) if at <= now => {
                    self.verified.remove(&hash);
                    Err(TokenError::Expired {
                        name: token.name.clone(),
                        jti: token.jti.clone(),
                        at,
                    })
                }
                _ => Ok((token, false)),
            };
        }
        let token = Arc::new(self.verifier.verify(text, now)?);
        self.verified.insert(hash, token.clone());
        Ok((token, true))
    }

    /// Whether a valid token was ever used.
    pub(crate) fn any(&self) -> bool {
        !self.verified.is_empty()
    }
}
