//! The bounds within which a file is read, whatever it asks for.

use crate::{SopsError, Value};

/// Largest file read, in bytes: 100 MiB.
pub const MAX_FILE_BYTES: usize = 100 * 1024 * 1024;

/// Deepest nesting of lists and mappings.
pub const MAX_DEPTH: usize = 100;

/// Most values one file may hold, aliases expanded.
pub const MAX_VALUES: usize = 1_000_000;

/// Most text that YAML aliases may add, in bytes: 16 MiB.
pub const MAX_ALIASED_BYTES: usize = 16 * 1024 * 1024;

/// Most bytes of key paths that are authenticated with a file's values: 256 MiB. Each sealed value is
/// bound to the names of the keys above it, so a very long key over many values would cost the product
/// of both.
pub(crate) const MAX_CONTEXT_BYTES: usize = 256 * 1024 * 1024;

/// Counts values while a tree grows and refuses to grow past the bounds.
#[derive(Default)]
pub(crate) struct Budget {
    values: usize,
    aliased_bytes: usize,
}

impl Budget {
    /// Accounts for one more value at `depth` (the document itself has depth 0).
    pub(crate) fn spend(&mut self, depth: usize) -> Result<(), SopsError> {
        if depth > MAX_DEPTH {
            return Err(SopsError::Limit {
                what: "nested levels",
                limit: MAX_DEPTH,
            });
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(SopsError::Limit {
                what: "values",
                limit: MAX_VALUES,
            });
        }
        Ok(())
    }

    /// Copies `value`, which lands at `depth`, for an anchor or an alias.
    pub(crate) fn copy(&mut self, value: &Value, depth: usize) -> Result<Value, SopsError> {
        self.account(value, depth)?;
        Ok(value.clone())
    }

    fn account(&mut self, value: &Value, depth: usize) -> Result<(), SopsError> {
        self.spend(depth)?;
        match value {
            Value::Null | Value::Bool(_) => Ok(()),
            Value::Int(text) | Value::Float(text) | Value::String(text) | Value::Time(text) => {
                self.account_bytes(text.len())
            }
            Value::Bytes(bytes) => self.account_bytes(bytes.len()),
            Value::Merge(merged) => self.account(merged, depth),
            Value::Sequence(items) => items.iter().try_for_each(|item| self.account(item, depth + 1)),
            Value::Mapping(entries) => entries.iter().try_for_each(|(key, item)| {
                self.account_bytes(key.len())?;
                self.account(item, depth + 1)
            }),
        }
    }

    fn account_bytes(&mut self, count: usize) -> Result<(), SopsError> {
        self.aliased_bytes += count;
        if self.aliased_bytes > MAX_ALIASED_BYTES {
            return Err(SopsError::Limit {
                what: "bytes repeated by aliases",
                limit: MAX_ALIASED_BYTES,
            });
        }
        Ok(())
    }
}

/// The first key that occurs twice.
pub(crate) fn repeated_key(entries: &[(String, Value)]) -> Option<&str> {
    let mut seen = std::collections::HashSet::with_capacity(entries.len());
    entries
        .iter()
        .map(|(key, _)| key.as_str())
        .find(|key| !seen.insert(*key))
}
