//! Changes keys and values on the way from a store to a Secret. No I/O.

pub(crate) mod decode;
pub(crate) mod keys;
pub(crate) mod rewrite;

use std::collections::BTreeMap;

/// Values by the key that they get in a Secret.
pub(crate) type Values = BTreeMap<String, Vec<u8>>;

/// Why values can't be used. The text may hold keys and patterns, and never a value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ValuesError(pub(crate) String);

impl ValuesError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
