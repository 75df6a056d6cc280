//! Sections: groups of an item's fields.

use serde::{Deserialize, Serialize};

use crate::wire::null_as_default;

/// A section of an item. The label is always sent, even if it is empty, because Ansible needs the member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Section {
    /// Any text that the client chose: `Section_ab…`, a UUID, `add more`, `linked items`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub id: String,
    /// The name that people see.
    #[serde(default, deserialize_with = "null_as_default")]
    pub label: String,
}

/// The section that a field or file belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SectionRef {
    /// The section's id.
    #[serde(default, deserialize_with = "null_as_default")]
    pub id: String,
    /// The section's label, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}
