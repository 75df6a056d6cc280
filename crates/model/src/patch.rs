//! PATCH: a subset of JSON Patch (RFC 6902) on an item.
//!
//! `add`, `remove` and `replace`, with paths in JSON Pointer's escapes (RFC 6901). What differs from the RFC is what
//! Connect does:
//!
//! | path | meaning |
//! |---|---|
//! | `/` or empty | the whole item, as PUT |
//! | `/title`, `/favorite`, `/category` | one attribute |
//! | `/tags`, `/urls`, `/sections`, `/fields` | `replace`: the list; `add`: append one, or each of a list; `remove`: empty it |
//! | `/tags/1`, `/urls/0`, `/urls/0/label` | by index; `-` is the end |
//! | `/sections/{id}`, `/sections/{id}/label` | by **id**; removing a section keeps its fields, outside any |
//! | `/fields/{id}`, `/fields/{id}/{attribute}` | by **id**; attributes: label, value, type, purpose, section, generate, recipe |
//!
//! Everything else, `/id`, `/version`, `/vault` and the times included, is a 400. An attribute or a list that is replaced by
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

wire_enum! {
    /// What an operation does.
    pub enum Op, unknown = None;
    /// Puts something in.
    Add = "add",
    /// Takes something out.
    Remove = "remove",
    /// Changes what is there.
    Replace = "replace",
}

/// One operation. Serialises to what a client sends. `Debug` hides the value.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// What it does.
    pub op: Op,
    /// What it does it to.
    pub path: String,
    /// With what; `Some(Null)` and `None` differ.
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

/// `replace /fields/password/value`, for messages.
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
/// [`Invalid`] when it is not JSON (as [`crate::ItemInput::from_json`]), not a list, or an element is no operation: no
/// object, an unknown or unsupported `op`, a `path` that is missing or does not start with `/`, a bad `~` escape, or no
/// `value` where one is needed.
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
