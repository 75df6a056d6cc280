//! The one-time code with which the page gets a token.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How long a code can be used.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// At most one code, which works once.
#[derive(Default)]
pub(crate) struct Invitation(Mutex<Option<Open>>);

struct Open {
    /// The SHA-256 of the code. Comparing hashes tells nothing about the code by the time it takes.
    code: [u8; 32],
    token: Zeroizing<String>,
    made: Instant,
}

impl Invitation {
    /// Makes a code of 256 random bits for this token. It replaces an earlier one.
    pub(crate) fn make(&self, token: Zeroizing<String>) -> String {
        let bytes: [u8; 32] = rand::random();
        let code = URL_SAFE_NO_PAD.encode(bytes);
        *self.0.lock() = Some(Open {
            code: Sha256::digest(&code).into(),
            token,
            made: Instant::now(),
        });
        code
    }

    /// The token, if this is the code and it is not older than [`LIFETIME`]. After that the code is of no use.
    pub(crate) fn redeem(&self, code: &str) -> Option<Zeroizing<String>> {
        let hash: [u8; 32] = Sha256::digest(code).into();
        let mut open = self.0.lock();
        if open.as_ref().is_some_and(|open| open.made.elapsed() >= LIFETIME) {
            *open = None;
        }
        open.take_if(|open| open.code == hash).map(|open| open.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Zeroizing<String> {
        Zeroizing::new("a token".to_owned())
    }

    #[tokio::test]
    async fn a_code_works_once() {
        let invitation = Invitation::default();
        let code = invitation.make(token());
        assert!(invitation.redeem("").is_none());
        assert!(
            invitation.redeem(&format!("{code}A")).is_none(),
            "a wrong code uses nothing up"
        );
        assert_eq!(invitation.redeem(&code).as_deref().map(String::as_str), Some("a token"));
        assert!(invitation.redeem(&code).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_code_dies_after_ten_minutes() {
        let invitation = Invitation::default();
        let code = invitation.make(token());
        tokio::time::advance(LIFETIME).await;
        assert!(invitation.redeem(&code).is_none());
        let code = invitation.make(token());
        tokio::time::advance(LIFETIME - Duration::from_secs(1)).await;
        assert!(invitation.redeem(&code).is_some());
    }
}
