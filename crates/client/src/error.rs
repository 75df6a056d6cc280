//! The errors of all calls.

use std::fmt;
use std::time::Duration;

use reqwest::Url;

use crate::unreachable::{Unreachable, UnreachableReason, chain, origin};

/// Why a call failed. Neither the text nor `Debug` contains a token, a title that was asked for, or a value.
///
/// If a call that changes something ends in [`TimedOut`](Self::TimedOut) or [`Interrupted`](Self::Interrupted), the
/// server may or may not have carried it out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The settings of the client are invalid.
    #[error("{0}")]
    Config(String),
    /// The server refused the request, with Connect's `{"status", "message"}`. The text has the form of the Go SDK's.
    #[error("status {status}: {message}")]
    Status {
        /// The HTTP status; never 2xx.
        status: u16,
        /// The server's message, cut to 1 KiB, or the status's usual text if the server sent none. With a 401, a
        /// sentence follows that names the server.
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
        /// How many have the name.
        count: usize,
    },
    /// The client could not connect: name resolution, TCP or TLS failed. It sent nothing.
    #[error(transparent)]
    Unreachable(Unreachable),
    /// The answer was not complete within the client's time-out.
    #[error("{server} did not answer within {after:?}")]
    TimedOut {
        /// Scheme, host and port of the server's URL.
        server: String,
        /// The time-out.
        after: Duration,
    },
    /// The connection broke before the answer was complete. Holds which answer, or which server, and why.
    #[error("the answer is incomplete: {0}")]
    Interrupted(String),
    /// The answer is not what Connect sends. Says where in the answer, and quotes nothing of it.
    #[error("the answer is not a valid {what}: line {line}, column {column}")]
    Decode {
        /// What the answer should have been.
        what: &'static str,
        /// Line in the JSON, from 1.
        line: usize,
        /// Column in the JSON, from 1; 0 before the first.
        column: usize,
    },
    /// The server carried out a write, but its answer contains no item: a token that may write and not read gets none.
    /// The call must not be repeated.
    #[error(
        "the server carried out the change, but its answer contains no readable item (the token may be write-only)"
    )]
    DoneUnread,
    /// The file was replaced after its download began, or the server can't continue a download. Start a new download.
    #[error("the download can't be resumed: the server does not have the same version of the file any more")]
    FileChanged,
    /// The server's answer is not one that HTTP or Connect allows here.
    #[error("unexpected answer: {0}")]
    Unexpected(&'static str),
}

/// Whether a name is that of a vault or of an item.
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
    /// The HTTP status, if the server refused the request.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What was asked for does not exist: status 404, or no vault or item has the name.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NoMatch(_)) || self.status() == Some(404)
    }

    /// The token is not accepted (401) or lacks the right (403).
    pub fn is_denied(&self) -> bool {
        matches!(self.status(), Some(401 | 403))
    }

    /// The server does not know an id, or the token may not use it: the text may be a name. Connect answers 403 for a vault that
    /// does not exist.
    pub fn refuses_id(&self) -> bool {
        matches!(self.status(), Some(400 | 403 | 404))
    }

    /// A concurrent change was made first (409). The call can be repeated.
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// There was no answer, or not a complete one: trying later may help. A 503 is a complete answer.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_) | Self::TimedOut { .. } | Self::Interrupted(_)
        )
    }

    /// The server was reached by TLS, and its certificate was not accepted.
    pub fn is_certificate(&self) -> bool {
        let reason = match self {
            Self::Unreachable(unreachable) => Some(&unreachable.reason),
            _ => None,
        };
        matches!(reason, Some(UnreachableReason::Certificate(_)))
    }

    /// An answer that is not the expected JSON. The parser's own text may quote the answer, so it is left out.
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

    /// A failure below HTTP of a request to `url`.
    pub(crate) fn transport(url: &Url, error: &reqwest::Error) -> Self {
        if error.is_connect() {
            return Self::Unreachable(Unreachable::new(url, error));
        }
        // The outer layers only say that something failed.
        let reason = chain(error).last().map(ToString::to_string).unwrap_or_default();
        let hint = match (url.scheme(), reason.starts_with("invalid HTTP version")) {
            ("http", true) => "; if the server speaks TLS, use https",
            _ => "",
        };
        Self::Interrupted(format!("{}: {reason}{hint}", origin(url)))
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

    fn timed_out() -> ClientError {
        ClientError::TimedOut {
            server: "http://h".into(),
            after: Duration::from_secs(30),
        }
    }

    #[test]
    fn errors_are_classified() {
        assert!(refused(404).is_not_found() && ClientError::NoMatch(Kind::Item).is_not_found());
        assert!(refused(401).is_denied() && refused(403).is_denied() && !refused(404).is_denied());
        assert!(refused(409).is_conflict());
        assert!(timed_out().is_unreachable() && !refused(503).is_unreachable());
        assert_eq!(refused(418).status(), Some(418));
        assert_eq!(timed_out().status(), None);
    }

    // The Terraform provider searches for some of these words.
    #[test]
    fn texts_have_the_words_that_callers_search_for() {
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
        assert_eq!(timed_out().to_string(), "http://h did not answer within 30s");
    }
}
