//! Sections, which group the fields of an item.

use serde::{Deserialize, Serialize};

use crate::wire::null_as_default;

/// A section as the item declares it. The label is always sent, empty or not: Ansible indexes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Section {
    /// Any text, kept as the client chose it: `Section_ab…`, a UUID, `add more`, `linked items`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub id: String,
    /// What people see.
    #[serde(default, deserialize_with = "null_as_default")]
    pub label: String,
}

/// A field's or file's pointer to its section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SectionRef {
    /// The section's id.
    #[serde(default, deserialize_with = "null_as_default")]
    pub id: String,
    /// The section's label again, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}
