//! Applying operations to what a client would have to send to leave the item as it is.

use serde_json::Value;

use crate::change::check_vault;
use crate::compose::{Fault, Part};
use crate::error::Invalid;
use crate::input::{self, FieldInput, ItemInput, SectionInput, UrlInput};
use crate::item::Item;
use crate::json::{self, Place};
use crate::limits;
use crate::recipe::Recipe;

use super::{Op, Operation, pointer};

/// Why an operation cannot be applied; the caller adds which.
type Reason = String;

/// A field and the operation that last touched it.
struct Touched {
    by: Option<usize>,
    field: FieldInput,
}

/// The item under the operations.
struct Working<'a> {
    item: &'a Item,
    /// All but the fields.
    input: ItemInput,
    fields: Vec<Touched>,
}

/// Which operation is to blame for a rule broken by the result.
pub(crate) struct Blame {
    fields: Vec<Option<usize>>,
}

/// Applies all operations in turn. Rules about the whole are left to [`crate::compose`].
pub(crate) fn apply(item: &Item, operations: &[Operation]) -> Result<(ItemInput, Blame), Invalid> {
    if operations.len() > limits::OPERATIONS {
        return Err(Invalid::new(format!("more than {} operations", limits::OPERATIONS)));
    }
    let mut input = ItemInput::from(item);
    let fields = std::mem::take(&mut input.fields);
    let fields = fields.into_iter().map(|field| Touched { by: None, field }).collect();
    let mut working = Working { item, input, fields };
    for (index, operation) in operations.iter().enumerate() {
        working
            .apply(operation, index)
            .map_err(|reason| named(operations, index, &reason))?;
    }
    let blame = Blame {
        fields: working.fields.iter().map(|field| field.by).collect(),
    };
    working.input.fields = working.fields.into_iter().map(|touched| touched.field).collect();
    Ok((working.input, blame))
}

fn named(operations: &[Operation], index: usize, reason: &str) -> Invalid {
    match operations.get(index) {
        Some(operation) => Invalid::new(format!("operations[{index}] ({operation}): {reason}")),
        None => Invalid::new(reason),
    }
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

/// An operation without its path.
struct Change<'a> {
    op: Op,
    value: &'a Option<Value>,
}

impl Change<'_> {
    /// The value to put in.
    fn needed(&self) -> Result<Value, Reason> {
        self.value.clone().ok_or_else(|| "the value is missing".to_owned())
    }

    /// The value of an attribute, `None` when it is to be removed.
    fn attribute<T>(&self, read: impl Fn(Value, &Place<'_>) -> Result<T, Invalid>) -> Result<Option<T>, Reason> {
        match self.op {
            Op::Remove => Ok(None),
            Op::Add | Op::Replace => match self.needed()? {
                Value::Null => Ok(None),
                value => Ok(Some(self::read(value, read)?)),
            },
        }
    }
}

fn read<T>(value: Value, read: impl Fn(Value, &Place<'_>) -> Result<T, Invalid>) -> Result<T, Reason> {
    read(value, &Place::Root("the value")).map_err(|error| error.to_string())
}

fn boolean(value: Value, place: &Place<'_>) -> Result<bool, Invalid> {
    json::flag(&value, place)
}

fn section(value: Value, place: &Place<'_>) -> Result<SectionInput, Invalid> {
    SectionInput::from_value(value, place)?.ok_or_else(|| place.invalid("must have an id or a label"))
}

impl Working<'_> {
    fn apply(&mut self, operation: &Operation, index: usize) -> Result<(), Reason> {
        let change = Change {
            op: operation.op,
            value: &operation.value,
        };
        let parts = pointer::parse(&operation.path)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [] => self.whole(&change, index)?,
            ["title"] => self.input.title = change.attribute(json::text)?,
            ["favorite"] => self.input.favorite = change.attribute(boolean)?,
            ["category"] => self.input.category = change.attribute(json::text)?,
            ["tags", rest @ ..] => match rest {
                [] | [_] => edit_list(&mut self.input.tags, &change, rest.first().copied(), json::text)?,
                _ => return Err("a tag has no parts".to_owned()),
            },
            ["urls", rest @ ..] => self.urls(&change, rest)?,
            ["sections", rest @ ..] => self.sections(&change, rest)?,
            ["fields", rest @ ..] => self.fields(&change, rest, index)?,
            [
                "id" | "version" | "vault" | "createdAt" | "updatedAt" | "lastEditedBy" | "state" | "files"
                | "created_at" | "updated_at" | "last_edited_by",
                ..,
            ] => return Err("this cannot be changed".to_owned()),
            _ => {
                return Err(
                    "there is no such path: use /title, /favorite, /category, /tags, /urls, /sections/{id} or \
                            /fields/{id}/{attribute}"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    /// `/`: as PUT.
    fn whole(&mut self, change: &Change<'_>, index: usize) -> Result<(), Reason> {
        if change.op == Op::Remove {
            return Err("an item cannot be removed by PATCH; use DELETE".to_owned());
        }
        let mut input = read(change.needed()?, ItemInput::from_value)?;
        check_vault(&input, self.item.vault).map_err(|error| error.to_string())?;
        self.item.check_id(&input).map_err(|error| error.to_string())?;
        let fields = std::mem::take(&mut input.fields);
        self.fields = fields
            .into_iter()
            .map(|field| Touched { by: Some(index), field })
            .collect();
        self.input = input;
        Ok(())
    }

    /// `/urls`, `/urls/0`, `/urls/0/label`.
    fn urls(&mut self, change: &Change<'_>, rest: &[&str]) -> Result<(), Reason> {
        let [spot, attribute] = rest else {
            return match rest {
                [] | [_] => edit_list(
                    &mut self.input.urls,
                    change,
                    rest.first().copied(),
                    UrlInput::from_value,
                ),
                _ => Err("a URL has no such part".to_owned()),
            };
        };
        let urls = &mut self.input.urls;
        let index = existing(spot, urls.len())?;
        let url = &mut urls[index];
        match *attribute {
            // Removed, not left out: an empty label replaces the one there is.
            "label" => url.label = Some(change.attribute(json::text)?.unwrap_or_default()),
            "primary" => url.primary = change.attribute(boolean)?.unwrap_or_default(),
            "href" => url.href = change.attribute(json::text)?.ok_or("a URL must have an href")?,
            _ => return Err("a URL has href, label and primary".to_owned()),
        }
        Ok(())
    }

    /// `/sections`, `/sections/{id}`, `/sections/{id}/label`.
    fn sections(&mut self, change: &Change<'_>, rest: &[&str]) -> Result<(), Reason> {
        let before: Vec<String> = self
            .input
            .sections
            .iter()
            .filter_map(|section| section.id.clone())
            .collect();
        let find = |id: &str| before.iter().position(|known| known == id);
        let sections = &mut self.input.sections;
        match rest {
            [] | ["-"] => edit_list(sections, change, rest.first().copied(), section)?,
            [id] => match (find(id), change.op) {
                (Some(_), Op::Remove) => sections.retain(|section| section.id.as_deref() != Some(id)),
                (None, Op::Remove | Op::Replace) => {
                    return Err("the item has no section with this id".to_owned());
                }
                (at, Op::Add | Op::Replace) => {
                    let mut new = read(change.needed()?, section)?;
                    same_id(&mut new.id, id)?;
                    match at {
                        Some(_) => sections
                            .iter_mut()
                            .filter(|section| section.id == new.id)
                            .for_each(|section| *section = new.clone()),
                        None => sections.push(new),
                    }
                }
            },
            [id, "label"] => {
                let label = change.attribute(json::text)?.filter(|label| !label.is_empty());
                let named = sections.iter_mut().find(|section| section.id.as_deref() == Some(id));
                named.ok_or("the item has no section with this id")?.label = label;
            }
            [_, "id"] => return Err("this cannot be changed".to_owned()),
            _ => return Err("a section has a label".to_owned()),
        }
        // The fields of a section that went away stay, outside any section.
        let after = &self.input.sections;
        let gone = |id: &String| before.contains(id) && !after.iter().any(|section| section.id.as_ref() == Some(id));
        for Touched { field, .. } in &mut self.fields {
            if field
                .section
                .as_ref()
                .and_then(|section| section.id.as_ref())
                .is_some_and(gone)
            {
                field.section = None;
            }
        }
        Ok(())
    }

    /// `/fields`, `/fields/{id}`, `/fields/{id}/{attribute}`.
    fn fields(&mut self, change: &Change<'_>, rest: &[&str], index: usize) -> Result<(), Reason> {
        let new = |value: Value, place: &Place<'_>| {
            Ok(Touched {
                by: Some(index),
                field: FieldInput::from_value(value, place)?,
            })
        };
        let fields = &mut self.fields;
        let find = |id: &str, fields: &[Touched]| {
            fields
                .iter()
                .position(|touched| touched.field.id.as_deref() == Some(id))
        };
        match rest {
            [] | ["-"] => edit_list(fields, change, rest.first().copied(), new),
            [id] => match (find(id, fields), change.op) {
                (Some(at), Op::Remove) => {
                    fields.remove(at);
                    Ok(())
                }
                (None, Op::Remove | Op::Replace) => Err("the item has no field with this id".to_owned()),
                (at, Op::Add | Op::Replace) => {
                    let mut new = read(change.needed()?, new)?;
                    same_id(&mut new.field.id, id)?;
                    match at {
                        Some(at) => fields[at] = new,
                        None => fields.push(new),
                    }
                    Ok(())
                }
            },
            [id, attribute] => {
                let at = find(id, fields).ok_or("the item has no field with this id")?;
                fields[at].by = Some(index);
                field_attribute(&mut fields[at].field, attribute, change)
            }
            _ => Err("a field's attributes have no parts that can be changed".to_owned()),
        }
    }
}

fn field_attribute(field: &mut FieldInput, attribute: &str, change: &Change<'_>) -> Result<(), Reason> {
    match attribute {
        "label" => field.label = change.attribute(json::text)?,
        "value" => field.value = change.attribute(json::text)?,
        "type" => {
            let word = change.attribute(json::text)?.filter(|word| !word.is_empty());
            field.field_type = word
                .map(|word| input::field_type(&word))
                .transpose()
                .map_err(|why| format!("the field {why}"))?;
        }
        "purpose" => {
            let word = change.attribute(json::text)?.unwrap_or_default();
            field.purpose = Some(input::purpose(&word).map_err(|why| format!("the field {why}"))?);
        }
        "section" => field.section = change.attribute(SectionInput::from_value)?.flatten(),
        "generate" => {
            field.generate = change.attribute(boolean)?.unwrap_or_default();
            // Asked for by name, a new value is wanted in place of the old one.
            if field.generate {
                field.value = None;
            }
        }
        "recipe" => field.recipe = change.attribute(Recipe::from_value)?,
        "id" | "entropy" | "totp" | "passwordDetails" => {
            return Err("this cannot be changed".to_owned());
        }
        _ => {
            return Err("a field has label, value, type, purpose, section, generate and recipe".to_owned());
        }
    }
    Ok(())
}

/// What is put in at an id has that id; one that says otherwise is a mistake.
fn same_id(id: &mut Option<String>, wanted: &str) -> Result<(), Reason> {
    match id {
        Some(id) if id != wanted => Err("the value's id is not the id in the path".to_owned()),
        _ => {
            *id = Some(wanted.to_owned());
            Ok(())
        }
    }
}

/// An operation on a list or, with `spot`, on an element of it by index.
fn edit_list<T>(
    list: &mut Vec<T>,
    change: &Change<'_>,
    spot: Option<&str>,
    read_one: impl Fn(Value, &Place<'_>) -> Result<T, Invalid>,
) -> Result<(), Reason> {
    match (spot, change.op) {
        (None, Op::Remove) => list.clear(),
        (None, Op::Replace) => *list = read(change.needed()?, |value, place| json::list(value, place, &read_one))?,
        // `add` never takes anything away: a list is appended, as one element is.
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

fn existing(spot: &str, len: usize) -> Result<usize, Reason> {
    match index(spot)? {
        at if at < len => Ok(at),
        _ => Err("there is no element with this index".to_owned()),
    }
}

/// An index as RFC 6901 writes it: digits without leading zeros.
fn index(spot: &str) -> Result<usize, Reason> {
    let plain = spot == "0" || !spot.starts_with('0') && spot.bytes().all(|byte| byte.is_ascii_digit());
    match spot.parse() {
        Ok(index) if plain => Ok(index),
        _ => Err("elements of this list are named by index: 0, 1, … or - for the end".to_owned()),
    }
}
