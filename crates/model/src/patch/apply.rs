//! Applies operations to the item in the form of a PUT's body.

use std::collections::HashSet;

use serde_json::Value;

use crate::change::check_vault;
use crate::error::Invalid;
use crate::input::{FieldInput, ItemInput, SectionInput, UrlInput};
use crate::item::Item;
use crate::json::{self, JsonPath};
use crate::limits;

use super::blame::{Blame, named};
use super::value::{Change, Reason, edit_list, existing, read};
use super::{Op, Operation, attribute, pointer};

/// A field, and the index of the operation that changed it last.
struct PatchedField {
    by: Option<usize>,
    field: FieldInput,
}

/// The item with the operations applied so far.
struct PatchedItem<'a> {
    item: &'a Item,
    /// Everything but the fields.
    input: ItemInput,
    fields: Vec<PatchedField>,
}

/// Applies the operations one after the other. [`crate::compose`] checks the result.
pub(crate) fn apply(item: &Item, operations: &[Operation]) -> Result<(ItemInput, Blame), Invalid> {
    if operations.len() > limits::OPERATIONS {
        return Err(Invalid::new(format!("more than {} operations", limits::OPERATIONS)));
    }
    let mut input = ItemInput::from(item);
    let fields = std::mem::take(&mut input.fields);
    let fields = fields
        .into_iter()
        .map(|field| PatchedField { by: None, field })
        .collect();
    let mut patched = PatchedItem { item, input, fields };
    for (index, operation) in operations.iter().enumerate() {
        patched
            .apply(operation, index)
            .map_err(|reason| named(operations, index, &reason))?;
    }
    let blame = Blame {
        fields: patched.fields.iter().map(|field| field.by).collect(),
    };
    patched.input.fields = patched.fields.into_iter().map(|patched| patched.field).collect();
    Ok((patched.input, blame))
}

fn section(value: Value, place: &JsonPath<'_>) -> Result<SectionInput, Invalid> {
    SectionInput::from_value(value, place)?.ok_or_else(|| place.invalid("must have an id or a label"))
}

/// A URL that a PATCH puts in. One without a label has none, even if the item has a URL with the same address and a label:
/// only clients that send whole items (PUT) leave labels out because they do not know them.
fn url(value: Value, place: &JsonPath<'_>) -> Result<UrlInput, Invalid> {
    let mut url = UrlInput::from_value(value, place)?;
    url.label.get_or_insert_default();
    Ok(url)
}

impl PatchedItem<'_> {
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
            ["favorite"] => self.input.favorite = change.attribute(json::flag)?,
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

    /// `/`: the whole item, as with PUT.
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
            .map(|field| PatchedField { by: Some(index), field })
            .collect();
        self.input = input;
        Ok(())
    }

    /// `/urls`, `/urls/0`, `/urls/0/label`.
    fn urls(&mut self, change: &Change<'_>, rest: &[&str]) -> Result<(), Reason> {
        let [spot, attribute] = rest else {
            return match rest {
                [] | [_] => edit_list(&mut self.input.urls, change, rest.first().copied(), url),
                _ => Err("a URL has no such part".to_owned()),
            };
        };
        let urls = &mut self.input.urls;
        let index = existing(spot, urls.len())?;
        let url = &mut urls[index];
        match *attribute {
            // An empty label clears the label; `None` would keep it.
            "label" => url.label = Some(change.attribute(json::text)?.unwrap_or_default()),
            "primary" => url.primary = change.attribute(json::flag)?.unwrap_or_default(),
            "href" => url.href = change.attribute(json::text)?.ok_or("a URL must have an href")?,
            _ => return Err("a URL has href, label and primary".to_owned()),
        }
        Ok(())
    }

    /// `/sections`, `/sections/{id}`, `/sections/{id}/label`.
    fn sections(&mut self, change: &Change<'_>, rest: &[&str]) -> Result<(), Reason> {
        let before = self.section_ids();
        let sections = &mut self.input.sections;
        match rest {
            [] | ["-"] => edit_list(sections, change, rest.first().copied(), section)?,
            [id] => match (before.contains(*id), change.op) {
                (true, Op::Remove) => sections.retain(|section| section.id.as_deref() != Some(id)),
                (false, Op::Remove | Op::Replace) => {
                    return Err("the item has no section with this id".to_owned());
                }
                (known, Op::Add | Op::Replace) => {
                    // The path has the id, so that a value without a label is a section without a label.
                    let mut new = read(change.needed()?, SectionInput::from_value)?.unwrap_or_default();
                    same_id(&mut new.id, id)?;
                    let same = |section: &&mut SectionInput| section.id == new.id;
                    if known {
                        sections
                            .iter_mut()
                            .filter(same)
                            .for_each(|section| *section = new.clone());
                    } else {
                        sections.push(new);
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
        // The fields of a removed section stay, and belong to no section.
        let after = self.section_ids();
        let removed: HashSet<&String> = before.difference(&after).collect();
        if !removed.is_empty() {
            let is_removed = |section: &mut SectionInput| section.id.as_ref().is_some_and(|id| removed.contains(id));
            for PatchedField { field, .. } in &mut self.fields {
                field.section.take_if(is_removed);
            }
        }
        Ok(())
    }

    fn section_ids(&self) -> HashSet<String> {
        let sections = self.input.sections.iter();
        sections.filter_map(|section| section.id.clone()).collect()
    }

    /// `/fields`, `/fields/{id}`, `/fields/{id}/{attribute}`.
    fn fields(&mut self, change: &Change<'_>, rest: &[&str], index: usize) -> Result<(), Reason> {
        let new = |value: Value, place: &JsonPath<'_>| {
            Ok(PatchedField {
                by: Some(index),
                field: FieldInput::from_value(value, place)?,
            })
        };
        let fields = &mut self.fields;
        let find = |id: &str, fields: &[PatchedField]| {
            fields
                .iter()
                .position(|patched| patched.field.id.as_deref() == Some(id))
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
                attribute::set(&mut fields[at].field, attribute, change)
            }
            _ => Err("a field's attributes have no parts that can be changed".to_owned()),
        }
    }
}

/// Sets the id of a new value to the id in the path. Another id in the value is an error.
fn same_id(id: &mut Option<String>, wanted: &str) -> Result<(), Reason> {
    match id {
        Some(id) if id != wanted => Err("the value's id is not the id in the path".to_owned()),
        _ => {
            *id = Some(wanted.to_owned());
            Ok(())
        }
    }
}
