//! PATCH: a subset of JSON Patch (RFC 6902) for items.
//!
//! The operations are `add`, `remove` and `replace`. Paths have the escapes of JSON Pointer (RFC 6901). Where this differs from the
//! RFC, it is as Connect does:
//!
//! | path | meaning |
//! |---|---|
//! | `/` or empty | the whole item, as with PUT |
//! | `/title`, `/favorite`, `/category` | one attribute |
//! | `/tags`, `/urls`, `/sections`, `/fields` | `replace`: the list; `add`: appends an element, or each element of a list; `remove`: empties the list |
//! | `/tags/1`, `/urls/0`, `/urls/0/label` | an element by index; `-` is the end |
//! | `/sections/{id}`, `/sections/{id}/label` | a section by **id**; the fields of a removed section stay, and belong to no section |
//! | `/fields/{id}`, `/fields/{id}/{attribute}` | a field by **id**; attributes: label, value, type, purpose, section, generate, recipe |
//!
//! Every other path is answered with 400, also `/id`, `/version`, `/vault` and the times. An attribute or a list that is replaced by
//! `null` is removed: a type becomes STRING again, any other value is empty then.

mod apply;
mod attribute;
mod blame;
mod pointer;
mod value;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::error::Invalid;
use crate::json::{self, JsonPath, Object};
use crate::limits;
use crate::wire::wire_enum;

pub(crate) use apply::apply;
pub use pointer::escape;

wire_enum! {
    /// What an operation does.
    pub enum Op, unknown = None;
    /// Adds a value.
    Add = "add",
    /// Removes a value.
    Remove = "remove",
    /// Replaces a value.
    Replace = "replace",
}

/// An operation. Its JSON is that of a request. `Debug` hides the value.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// What the operation does.
    pub op: Op,
    /// The path of the value.
    pub path: String,
    /// The new value. `Some(Null)` is `null`, and `None` is no value.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operation({self})")
    }
}

/// Displays op and path, for messages: `replace /fields/password/value`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 80;
        write!(f, "{} ", self.op)?;
        match self.path.char_indices().nth(SHOWN) {
            Some((cut, _)) => write!(f, "{}…", &self.path[..cut]),
            None => f.write_str(&self.path),
        }
    }
}

/// Reads the body of a PATCH.
///
/// # Errors
/// [`Invalid`] if the body is not JSON (see [`crate::ItemInput::from_json`]) or no list, or if an element is no operation: it is no
/// object, its `op` is unknown or not supported, its `path` is missing, does not start with `/` or has a wrong escape, or it lacks
/// the `value` that it needs.
pub fn parse(bytes: &[u8]) -> Result<Vec<Operation>, Invalid> {
    let Value::Array(elements) = json::parse(bytes)? else {
        return Err(Invalid::new(
            "the body must be a list of operations: [{\"op\": …, \"path\": …, \"value\": …}]",
        ));
    };
    if elements.len() > limits::OPERATIONS {
        return Err(Invalid::new(format!("more than {} operations", limits::OPERATIONS)));
    }
    let root = JsonPath::Root("operations");
    elements
        .into_iter()
        .enumerate()
        .map(|(index, element)| operation(element, &JsonPath::Element(&root, index)))
        .collect()
}

fn operation(element: Value, place: &JsonPath<'_>) -> Result<Operation, Invalid> {
    let value = element.get("value").cloned();
    let mut object = Object::new(element, place)?;
    let word = object.text("op")?.ok_or_else(|| place.invalid("has no op"))?;
    let op = Op::from_word(&word).ok_or_else(|| place.invalid("has an op other than add, remove and replace"))?;
    let path = object.text("path")?.ok_or_else(|| place.invalid("has no path"))?;
    let operation = Operation { op, path, value };
    pointer::parse(&operation.path).map_err(|reason| named(place, &operation, reason))?;
    if op != Op::Remove && operation.value.is_none() {
        return Err(named(place, &operation, "the value is missing"));
    }
    Ok(operation)
}

fn named(place: &JsonPath<'_>, operation: &Operation, reason: &str) -> Invalid {
    Invalid::new(format!("{place} ({operation}): {reason}"))
}
