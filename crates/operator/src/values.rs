//! What is done to values between a store and a Secret: pure.

pub(crate) mod decode;
pub(crate) mod keys;
pub(crate) mod rewrite;

use std::collections::BTreeMap;

/// Keys and values on their way to a Secret.
pub(crate) type Values = BTreeMap<String, Vec<u8>>;

/// Why values can't be used. Holds keys and patterns, never values.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ValuesError(pub(crate) String);

impl ValuesError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
