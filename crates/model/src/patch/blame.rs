//! Errors of a PATCH, each with the operation that is to blame.

use crate::compose::{Fault, Part};
use crate::error::Invalid;

use super::{Operation, pointer};

/// Which operation last touched each field of the result, if any did.
pub(crate) struct Blame {
    pub(super) fields: Vec<Option<usize>>,
}

impl Blame {
    /// The fault as an error that names the operation which brought it in.
    pub(crate) fn name(&self, fault: &Fault, operations: &[Operation]) -> Invalid {
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
        // Else the last operation on that member of the item, else the last of all.
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
