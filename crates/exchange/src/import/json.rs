//! JSON whose format is not known yet. Only its first level is parsed.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::ImportError;
use super::lenient::json_error;

/// The members of an object, not parsed further.
pub(crate) type Members<'a> = HashMap<String, &'a RawValue>;

/// The objects of a text: one, several one after the other, or the elements of lists.
pub(crate) struct Records<'a> {
    pub(crate) records: Vec<&'a RawValue>,
}

impl<'a> Records<'a> {
    /// Splits a text.
    pub(crate) fn split(text: &'a [u8]) -> Result<Self, ImportError> {
        let failed = |error| json_error("the export", error, "it is not valid JSON");
        let mut records = Vec::new();
        for value in serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>() {
            let value = value.map_err(failed)?;
            if value.get().starts_with('[') {
                let elements: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(failed)?;
                records.extend(elements);
            } else {
                records.push(value);
            }
        }
        Ok(Self { records })
    }

    /// The members of the first record, if it is an object.
    pub(crate) fn first(&self) -> Option<Members<'a>> {
        serde_json::from_str(self.records.first()?.get()).ok()
    }
}

/// Whether a text can be JSON: it begins with an object or a list.
pub(crate) fn may_be_json(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    matches!(text.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'{' | b'['))
}
