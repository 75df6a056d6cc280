//! Which operation of a PATCH is to blame for a broken rule.

use crate::compose::{Fault, Part};
use crate::error::Invalid;

use super::{Operation, pointer};

/// For each field of the result, the index of the operation that changed it last, if any did.
pub(crate) struct Blame {
    pub(super) fields: Vec<Option<usize>>,
}

impl Blame {
    /// The error for a fault. It names the operation that caused the fault.
    pub(crate) fn error(&self, fault: &Fault, operations: &[Operation]) -> Invalid {
        let subject = match fault.part {
            Part::Category => String::new(),
            Part::Section(_) => "the section ".to_owned(),
            Part::Field(_) => "the field ".to_owned(),
            part => format!("{} ", part.member()),
        };
        let touched = match fault.part {
            Part::Field(index) => self.fields.get(index).copied().flatten(),
            _ => None,
        };
        // If no operation changed this field: the last operation on this member of the item, else the last operation of all.
        let touches = |operation: &Operation| {
            let parts = pointer::parse(&operation.path).unwrap_or_default();
            parts.first().is_none_or(|part| part == fault.part.member())
        };
        let index = touched
            .or_else(|| operations.iter().rposition(touches))
            .unwrap_or(operations.len().saturating_sub(1));
        named(operations, index, &format!("{subject}{}", fault.reason))
    }
}

/// `operations[1] (replace /title): …`
pub(super) fn named(operations: &[Operation], index: usize, reason: &str) -> Invalid {
    match operations.get(index) {
        Some(operation) => Invalid::new(format!("operations[{index}] ({operation}): {reason}")),
        None => Invalid::new(reason),
    }
}
