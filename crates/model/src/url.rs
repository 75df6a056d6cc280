//! Web addresses of an item.

use serde::{Deserialize, Serialize};

use crate::wire::null_as_default;

/// An address; the primary one is where a person would go first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Url {
    /// Sent only when true.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub primary: bool,
    /// The 1Password operator makes Secret keys from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The address, not checked.
    #[serde(default, deserialize_with = "null_as_default")]
    pub href: String,
}
