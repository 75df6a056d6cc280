//! Applies operations to attributes and lists.

use serde_json::Value;

use crate::error::Invalid;
use crate::json::{self, JsonPath};

use super::Op;

/// Why an operation can't be applied. The caller adds the operation.
pub(super) type Reason = String;

/// An operation without its path.
pub(super) struct Change<'a> {
    pub(super) op: Op,
    pub(super) value: &'a Option<Value>,
}

impl Change<'_> {
    /// The operation's value, or an error if it has none.
    pub(super) fn needed(&self) -> Result<Value, Reason> {
        self.value.clone().ok_or_else(|| "the value is missing".to_owned())
    }

    /// The new value of an attribute. `None` if the operation removes it.
    pub(super) fn attribute<T>(
        &self,
        read: impl Fn(Value, &JsonPath<'_>) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Reason> {
        match self.op {
            Op::Remove => Ok(None),
            Op::Add | Op::Replace => match self.needed()? {
                Value::Null => Ok(None),
                value => Ok(Some(self::read(value, read)?)),
            },
        }
    }
}

/// Reads an operation's value with `read`.
pub(super) fn read<T>(value: Value, read: impl Fn(Value, &JsonPath<'_>) -> Result<T, Invalid>) -> Result<T, Reason> {
    read(value, &JsonPath::Root("the value")).map_err(|error| error.to_string())
}

/// Applies an operation to a list or, with `spot`, to the element of the list with this index.
pub(super) fn edit_list<T>(
    list: &mut Vec<T>,
    change: &Change<'_>,
    spot: Option<&str>,
    read_one: impl Fn(Value, &JsonPath<'_>) -> Result<T, Invalid>,
) -> Result<(), Reason> {
    match (spot, change.op) {
        (None, Op::Remove) => list.clear(),
        (None, Op::Replace) => match change.needed()? {
            Value::Null => list.clear(),
            value => *list = read(value, |value, place| json::list(value, place, &read_one))?,
        },
        // `add` replaces nothing: it appends an element, or the elements of a list.
        (None | Some("-"), Op::Add) => match change.needed()? {
            value @ Value::Array(_) if spot.is_none() => {
                list.extend(read(value, |value, place| json::list(value, place, &read_one))?);
            }
            value => list.push(read(value, &read_one)?),
        },
        (Some(spot), Op::Add) => {
            let at = match index(spot)? {
                at if at <= list.len() => at,
                _ => return Err("there is no element with this index".to_owned()),
            };
            list.insert(at, read(change.needed()?, &read_one)?);
        }
        (Some(spot), Op::Replace) => {
            let at = existing(spot, list.len())?;
            list[at] = read(change.needed()?, &read_one)?;
        }
        (Some(spot), Op::Remove) => {
            list.remove(existing(spot, list.len())?);
        }
    }
    Ok(())
}

/// The index of an existing element.
pub(super) fn existing(spot: &str, len: usize) -> Result<usize, Reason> {
    match index(spot)? {
        at if at < len => Ok(at),
        _ => Err("there is no element with this index".to_owned()),
    }
}

/// An index as RFC 6901 defines it: digits without leading zeros.
fn index(spot: &str) -> Result<usize, Reason> {
    let plain = spot == "0" || !spot.starts_with('0') && spot.bytes().all(|byte| byte.is_ascii_digit());
    match spot.parse() {
        Ok(index) if plain => Ok(index),
        _ => Err("elements of this list are named by index: 0, 1, … or - for the end".to_owned()),
    }
}
