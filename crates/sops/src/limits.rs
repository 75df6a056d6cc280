//! The limits for every file. They bound the memory and time that a hostile file can cost.

use crate::{SopsError, Value};

/// The largest file, in bytes: 100 MiB.
pub const MAX_FILE_BYTES: usize = 100 * 1024 * 1024;

/// The deepest nesting of lists and mappings.
pub const MAX_DEPTH: usize = 100;

/// The most values of one file, after aliases are expanded.
pub const MAX_VALUES: usize = 1_000_000;

/// The most text that YAML aliases may repeat, in bytes: 16 MiB.
pub const MAX_ALIASED_BYTES: usize = 16 * 1024 * 1024;

/// The most bytes of key paths that are authenticated with a file's values: 256 MiB. Each encrypted value is authenticated
/// with the names of all keys above it, so a very long key above many values would cost the product of both.
pub(crate) const MAX_CONTEXT_BYTES: usize = 256 * 1024 * 1024;

/// Counts values and repeated bytes while a file is parsed, and fails at the limits.
#[derive(Default)]
pub(crate) struct Budget {
    values: usize,
    aliased_bytes: usize,
}

impl Budget {
    /// Counts one more value at `depth`. The document itself has depth 0.
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

    /// Copies `value` to `depth`, for an anchor or an alias.
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

/// The first key that occurs for a second time.
pub(crate) fn repeated_key(entries: &[(String, Value)]) -> Option<&str> {
    let mut seen = std::collections::HashSet::with_capacity(entries.len());
    entries
        .iter()
        .map(|(key, _)| key.as_str())
        .find(|key| !seen.insert(*key))
}
