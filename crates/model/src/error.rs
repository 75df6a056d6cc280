//! Errors of requests, and the body of error answers.

use serde::{Deserialize, Serialize};

/// The Connect release that Sidevault behaves like, for the header `1Password-Connect-Version`. It must be three integers with
/// dots: the Go SDK refuses file calls to a server whose version it reads as older than 1.3.0.
pub const CONNECT_VERSION: &str = "1.8.0";

/// A part of the message when a name in a path means several items. Clients tell by it that the server knows names.
pub const SEVERAL_ITEMS: &str = "items have this title or path";

/// A request that breaks a rule and is answered with status 400. `Display` is the message for the client.
///
/// The message names the place of the fault (`fields[2]`, a line and column, an operation's path) and the reason. It quotes no
/// value, because clients log it, and has no words that clients search errors for ("not found", "conflict").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
#[serde(transparent)]
pub struct Invalid {
    message: String,
}

impl Invalid {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }

    /// The message for the client.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// The JSON body of every error answer. The Python SDK reads `message`, Ansible reads `status`, the Go SDK prints both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The HTTP status of the answer.
    pub status: u16,
    /// The reason, for people.
    pub message: String,
}

impl ErrorBody {
    /// The body of an answer with this status.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
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
