//! The bearer token.

use std::fmt;

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use crate::error::ClientError;

/// A token without characters that a header can't contain. It is wiped from memory when dropped, but the copies that
/// the HTTP library makes to send it are not.
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    /// Checks a token. White space around it is removed, because token files end in a line feed.
    ///
    /// # Errors
    /// [`ClientError::Config`] if the token is empty or contains white space or a character that is not ASCII.
    pub(crate) fn parse(text: &str) -> Result<Self, ClientError> {
        let token = Self(Zeroizing::new(text.trim().to_owned()));
        if token.0.is_empty() {
            return Err(ClientError::Config("the token is empty".into()));
        }
        // RFC 6750, 2.1 allows letters, digits and a few signs. Other characters show that the token was copied
        // wrongly.
        if !token.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientError::Config(
                "the token contains white space or other characters that no token has; copy it again".into(),
            ));
        }
        Ok(token)
    }

    /// The value of the header `Authorization`, marked as sensitive, so that it is not logged and not kept in HTTP/2's
    /// compression table.
    pub(crate) fn bearer(&self) -> Result<HeaderValue, ClientError> {
        let text = Zeroizing::new(format!("Bearer {}", self.0.as_str()));
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| ClientError::Config("the token contains characters that a header can't contain".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Replaces the token in a text: a server or a proxy may repeat it in an error.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(self.0.as_str(), "[token]")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_token_is_removed_and_inside_is_refused() {
        assert_eq!(Token::parse(" a.b.c\n").unwrap().bearer().unwrap(), "Bearer a.b.c");
        for bad in ["", " \n", "a b", "a\nb", "a\0b", "ä"] {
            assert!(matches!(Token::parse(bad), Err(ClientError::Config(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::parse("hunter2").unwrap();
        assert!(!format!("{token:?} {:?}", token.bearer().unwrap()).contains("hunter2"));
        assert_eq!(token.redact("bad: hunter2!"), "bad: [token]!");
        let message = Token::parse("hunter2 hunter2").unwrap_err().to_string();
        assert!(!message.contains("hunter2"));
    }
}
