//! What is told to a client whose request cannot be honoured.

use serde::{Deserialize, Serialize};

/// The Connect release whose behaviour this is, for the `1Password-Connect-Version` header. Exactly three integers with
/// dots: the Go SDK refuses file calls to anything it reads as older than 1.3.0.
pub const CONNECT_VERSION: &str = "1.8.0";

/// A request that is answered with status 400; `Display` is the message the client sees.
///
/// The message names places (`fields[2]`, a line and column, an operation's path) and reasons, never a value: it ends
/// up in the logs of whoever called. It also avoids the words some clients search errors for ("not found", "conflict").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
#[serde(transparent)]
pub struct Invalid {
    message: String,
}

impl Invalid {
    /// An error with this message. Also how one that crossed a process boundary as text is put together again.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }

    /// The text for the client.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// The JSON body of every error answer: Python reads `message`, Ansible branches on `status`, Go prints both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The HTTP status again.
    pub status: u16,
    /// What went wrong, for a person.
    pub message: String,
}

impl ErrorBody {
    /// A body for this status.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    // Check 1.
    #[test]
    fn the_version_is_three_integers() {
        let parts: Vec<u32> = CONNECT_VERSION.split('.').map(|part| part.parse().unwrap()).collect();
        assert_eq!(parts.len(), 3);
    }

    // Check 15.
    #[test]
    fn an_error_body_has_an_integer_status_and_a_message() {
        let json = serde_json::to_string(&ErrorBody::new(404, "item x not found")).unwrap();
        assert_eq!(json, r#"{"status":404,"message":"item x not found"}"#);
    }
}
