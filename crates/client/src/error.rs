//! What can go wrong, and what a caller can do about it.

use std::fmt;

/// Why a call failed. Neither a message nor `Debug` holds a token, a title that was asked for, or a value.
///
/// When a call that changes something ends in [`TimedOut`](Self::TimedOut) or [`Interrupted`](Self::Interrupted), the
/// server may have done it or not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The client cannot be built from what it was given.
    #[error("{0}")]
    Config(String),
    /// The server refused: Connect's `{"status", "message"}`. Shown as the Go SDK shows it.
    #[error("status {status}: {message}")]
    Status {
        /// The HTTP status; never 2xx.
        status: u16,
        /// The server's own text, at most 1 KiB; the status's usual text when it gave none.
        message: String,
    },
    /// No vault or item has the name.
    #[error("{0} not found: none that this token may read has this name")]
    NoMatch(Kind),
    /// Several vaults or items have the name, and any choice could be the wrong one.
    #[error("{count} {what}s have this name; use an id")]
    Ambiguous {
        /// What was looked for.
        what: Kind,
        /// How many there are.
        count: usize,
    },
    /// No connection: name resolution, TCP or TLS failed. Nothing was sent.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// No full answer within the client's time-out.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The connection broke before the answer was complete.
    #[error("the connection was interrupted: {0}")]
    Interrupted(String),
    /// An answer that is not what Connect sends. Says where, never what.
    #[error("the answer is no {what}: line {line}, column {column}")]
    Decode {
        /// What it should have been.
        what: &'static str,
        /// Line in the JSON, from 1.
        line: usize,
        /// Column in the JSON, from 1; 0 before the first.
        column: usize,
    },
    /// A write was done, but its answer holds no item: a token that may write but not read is told nothing. Do not
    /// repeat the call.
    #[error("done, but the answer holds no readable item (the token may be write-only)")]
    DoneUnread,
    /// The server answered with something the protocol does not allow there.
    #[error("unexpected answer: {0}")]
    Unexpected(&'static str),
}

/// What a name was the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A vault.
    Vault,
    /// An item.
    Item,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vault => "vault",
            Self::Item => "item",
        })
    }
}

impl ClientError {
    /// The HTTP status, when the server refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// It does not exist: status 404, or no such name.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NoMatch(_)) || self.status() == Some(404)
    }

    /// The token is not accepted (401) or lacks the right (403).
    pub fn is_denied(&self) -> bool {
        matches!(self.status(), Some(401 | 403))
    }

    /// Another change came in between (409); the call can be repeated.
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// There was no answer, or not all of it: worth another try later. A 503 is an answer.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::TimedOut | Self::Interrupted(_))
    }

    /// Where an answer could not be read. Unlike the parser's own text it quotes nothing.
    pub(crate) fn decode(what: &'static str, error: &serde_json::Error) -> Self {
        match error.classify() {
            serde_json::error::Category::Eof => Self::Interrupted(format!("the {what} ends too early")),
            _ => Self::Decode {
                what,
                line: error.line(),
                column: error.column(),
            },
        }
    }

    /// A failure below HTTP. The URL, which may hold a title, is left out.
    pub(crate) fn transport(error: reqwest::Error) -> Self {
        let connecting = error.is_connect();
        let timed_out = error.is_timeout();
        let reason = causes(&error.without_url());
        match (connecting, timed_out) {
            (true, _) => Self::Unreachable(reason),
            (false, true) => Self::TimedOut,
            (false, false) => Self::Interrupted(reason),
        }
    }
}

/// The causes of an error, outermost first. The HTTP library's own layers, which only say that something failed, are
/// followed by the one that says what: all are kept but repetitions.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        match parts.last() {
            Some(last) if last.contains(&part) => {}
            _ => parts.push(part),
        }
        cause = error.source();
    }
    match parts.is_empty() {
        true => error.to_string(),
        false => parts.join(": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> ClientError {
        ClientError::Status {
            status,
            message: "x".into(),
        }
    }

    #[test]
    fn a_caller_can_tell_the_cases_apart() {
        assert!(refused(404).is_not_found() && ClientError::NoMatch(Kind::Item).is_not_found());
        assert!(refused(401).is_denied() && refused(403).is_denied() && !refused(404).is_denied());
        assert!(refused(409).is_conflict());
        assert!(ClientError::TimedOut.is_unreachable() && !refused(503).is_unreachable());
        assert_eq!(refused(418).status(), Some(418));
        assert_eq!(ClientError::TimedOut.status(), None);
    }

    // Terraform and its like look for these words.
    #[test]
    fn messages_use_the_words_people_know() {
        assert_eq!(
            ClientError::NoMatch(Kind::Vault).to_string(),
            "vault not found: none that this token may read has this name"
        );
        assert_eq!(refused(404).to_string(), "status 404: x");
        let twins = ClientError::Ambiguous {
            what: Kind::Item,
            count: 2,
        };
        assert_eq!(twins.to_string(), "2 items have this name; use an id");
    }
}
