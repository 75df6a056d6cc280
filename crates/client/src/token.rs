//! The bearer token.

use std::fmt;

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use crate::error::ClientError;

/// A token that any header can carry. Wiped from memory when dropped; the copies that the HTTP stack makes while it
/// sends are not.
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    /// Trims white space around it: files end in a line feed, and people paste.
    pub(crate) fn parse(text: &str) -> Result<Self, ClientError> {
        let token = Self(Zeroizing::new(text.trim().to_owned()));
        if token.0.is_empty() {
            return Err(ClientError::Config("the token is empty".into()));
        }
        // RFC 6750, 2.1: letters, digits and a few signs. Anything else was cut or pasted wrongly.
        match token.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(token),
            false => Err(ClientError::Config(
                "the token holds white space or characters that no token has".into(),
            )),
        }
    }

    /// The value of `Authorization`, marked so that no layer logs it or keeps it in a compression table.
    pub(crate) fn bearer(&self) -> Result<HeaderValue, ClientError> {
        let text = Zeroizing::new(format!("Bearer {}", self.0.as_str()));
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| ClientError::Config("the token cannot be sent in a header".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The text with the token taken out, should a server or proxy repeat it.
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
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn white_space_around_a_token_does_not_count_and_inside_it_does() {
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
