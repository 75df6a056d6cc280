//! Web addresses of an item.

use serde::{Deserialize, Serialize};

use crate::wire::null_as_default;

/// A web address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Url {
    /// Whether this is the address to open first. It is sent only if it is true.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub primary: bool,
    /// A name for the address. The 1Password operator uses it as the key in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The address. It is not checked.
    #[serde(default, deserialize_with = "null_as_default")]
    pub href: String,
}
