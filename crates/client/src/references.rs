//! Resolves secret references: in one request at a Sidevault server, and with the fewest requests of Connect's API elsewhere.

mod rest;
#[cfg(test)]
mod tests;

use std::fmt;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use sidevault_model::VaultId;
use sidevault_model::reference::{Reference, Unresolved, UnresolvedKind};
use zeroize::Zeroizing;

use crate::client::Client;
use crate::error::ClientError;

/// How many references one request has at most: a Sidevault server takes 1000.
const REFERENCES: usize = 1000;
/// The most bytes of references in one request: a Sidevault server takes 256 KiB, with their quotes and commas.
const REFERENCE_BYTES: usize = 192 << 10;

/// What a reference stands for: a text, or the bytes of a file. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, unless it is a file that is not UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text.into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a reference has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct ReferenceError {
    /// The kind, and the message for people.
    pub error: Unresolved,
    /// The vault, if it was found.
    pub vault: Option<VaultId>,
}

/// The value of a reference, or why it has none.
pub type ReferenceResult = Result<Secret, ReferenceError>;

#[derive(Serialize)]
struct Question {
    references: Vec<String>,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    value: Option<String>,
    error: Option<Unresolved>,
    vault: Option<VaultId>,
}

impl Client {
    /// The values of references, in their order.
    ///
    /// A Sidevault server is asked once for a thousand references. Another Connect server is asked for each vault that is named
    /// and for each item.
    ///
    /// # Errors
    /// Of the server as a whole. What is wrong with one reference is in its result. See [`ClientError`].
    pub async fn resolve_references(&self, references: &[Reference]) -> Result<Vec<ReferenceResult>, ClientError> {
        let mut results = Vec::with_capacity(references.len());
        let mut rest = references;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(part(rest));
            match self.resolve_part(part).await {
                Ok(found) => results.extend(found),
                // Another Connect server does not have this path.
                Err(error) if matches!(error.status(), Some(404 | 405)) => {
                    results.extend(self.resolve_by_rest(rest).await?);
                    return Ok(results);
                }
                // The values are too large for one answer.
                Err(error) if error.status() == Some(413) => results.extend(self.resolve_by_rest(part).await?),
                Err(error) => return Err(error),
            }
            rest = after;
        }
        Ok(results)
    }

    async fn resolve_part(&self, references: &[Reference]) -> Result<Vec<ReferenceResult>, ClientError> {
        let question = Question {
            references: references.iter().map(ToString::to_string).collect(),
        };
        let url = self.url(&["v1", "resolve"]);
        let body = Zeroizing::new(self.change(Method::POST, url, Some(&question)).await?);
        let answer: Answer = crate::transport::decode(&body, "list of values")?;
        if answer.results.len() != references.len() {
            return Err(ClientError::Unexpected("another number of values than of references"));
        }
        let mut results = Vec::with_capacity(references.len());
        for (reference, outcome) in references.iter().zip(answer.results) {
            results.push(match outcome {
                Outcome { value: Some(value), .. } => Ok(value.into()),
                Outcome { error: Some(error), .. } if is_only_a_file(error.kind) => {
                    self.resolve_one_by_rest(reference).await?
                }
                Outcome {
                    error: Some(error),
                    vault,
                    ..
                } => Err(ReferenceError { error, vault }),
                _ => return Err(ClientError::Unexpected("neither a value nor an error for a reference")),
            });
        }
        Ok(results)
    }

    /// Resolves a reference whose value is a file that JSON can't hold.
    async fn resolve_one_by_rest(&self, reference: &Reference) -> Result<ReferenceResult, ClientError> {
        let found = self.resolve_by_rest(std::slice::from_ref(reference)).await?;
        let only = found.into_iter().next();
        only.ok_or(ClientError::Unexpected("no value for a reference"))
    }
}

fn is_only_a_file(kind: UnresolvedKind) -> bool {
    matches!(
        kind,
        UnresolvedKind::FileTooLarge | UnresolvedKind::UnsupportedFileFormat
    )
}

/// How many of the references go into the next request; at least one.
fn part(references: &[Reference]) -> usize {
    let mut bytes = 0;
    let fitting = references.iter().take(REFERENCES).take_while(|reference| {
        bytes += reference.to_string().len() + 3;
        bytes <= REFERENCE_BYTES
    });
    fitting.count().max(1)
}
