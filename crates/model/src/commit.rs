//! The Git commit that a change of an item comes from.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A commit of a Git repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its id, in hexadecimal digits.
    pub id: String,
    /// When it was committed, as the committer's clock had it.
    pub time: Timestamp,
}
